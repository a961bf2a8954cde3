"""What a client may load: from the arguments of a request to a place on this machine.

The rules, in this order:

1. ``local/<name>``: a named local dataset; always allowed.
2. An absolute path (POSIX, ``~``, drive letter, UNC), whether or not it exists: --allow-paths.
3. The name of a packaged builder (``text``, ``json`` …), which reads any file: --allow-paths.
4. Anything else is a Hub id, checked against the Hub's grammar: not with --no-hf.

Nothing here looks at a file system, so no answer and no time tells what is on it. Where links in
a named folder may lead is the matter of ``fdss.links``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fdss.arguments import LoadArguments
from fdss.config import ServerConfig
from fdss.data_files import ODD_CHARACTERS, check_data_files, is_device
from fdss.errors import (
    BadParameter,
    BuilderRefused,
    DatasetNotFound,
    HubDisabled,
    PathsDisabled,
    UnknownLocal,
)
from fdss.storage import Folder, Named

Source = Literal["local", "path", "hf"]

LOCAL_PREFIX = "local/"
MAX_HUB_ID = 96
MAX_TEXT = 4096

# Every packaged builder of datasets 5.2, and those that other releases have or had.
PACKAGED_BUILDERS = frozenset(
    [
        "arrow",
        "audiofolder",
        "cache",
        "cad",
        "conll",
        "csv",
        "eval",
        "fasta",
        "fastq",
        "folder_based_builder",
        "genbank",
        "generator",
        "harbor",
        "hdf5",
        "iceberg",
        "imagefolder",
        "json",
        "lance",
        "meshfolder",
        "mmcif",
        "niftifolder",
        "pandas",
        "parquet",
        "pdb",
        "pdffolder",
        "spark",
        "sql",
        "text",
        "tsfile",
        "videofolder",
        "vortex",
        "webdataset",
        "xml",
    ]
)

# They unpickle, run functions or call databases, in one release of datasets or another.
_NEVER = frozenset(["cache", "generator", "pandas", "spark", "sql"])

_LOOKS_ABSOLUTE = re.compile(r"[/\\~]|[A-Za-z]:")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_HUB_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_HUB_ID = re.compile(rf"(?:{_HUB_NAME}/)?{_HUB_NAME}")
_REVISION = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_./+=-]{0,254}")
_CONFIG_FORBIDDEN = re.compile(r'[<>:/\\|?*"]')


@dataclass(frozen=True)
class Grant:
    """Leave to open one dataset.

    Attributes:
        source: Which rule allowed it.
        location: Where it is.
    """

    source: Source
    location: Folder | Named


def grant(arguments: LoadArguments, config: ServerConfig) -> Grant:
    """Return where the dataset is that the arguments name, if the policy allows it.

    Raises:
        BadParameter: An argument is none of the things it could be.
        UnknownLocal: No local dataset has that name.
        Forbidden: The policy does not allow it.
    """
    _check_text(arguments)
    _check_name(arguments.name)
    _check_revision(arguments.revision)
    granted = _granted(arguments.path, config)
    check_data_files(arguments.data_files, paths=config.allow_paths, urls=config.allow_downloads)
    return granted


def _granted(path: str, config: ServerConfig) -> Grant:
    if path.startswith(LOCAL_PREFIX) or path == LOCAL_PREFIX[:-1]:
        return Grant("local", _local(path, config))
    if _LOOKS_ABSOLUTE.match(path) and not _SCHEME.match(path):
        return Grant("path", _folder(path, config))
    if path.lower() in PACKAGED_BUILDERS:
        return Grant("path", _builder(path, config))
    _check_hub_id(path)
    if config.no_hf:
        raise HubDisabled(f"Dataset {path!r}: Hub datasets are disabled on this server (--no-hf).")
    return Grant("hf", Named(path))


def _local(path: str, config: ServerConfig) -> Folder:
    name = path[len(LOCAL_PREFIX) :]
    if not name:
        raise BadParameter("Local dataset name must follow 'local/'.")
    if name not in config.local:
        raise UnknownLocal(f"Unknown local dataset: {path!r}.")
    return Folder(config.local[name])


def _folder(path: str, config: ServerConfig) -> Folder:
    if not config.allow_paths:
        raise PathsDisabled(f"Loading by filesystem path is disabled on this server: {path!r}.")
    if os.name == "nt" and path.replace("/", "\\").startswith("\\\\"):
        # Merely looking there logs in at a host of the client's choice, or opens a device.
        raise PathsDisabled(f"Path {path!r} is a share's or a device's.")
    try:
        folder = Path(path).expanduser()
    except RuntimeError as error:
        raise DatasetNotFound(f"There is no dataset at {path!r}.") from error
    if not folder.is_absolute():
        raise BadParameter(f"Path {path!r} is not an absolute path on the server's system.")
    return Folder(folder)


def _builder(path: str, config: ServerConfig) -> Named:
    if not config.allow_paths or path.lower() in _NEVER:
        raise BuilderRefused(f"{path!r} is a file format, not a dataset; it is not served.")
    return Named(path)


def _check_hub_id(path: str) -> None:
    well_formed = (
        len(path) <= MAX_HUB_ID
        and _HUB_ID.fullmatch(path)
        and ".." not in path
        and "--" not in path
        and not path.lower().endswith((".git", ".py"))
        and not any(map(is_device, path.split("/")))
        and not path.startswith("buckets/")
    )
    if not well_formed:
        raise BadParameter(
            f"Path {path[:MAX_HUB_ID]!r} is neither local/<name>, an absolute path nor a Hub id.",
            hint="a Hub id is 'name' or 'namespace/name', of letters, digits, '-', '_' and '.'",
        )


def _check_text(arguments: LoadArguments) -> None:
    fields = (arguments.path, arguments.name, arguments.split, arguments.revision)
    for field, text in zip(("path", "name", "split", "revision"), fields, strict=True):
        if text is not None and (len(text) > MAX_TEXT or ODD_CHARACTERS.search(text)):
            raise BadParameter(f"Field {field!r} is too long or has control characters.")


def _check_name(name: str | None) -> None:
    if name is not None and (_CONFIG_FORBIDDEN.search(name) or name.strip(". ") == ""):
        raise BadParameter(f"Field 'name' is no configuration name: {name!r}.")


def _check_revision(revision: str | None) -> None:
    if revision is None:
        return
    segments = revision.split("/")
    is_odd = ".." in revision or {"", "."} & set(segments) or any(map(is_device, segments))
    if is_odd or not _REVISION.fullmatch(revision):
        raise BadParameter(f"Field 'revision' is no branch, tag or commit: {revision!r}.")

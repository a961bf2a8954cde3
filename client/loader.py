"""One call for a dataset, wherever it lies: on this machine or at a server."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdss import places
from fdss.arguments import LoadArguments
from fdss.errors import BadParameter, UnknownLocal

if TYPE_CHECKING:
    from fdss.storage import ArrowBackend

    from .dataset import ComposableIterableDataset
    from .resilient import ResilientRemoteBackend

SERVER_VARIABLE = "FORGATHER_DATASET_SERVER"
AUTO = "auto"

# Arguments of load_dataset that change how it works, not which rows come.
WITHOUT_EFFECT = frozenset(
    {"keep_in_memory", "save_infos", "streaming", "trust_remote_code", "verification_mode"}
)


def fast_load_iterable_dataset(
    path: str | os.PathLike[str],
    name: str | None = None,
    split: str | None = None,
    data_files: Any = None,
    revision: str | None = None,
    force_reindex: bool = False,
    num_proc: int | None = None,
    index_dir: str | os.PathLike[str] | None = None,
    length_estimate: str = "dynamic",
    reset_length_on_iter: bool = False,
    **load_dataset_kwargs: Any,
) -> ComposableIterableDataset:
    """Return a dataset, loaded here or by the server that ``FORGATHER_DATASET_SERVER`` names.

    The arguments are those of ``datasets.load_dataset``, and the rows those it would give.
    With a server, the path and the split notation are the server's to resolve; with ``auto``, the
    cluster's router is asked for a server when the length or a row is needed first. A remote
    dataset outlives its server, see ``ResilientRemoteBackend``.

    Args:
        path: A folder or file, a Hub id, the name of a packaged builder (``json`` …, with
            ``data_files``), or, with a server, ``local/<name>``.
        split: In the notation of ``datasets``; ``train`` if none is given.
        force_reindex: Build the index of record batches anew; local loads only.
        num_proc: Processes that prepare a dataset; local loads only.
        index_dir: Folder of the indexes; local loads only.
        length_estimate: "dynamic", "static" or "exact", see ``ComposableIterableDataset``.
        reset_length_on_iter: Forget counted lengths when an iteration begins.
        load_dataset_kwargs: ``cache_dir`` is where a local load looks and prepares. What changes
            no rows is ignored with a warning. A local load refuses anything else; a server is
            never sent any of them, which a warning says.

    Raises:
        ServerUnreachable: The server did not answer.
        DatasetNotFound: Neither here (or at the server) nor, where that is allowed, on the Hub.
        BadParameter: An argument has the wrong type, or cannot be honoured.
        FdssError: Whatever else the server or the storage refuses, with its own message.
    """
    from .dataset import ComposableIterableDataset

    arguments = _arguments(path, name, split, data_files, revision)
    server = os.environ.get(SERVER_VARIABLE, "").strip()
    local_only: dict[str, Any] = {
        "force_reindex": force_reindex,
        "num_proc": num_proc,
        "index_dir": index_dir,
    }
    backend: ArrowBackend | ResilientRemoteBackend
    if server:
        backend = _remote_load(server, arguments, {**local_only, **load_dataset_kwargs})
    else:
        backend = local_load(arguments, **local_only, **load_dataset_kwargs)
    return ComposableIterableDataset(
        backend,
        length_estimate=length_estimate,
        reset_length_on_iter=reset_length_on_iter,
        load_args=arguments.as_json(),
    )


def local_load(
    arguments: LoadArguments,
    *,
    force_reindex: bool = False,
    num_proc: int | None = None,
    index_dir: str | os.PathLike[str] | None = None,
    **load_dataset_kwargs: Any,
) -> ArrowBackend:
    """Return a dataset of this machine, whatever the environment says; errors as the loader's."""
    from fdss.storage import Folder, Named, OpenOptions, open_dataset

    cache_dir = load_dataset_kwargs.pop("cache_dir", None)
    _check_local(load_dataset_kwargs)
    options = OpenOptions(
        index_folder=Path(index_dir or places.index_folder()).expanduser(),
        datasets_cache=Path(cache_dir or places.datasets_cache()).expanduser(),
        hub_cache=places.hub_cache(),
        downloads=True,
        builders=True,
        force_reindex=force_reindex,
        num_proc=num_proc,
        progress=True,
        is_guarded=False,
    )
    folder = Path(arguments.path).expanduser()
    if folder.exists():
        return open_dataset(Folder(folder.absolute()), arguments, options)
    if arguments.path.startswith("local/"):
        raise UnknownLocal(
            f"{arguments.path!r} is a dataset of a server, and no server is named.",
            hint=f"set {SERVER_VARIABLE} to the server's URL",
        )
    return open_dataset(Named(arguments.path), arguments, options)


def _remote_load(
    server: str, arguments: LoadArguments, ignored: Mapping[str, Any]
) -> ResilientRemoteBackend:
    from .cluster import RouterSession
    from .finding import ClusterRouter, OneServer
    from .resilient import ResilientRemoteBackend

    _warn(sorted(argument for argument, value in ignored.items() if value), "with a server")
    if server.lower() == AUTO:
        return ResilientRemoteBackend(arguments, ClusterRouter(RouterSession()))
    backend = ResilientRemoteBackend(arguments, OneServer(server))
    # A wrong URL is told now, not waited for.
    backend.connect()
    return backend


def _check_local(given: Mapping[str, Any]) -> None:
    refused = sorted(
        argument
        for argument, value in given.items()
        if value is not None and argument not in WITHOUT_EFFECT
    )
    if refused:
        raise BadParameter(
            f"Arguments {', '.join(refused)} of load_dataset cannot be honoured here.",
            hint="prepare the dataset with datasets, save_to_disk() it, and load that folder",
        )
    _warn(
        sorted(argument for argument, value in given.items() if value),
        "as all rows are read from prepared files",
    )


def _warn(arguments: list[str], why: str) -> None:
    if arguments:
        level = 1
        while sys._getframe(level).f_code.co_filename == __file__:
            level += 1
        warnings.warn(f"{', '.join(arguments)} ignored {why}.", stacklevel=level + 1)


def _arguments(
    path: str | os.PathLike[str],
    name: str | None,
    split: Any,
    data_files: Any,
    revision: Any,
) -> LoadArguments:
    return LoadArguments.from_json(
        {
            "path": os.fspath(path),
            "name": name,
            "split": None if split is None else str(split),
            "data_files": _as_json(data_files),
            "revision": None if revision is None else str(revision),
        }
    )


def _as_json(data_files: Any) -> Any:
    if isinstance(data_files, os.PathLike):
        return os.fspath(data_files)
    if isinstance(data_files, Mapping):
        return {str(split): _as_json(files) for split, files in data_files.items()}
    if isinstance(data_files, list | tuple):
        return [_as_json(file) for file in data_files]
    return data_files

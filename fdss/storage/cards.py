"""What the card of a dataset says of its files: they are the dataset's own, and no others.

A card comes with the dataset, from wherever that was taken. It is held to what clients are held
to: patterns that stay inside, unless the operator allowed paths or addresses.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from fdss.data_files import check_data_files
from fdss.errors import BadParameter, DataFilesRefused
from fdss.files import read_regular

from .options import OpenOptions

MAX_CARD_BYTES = 8 << 20
#: Aliases counted as often as they stand.
MAX_CARD_VALUES = 1 << 20
_CARD = "README.md"
_SETTINGS = ".huggingface.yaml"
_FILE_KEYS = ("data_files", "data_dir")


def check_cards(folder: Path, options: OpenOptions) -> None:
    """Refuse cards of a folder that name files which are not its own.

    Raises:
        DataFilesRefused: A pattern leads out, or a card is too large to look at.
    """
    for told in _cards(folder):
        for pattern in _patterns(told.get("configs"), is_file=False, seen=set()):
            _check_pattern(pattern, options)


def check_places(builder: Any, roots: Iterable[Path], path: str) -> None:
    """Refuse a builder that is about to read files of this machine that are not its dataset's.

    Whatever a card says, and however ``datasets`` reads it, it comes to these.

    Args:
        roots: Folders of the dataset.
        path: What the message calls the dataset.

    Raises:
        DataFilesRefused: It would.
    """
    allowed = {place for root in roots for place in (os.path.abspath(root), os.path.realpath(root))}
    told = getattr(builder.config, "data_files", None) or {}
    for file in (str(file) for files in told.values() for file in files):
        if "://" in file and not file.startswith(("file://", "local://")):
            continue
        place = os.path.abspath(file)
        if not any(
            place == root or place.startswith(root.rstrip(os.sep) + os.sep) for root in allowed
        ):
            raise _refused(f"Dataset {path!r}", os.path.basename(file))


def _cards(folder: Path) -> Iterator[dict[str, Any]]:
    from huggingface_hub.repocard import RepoCard

    for name in (_CARD, _SETTINGS):
        try:
            if not (folder / name).is_file():
                continue
            text = read_regular(folder / name, MAX_CARD_BYTES).data.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise _refused(f"File {name!r}", "what cannot be read") from error
        try:
            # As datasets reads it, so that both see the same.
            card: Any = RepoCard if name == _CARD else None
            told = card(text).data.to_dict() if card else yaml.safe_load(text)
        except (ValueError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
            continue
        if isinstance(told, dict):
            if _size(told, {}) > MAX_CARD_VALUES:
                raise _refused(f"File {name!r}", "more than can be looked at")
            yield told


def _size(told: Any, known: dict[int, int]) -> int:
    """Return how many values a card has once its aliases are written out."""
    if not isinstance(told, dict | list):
        return 1
    if id(told) not in known:
        # What holds itself has no end.
        known[id(told)] = MAX_CARD_VALUES
        inner = told.values() if isinstance(told, dict) else told
        known[id(told)] = 1 + sum(_size(one, known) for one in inner)
    return known[id(told)]


def _patterns(told: Any, *, is_file: bool, seen: set[int]) -> Iterator[str]:
    """Yield each text below a key that is for files; what aliases repeat is looked at once."""
    if isinstance(told, str):
        if is_file and told:
            yield told
        return
    if not isinstance(told, dict | list) or id(told) in seen:
        return
    seen.add(id(told))
    for key, value in told.items() if isinstance(told, dict) else ((None, one) for one in told):
        yield from _patterns(value, is_file=is_file or key in _FILE_KEYS, seen=seen)


def _check_pattern(pattern: str, options: OpenOptions) -> None:
    try:
        check_data_files(pattern, paths=options.builders, urls=options.downloads)
    except (BadParameter, DataFilesRefused) as error:
        name = pattern.replace("\\", "/").rstrip("/").rpartition("/")[2]
        raise _refused("The card of the dataset", name) from error


def _refused(who: str, what: str) -> DataFilesRefused:
    return DataFilesRefused(
        f"{who} names {what[:80]!r}, which is not among the files of the dataset.",
        hint="name files below the folder of the dataset in its card",
    )

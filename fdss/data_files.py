"""Which ``data_files`` a request may name: relative patterns inside its dataset."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote

from fdss.arguments import DataFiles
from fdss.errors import BadParameter, DataFilesRefused

MAX_PATTERNS = 1000
MAX_PATTERN = 4096

# Control characters, and halves of surrogate pairs, which no file name can hold.
ODD_CHARACTERS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")

# Bytes of a split's name, of which datasets makes the name of a file.
MAX_SPLIT_NAME = 100

_SPLIT_NAME = re.compile(r"\w+(\.\w+)*")
_WEB = re.compile(r"(https?|hf)://", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³]|conin\$|conout\$) *(?=[.:]|$)", re.I)


def check_data_files(data_files: DataFiles | None, *, paths: bool, urls: bool) -> None:
    """Refuse patterns that lead out of the dataset.

    Args:
        paths: Whether files anywhere on this machine are allowed.
        urls: Whether http, https and hf addresses are allowed.

    Raises:
        BadParameter: A split's name or a pattern is malformed.
        DataFilesRefused: A pattern leads outside, and that is not allowed.
    """
    if isinstance(data_files, dict):
        if len(data_files) > MAX_PATTERNS:
            raise BadParameter(f"Field 'data_files' has more than {MAX_PATTERNS} splits.")
        for split in data_files:
            if not _SPLIT_NAME.fullmatch(split) or len(split.encode()) > MAX_SPLIT_NAME:
                raise BadParameter(f"Field 'data_files' has an odd split name: {split[:80]!r}.")
    for count, pattern in enumerate(_patterns(data_files)):
        if count >= MAX_PATTERNS:
            raise BadParameter(f"Field 'data_files' has more than {MAX_PATTERNS} patterns.")
        _check_pattern(pattern, paths=paths, urls=urls)


def _patterns(data_files: DataFiles | None) -> Iterator[str]:
    if isinstance(data_files, str):
        yield data_files
    elif isinstance(data_files, dict):
        for files in data_files.values():
            yield from _patterns(files)
    else:
        yield from data_files or ()


def _check_pattern(pattern: str, *, paths: bool, urls: bool) -> None:
    if not pattern.strip() or ODD_CHARACTERS.search(pattern) or len(pattern) > MAX_PATTERN:
        raise BadParameter(f"Field 'data_files' has an odd pattern: {pattern[:80]!r}.")
    if is_inside(pattern):
        return
    address = "://" in pattern or "::" in pattern
    allowed = (
        urls if _WEB.match(pattern) and "::" not in pattern else paths and (urls or not address)
    )
    if not allowed:
        raise DataFilesRefused(
            f"Pattern {pattern[:200]!r} in 'data_files' leads out of the dataset."
        )


def is_inside(pattern: str) -> bool:
    """Return whether a pattern can only match files below the folder it is relative to.

    Brackets are looked through: ``[.][.]/x`` is ``../x`` to some that expand patterns. So are
    percent signs and characters that merely look like dots and slashes.
    """
    spellings = {pattern, unquote(pattern), unicodedata.normalize("NFKC", pattern)}
    return all(map(_is_inside, spellings))


def is_device(segment: str) -> bool:
    """Return whether Windows takes a part of a path for a device, wherever it stands.

    Elsewhere it is a name like any other.
    """
    return os.name == "nt" and _DEVICE.match(segment) is not None


def _is_inside(pattern: str) -> bool:
    plain = re.sub(r"[\[\]{},]", "", pattern)
    return not (
        _SCHEME.match(pattern.lstrip())
        or "::" in pattern
        or "://" in pattern
        or "\\" in pattern
        or plain.lstrip().startswith(("/", "~"))
        or any(_leads_out(part) for text in (pattern, plain) for part in text.split("/"))
    )


def _leads_out(segment: str) -> bool:
    # Windows drops dots and spaces at the end of a name.
    return segment.strip() == ".." or set(segment) == {".", " "} or is_device(segment)

"""What the commands print: one JSON document, or text for people."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

_BINARY_UNITS = ("KB", "MB", "GB", "TB", "PB")

# These turn the direction of the text that follows; they are not in category Cc.
_DIRECTIONS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def print_json(document: Any) -> None:
    """Print one JSON document: two spaces a level, keys sorted, ASCII only."""
    click.echo(json.dumps(document, indent=2, sort_keys=True))


def print_lines(lines: Iterable[str]) -> None:
    """Print lines; characters that the terminal's encoding lacks are printed as escapes."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    for line in lines:
        click.echo(line.encode(encoding, "backslashreplace").decode(encoding))


def size(count_bytes: int | None) -> str:
    """Return a size as people read it, in units of 1024: ``999 B``, ``1.4 TB``; ``?`` for None."""
    if count_bytes is None:
        return "?"
    if count_bytes < 1024:
        return f"{count_bytes} B"
    exponent = min((count_bytes.bit_length() - 1) // 10, len(_BINARY_UNITS))
    return f"{count_bytes / 1024**exponent:.1f} {_BINARY_UNITS[exponent - 1]}"


def count(number: int | None) -> str:
    """Return a number with its thousands separated; ``?`` for None."""
    return "?" if number is None else f"{number:,}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> Iterator[str]:
    """Yield the lines of a table, two spaces between columns.

    Args:
        right: Column to align to the right, by its header.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for cells in (header, *rows):
        aligned = (
            cell.rjust(width) if name == right else cell.ljust(width)
            for name, cell, width in zip(header, cells, widths, strict=True)
        )
        yield "  ".join(aligned).rstrip()


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: control characters become escapes.

    ``printable("a\\x1b[31m\\n") == "a\\\\x1b[31m\\\\n"``
    """
    return "".join(_escaped(letter) if _steers(letter) else letter for letter in text)


def _steers(letter: str) -> bool:
    return unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} or letter in _DIRECTIONS


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")

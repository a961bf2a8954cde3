"""Decoded values as cells that a template can show: inert, folded, and of bounded size."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any

from .figures import size
from .media import AUDIO_TYPES, IMAGE_TYPES, sniffed
from .values_inside import file_name, is_file, parsed_json
from .values_preview import leaf_text, preview
from .values_text import Piece, cost, pieces, shortened, visible
from .values_types import (
    AUDIO,
    FILES,
    IMAGE,
    dtype_of,
    field_feature,
    inner_feature,
    kind_of,
    label_name,
)

MOST_NAME = 80
MOST_HEX_BYTES = 24
#: Entries that stand open, without being asked for: pictures, and the texts of a few languages.
MOST_OPEN = 8


@dataclass(frozen=True)
class Fold:
    """How much of a value is shown.

    Attributes:
        characters: Of a text, at once.
        folded: More of it, on request.
        entries: Of a list or a dict.
        levels: Lists and dicts within one another.
        cells: Cells that one value becomes, with all that is in it.
    """

    characters: int = 200
    folded: int = 4_000
    entries: int = 20
    levels: int = 5
    cells: int = 100


@dataclass(frozen=True)
class Cell:
    """A value as it is shown.

    Attributes:
        kind: What it is, a word of our own: none, bool, number, special, text, bytes, time,
            decimal, label, list, dict, image, audio, file or more.
        head: What is shown at once.
        rest: What follows on request.
        note: How large it is, for what is not shown in whole.
        entries: What it holds, by name.
        is_open: Whether the entries stand open.
        is_cut: Whether some of it is neither in ``head`` nor in ``rest`` or ``entries``.
        at: Where it is in the value of its column: numbers of entries, from the outside in.
    """

    kind: str
    head: str = ""
    rest: str = ""
    note: str = ""
    entries: tuple[Entry, ...] = ()
    is_open: bool = False
    is_cut: bool = False
    at: tuple[int, ...] = ()

    @property
    def head_pieces(self) -> list[Piece]:
        """Return what is shown at once, with what cannot be seen as escapes."""
        return pieces(self.head)

    @property
    def rest_pieces(self) -> list[Piece]:
        """Return what follows on request, likewise."""
        return pieces(self.rest)

    @property
    def address(self) -> str:
        """Return where it is, for a URL: ``0.2``; empty for the value itself."""
        return ".".join(map(str, self.at))


@dataclass(frozen=True)
class Entry:
    """A value in a list or a dict, and the name it has there."""

    name: str
    cell: Cell


@dataclass
class Room:
    """What a page may still hold; cells are made of it until nothing is left.

    Attributes:
        characters: Of text, and of the markup of its escapes.
        cells: Of any kind.
    """

    characters: int = 1_000_000
    cells: int = 12_000

    @property
    def is_full(self) -> bool:
        """Return whether there is none left."""
        return self.characters <= 0 or self.cells <= 0


def cell_of(value: Any, feature: Any, fold: Fold, room: Room) -> Cell:
    """Return the cell of one column's value.

    Args:
        feature: What the server says that the value is; a value of another kind is shown as it is.
        room: Of the page; what is used is taken from it.
    """
    return _Maker(fold, room).cell(value, feature, ())


@dataclass
class _Maker:
    """Makes the cells of one value."""

    fold: Fold
    room: Room
    cells: int = field(init=False)

    def __post_init__(self) -> None:
        self.cells = self.fold.cells

    def cell(self, value: Any, feature: Any, at: tuple[int, ...]) -> Cell:
        """Return the cell of a value somewhere in it."""
        if self.room.is_full or self.cells <= 0:
            return Cell("more", "…", note="open the row to see it", is_cut=True, at=at)
        self.cells -= 1
        self.room.cells -= 1
        made = self._made(value, feature, at)
        self.room.characters -= cost(made.head) + cost(made.rest)
        return made

    def _made(self, value: Any, feature: Any, at: tuple[int, ...]) -> Cell:
        if kind_of(feature) in FILES and is_file(value):
            return _file(value, kind_of(feature), at)
        if kind_of(feature) == "Json" and isinstance(value, str):
            value, feature = parsed_json(value), None
        if isinstance(value, str):
            return self._text(value, at)
        if isinstance(value, dict):
            return self._dict(value, feature, at)
        if isinstance(value, list | tuple):
            return self._list(value, feature, at)
        return _leaf(value, feature, at)

    def _text(self, text: str, at: tuple[int, ...]) -> Cell:
        shown, most = self.fold.characters, self.fold.characters + self.fold.folded
        # A few more characters are no reason to fold.
        if len(text) <= shown + shown // 4:
            return Cell("text", text, at=at)
        return Cell(
            "text",
            text[:shown],
            text[shown:most],
            f"{len(text):,} characters",
            is_cut=len(text) > most,
            at=at,
        )

    def _list(self, values: Any, feature: Any, at: tuple[int, ...]) -> Cell:
        note = f"{len(values):,} {'entry' if len(values) == 1 else 'entries'}"
        inner = inner_feature(feature)
        head = preview(values, feature, self.fold.characters // 2)
        if not values or len(at) >= self.fold.levels:
            return Cell("list", head, note=note, is_cut=bool(values), at=at)
        if all(not isinstance(value, str | bytes | list | tuple | dict) for value in values):
            return self._numbers(values, inner, head, at)
        most = self.fold.entries
        is_gallery = kind_of(inner) == IMAGE
        entries = self._entries(((str(at), v, inner) for at, v in enumerate(values)), most, at)
        return Cell(
            "list",
            "" if is_gallery else head,
            note=note,
            entries=entries,
            is_open=is_gallery,
            is_cut=len(values) > len(entries),
            at=at,
        )

    def _numbers(self, values: Any, inner: Any, head: str, at: tuple[int, ...]) -> Cell:
        """Return a list of what is short: its text is easier to read than a list of cells."""
        most = self.fold.folded // 8
        words = ", ".join(_label_or_leaf(value, inner) for value in values[:most])
        note = f"{len(values):,} {'entry' if len(values) == 1 else 'entries'}"
        if len(words) <= self.fold.characters and len(values) <= most:
            return Cell("list", f"[{words}]", note=note, at=at)
        return Cell("list", head, words, note, is_cut=len(values) > most, at=at)

    def _dict(self, values: dict[str, Any], feature: Any, at: tuple[int, ...]) -> Cell:
        fields = ((str(name), v, field_feature(feature, name)) for name, v in values.items())
        if len(at) >= self.fold.levels:
            entries: tuple[Entry, ...] = ()
        else:
            entries = self._entries(fields, self.fold.entries, at)
        has_media = any(entry.cell.kind in ("image", "audio") for entry in entries)
        return Cell(
            "dict",
            "" if has_media else preview(values, feature, self.fold.characters // 2),
            note=f"{len(values):,} {'field' if len(values) == 1 else 'fields'}",
            entries=entries,
            is_open=has_media and len(entries) <= MOST_OPEN,
            is_cut=len(values) > len(entries),
            at=at,
        )

    def _entries(
        self, values: Iterable[tuple[str, Any, Any]], most: int, at: tuple[int, ...]
    ) -> tuple[Entry, ...]:
        made: list[Entry] = []
        for number, (name, value, feature) in enumerate(islice(values, most)):
            if self.room.is_full or self.cells <= 0:
                break
            made.append(Entry(shortened(name, MOST_NAME), self.cell(value, feature, (*at, number))))
        return tuple(made)


def _file(value: dict[str, Any], kind: str, at: tuple[int, ...]) -> Cell:
    content, name = value.get("bytes"), file_name(value)
    if not isinstance(content, bytes | bytearray):
        head = f"{FILES[kind]} in the file {name}" if name else f"{FILES[kind]} without bytes"
        return Cell("file", head, note="the server has not sent its bytes", at=at)
    found = sniffed(content)
    note = " · ".join(filter(None, (name, size(len(content)))))
    if kind == IMAGE and found in IMAGE_TYPES:
        return Cell("image", note=note, at=at)
    if kind == AUDIO and found in AUDIO_TYPES:
        return Cell("audio", note=note, at=at)
    return Cell("file", f"{FILES[kind]} of a format that no browser shows", note=note, at=at)


def _leaf(value: Any, feature: Any, at: tuple[int, ...]) -> Cell:
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(bytes(value), at)
    name = label_name(feature, value)
    if name is not None:
        return Cell("label", shortened(name, MOST_NAME * 2), note=str(value), at=at)
    if kind_of(feature) == "ClassLabel" and type(value) is int and value == -1:
        return Cell("special", "no label", note="-1", at=at)
    return Cell(_leaf_kind(value), visible(leaf_text(value, dtype_of(feature))), at=at)


def _leaf_kind(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number" if math.isfinite(value) else "special"
    if isinstance(value, Decimal):
        return "decimal"
    return "time" if isinstance(value, dt.date | dt.time | dt.timedelta) else "text"


def _bytes(value: bytes, at: tuple[int, ...]) -> Cell:
    shown = value[:MOST_HEX_BYTES].hex(" ")
    is_cut = len(value) > MOST_HEX_BYTES
    return Cell(
        "bytes",
        f"{shown} …" if is_cut else shown,
        note=size(len(value)),
        is_cut=is_cut,
        at=at,
    )


def _label_or_leaf(value: Any, feature: Any) -> str:
    name = label_name(feature, value)
    return (
        visible(leaf_text(value, dtype_of(feature)))
        if name is None
        else f"{shortened(name, MOST_NAME)} ({value})"
    )

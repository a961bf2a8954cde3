"""A page of rows, made of what a server sent: columns with their charts, and cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdss.backend import WINDOW_ROWS, Row
from fdss.errors import BadParameter, NotFound
from fdss.order import Order
from fdss.router.proxy import RowsPage

from .explore_links import Place
from .explore_opening import Opened
from .values import Cell, Fold, Room, cell_of
from .values_charts import Chart, chart_of
from .values_text import Piece, pieces, shortened
from .values_types import type_words

#: Columns of a table; more of them are on further pages.
MOST_COLUMNS = 40
#: Characters of the names of columns that fit into a request.
MOST_NAMES = 4_000
MOST_NAME = 60

TABLE = Fold()
WHOLE = Fold(characters=4_000, folded=100_000, entries=200, levels=10, cells=2_000)


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        number: Of all that the dataset has, from 0.
        name: Its begin, on one line.
        words: What its values are.
        chart: How they are distributed on this page; None for a single row.
    """

    number: int
    name: str
    words: str
    chart: Chart | None = None

    @property
    def name_pieces(self) -> list[Piece]:
        """Return the name, with what cannot be seen as escapes."""
        return pieces(self.name)


@dataclass(frozen=True)
class Line:
    """A row of the table.

    Attributes:
        position: In the order of the page.
        row: Number of the stored row.
    """

    position: int
    row: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Page:
    """Rows as a table.

    Attributes:
        length: Rows that the dataset has.
        columns_count: Columns that it has.
        is_cut: Whether fewer rows are here than a page has, because they are large.
        is_full: Whether values were left out because the page is large.
        is_row: Whether it is the page of one row.
    """

    place: Place
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    length: int
    columns_count: int
    fingerprint: str
    is_cut: bool
    is_full: bool
    is_row: bool = False

    @property
    def end(self) -> int:
        """Return the position after the last row."""
        return self.place.position + len(self.lines)

    @property
    def links(self) -> dict[str, str]:
        """Return where a pager leads, by word: first, previous, next and last."""
        place, limit = self.place, self.place.limit
        links: dict[str, str] = {}
        if place.position:
            links["first"] = place.rows_url(0)
            links["previous"] = place.rows_url(max(place.position - limit, 0))
        if self.end < self.length:
            links["next"] = place.rows_url(self.end)
            links["last"] = place.rows_url((self.length - 1) // limit * limit)
        return links

    @property
    def column_links(self) -> dict[str, str]:
        """Return where further columns are, by word: previous and next."""
        begin = self.place.first
        links: dict[str, str] = {}
        end = begin + len(self.columns)
        if self.place.only is not None:
            return links
        if begin:
            links["previous"] = self._columns_url(max(begin - MOST_COLUMNS, 0))
        if end < self.columns_count:
            links["next"] = self._columns_url(end)
        return links

    def _columns_url(self, first: int) -> str:
        if self.is_row:
            return self.place.row_url(self.place.position, first)
        return self.place.rows_url(first=first)


def wanted_columns(place: Place, opened: Opened) -> range:
    """Return the numbers of the columns that a page shows.

    Raises:
        BadParameter: The dataset has no such columns.
    """
    count = len(opened.column_names)
    begin, most = (place.first, MOST_COLUMNS) if place.only is None else (place.only, 1)
    if begin >= count and (count or begin):
        raise BadParameter(
            f"Column {begin:,} was asked for; the dataset has {count:,} columns, from 0 on.",
            hint="leave 'first' and 'only' out",
        )
    return range(begin, min(begin + most, count))


def asked_names(numbers: Sequence[int], opened: Opened) -> tuple[str, ...]:
    """Return the columns to ask a server for; none for all, also where no address has room."""
    names = tuple(opened.column_names[number] for number in numbers)
    if len(names) == len(opened.column_names):
        return ()
    try:
        size = sum(len(name.encode()) for name in names)
    except UnicodeEncodeError:
        # No address has a surrogate in it.
        return ()
    return names if size <= MOST_NAMES else ()


def check_position(position: int, opened: Opened) -> None:
    """Refuse a position at which there is no row; 0 is one even of an empty dataset.

    Raises:
        NotFound: It is past the end.
    """
    if position and position >= opened.length:
        raise NotFound(
            f"Position {position:,} is past the end: the dataset has {opened.length:,} rows.",
            hint=f"the last position is {max(opened.length - 1, 0):,}",
        )


def page_of(place: Place, opened: Opened, sent: RowsPage, fold: Fold = TABLE) -> Page:
    """Return the table of rows that a server has sent."""
    numbers = wanted_columns(place, opened)
    names = [opened.column_names[number] for number in numbers]
    room = Room()
    stored = _stored_rows(place, sent)
    is_table = fold is TABLE
    return Page(
        place,
        tuple(_column(number, opened, sent.rows if is_table else None) for number in numbers),
        tuple(
            Line(place.position + at, stored[at], _cells(row, names, opened, fold, room))
            for at, row in enumerate(sent.rows)
        ),
        length=max(sent.length, 0),
        columns_count=len(opened.column_names),
        fingerprint=sent.fingerprint or opened.fingerprint,
        is_cut=sent.is_cut,
        is_full=room.is_full,
        is_row=not is_table,
    )


def _cells(
    row: Row, names: Sequence[str], opened: Opened, fold: Fold, room: Room
) -> tuple[Cell, ...]:
    return tuple(cell_of(row.get(name), opened.features.get(name), fold, room) for name in names)


def _column(number: int, opened: Opened, rows: Sequence[Row] | None) -> Column:
    name = opened.column_names[number]
    feature: Any = opened.features.get(name)
    chart = None if rows is None else chart_of([row.get(name) for row in rows], feature)
    words = type_words(feature) if feature is not None else "type not told"
    return Column(number, shortened(name, MOST_NAME) or "(no name)", words, chart)


def _stored_rows(place: Place, sent: RowsPage) -> list[int]:
    positions = np.arange(place.position, place.position + len(sent.rows), dtype=np.int64)
    order = Order(sent.length, place.seed, window=WINDOW_ROWS)
    return [int(row) for row in order.rows(positions)]

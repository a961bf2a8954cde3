"""Long tables: filtered, sorted and cut into pages by what the address of the page says.

A page may have several; each one's parameters begin with its name: ``sets.q`` is what the rows of
the table ``sets`` must contain, ``sets.sort`` the column they are sorted by (``-`` in front for
the other way round), ``sets.page`` the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from flask import request
from werkzeug.datastructures import MultiDict

from fdss.errors import BadParameter

Row = Mapping[str, Any]
Value = Callable[[Row], Any]

PAGE_ROWS = 50
MAX_QUERY = 200
_MAX_PAGE = 10**6


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: What stands for it in an address.
        title: Its heading.
        value: What rows are sorted by; None if they cannot be. A value of None comes last.
        is_number: Whether it is set to the right, and the largest comes first.
    """

    key: str
    title: str
    value: Value | None = None
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """What is known of a kind of table.

    Attributes:
        name: What its parameters begin with.
        words: What a row is found by.
        sort: Key of the column that rows are sorted by, as in an address.
    """

    name: str
    columns: Sequence[Column]
    words: Callable[[Row], Iterable[str]]
    sort: str
    page_rows: int = PAGE_ROWS

    def listing(self, rows: Sequence[Row]) -> Listing:
        """Return what the present request asks to see of some rows.

        Raises:
            BadParameter: It names no column or no page.
        """
        query = request.args.get(f"{self.name}.q", "").strip()[:MAX_QUERY]
        sort = request.args.get(f"{self.name}.sort") or self.sort
        found = self._sorted([row for row in rows if self._has(row, query)], sort)
        pages = max(1, -(-len(found) // self.page_rows))
        page = min(_page(request.args.get(f"{self.name}.page", "1")), pages)
        first = (page - 1) * self.page_rows
        shown = found[first : first + self.page_rows]
        return Listing(self, shown, query, sort, Place(page, pages, first, len(found), len(rows)))

    def _has(self, row: Row, query: str) -> bool:
        text = " ".join(self.words(row)).lower()
        return all(word in text for word in query.lower().split())

    def _sorted(self, rows: list[Row], sort: str) -> list[Row]:
        key = sort.removeprefix("-")
        for column in self.columns:
            value = column.value
            if column.key == key and value is not None:
                known = [row for row in rows if value(row) is not None]
                unknown = [row for row in rows if value(row) is None]
                return sorted(known, key=value, reverse=sort.startswith("-")) + unknown
        raise BadParameter(f"The table has no column {key[:80]!r} to be sorted by.")


@dataclass(frozen=True)
class Place:
    """Which part of a table is shown.

    Attributes:
        page: From 1.
        first: Rows before it.
        found: Rows that were looked for.
        rows: Rows in all.
    """

    page: int
    pages: int
    first: int
    found: int
    rows: int


@dataclass(frozen=True)
class Listing:
    """The part of a table that is shown.

    Attributes:
        rows: Those of the page.
        sort: Key of the column they are sorted by, ``-`` in front for the other way round.
    """

    table: Table
    rows: Sequence[Row]
    query: str
    sort: str
    place: Place = field(repr=False)

    def direction(self, column: Column) -> str | None:
        """Return how a column is sorted, as ``aria-sort`` has it; None if it is another one."""
        if self.sort.removeprefix("-") != column.key:
            return None
        return "descending" if self.sort.startswith("-") else "ascending"

    def sort_link(self, column: Column) -> str:
        """Return the address that sorts by a column: first the usual way, then the other."""
        usual = f"-{column.key}" if column.is_number else column.key
        other = column.key if column.is_number else f"-{column.key}"
        name = self.table.name
        return link_with({f"{name}.sort": other if self.sort == usual else usual}, f"{name}.page")

    def page_link(self, page: int) -> str:
        """Return the address of a page."""
        return link_with({f"{self.table.name}.page": str(page)})

    def near_pages(self) -> list[int | None]:
        """Return the pages to go to: the ends and those around; None stands for what is between."""
        page, pages = self.place.page, self.place.pages
        shown = sorted({1, pages, *range(max(1, page - 1), min(pages, page + 1) + 1)})
        near: list[int | None] = []
        for before, number in zip([0, *shown], shown, strict=False):
            near += [number] if number == before + 1 else [None, number]
        return near

    def kept(self) -> list[tuple[str, str]]:
        """Return the parameters that a form which filters this table passes on."""
        own = (f"{self.table.name}.q", f"{self.table.name}.page")
        return [(key, value) for key, value in request.args.items() if key not in own]


def link_with(changes: Mapping[str, str], *dropped: str) -> str:
    """Return the address of the present page with other parameters."""
    told: MultiDict[str, str] = MultiDict(request.args)
    for key in dropped:
        told.poplist(key)
    for key, value in changes.items():
        told[key] = value
    # Not by ``url_for``, in which some names of parameters have a meaning.
    return f"{quote(request.path)}?{urlencode(told.to_dict())}"


def _page(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:8]) <= _MAX_PAGE:
        raise BadParameter(f"There is no page {text[:20]!r}.")
    return int(text[:8])

"""Which rows of which dataset a page is about, read from its address and written into others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from fdss.arguments import LoadArguments
from fdss.backend import MAX_SEED
from fdss.errors import BadParameter
from fdss.wire.names import MAX_COUNT

ROOT = "/explore"
LIMITS = (25, 50, 100)
MOST_CHARACTERS = 1_000
MOST_STEPS = 32

_INTEGER = re.compile(r"[0-9]{1,20}", re.ASCII)
_STEPS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})*", re.ASCII)


@dataclass(frozen=True)
class Place:
    """A dataset of a server, an order of its rows, and what of them is looked at.

    Attributes:
        arguments: What the dataset is loaded with.
        seed: Of the order; None for stored order.
        position: Of the first row in that order.
        limit: Rows on a page.
        first: Number of the first column on the page.
        only: Number of the one column that is shown; None for as many as fit.
    """

    server_id: str
    arguments: LoadArguments
    seed: int | None = None
    position: int = 0
    limit: int = LIMITS[0]
    first: int = 0
    only: int | None = None

    @classmethod
    def of(cls, server_id: str, query: Mapping[str, str]) -> Place:
        """Return what a query names.

        Raises:
            BadParameter: The path is missing, or something is no number or out of range.
        """
        fields = ("path", "name", "split", "revision")
        named = {name: _text(query, name) for name in fields}
        limit = number(query, "limit", MAX_COUNT)
        if limit is not None and limit not in LIMITS:
            raise BadParameter(f"limit={limit}: a page has {', '.join(map(str, LIMITS))} rows.")
        return cls(
            server_id,
            LoadArguments.from_json(named),
            seed=number(query, "seed", MAX_SEED),
            position=number(query, "position", MAX_COUNT) or 0,
            limit=limit or LIMITS[0],
            first=number(query, "first", MAX_COUNT) or 0,
            only=number(query, "only", MAX_COUNT),
        )

    @property
    def fields(self) -> dict[str, Any]:
        """Return the dataset and the order, for a query or the hidden fields of a form."""
        named = self.arguments.as_json()
        named.pop("data_files", None)
        return named if self.seed is None else {**named, "seed": self.seed}

    def rows_url(self, position: int | None = None, **changes: Any) -> str:
        """Return the address of a page of rows; ``changes`` are fields of another place."""
        other = replace(self, **changes) if changes else self
        told = {
            **other.fields,
            "position": other.position if position is None else position,
            "limit": other.limit,
        }
        if other.first:
            told["first"] = other.first
        if other.only is not None:
            told["only"] = other.only
        return _url(other.server_id, "rows", told)

    def row_url(self, position: int, first: int = 0) -> str:
        """Return the address of one row, from its column ``first`` on; it stays the same."""
        told = {**self.fields, "position": position}
        return _url(self.server_id, "row", {**told, "first": first} if first else told)

    def json_url(self, position: int) -> str:
        """Return the address of one row as JSON."""
        return _url(self.server_id, "row.json", {**self.fields, "position": position})

    def cell_url(self, position: int, column: int, kind: str = "cell") -> str:
        """Return the address of one value, in whole: ``cell``, or ``media`` to show it."""
        return _url(self.server_id, kind, {**self.fields, "position": position, "column": column})

    @property
    def stored_url(self) -> str:
        """Return the address of the same dataset in stored order, from its begin."""
        return self.rows_url(0, seed=None)


def server_url(server_id: str, **query: Any) -> str:
    """Return the address of the list of what a server has."""
    path = f"{ROOT}/{quote(server_id, safe='')}"
    return f"{path}?{urlencode(query)}" if query else path


def number(query: Mapping[str, str], name: str, most: int) -> int | None:
    """Return a whole number of a query; None where it is missing or empty.

    Raises:
        BadParameter: It is none, or more than ``most``.
    """
    text = query.get(name, "").strip()
    if not text:
        return None
    if not _INTEGER.fullmatch(text) or int(text) > most:
        raise BadParameter(
            f"{name}={text[:40]!r}: expected a whole number, 0 to {most:,}.",
            hint=f"write {name} in digits alone, or leave it empty",
        )
    return int(text)


def steps(query: Mapping[str, str]) -> tuple[int, ...]:
    """Return where in a value something is: the numbers of ``at``.

    Raises:
        BadParameter: It is not written so, or too deep.
    """
    text = query.get("at", "")
    if not text:
        return ()
    found = _STEPS.fullmatch(text[:400])
    if not found or text.count(".") >= MOST_STEPS:
        raise BadParameter(f"at={text[:40]!r}: expected numbers with dots between: 0.2.")
    return tuple(map(int, text.split(".")))


def is_sound(text: str) -> bool:
    """Return whether a text can be an argument in an address of ours."""
    return len(text) <= MOST_CHARACTERS and text.isprintable()


def _text(query: Mapping[str, str], name: str) -> str:
    text = query.get(name, "").strip()
    if not is_sound(text):
        raise BadParameter(f"{name!r} is too long or has control characters.")
    return text


def _url(server_id: str, kind: str, query: Mapping[str, Any]) -> str:
    return f"{server_url(server_id)}/{kind}?{urlencode(query)}"

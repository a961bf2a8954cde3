"""The query of GET /v1/datasets/{handle}/iter, read strictly, as a selection."""

from __future__ import annotations

import re
from urllib.parse import unquote

from werkzeug.datastructures import MultiDict

from fdss.backend import (
    DEFAULT_BLOCK_ROWS,
    MAX_BLOCK_ROWS,
    MAX_RUN_ROWS,
    MAX_SEED,
    MAX_WINDOW_ROWS,
    Runs,
    Selection,
)
from fdss.errors import BadParameter, UnknownColumn
from fdss.wire.names import MAX_COUNT

PARAMETERS = (
    "position",
    "limit",
    "seed",
    "block",
    "window",
    "stride",
    "run",
    "rows",
    "columns",
    "types",
    "compression",
)
MOST_SHOWN = 50
MOST_SHOWN_CHARACTERS = 2000
REPEATABLE = frozenset({"columns"})

_INTEGER = re.compile(r"[0-9]{1,20}", re.ASCII)
_PARTS = re.compile(r"([0-9]{1,19}):([0-9]{1,19})(?::([0-9]{1,19}))?", re.ASCII)


def selection_of(
    query: MultiDict[str, str], length: int, column_names: list[str], max_columns: int
) -> Selection:
    """Return which rows a query asks of a dataset.

    A position past the end and ``limit=0`` select nothing.

    Args:
        length: Stored rows of the dataset.
        column_names: Columns of the dataset.
        max_columns: Most columns that the query may name.

    Raises:
        BadParameter: A parameter is unknown, given twice, malformed or out of range.
        UnknownColumn: The dataset has no such column.
    """
    _check_names(query)
    rows = _rows(query.get("rows"), length)
    position = _integer(query, "position", 0, MAX_COUNT) or 0
    limit = _integer(query, "limit", 0, MAX_COUNT)
    stride = _integer(query, "stride", 1, MAX_COUNT) or 1
    block = _integer(query, "block", 1, MAX_BLOCK_ROWS)
    selection = Selection(
        rows=rows,
        positions=range(min(position, len(rows)), len(rows), stride),
        seed=_integer(query, "seed", 0, MAX_SEED),
        block=DEFAULT_BLOCK_ROWS if block is None else block,
        window=_integer(query, "window", 0, MAX_WINDOW_ROWS) or 0,
        columns=_columns(query.getlist("columns"), column_names, max_columns),
        runs=_runs(query.get("run")),
    )
    return selection if limit is None else selection.part(0, limit)


def _check_names(query: MultiDict[str, str]) -> None:
    known = f"known parameters are {', '.join(PARAMETERS)}"
    for name in query:
        if name not in PARAMETERS:
            raise BadParameter(f"Parameter {name[:80]!r} is unknown.", hint=known)
        if name not in REPEATABLE and len(query.getlist(name)) > 1:
            raise BadParameter(f"Parameter {name!r} is given more than once.")


def _integer(query: MultiDict[str, str], name: str, smallest: int, largest: int) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not _INTEGER.fullmatch(text) or not smallest <= int(text) <= largest:
        raise BadParameter(
            f"Parameter {name!r} is an integer from {smallest} to {largest}; found {text[:80]!r}."
        )
    return int(text)


def _rows(text: str | None, length: int) -> range:
    if text is None:
        return range(length)
    found = _PARTS.fullmatch(text)
    if not found:
        raise BadParameter(f"Parameter 'rows' is begin:end or begin:end:step; found {text[:80]!r}.")
    begin, end, step = int(found[1]), int(found[2]), int(found[3] or 1)
    if not begin <= end <= length or step < 1:
        raise BadParameter(
            f"Parameter 'rows' lies within 0:{length} and has a step of 1 or more; found {text!r}."
        )
    # A longer step selects the first row as well, and arrays of 64 bits hold this one.
    return range(begin, end, min(step, length + 1))


def _runs(text: str | None) -> Runs | None:
    if text is None:
        return None
    found = _PARTS.fullmatch(text)
    if not found:
        raise BadParameter(
            f"Parameter 'run' is rows:every or rows:every:begun; found {text[:80]!r}."
        )
    rows, every, begun = int(found[1]), int(found[2]), int(found[3] or 0)
    if not 1 <= rows <= MAX_RUN_ROWS or not 1 <= every <= MAX_RUN_ROWS or not begun < rows:
        raise BadParameter(
            f"Parameter 'run' has rows and every from 1 to {MAX_RUN_ROWS} and begun below rows;"
            f" found {text!r}."
        )
    return Runs(rows, every, begun)


def _columns(
    values: list[str], column_names: list[str], max_columns: int
) -> tuple[str, ...] | None:
    """Return the named columns; a name's own commas and percent signs are percent-encoded."""
    if not values:
        return None
    names = [unquote(name) for value in values for name in value.split(",")]
    if len(names) > max_columns:
        raise BadParameter(
            f"Parameter 'columns' names more than {max_columns:,} columns.",
            hint="leave it out for all columns, or start the server with a larger --max-columns",
        )
    known = set(column_names)
    for name in names:
        if name not in known:
            raise UnknownColumn(
                f"The dataset has no column {name[:80]!r}.", hint=_known_columns(column_names)
            )
    if len(set(names)) < len(names):
        raise BadParameter("Parameter 'columns' names a column twice.")
    return tuple(names)


def _known_columns(column_names: list[str]) -> str:
    shown = ", ".join(column_names[:MOST_SHOWN])[:MOST_SHOWN_CHARACTERS]
    return f"its columns are {shown}{' …' if len(column_names) > MOST_SHOWN else ''}"

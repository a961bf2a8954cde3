"""A backend of rows in memory."""

from __future__ import annotations

import datetime as dt
import decimal
import pickle
from typing import Any

import numpy as np
import pytest

from fdss.backend import Row, Selection
from fdss.client import InMemoryBackend
from fdss.errors import UncarriableValue, UnknownColumn
from fdss.order import Order

ROWS: list[Row] = [{"n": n, "text": str(n)} for n in range(3000)]


def rows_of(backend: InMemoryBackend, selection: Selection) -> list[Row]:
    return [row for chunk in backend.chunks(selection) for row in chunk.rows()]


def test_rows_come_in_the_order_of_the_selection() -> None:
    """Order v1 of the rows that take part decides, as for any other backend."""
    part, positions = range(10, 2900, 3), range(5, 900, 2)
    places = Order(len(part), 7, 4, 50).rows(np.arange(5, 900, 2))
    selection = Selection(part, positions, seed=7, block=4, window=50)
    expected = [ROWS[part[place]] for place in places.tolist()]
    assert rows_of(InMemoryBackend(ROWS), selection) == expected
    assert expected != [ROWS[part[place]] for place in positions]


def test_stored_order_and_columns() -> None:
    """Without a seed rows keep their order; columns come in the order they were asked for."""
    got = rows_of(InMemoryBackend(ROWS), Selection(range(9), range(2, 9, 3), columns=("text", "n")))
    assert [list(row.items()) for row in got] == [[("text", str(n)), ("n", n)] for n in (2, 5, 8)]


def test_column_names_are_the_keys_as_first_seen() -> None:
    """Rows may have different keys, none, or be None."""
    rows: list[Any] = [{}, None, {"b": 1}, {"a": 2, "b": 3}]
    backend = InMemoryBackend(rows)
    assert backend.column_names == ["b", "a"]
    assert backend.features == {}
    assert rows_of(backend, Selection(range(4), range(4))) == rows
    assert rows_of(backend, Selection(range(4), range(4), columns=("a",))) == [
        {},
        None,
        {},
        {"a": 2},
    ]


def test_missing_column_is_refused() -> None:
    """A column that is in no row is refused."""
    with pytest.raises(UnknownColumn, match="'m'"):
        rows_of(InMemoryBackend(ROWS), Selection(range(9), range(9), columns=("m",)))


def test_a_changed_row_does_not_change_the_source() -> None:
    """What a loop writes into a row is gone in the next one."""
    backend = InMemoryBackend([{"n": 1}])
    whole = Selection(range(1), range(1))
    rows_of(backend, whole)[0]["n"] = 2
    assert rows_of(backend, whole) == [{"n": 1}]


VALUES: list[Any] = [
    None,
    True,
    1,
    1.0,
    "1",
    b"1",
    decimal.Decimal("1"),
    decimal.Decimal("1.0"),
    float("nan"),
    -0.0,
    0.0,
    dt.date(2020, 1, 1),
    dt.datetime(2020, 1, 1),
    dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc),
    dt.time(1),
    dt.timedelta(1),
    [],
    (),
    [1, 2],
    [[1], 2],
    [1, [2]],
    {},
    {"a": 1},
    {"a": {"b": 1}},
    {"a": {}, "b": 1},
    np.array([1, 2]),
    np.array([[1, 2]]),
    np.array([1, 2], "int32"),
    np.int64(1),
]


def test_fingerprint_tells_all_values_apart() -> None:
    """Every value, of every type, in every nesting, is content of its own."""
    prints = {InMemoryBackend([{"v": value}]).fingerprint for value in VALUES}
    assert len(prints) == len(VALUES)


def test_fingerprint_is_that_of_the_content() -> None:
    """Equal rows have equal fingerprints, in another process too; more rows another one."""
    again = [{"n": n, "text": str(n)} for n in range(3000)]
    assert InMemoryBackend(ROWS).fingerprint == InMemoryBackend(again).fingerprint
    assert InMemoryBackend(ROWS[:-1]).fingerprint != InMemoryBackend(ROWS).fingerprint
    pinned = "459d4dc0f9ade323e098702bb5984ea50c410b133308650e0c29e046ac2a77be"
    assert InMemoryBackend([{"a": 1, "b": ["x", None, 0.5]}]).fingerprint == pinned


@pytest.mark.parametrize("value", [object(), {1}, np.array([object()]), type("T", (str,), {})("x")])
def test_other_values_need_a_name_for_the_content(value: Any) -> None:
    """A value without canonical form is refused, unless the content is named."""
    rows: list[Row] = [{"v": 1}, {"v": [value]}]
    with pytest.raises(UncarriableValue, match="Row 1") as caught:
        _ = InMemoryBackend(rows).fingerprint
    assert "fingerprint=" in caught.value.hint
    named = InMemoryBackend(rows, fingerprint="mine")
    assert named.fingerprint == "mine"
    assert rows_of(named, Selection(range(2), range(2))) == rows


def test_backend_can_be_pickled() -> None:
    """A copy in another process has the same rows and the same fingerprint."""
    again = pickle.loads(pickle.dumps(InMemoryBackend(ROWS)))
    assert again.fingerprint == InMemoryBackend(ROWS).fingerprint
    assert len(again) == 3000

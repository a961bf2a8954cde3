"""The one test of resumption that every pipeline must pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from typing import Any

from fdss.client import ComposableIterableDataset

MAX_STATE_BYTES = 2048


def assert_resumes_everywhere(
    make: Callable[[], ComposableIterableDataset], epoch: int = 0, *, restored: int | None = None
) -> tuple[list[Any], list[Any]]:
    """Save the state before every row and at the end; restore each into a fresh dataset.

    What follows a restored state must be what followed it when it was saved, to the end of the
    epoch and through the next one; a restored iterator must report the state it was given, and
    the states it saves must be those the first pass saved, so that any of them can be restored
    in its turn. An iterator that is moved to a state must go on as one that began there.

    Args:
        make: Builds the dataset anew, as a restarted job would.
        epoch: Which epoch the states are of.
        restored: Most states to restore, the first and the last among them; None for all.

    Returns:
        The rows of the epoch, and those of the next one.
    """
    first = make()
    first.set_epoch(epoch)
    iterator = iter(first)
    states, rows = [saved(iterator)], []
    for row in iterator:
        rows.append(row)
        states.append(saved(iterator))
    first.set_epoch(epoch + 1)
    next_epoch = list(first)

    moved = iter(make())
    for place in _spread(len(states), restored):
        state = states[place]
        if json.loads(state)["ended"]:
            assert_rest_is(make(), state, states[place:], [], next_epoch)
            assert_moves_on(make(), state, next_epoch)
        else:
            assert_rest_is(make(), state, states[place:], rows[place:], next_epoch)
        moved.load_state_dict(json.loads(state))
        assert saved(moved) == state
        assert list(islice(moved, 2)) == rows[place : place + 2]
    return rows, next_epoch


def _spread(count: int, most: int | None) -> list[int]:
    """Return numbers below ``count``, at even distances: all, or the first, the last and some."""
    if most is None or count <= most:
        return list(range(count))
    return [number * (count - 1) // (most - 1) for number in range(most)]


def assert_rest_is(
    dataset: ComposableIterableDataset,
    state: str,
    states: list[str],
    rows: list[Any],
    next_epoch: list[Any],
) -> None:
    """Restore a state; ``rows`` must follow, saving ``states``, and ``next_epoch`` after them."""
    epoch = json.loads(state)["epoch"]
    dataset.load_state_dict(json.loads(state))
    assert json.dumps(dataset.state_dict()) == state
    dataset.set_epoch(epoch)
    iterator = iter(dataset)
    followed, saved_again = [], [saved(iterator)]
    for row in iterator:
        followed.append(row)
        saved_again.append(saved(iterator))

    assert followed == rows
    assert saved_again == states[: len(saved_again)]

    dataset.set_epoch(epoch + 1)

    assert list(dataset) == next_epoch


def assert_moves_on(dataset: ComposableIterableDataset, state: str, next_epoch: list[Any]) -> None:
    """Restore a state from the end of an epoch; the next epoch must follow."""
    dataset.load_state_dict(json.loads(state))

    assert list(dataset) == next_epoch


def saved(iterator: Any) -> str:
    """Return an iterator's state as the text of a checkpoint."""
    text = json.dumps(iterator.state_dict())

    assert len(text) <= MAX_STATE_BYTES

    return text


def assert_resumes_behind_errors(
    make: Callable[[], ComposableIterableDataset], failing: Failing
) -> None:
    """Let a function of the pipeline fail at each of its calls; nothing is lost or doubled.

    Args:
        make: Builds a dataset, one step of which calls ``failing``.
        failing: Fails once, at a call that is set here.
    """
    failing.fails_at = None
    expected = list(make())
    for call in range(failing.calls):
        failing.fails_at, failing.calls = call, 0
        iterator = iter(make())
        given = []
        try:
            for row in iterator:
                given.append(row)
        except ZeroDivisionError:
            state = saved(iterator)
        failing.fails_at = None
        resumed = make()
        resumed.load_state_dict(json.loads(state))
        resumed.set_epoch(0)

        assert given + list(resumed) == expected


class Failing:
    """Counts its calls and fails at one of them.

    Attributes:
        calls: Calls so far.
        fails_at: Number of the call that fails; None for none.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.fails_at: int | None = None

    def __call__(self) -> None:
        """Count, and fail if it is the time."""
        self.calls += 1
        if self.calls - 1 == self.fails_at:
            raise ZeroDivisionError

"""Saved states: what they hold, and whether one belongs to a pipeline."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from fdss.errors import StateRefused

from .nodes import SOURCE_KEY, State

STATE_VERSION = 1

#: Names that are longer stand in a state as a hash, so that no dataset makes its states large.
MAX_NAME_CHARACTERS = 100

VERSION_KEY = "version"
ORDER_KEY = "order"
FINGERPRINT_KEY = "fingerprint"
VIEW_KEY = "view"
COLUMNS_KEY = "columns"
STEPS_KEY = "steps"
WORKER_KEY = "worker"
DISTRIBUTION_KEY = "distribution"
EPOCH_KEY = "epoch"
ENDED_KEY = "ended"
AT_KEY = "at"

# What the state of a rank says of its distribution. RANK_KEY is None where all ranks stand alike.
RANKS_KEY = "ranks"
BATCH_KEY = "batch_size"
TAIL_KEY = "tail"
BEGAN_KEY = "began"
RANK_KEY = "rank"
PLACE_KEY = "place"
READ_KEY = "read"

TAILS = ("pad", "drop", "uneven")

_TORCHDATA_KEYS = {"_snapshot", "_iterator_finished"}

_WHAT_DIFFERS = {
    ORDER_KEY: "the version of the order",
    FINGERPRINT_KEY: "the content of the dataset",
    VIEW_KEY: "the slices, shards or shuffle",
    COLUMNS_KEY: "the columns that are read",
    STEPS_KEY: "the steps of the pipeline",
    WORKER_KEY: "the DataLoader worker (number, of how many)",
}


def names_in_brief(names: Sequence[str]) -> list[str]:
    """Return the names of columns; of many or long ones the beginning and a hash."""
    text = ",".join(names)
    return list(names) if len(text) <= MAX_NAME_CHARACTERS else [in_brief(text)]


def in_brief(text: str) -> str:
    """Return the name of a step; of a long one the beginning and a hash."""
    if len(text) <= MAX_NAME_CHARACTERS:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[:40]}... sha256:{digest[:16]}"


def check_state(state: Any, identity: State, *, strict: bool) -> State:
    """Return a saved state if it belongs to the pipeline with that identity.

    Args:
        strict: Whether the content, view and steps must be the same; the version always must.

    Raises:
        StateRefused: It does not; the message names what differs.
    """
    if isinstance(state, dict) and not state.keys().isdisjoint(_TORCHDATA_KEYS):
        raise StateRefused(
            "The state is that of a StatefulDataLoader, not of a dataset.",
            hint="load it into the StatefulDataLoader: loader.load_state_dict(state)",
        )
    if not isinstance(state, dict) or state.get(VERSION_KEY) != STATE_VERSION:
        found = state.get(VERSION_KEY) if isinstance(state, dict) else type(state).__name__
        raise StateRefused(
            f"The state is of version {found!r}; this is version {STATE_VERSION}.",
            hint="pass what state_dict() returned",
        )
    missing = [key for key in (*identity, EPOCH_KEY, ENDED_KEY, AT_KEY) if key not in state]
    if missing:
        raise StateRefused(f"The state has no {', '.join(missing)}.")
    _check_values(state)
    different = [
        f"{what}: {state[key]!r} in the state, {identity[key]!r} here"
        for key, what in _WHAT_DIFFERS.items()
        if state[key] != identity[key]
    ]
    if strict and different:
        raise StateRefused(
            f"The state belongs to another pipeline; what differs is {'; '.join(different)}.",
            hint="build the pipeline as it was saved, or load_state_dict(state, strict=False)",
        )
    return state


def _check_values(state: State) -> None:
    epoch, worker = state[EPOCH_KEY], state[WORKER_KEY]
    sound = {
        EPOCH_KEY: _is_count(epoch),
        ENDED_KEY: isinstance(state[ENDED_KEY], bool),
        AT_KEY: _is_chain(state[AT_KEY]),
        WORKER_KEY: worker is None
        or (
            isinstance(worker, list)
            and len(worker) == 2
            and all(map(_is_count, worker))
            and worker[0] < worker[1]
        ),
    }
    if state.get(DISTRIBUTION_KEY) is not None:
        sound[DISTRIBUTION_KEY] = _is_distribution(state[DISTRIBUTION_KEY])
    wrong = [f"{key!r} is {state[key]!r}" for key, is_sound in sound.items() if not is_sound]
    if wrong:
        raise StateRefused(
            f"No iterator saves such a state: {', '.join(wrong)}.",
            hint="pass what state_dict() returned",
        )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _is_distribution(told: Any) -> bool:
    if not isinstance(told, dict) or RANK_KEY not in told or told.get(TAIL_KEY) not in TAILS:
        return False
    ranks, batch_size, rank = (told.get(key, 0) for key in (RANKS_KEY, BATCH_KEY, RANK_KEY))
    counts = (ranks, batch_size, told.get(BEGAN_KEY), told.get(PLACE_KEY, 0), told.get(READ_KEY, 0))
    if not all(map(_is_count, counts)) or not (0 < ranks < 1 << 32 and 0 < batch_size < 1 << 32):
        return False
    return rank is None or (_is_count(rank) and rank < ranks)


def _is_chain(at: Any) -> bool:
    while isinstance(at, dict):
        if SOURCE_KEY not in at:
            return True
        at = at[SOURCE_KEY]
    return False

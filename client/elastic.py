"""States that go over from one distribution to another: other ranks, batch sizes, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fdss.errors import StateRefused

from .nodes import EMITTED_KEY, POSITION_KEY, SOURCE_KEY, State, count_in
from .pipeline import Pipeline
from .ranks import UNEVEN, Beginning, Ranks, RankShare
from .states import (
    AT_KEY,
    BATCH_KEY,
    BEGAN_KEY,
    DISTRIBUTION_KEY,
    ENDED_KEY,
    EPOCH_KEY,
    RANK_KEY,
    RANKS_KEY,
    READ_KEY,
    TAIL_KEY,
    WORKER_KEY,
    check_state,
)

_ALL_RANKS = "pass the states of all ranks in their order: load_state_dict([state_of_rank_0, ...])"
_UNDISTRIBUTED: State = {RANKS_KEY: 1, BATCH_KEY: 1, TAIL_KEY: UNEVEN, BEGAN_KEY: 0, RANK_KEY: 0}


@dataclass(frozen=True)
class MergedState:
    """One place from which any number of ranks can go on, made of the states of all ranks.

    Attributes:
        state: Loads into the pipeline under any distribution, and under none.
        place: The first place of the order that some rank has not consumed whole.
        repeated_places: Places from there on that another rank has consumed whole; what comes of
            them comes again.
        begun_places: Places from there on of which a rank has read the row but not yet given all
            that comes of it, as the rest of a batch; what it has given comes again. A state that
            was saved without a distribution does not tell them, and they are not counted.
    """

    state: State
    place: int
    repeated_places: int
    begun_places: int

    def __str__(self) -> str:
        return (
            f"going on at place {self.place:,}, where every rank has consumed all before it: "
            f"{self.repeated_places:,} places behind it were consumed and come again, "
            f"{self.begun_places:,} were begun"
        )


def adopted(saved: Any, pipeline: Pipeline, *, strict: bool) -> State:
    """Return a saved state in the pipeline's own terms.

    A state of the same distribution stays as it is. One of another distribution, or of none,
    becomes the state at its place, if all before that place is consumed whole and nothing behind.

    Args:
        strict: Whether content, view and steps must be the same, and the place be such a one.

    Raises:
        StateRefused: It does not belong to the pipeline, or says nothing for other ranks.
    """
    state = check_state(saved, pipeline.identity(), strict=strict)
    told: State | None = state.get(DISTRIBUTION_KEY)
    is_same = _is_same(told, pipeline.ranks)
    if told is None and is_same:
        return state
    if state[WORKER_KEY] is not None or pipeline.worker is not None:
        if told is None or not is_same or told[RANK_KEY] is None:
            raise StateRefused(
                f"The state of a DataLoader worker belongs to {_shown(told)}, which this is not.",
                hint="resume under the distribution it was saved with, or save state_after()",
            )
        return state
    if is_same:
        return state
    if strict and not _is_whole(state, told, pipeline):
        raise StateRefused(
            f"The state belongs to {_shown(told)}; behind steps that make more or fewer rows it "
            "says nothing for other ranks.",
            hint=_ALL_RANKS,
        )
    places = len(pipeline.view)
    place = places if state[ENDED_KEY] else min(position_of(state), places)
    return pipeline.state_at(place, state[EPOCH_KEY])


def merged(states: Sequence[Any], pipeline: Pipeline, *, strict: bool) -> MergedState:
    """Return the one place from which any ranks can go on without losing a row.

    Args:
        states: Of all ranks, in their order, saved under one distribution.
        strict: As of ``adopted``.

    Raises:
        StateRefused: They do not belong to the pipeline, or not together.
    """
    if not states:
        raise StateRefused("There is no state in the list.", hint=_ALL_RANKS)
    for state in states:
        check_state(state, pipeline.identity(), strict=strict)
    if len(states) == 1 and pipeline.ranks is None and DISTRIBUTION_KEY not in states[0]:
        return MergedState(states[0], position_of(states[0]), 0, 0)
    tolds: list[State] = [state.get(DISTRIBUTION_KEY) or _UNDISTRIBUTED for state in states]
    _check_together(states, tolds)
    epoch, began = min((states[at][EPOCH_KEY], told[BEGAN_KEY]) for at, told in enumerate(tolds))
    progress: dict[int, _Progress] = {}
    place = places = len(pipeline.view)
    for at, state in enumerate(states):
        number = at * tolds[at][RANKS_KEY] // len(states)
        part = _progress(state, tolds[at], _share(number, tolds[at], places, began), epoch)
        place = min(place, part.place)
        # Of the ranks of one group, which get the same rows, the one that is ahead.
        progress[number] = max(part, progress.get(number, part), key=_Progress.ahead)
    repeated = sum(part.consumed_behind(place) for part in progress.values())
    read = sum(part.read_behind(place) for part in progress.values())
    return MergedState(pipeline.state_at(place, epoch), place, repeated, read - repeated)


@dataclass(frozen=True)
class _Progress:
    """How far one rank has come in the earliest epoch that any rank is in.

    Attributes:
        consumed: Rows consumed whole.
        read: Rows read, which may be more inside a batch.
        later: Rows consumed of later epochs, and read of them.
    """

    share: RankShare
    consumed: int
    read: int
    later: tuple[int, int] = (0, 0)

    @property
    def place(self) -> int:
        """Return the first place that is not consumed whole."""
        if self.consumed >= len(self.share):
            return self.share.places
        return self.share.saved(self.consumed) + self.share.ranks.number

    def ahead(self) -> tuple[int, int]:
        """Return what grows as the rank goes on."""
        return self.later[1] + self.read, self.later[0] + self.consumed

    def consumed_behind(self, place: int) -> int:
        """Return the places consumed whole from a place on."""
        return self._behind(place, self.consumed) + self.later[0]

    def read_behind(self, place: int) -> int:
        """Return the places read from a place on."""
        return self._behind(place, self.read) + self.later[1]

    def _behind(self, place: int, rows: int) -> int:
        share = self.share
        begin, step = share.first + share.ranks.number, share.ranks.count
        until, before = (
            min(max(-(-(limit - begin) // step), 0), rows) for limit in (share.places, place)
        )
        return until - before


def _share(number: int, told: State, places: int, began: int) -> RankShare:
    ranks = Ranks(number, told[RANKS_KEY], told[BATCH_KEY], told[TAIL_KEY])
    return ranks.share(places, Beginning(began, began))


def _progress(state: State, told: State, share: RankShare, epoch: int) -> _Progress:
    own = _share(share.ranks.number, told, share.places, told[BEGAN_KEY])
    consumed = min(own.restored(position_of(state)), len(own))
    read = told.get(READ_KEY, consumed)
    if state[EPOCH_KEY] == epoch:
        return _Progress(share, len(share) if state[ENDED_KEY] else consumed, read)
    between = (state[EPOCH_KEY] - epoch - 1) * len(share.ranks.share(share.places, Beginning()))
    return _Progress(share, len(share), len(share), (between + consumed, between + read))


def _check_together(states: Sequence[State], tolds: Sequence[State]) -> None:
    keys = (RANKS_KEY, BATCH_KEY, TAIL_KEY)
    ranks = tolds[0][RANKS_KEY]
    begun = {(state[EPOCH_KEY], told[BEGAN_KEY]) for state, told in zip(states, tolds, strict=True)}
    numbers = [at * ranks // len(states) for at in range(len(states))]
    problem = ""
    if any(state[WORKER_KEY] is not None for state in states):
        problem = "some are of DataLoader workers"
    elif any(told[key] != tolds[0][key] for told in tolds for key in keys):
        problem = "they are of different distributions"
    elif len(begun) > len({epoch for epoch, _ in begun}):
        problem = "the ranks began at different places"
    elif len(states) % ranks:
        problem = f"there are {len(states)} of {ranks} ranks"
    elif any(
        told[RANK_KEY] not in (None, number) for told, number in zip(tolds, numbers, strict=True)
    ):
        problem = f"they are of the ranks {[told[RANK_KEY] for told in tolds]}"
    if problem:
        raise StateRefused(f"The states do not belong together: {problem}.", hint=_ALL_RANKS)


def _is_same(told: State | None, ranks: Ranks | None) -> bool:
    if told is None or ranks is None:
        return told is None and ranks is None
    here = ranks.as_json()
    return told[RANK_KEY] in (None, ranks.number) and all(told[key] == here[key] for key in here)


def _is_whole(state: State, told: State | None, pipeline: Pipeline) -> bool:
    """Return whether all places before the state's are consumed whole, and none behind."""
    if told is None and pipeline.keeps_places:
        return True
    if told is not None and told[RANK_KEY] is None:
        return True
    return (told is None or told[RANKS_KEY] == 1) and not _is_inside_batch(state)


def _is_inside_batch(state: State) -> bool:
    at: Any = state[AT_KEY]
    while at is not None:
        if count_in(at, EMITTED_KEY):
            return True
        at = at.get(SOURCE_KEY)
    return False


def position_of(state: State) -> int:
    """Return the place that a state names: of its source, the first that is not consumed whole."""
    at = state[AT_KEY]
    while SOURCE_KEY in at:
        at = at[SOURCE_KEY]
    return count_in(at, POSITION_KEY)


def _shown(told: State | None) -> str:
    if told is None:
        return "no distribution"
    rank = "all" if told[RANK_KEY] is None else f"rank {told[RANK_KEY]}"
    return (
        f"{rank} of {told[RANKS_KEY]} with batches of {told[BATCH_KEY]} and tail={told[TAIL_KEY]!r}"
    )

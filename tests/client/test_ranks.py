"""Ranks: equal in number, elastic in their states, replicated in groups."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from resuming import assert_resumes_everywhere

from fdss.backend import Runs
from fdss.client import ComposableIterableDataset, InMemoryBackend
from fdss.client.iteration import Cursor
from fdss.client.lengths import Lengths
from fdss.errors import BadParameter, StateRefused, UnsupportedStep

Pipe = Callable[[ComposableIterableDataset], ComposableIterableDataset]

TAILS = ["pad", "drop", "uneven"]


def make(count: int = 29) -> ComposableIterableDataset:
    return ComposableIterableDataset(InMemoryBackend([{"n": n} for n in range(count)]))


def shuffled(count: int) -> ComposableIterableDataset:
    return make(count).shuffle(seed=7, buffer_size=8, block_size=3)


def numbers(rows: Any) -> list[int]:
    return [row["n"] for row in rows]


def turns(parts: list[list[Any]]) -> list[Any]:
    """Return what ranks give in the order of the places: in turns, row by row."""
    most = max(map(len, parts))
    return [part[row] for row in range(most) for part in parts if row < len(part)]


def saved(state: Any) -> Any:
    return json.loads(json.dumps(state))


def worker_rows(dataset: ComposableIterableDataset, worker: int, workers: int) -> list[Any]:
    """Return what a DataLoader worker would give of the next pass."""
    pipeline = dataset._pipeline.for_worker(worker, workers)
    assert dataset._start is not None
    begin = pickle.loads(pickle.dumps(dataset._start)).begin(worker)
    return list(Cursor(pipeline, dataset.epoch, Lengths(), begin=begin).rows())


def loaded(dataset: ComposableIterableDataset, workers: int, batch_rows: int) -> list[Any]:
    """Return what a DataLoader makes of its workers: batches of each in turn."""
    batches = []
    for worker in range(workers):
        rows = worker_rows(dataset, worker, workers)
        batches.append([rows[at : at + batch_rows] for at in range(0, len(rows), batch_rows)])
    return [row for batch in turns(batches) for row in batch]


# ---- runs


@settings(max_examples=200, deadline=None)
@given(
    places=st.integers(0, 60),
    rows=st.integers(1, 9),
    every=st.integers(1, 5),
    begun=st.integers(0, 8),
    part=st.tuples(st.integers(0, 70), st.integers(0, 70)),
)
def test_runs_are_what_they_say(
    places: int, rows: int, every: int, begun: int, part: tuple[int, int]
) -> None:
    """Runs, and every part of them, are the places whose number says so."""
    runs = Runs(rows, every, begun % rows)
    numbered = enumerate(range(places), runs.begun)
    expected = [place for number, place in numbered if number // rows % every == 0]
    count = runs.count(places)
    begin, end = (min(bound, count) for bound in part)

    assert count == len(expected)
    assert runs.offsets(begin, end).tolist() == expected[begin:end]
    assert runs.after(begin).begun == (runs.begun + begin) % rows


# ---- equal


@st.composite
def distributions(draw: st.DrawFn) -> dict[str, Any]:
    group = draw(st.integers(1, 2))
    return {
        "world_size": group * draw(st.integers(1, 4)),
        "batch_size": draw(st.integers(1, 5)),
        "tail": draw(st.sampled_from(TAILS)),
        "group": group,
    }


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(0, 60),
    is_shuffled=st.booleans(),
    distribution=distributions(),
    workers=st.integers(1, 4),
)
def test_ranks_share_out_one_order(
    count: int, is_shuffled: bool, distribution: dict[str, Any], workers: int
) -> None:
    """Ranks in turns give the order, padded or cut to whole steps; any workers give the same."""
    dataset = shuffled(count) if is_shuffled else make(count)
    order = numbers(dataset)
    group, batch_size, tail = (distribution[key] for key in ("group", "batch_size", "tail"))
    step = distribution["world_size"] // group * batch_size
    ranks = [
        dataset.distribute(rank=rank, **distribution) for rank in range(distribution["world_size"])
    ]
    parts = [numbers(rank) for rank in ranks]
    steps = {"drop": count // step, "pad": -(-count // step)}
    expected = order
    if tail != "uneven":
        expected = [order[place % count] for place in range(steps[tail] * step)]

    assert turns(parts[::group]) == expected
    for at, (part, rank) in enumerate(zip(parts, ranks, strict=True)):
        told = rank.distribution
        assert told is not None
        assert part == parts[at // group * group]
        assert len(part) == len(rank) == told.rows
        assert told.padded_rows == max(len(expected) - count, 0)
        assert told.dropped_rows == max(count - len(expected), 0)
        assert told.batches == (-(-len(part) // batch_size) if tail == "uneven" else steps[tail])
        assert numbers(loaded(rank, workers, batch_size)) == part
    if tail == "uneven":
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_log_tells_what_a_rank_gets(caplog: pytest.LogCaptureFixture) -> None:
    """One line at INFO says the rows, batches, repeated and dropped rows."""
    with caplog.at_level(logging.INFO, "fdss.client"):
        make(29).distribute(rank=1, world_size=2, batch_size=4)

    assert caplog.messages == [
        "rank 1 of 2: 16 rows in 4 batches of 4; of all ranks 3 rows are repeated and 0 left out "
        "(tail='pad')"
    ]


def test_the_log_tells_where_a_loaded_state_begins(caplog: pytest.LogCaptureFixture) -> None:
    """Under other ranks the counts are others; a line says them from the loaded place on."""
    state = make(29).distribute(0, 2, 4).state_after(1)
    dataset = make(29).distribute(3, 4, 3, "drop", group=2)
    with caplog.at_level(logging.INFO, "fdss.client"):
        dataset.load_state_dict(state)

    assert caplog.messages == [
        "rank 3 of 4, 2 with the same rows: 9 rows from place 8 on in 3 batches of 3; "
        "of all ranks 0 rows are repeated and 3 left out (tail='drop')"
    ]


def test_the_undistributed_have_no_distribution() -> None:
    """A dataset that is not distributed says so."""
    assert make().distribution is None


@pytest.mark.parametrize("tail", TAILS)
def test_numbers_are_places_of_the_order(tail: str) -> None:
    """``with_indices`` numbers rows by their place in the order, under any ranks and workers."""
    order = numbers(shuffled(29))
    for world_size in (1, 2, 3):
        for rank in range(world_size):
            dataset = (
                shuffled(29)
                .map(lambda row, at: {"at": at}, with_indices=True)
                .map(
                    lambda batch, at: {"again": at},
                    with_indices=True,
                    batched=True,
                    batch_size=3,
                )
                .distribute(rank=rank, world_size=world_size, batch_size=2, tail=tail)
            )
            for row in [*dataset, *loaded(dataset, 3, 2)]:
                assert order[row["at"]] == order[row["again"]] == row["n"]


def test_behind_a_filter_a_rank_numbers_what_it_saw() -> None:
    """Behind a filter numbers count the rows that this rank has seen."""
    dataset = (
        make().filter(lambda row: row["n"] % 3 == 0).with_indices().distribute(1, 2, 4, "uneven")
    )

    assert list(dataset) == [{"n": n, "index": at} for at, n in enumerate(range(3, 29, 6))]


# ---- states


def grow(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {"n": [n for n in batch["n"] for _ in range(n % 4)]}


PIPES: dict[str, Pipe] = {
    "stored": lambda ds: ds,
    "window": lambda ds: ds.shuffle(seed=7, buffer_size=8, block_size=4),
    "sliced": lambda ds: ds.shuffle(seed=7, block_size=4).slice(2, 25).shard(2, 1),
    "map": lambda ds: ds.shuffle(seed=1).map(lambda row, at: {"at": at}, with_indices=True),
    "dropping-map": lambda ds: ds.map(lambda row: None if row["n"] % 3 else {}).with_indices(),
    "filter": lambda ds: ds.filter(lambda row: row["n"] % 3).with_indices(),
    "grown": lambda ds: ds.map(grow, batched=True, batch_size=3),
    "batch": lambda ds: ds.with_indices().batch(4),
    "all-kinds": lambda ds: (
        ds.filter(lambda row: row["n"] % 5).map(grow, batched=True, batch_size=3).batch(2)
    ),
}


@pytest.mark.parametrize("pipe", PIPES)
@pytest.mark.parametrize("tail", TAILS)
def test_resumes_everywhere(pipe: str, tail: str) -> None:
    """Every pipeline resumes on its own rank at every row, exactly, also inside a step."""
    assert_resumes_everywhere(lambda: PIPES[pipe](make()).distribute(0, 3, 4, tail))
    assert_resumes_everywhere(lambda: PIPES[pipe](make()).distribute(2, 3, 4, tail))


def test_steps_before_and_after_are_the_same() -> None:
    """What is shared out are places of the source, wherever ``distribute`` stands."""
    before = make().filter(lambda row: row["n"] % 3).distribute(1, 2, 4)
    after = make().distribute(1, 2, 4).filter(lambda row: row["n"] % 3)

    assert list(before) == list(after)


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(1, 60),
    changes=st.lists(
        st.tuples(distributions(), st.integers(0, 9), st.integers(1, 3)), min_size=3, max_size=4
    ),
    data=st.data(),
)
def test_a_run_goes_on_under_other_ranks(
    count: int, changes: list[tuple[dict[str, Any], int, int]], data: st.DataObject
) -> None:
    """However often ranks, batches and workers change, no place is lost and none comes twice."""

    def dataset() -> ComposableIterableDataset:
        return shuffled(count).map(lambda row, at: {"at": at}, with_indices=True)

    def resumed(rank: int, distribution: dict[str, Any]) -> ComposableIterableDataset:
        distributed = dataset().distribute(rank, **distribution)
        distributed.load_state_dict(saved(state))
        return distributed

    order, state, place = numbers(dataset()), dataset().state_dict(), 0
    for distribution, stop, workers in changes:
        numbered = range(0, distribution["world_size"], distribution["group"])
        ranks = [resumed(rank, distribution) for rank in numbered]
        if ranks[0].epoch:
            assert distribution["tail"] == "drop"
            assert count - place < len(ranks) * distribution["batch_size"]
            return
        rows = min(stop, *(rank.distribution.rows for rank in ranks if rank.distribution))
        iterators = [iter(rank) for rank in ranks]
        given_rows = turns([list(islice(iterator, rows)) for iterator in iterators])
        places = range(place, place + rows * len(ranks))

        assert [row["at"] for row in given_rows] == [at % count for at in places]
        assert numbers(given_rows) == [order[at % count] for at in places]
        in_workers = loaded(
            resumed(numbered[-1], distribution), workers, distribution["batch_size"]
        )
        assert in_workers == list(resumed(numbered[-1], distribution))
        states = [iterator.state_dict() for iterator in iterators]
        state, place = data.draw(st.sampled_from(states)), place + rows * len(ranks)
        if place >= count or any(state["ended"] for state in states):
            break
        assert all(state == states[0] for state in states)
    rest = dataset()
    rest.load_state_dict(saved(state))
    if place < count and not state["ended"]:
        assert numbers(rest) == order[place:]
    else:
        assert rest.epoch == 1
        assert len(list(rest)) == count


@settings(max_examples=100, deadline=None)
@given(
    count=st.integers(1, 60),
    distribution=distributions(),
    stop=st.integers(0, 9),
    first=st.integers(0, 20),
    data=st.data(),
)
def test_the_state_after_batches_is_the_iterators(
    count: int, distribution: dict[str, Any], stop: int, first: int, data: st.DataObject
) -> None:
    """``state_after`` is what an iterator would save there, from wherever the pass has begun."""
    ranks = distribution["world_size"] // distribution["group"]
    begun = iter(shuffled(count).map(dict).distribute(0, **distribution))
    list(islice(begun, first))
    dataset = shuffled(count).map(dict).distribute(0, **distribution)
    if not begun.state_dict()["ended"]:
        dataset.load_state_dict(saved(begun.state_dict()))
    told = dataset.distribution
    assert told is not None
    batches = min(stop, told.batches)
    expected = dataset.state_after(batches)
    iterator = iter(dataset)
    given_rows = list(islice(iterator, batches * distribution["batch_size"]))

    assert dataset.state_after(batches) == expected
    place = told.place + ranks * len(given_rows)
    if distribution["tail"] != "uneven" or place < count:
        assert expected["at"] == {"source": {"position": place}, "seen": place}
        assert iterator.state_dict() == expected
    with pytest.raises(BadParameter):
        dataset.state_after(-(-(count + told.padded_rows) // told.batch_size) + 1)


def test_a_state_of_no_distribution_goes_on_under_one_and_back() -> None:
    """A state crosses from none to any distribution and back to none."""
    plain = shuffled(29).map(dict)
    iterator = iter(plain)
    order = numbers(list(islice(iterator, 5)))
    ranks = []
    for rank in range(3):
        dataset = shuffled(29).map(dict).distribute(rank, 3, 4, "drop")
        dataset.load_state_dict(saved(iterator.state_dict()))
        ranks.append(iter(dataset))
    order += numbers(turns([list(islice(rank, 3)) for rank in ranks]))
    plain.load_state_dict(saved(ranks[2].state_dict()))

    assert order + numbers(plain) == numbers(shuffled(29))


def test_a_loaded_state_counts_for_one_pass() -> None:
    """The pass after the resumed one begins at the first row, in workers too."""
    dataset = make(20).distribute(0, 2, 2)
    dataset.load_state_dict(dataset.state_after(3))
    start = dataset._start
    assert start is not None
    passes = [[start.begin(worker).place for worker in range(3)] for _ in range(2)]

    assert passes == [[12, 12, 12], [0, 0, 0]]
    assert len(list(dataset)) == 4
    assert len(list(dataset)) == 10


def test_another_epoch_begins_at_its_first_row(caplog: pytest.LogCaptureFixture) -> None:
    """``set_epoch`` to another epoch gives a loaded state up, in workers too."""
    dataset = shuffled(20).distribute(0, 2, 2)
    dataset.load_state_dict(dataset.state_after(3))
    dataset.set_epoch(1)

    assert "gives up the loaded state" in caplog.text
    assert dataset.state_after(0)["distribution"]["began"] == 0
    assert len(worker_rows(dataset, 0, 1)) == len(list(dataset)) == 10


@pytest.mark.parametrize("tail", TAILS)
def test_the_end_of_an_epoch_is_the_start_of_the_next(tail: str) -> None:
    """A state from the end goes on with the next epoch, under other ranks too."""
    iterator = iter(shuffled(29).distribute(0, 2, 4, tail))
    list(iterator)
    for dataset in (shuffled(29).distribute(1, 3, 2), shuffled(29)):
        dataset.load_state_dict(saved(iterator.state_dict()))
        again = dataset._fresh()
        again.set_epoch(1)

        assert dataset.epoch == 1
        assert list(dataset) == list(again)


def test_a_named_epoch_at_its_end_has_nothing_left() -> None:
    """Of an epoch that ``set_epoch`` has named nothing is left behind its end, in workers too."""
    named = shuffled(29).distribute(0, 2, 4)
    named.set_epoch(0)
    named.load_state_dict(named.state_after(4))
    behind = shuffled(29).distribute(0, 2, 4)
    behind.load_state_dict(behind.state_after(4))
    behind.set_epoch(0)

    for dataset in (named, behind):
        assert worker_rows(dataset, 1, 2) == list(dataset) == []
        assert len(list(dataset)) == 16


def test_an_iterator_takes_a_state_of_other_ranks() -> None:
    """An iterator goes on from a state as its dataset would, and ``state_after`` counts from it."""
    state = saved(make(40).distribute(0, 4, 2).state_after(3))
    dataset = make(40).distribute(1, 2, 3)
    iterator = iter(dataset)
    iterator.load_state_dict(state)

    assert next(iterator) == {"n": 25}
    assert dataset.state_after(1)["at"] == {"position": 30}


# ---- states of steps that make more or fewer rows


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(1, 60),
    pipe=st.sampled_from(["filter", "grown", "batch", "dropping-map", "all-kinds"]),
    before=distributions(),
    after=distributions(),
    stops=st.lists(st.integers(0, 30), min_size=8, max_size=8),
)
def test_states_of_all_ranks_lose_nothing(
    count: int, pipe: str, before: dict[str, Any], after: dict[str, Any], stops: list[int]
) -> None:
    """Merged, ranks go on at the first place that one has not consumed; the rest came before."""
    order = numbers(shuffled(count))
    expected = outputs(PIPES[pipe](shuffled(count)))
    given_rows, states = set(), []
    consumed: dict[int, list[set[int]]] = {}
    for rank in range(before["world_size"]):
        iterator = iter(PIPES[pipe](shuffled(count)).distribute(rank, **before))
        given_rows |= outputs(islice(iterator, stops[rank]))
        states.append(saved(iterator.state_dict()))
        places = consumed_places(states[-1], rank, before, count)
        consumed.setdefault(rank // before["group"], []).append(places)
    ranks = [
        PIPES[pipe](shuffled(count)).distribute(rank, **after)
        for rank in range(after["world_size"])
    ]
    merged = ranks[0].merge_states(states)
    rest = set()
    for dataset in ranks:
        dataset.load_state_dict(states)
        if merged.place < count:
            rest |= outputs(dataset)
    by_all = set().union(*(set.intersection(*peers) for peers in consumed.values()))
    by_any = set().union(*(place for peers in consumed.values() for place in peers))

    step = before["world_size"] // before["group"] * before["batch_size"]
    end = count - count % step if before["tail"] == "drop" else count
    dropped = set(order[end:])

    assert merged.place == min(set(range(end)) - by_all, default=count)
    assert merged.repeated_places == len({place for place in by_any if place >= merged.place})
    if after["tail"] != "drop":
        assert given_rows | rest >= expected - (dropped if merged.place == count else set())
    if after["tail"] == "uneven":
        assert rest <= outputs(order[merged.place :])


def outputs(rows: Any) -> set[int]:
    """Return the numbers of the source whose rows are among some rows, or batches of them."""
    found: set[int] = set()
    for row in rows:
        number = row if isinstance(row, int) else row["n"]
        found |= set(number) if isinstance(number, list) else {number}
    return found


def consumed_places(
    state: dict[str, Any], rank: int, distribution: dict[str, Any], count: int
) -> set[int]:
    """Return the places that a rank's state says are consumed whole."""
    at = state["at"]
    while "source" in at:
        at = at["source"]
    groups = distribution["world_size"] // distribution["group"]
    rows = at["position"] // groups
    return {
        place for row in range(rows)
        if (place := rank // distribution["group"] + groups * row) < count
    }  # fmt: skip


def test_lockstep_repeats_nothing() -> None:
    """States of ranks that gave the same rows each, one of one, have nothing that comes again."""
    iterators = [iter(make().map(dict).distribute(rank, 3, 4)) for rank in range(3)]
    states = []
    for iterator in iterators:
        list(islice(iterator, 5))
        states.append(iterator.state_dict())
    merged = make().map(dict).merge_states(states)

    assert (merged.place, merged.repeated_places, merged.begun_places) == (15, 0, 0)


def test_batches_that_are_begun_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The places of a batch whose rows have not all come are told apart, and the log says all."""
    states = []
    for rank, rows in enumerate([2, 9]):
        dataset = make(40).map(lambda batch: batch, batched=True, batch_size=4)
        iterator = iter(dataset.distribute(rank, 2, 4))
        list(islice(iterator, rows))
        states.append(iterator.state_dict())
    dataset = make(40).map(lambda batch: batch, batched=True, batch_size=4).distribute(0, 1, 1)
    caplog.clear()
    with caplog.at_level(logging.INFO, "fdss.client"):
        dataset.load_state_dict(states)

    assert caplog.messages == [
        "2 states: going on at place 0, where every rank has consumed all before it: 8 places "
        "behind it were consumed and come again, 8 were begun"
    ]
    assert numbers(dataset) == list(range(40))


def test_ranks_in_different_epochs_merge() -> None:
    """A rank that is an epoch ahead has consumed all of the earlier one."""
    states = []
    for rank, rows in enumerate([3, 12]):
        dataset = make(20).filter(lambda row: True).distribute(rank, 2, 5)
        iterator = iter(dataset)
        given_rows = list(islice(iterator, rows))
        if len(given_rows) < rows:
            dataset.set_epoch(1)
            iterator = iter(dataset)
            list(islice(iterator, rows - len(given_rows)))
        states.append(saved(iterator.state_dict()))
    merged = make(20).filter(lambda row: True).merge_states(states)

    assert [state["epoch"] for state in states] == [0, 1]
    assert (merged.place, merged.repeated_places) == (6, 7 + 2)


# ---- what is refused


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank": 2},
        {"rank": -1},
        {"rank": True},
        {"rank": "0"},
        {"world_size": 0},
        {"world_size": 2.0},
        {"batch_size": 0},
        {"batch_size": None},
        {"tail": "wrap"},
        {"group": 0},
        {"group": 3},
    ],
)
def test_bad_distributions_are_refused(wrong: dict[str, Any]) -> None:
    """What is out of range is refused by the call."""
    with pytest.raises(BadParameter, match=next(iter(wrong))):
        make().distribute(**{"rank": 0, "world_size": 2, "batch_size": 4, **wrong})


@pytest.mark.parametrize(
    "step",
    [
        lambda ds: ds.slice(1, 5),
        lambda ds: ds.select(range(3)),
        lambda ds: ds.shard(2, 0),
        lambda ds: ds.shuffle(seed=1),
        lambda ds: ds.take(5),
        lambda ds: ds.skip(5),
        lambda ds: ds.distribute(0, 2, 4),
    ],
)
def test_nothing_is_chosen_behind_distribute(step: Pipe) -> None:
    """What chooses rows stands before ``distribute``, which is called once."""
    with pytest.raises(UnsupportedStep, match="distribute") as caught:
        step(make().distribute(0, 2, 4))
    assert caught.value.hint


def test_distribute_does_not_follow_counted_outputs() -> None:
    """``take`` behind a filter counts what comes out, which no rank can know."""
    with pytest.raises(UnsupportedStep, match="take:5"):
        make().filter(bool).take(5).distribute(0, 2, 4)
    assert len(make().take(5).distribute(0, 2, 2, "uneven")) == 3


OTHERS: dict[str, dict[str, Any]] = {
    "rank": {"rank": 0},
    "world size": {"world_size": 4},
    "batch size": {"batch_size": 5},
    "tail": {"tail": "drop"},
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_ranks_own_state_is_refused_elsewhere(what: str) -> None:
    """Behind a filter the state of one rank says nothing for others; the hint says what does."""
    own: dict[str, Any] = {"rank": 1, "world_size": 2, "batch_size": 4}
    iterator = iter(make().filter(bool).distribute(**own))
    next(iterator)
    with pytest.raises(StateRefused, match="rank 1 of 2") as caught:
        make().filter(bool).distribute(**{**own, **OTHERS[what]}).load_state_dict(
            iterator.state_dict()
        )
    assert "all ranks" in str(caught.value.hint)
    make().filter(bool).distribute(**own).load_state_dict(iterator.state_dict())


def test_a_worker_does_not_take_a_ranks_own_state() -> None:
    """Behind a filter the place of a rank's state is not where its workers would stand."""
    iterator = iter(make().filter(bool).distribute(1, 2, 4))
    next(iterator)
    dataset = make().filter(bool).distribute(1, 2, 4)
    worker = Cursor(dataset._pipeline.for_worker(0, 2), 0, Lengths())
    with pytest.raises(StateRefused):
        worker.move_to(iterator.state_dict(), strict=True)
    with pytest.raises(StateRefused, match="distribution"):
        make().filter(bool).distribute(0, 2, 4).load_state_dict(worker.state())


def lists() -> dict[str, Callable[[], list[Any]]]:
    def states(world_size: int = 2, batch_size: int = 4, rows: int = 3) -> list[Any]:
        made = []
        for rank in range(world_size):
            iterator = iter(
                make().filter(lambda row: True).distribute(rank, world_size, batch_size)
            )
            list(islice(iterator, rows))
            made.append(iterator.state_dict())
        return made

    return {
        "no state": list,
        "1 of 2 ranks": lambda: states()[:1],
        "ranks [1, 0]": lambda: states()[::-1],
        "different distributions": lambda: [states()[0], states(batch_size=5)[1]],
        "not a state": lambda: [None],
        "began at different places": lambda: [
            states()[0],
            {
                **states()[1],
                "distribution": {**states()[1]["distribution"], "began": 2},
            },
        ],
    }


@pytest.mark.parametrize("what", lists())
def test_states_that_do_not_belong_together_are_refused(what: str) -> None:
    """A list is refused unless it has the states of all ranks, in their order."""
    with pytest.raises(StateRefused):
        make().filter(lambda row: True).distribute(0, 3, 2).load_state_dict(lists()[what]())


@pytest.mark.parametrize(
    "wrong",
    [
        5,
        {},
        {"ranks": 0},
        {"batch_size": 0},
        {"tail": None},
        {"tail": "wrap"},
        {"tail": ["pad"]},
        {"ranks": 1 << 32},
        {"began": -1},
        {"rank": 2},
        {"rank": "0"},
        {"read": True},
    ],
)
def test_a_distribution_nobody_saved_is_refused(wrong: Any) -> None:
    """A state whose distribution no iterator saves is refused."""
    dataset = make().distribute(0, 2, 4)
    state = dataset.state_dict()
    told = {**state["distribution"], **wrong} if wrong and isinstance(wrong, dict) else wrong
    with pytest.raises(StateRefused):
        dataset.load_state_dict({**state, "distribution": told})
    with pytest.raises(StateRefused):
        dataset.load_state_dict([{**state, "distribution": told}] * 2)


@pytest.mark.parametrize("key", ["ranks", "batch_size", "tail", "began", "rank"])
def test_a_distribution_that_says_too_little_is_refused(key: str) -> None:
    """A state whose distribution lacks a value is refused."""
    dataset = make().distribute(0, 2, 4)
    state = dataset.state_dict()
    del state["distribution"][key]
    with pytest.raises(StateRefused):
        dataset.load_state_dict(state)


def test_a_place_where_ranks_never_stand_is_refused() -> None:
    """A position inside a turn of the ranks is none that a state of them has."""
    dataset = make().distribute(0, 2, 4)
    with pytest.raises(StateRefused, match="place 3"):
        dataset.load_state_dict({**dataset.state_dict(), "at": {"position": 3}})
        list(dataset)


def test_state_after_is_of_ranks_that_keep_places() -> None:
    """Where rows may become more or fewer, or there are no ranks, it is refused."""
    for dataset in (make(), make().filter(bool).distribute(0, 2, 4)):
        with pytest.raises(UnsupportedStep):
            dataset.state_after(1)


def test_a_map_of_tables_may_make_more_rows() -> None:
    """A function that returns a table may return any number of rows, so its ranks are merged."""

    def make_rank(rank: int) -> ComposableIterableDataset:
        dataset = make(20).with_format("arrow").map(twice_the_odd).with_format("python")
        return dataset.with_indices().distribute(rank, 2, 5)

    states = []
    for rank in range(2):
        iterator = iter(make_rank(rank))
        rows = list(islice(iterator, 4))
        states.append(saved(iterator.state_dict()))
        assert [row["index"] for row in rows] == [0, 1, 2, 3]
    merged = make_rank(0).merge_states(states)

    assert [state["distribution"]["rank"] for state in states] == [0, 1]
    assert (merged.place, merged.repeated_places) == (5, 1)
    with pytest.raises(StateRefused):
        make_rank(1).load_state_dict(states[0])


def twice_the_odd(table: Any) -> Any:
    import pyarrow as pa

    return pa.concat_tables([table, table]) if table["n"][0].as_py() % 2 else table


def test_ranks_that_draw_their_seeds_are_refused() -> None:
    """A seed that a rank draws for itself makes an order of its own; one rank may."""
    dataset = make(20).shuffle()
    with pytest.raises(BadParameter, match="seed of its own") as caught:
        dataset.distribute(0, 2, 4)
    assert "shuffle(seed=" in caught.value.hint
    assert len(list(dataset.distribute(1, 2, 4, group=2, tail="uneven"))) == 20


def test_a_merged_state_loads_as_its_state() -> None:
    """What ``merge_states`` returns is loaded whole."""
    ranks = [make(40).distribute(rank, 2, 4) for rank in range(2)]
    states = []
    for rank in ranks:
        rows = iter(rank)
        list(islice(rows, 8))
        states.append(rows.state_dict())
    again = make(40).distribute(0, 1, 4)
    again.load_state_dict(again.merge_states(states))
    assert numbers(again) == list(range(16, 40))


def test_states_of_torchdata_are_told_apart() -> None:
    """A state of a StatefulDataLoader says where it belongs."""
    with pytest.raises(StateRefused, match="StatefulDataLoader") as caught:
        make(4).distribute(0, 1, 2).load_state_dict({"_snapshot": {}})
    assert "loader.load_state_dict" in caught.value.hint


@pytest.mark.parametrize("world_size", [1, 2])
def test_ranks_that_may_end_apart_are_warned_of(
    caplog: pytest.LogCaptureFixture, world_size: int
) -> None:
    """Behind a filter several ranks are warned once, one rank is not."""
    dataset = make(20).distribute(0, world_size, 2).filter(lambda row: row["n"] % 2 == 0)
    with caplog.at_level(logging.WARNING):
        list(dataset)
        list(dataset)
    assert caplog.text.count("different numbers of batches") == world_size - 1


@pytest.mark.parametrize("at", [4, 15])
def test_state_after_knows_of_rows_that_a_map_dropped(at: int) -> None:
    """Where a map has dropped a row, batches that came are not those of the source."""
    dataset = make(16).map(lambda row: None if row["n"] == at else row)
    dataset = dataset.distribute(0, 1, 2)
    rows = iter(dataset)
    list(islice(rows, at))
    assert dataset.state_after(2) == dataset.state_after(2)
    assert len(list(rows)) == 15 - at
    with pytest.raises(UnsupportedStep, match="dropped rows"):
        dataset.state_after(2)
    dataset.load_state_dict(make(16).state_dict(), strict=False)
    assert dataset.state_after(2)

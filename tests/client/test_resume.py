"""A dataset's states: exact at every row, refused where they do not belong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from resuming import Failing, assert_resumes_behind_errors, assert_resumes_everywhere

from fdss.client import ComposableIterableDataset, InMemoryBackend
from fdss.errors import StateRefused

Pipe = Callable[[ComposableIterableDataset], ComposableIterableDataset]


def make(count: int = 29) -> ComposableIterableDataset:
    return ComposableIterableDataset(InMemoryBackend([{"n": n} for n in range(count)]))


def grow(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {"m": [n for n in batch["n"] for _ in range(n % 4)]}


def shrink(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {"sum": [sum(batch["n"])]}


def sometimes_nothing(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {"m": batch["n"] if batch["n"][0] % 2 else []}


def is_third(row: dict[str, Any]) -> bool:
    return bool(row["n"] % 3 == 0)


VIEWS: dict[str, Pipe] = {
    "stored": lambda ds: ds,
    "shuffled": lambda ds: ds.shuffle(seed=7, buffer_size=0, block_size=4),
    "window": lambda ds: ds.shuffle(seed=7, buffer_size=8, block_size=4),
    "slice": lambda ds: ds.slice(3, 20),
    "shard-of-shuffled": lambda ds: ds.shuffle(seed=7).shard(3, 1),
    "strided": lambda ds: ds.shuffle(seed=7).shard(3, 1, contiguous=False),
}
STEPS: dict[str, Pipe] = {
    "none": lambda ds: ds,
    "map": lambda ds: ds.map(lambda row: {"d": 2 * row["n"]}),
    "dropping-map": lambda ds: ds.map(lambda row: None if row["n"] % 2 else {}),
    "map-indices": lambda ds: ds.map(lambda row, i: {"i": i}, with_indices=True),
    "filter": lambda ds: ds.filter(is_third),
    "filter-all": lambda ds: ds.filter(lambda row: False),
    "indices-after-filter": lambda ds: ds.filter(is_third).with_indices(),
    "batched": lambda ds: ds.map(
        lambda b, i: {"size": [len(i)] * len(i), "i": i},
        with_indices=True,
        batched=True,
        batch_size=4,
    ),
    "drop-last": lambda ds: ds.map(
        lambda b: {"k": b["n"]}, batched=True, batch_size=5, drop_last_batch=True
    ),
    "growing": lambda ds: ds.map(grow, batched=True, batch_size=5, remove_columns="n"),
    "shrinking": lambda ds: ds.map(shrink, batched=True, batch_size=5, remove_columns="n"),
    "empty-batches": lambda ds: ds.map(
        sometimes_nothing, batched=True, batch_size=3, remove_columns="n"
    ),
    "one-batch": lambda ds: ds.map(grow, batched=True, batch_size=None, remove_columns="n"),
    "batched-on-batched": lambda ds: ds.map(
        grow, batched=True, batch_size=3, remove_columns="n"
    ).map(lambda b: {"m": [m for m in b["m"] if m % 2]}, batched=True, batch_size=4),
    "batched-filter": lambda ds: ds.filter(
        lambda b: [n % 3 == 0 for n in b["n"]], batched=True, batch_size=4
    ),
    "batch": lambda ds: ds.batch(4),
    "batch-drop-last": lambda ds: ds.batch(4, drop_last_batch=True),
    "take-skip": lambda ds: ds.filter(is_third).skip(2).take(4),
    "all-kinds": lambda ds: (
        ds.map(lambda row: {"d": row["n"]})
        .filter(lambda row: row["n"] % 5)
        .map(grow, batched=True, batch_size=4, remove_columns=["n", "d"])
        .skip(3)
        .with_indices()
        .take(20)
        .batch(3)
    ),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("view", VIEWS)
def test_resumes_everywhere(view: str, step: str) -> None:
    """Every pipeline resumes at every row, exactly."""
    assert_resumes_everywhere(lambda: STEPS[step](VIEWS[view](make())))


def test_none_rows_resume() -> None:
    """Rows that are None or empty are rows like any other."""
    rows: list[Any] = [None, {}, {"n": 1}, None, {}]

    assert_resumes_everywhere(lambda: ComposableIterableDataset(InMemoryBackend(rows)))


def test_a_batch_that_is_left_out_is_behind_the_end() -> None:
    """A state of the end says so again when it is restored, also behind a batch left out."""
    for pipe in (STEPS["drop-last"], STEPS["batch-drop-last"]):
        iterator = iter(pipe(make()))
        for _ in iterator:
            pass
        state = iterator.state_dict()
        restored = iter(pipe(make()))
        restored.load_state_dict(state)

        assert state["ended"]
        assert restored.state_dict() == state


def test_the_datasets_state_is_its_newest_iterators() -> None:
    """``ds.state_dict()`` answers for the newest loop, also after it was broken off."""
    dataset = make().map(grow, batched=True, batch_size=5, remove_columns="n")
    seen = []
    for row in dataset:
        seen.append(row)
        if len(seen) == 7:
            break
    resumed = make().map(grow, batched=True, batch_size=5, remove_columns="n")
    resumed.load_state_dict(json.loads(json.dumps(dataset.state_dict())))

    assert seen + list(resumed) == list(dataset)


def test_a_state_is_used_once() -> None:
    """Only the next iteration starts at a loaded state; the one after starts over."""
    dataset = make()
    iterator = iter(dataset)
    for _ in range(10):
        next(iterator)
    dataset.load_state_dict(dataset.state_dict())

    assert len(list(dataset)) == 19
    assert len(list(dataset)) == 29


def test_a_loaded_state_brings_its_epoch() -> None:
    """A state of epoch 3 resumes in epoch 3 without ``set_epoch``."""
    dataset = make().shuffle(seed=1)
    dataset.set_epoch(3)
    expected = list(dataset)
    iterator = iter(dataset)
    for _ in range(10):
        next(iterator)
    resumed = make().shuffle(seed=1)
    resumed.load_state_dict(iterator.state_dict())

    assert resumed.epoch == 3
    assert list(resumed) == expected[10:]


def test_another_epoch_gives_a_loaded_state_up(caplog: pytest.LogCaptureFixture) -> None:
    """``set_epoch`` to another epoch starts that epoch at its first row, and the log says so."""
    dataset = make().shuffle(seed=1)
    iterator = iter(dataset)
    next(iterator)
    dataset.load_state_dict(iterator.state_dict())
    dataset.set_epoch(1)

    assert len(list(dataset)) == 29
    assert "set_epoch(1) gives up the loaded state, which stands in epoch 0" in caplog.text


def test_no_warning_between_epochs(caplog: pytest.LogCaptureFixture) -> None:
    """``set_epoch`` behind a resumed epoch, or behind a state of its end, gives nothing up."""
    dataset = make().shuffle(seed=1)
    iterator = iter(dataset)
    next(iterator)
    dataset.load_state_dict(iterator.state_dict())
    rest = list(dataset)
    dataset.set_epoch(1)
    followed = list(iterator)
    dataset.load_state_dict(iterator.state_dict())
    dataset.set_epoch(1)

    assert followed == rest
    assert caplog.text == ""


DIFFERENT: dict[str, tuple[Pipe, str]] = {
    "content": (lambda ds: make(30), "content"),
    "seed": (lambda ds: make().shuffle(seed=2), "shuffle"),
    "slice": (lambda ds: make().shuffle(seed=1).take(5), "slices"),
    "steps": (lambda ds: make().shuffle(seed=1).batch(3), "steps"),
    "columns": (lambda ds: make().shuffle(seed=1).select_columns([]), "columns"),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_a_state_of_another_pipeline_is_refused(what: str) -> None:
    """Loading a state where it does not belong names the difference."""
    other, named = DIFFERENT[what]
    state = iter(make().shuffle(seed=1)).state_dict()

    with pytest.raises(StateRefused, match=named):
        other(make()).load_state_dict(state)


def test_a_refusal_can_be_overridden() -> None:
    """With ``strict=False`` a state is taken for its position alone."""
    iterator = iter(make())
    for _ in range(28):
        next(iterator)
    dataset = make(30)
    dataset.load_state_dict(iterator.state_dict(), strict=False)

    assert [row["n"] for row in dataset] == [28, 29]


@pytest.mark.parametrize(
    "state", [None, {}, {"version": 2}, {"version": 1}, [1], {"version": "1", "epoch": 0}]
)
def test_what_is_no_state_is_refused(state: Any) -> None:
    """Anything that ``state_dict`` did not return is refused, not guessed at."""
    with pytest.raises(StateRefused):
        make().load_state_dict(state)


@pytest.mark.parametrize(
    "wrong",
    [
        {"worker": 5},
        {"worker": [0, 0]},
        {"worker": [2, 2]},
        {"epoch": "1"},
        {"epoch": -1},
        {"ended": 1},
        {"at": [1]},
        {"at": {"source": 3}},
        {"at": {"position": -1}},
        {"at": {"position": True}},
    ],
)
def test_a_state_nobody_saved_is_refused(wrong: dict[str, Any]) -> None:
    """A state with a value that no iterator saves is refused, by its loading or its first row."""
    with pytest.raises(StateRefused):
        dataset = make()
        dataset.load_state_dict({**dataset.state_dict(), **wrong})
        list(dataset)


def test_a_batch_that_shrank_is_refused() -> None:
    """A state behind results that a changed function no longer makes is refused."""
    dataset = make().map(grow, batched=True, batch_size=5, remove_columns="n")
    iterator = iter(dataset)
    for _ in range(5):
        next(iterator)
    changed = make().map(shrink, batched=True, batch_size=5, remove_columns="n")
    changed.load_state_dict(iterator.state_dict())

    with pytest.raises(StateRefused, match="result 5"):
        list(changed)


def touchy(failing: Failing) -> dict[str, Pipe]:
    """Return pipelines with a function that may fail, in every kind of step."""

    def row(row: dict[str, Any]) -> dict[str, Any]:
        failing()
        return {"d": row["n"]}

    def keep(row: dict[str, Any]) -> bool:
        failing()
        return is_third(row)

    def batch(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        failing()
        return grow(batch)

    return {
        "map": lambda ds: ds.map(row),
        "map-of-filtered": lambda ds: ds.filter(is_third).with_indices().map(row),
        "filter": lambda ds: ds.filter(keep),
        "batched": lambda ds: ds.map(batch, batched=True, batch_size=5, remove_columns="n"),
        "map-of-batched": lambda ds: ds.map(
            grow, batched=True, batch_size=5, remove_columns="n"
        ).map(lambda made: row({"n": made["m"]})),
        "batches-of-mapped": lambda ds: ds.map(row).batch(4),
        "take-of-mapped": lambda ds: ds.map(row).skip(2).take(9),
    }


@pytest.mark.parametrize("view", ["stored", "shard-of-shuffled"])
@pytest.mark.parametrize("step", touchy(Failing()))
def test_errors_lose_nothing(view: str, step: str) -> None:
    """A state taken after a function has failed goes on with the row it failed at."""
    failing = Failing()
    pipe = touchy(failing)[step]

    assert_resumes_behind_errors(lambda: pipe(VIEWS[view](make())), failing)


def test_errors_lose_nothing_of_batches() -> None:
    """A batch that an error has kept from being whole is made again as a whole."""
    failing = Failing()

    def fail(row: dict[str, Any]) -> dict[str, Any]:
        failing()
        return {}

    dataset = make().map(fail)
    expected = list(dataset.iter(4))
    for call in range(29):
        failing.fails_at, failing.calls = call, 0
        iterator = dataset.iter(4)
        given = []
        with pytest.raises(ZeroDivisionError):
            for batch in iterator:
                given.append(batch)
        state = iterator.state_dict()
        failing.fails_at = None
        resumed = dataset.iter(4)
        resumed.load_state_dict(state)

        assert given + list(resumed) == expected

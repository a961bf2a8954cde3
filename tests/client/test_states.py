"""What a saved state is: small, plain, of one version, and refused where it does not belong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
from resuming import MAX_STATE_BYTES

from fdss.backend import MAX_SEED, MAX_WINDOW_ROWS, Chunk, FeaturesJson, Selection
from fdss.client import ComposableIterableDataset, InMemoryBackend
from fdss.errors import StateRefused

Pipe = Callable[[ComposableIterableDataset], ComposableIterableDataset]

ROWS = 40


def make(first: str = "row 0") -> ComposableIterableDataset:
    rows = [{"n": n, "text": f"row {n}" if n else first} for n in range(ROWS)]
    return ComposableIterableDataset(InMemoryBackend(rows))


def same_batch(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {"copy": batch["n"]}


def base(
    dataset: ComposableIterableDataset, *, batch_size: int = 5, **order: int
) -> ComposableIterableDataset:
    shuffled = dataset.shuffle(**{"seed": 1, "buffer_size": 8, "block_size": 2, **order})
    return shuffled.map(same_batch, batched=True, batch_size=batch_size)


#: What differs: how the dataset is built then, and what the message has to name.
DIFFERENT: dict[str, tuple[Callable[[], ComposableIterableDataset], list[str]]] = {
    "content": (lambda: base(make("another")), ["the content of the dataset"]),
    "seed": (
        lambda: base(make(), seed=2),
        ["the slices, shards or shuffle", "'seed': 1", "'seed': 2"],
    ),
    "window": (
        lambda: base(make(), buffer_size=9),
        ["the slices, shards or shuffle", "'window': 8", "'window': 9"],
    ),
    "block": (
        lambda: base(make(), block_size=3),
        ["the slices, shards or shuffle", "'block': 2", "'block': 3"],
    ),
    "no shuffle": (
        lambda: make().map(same_batch, batched=True, batch_size=5),
        ["the slices, shards or shuffle", "'shuffle': None"],
    ),
    "slice": (lambda: base(make().slice(0, 39)), ["the slices, shards or shuffle", "39"]),
    "shard": (lambda: base(make()).shard(2, 0), ["the slices, shards or shuffle", "20"]),
    "size of batches": (
        lambda: base(make(), batch_size=6),
        ["the steps of the pipeline", "map:5", "map:6"],
    ),
    "a step more": (
        lambda: base(make()).filter(bool),
        ["the steps of the pipeline", "'filter'"],
    ),
    "columns": (
        lambda: base(make().select_columns("n")),
        ["the columns that are read", "None in the state, ['n'] here"],
    ),
}


def state_of(dataset: ComposableIterableDataset, rows: int = 7) -> Any:
    """Return the state of an iterator behind some rows, as a checkpoint brings it back."""
    iterator = iter(dataset)
    list(islice(iterator, rows))
    return json.loads(json.dumps(iterator.state_dict()))


@pytest.mark.parametrize("what", DIFFERENT)
def test_each_difference_is_named(what: str) -> None:
    """A state of another content, order or pipeline is refused, and the message says which."""
    other, named = DIFFERENT[what]
    state = state_of(base(make()))
    with pytest.raises(StateRefused) as dataset_refuses:
        other().load_state_dict(state)
    with pytest.raises(StateRefused) as iterator_refuses:
        iter(other()).load_state_dict(state)

    for refused in (dataset_refuses, iterator_refuses):
        assert refused.value.message.count(" in the state, ") == 1
        assert [text for text in named if text not in refused.value.message] == []
        assert "strict=False" in str(refused.value.hint)


def test_all_differences_are_named_at_once() -> None:
    """A state that differs in several ways is refused with all of them."""
    with pytest.raises(StateRefused) as refused:
        make("another").select_columns("n").load_state_dict(state_of(base(make())))

    assert refused.value.message.count(" in the state, ") == 4


def test_another_version_of_the_order_is_refused() -> None:
    """A state of an order that this version does not have names both versions."""
    state = {**state_of(base(make())), "order": "v2"}

    with pytest.raises(StateRefused, match="the version of the order: 'v2' in the state, 'v1'"):
        base(make()).load_state_dict(state)


def test_another_version_of_the_state_is_refused() -> None:
    """A state of a version that this one does not know is refused, also when it is not strict."""
    state = {**state_of(base(make())), "version": 2}
    for strict in (True, False):
        with pytest.raises(StateRefused, match="version 2; this is version 1"):
            base(make()).load_state_dict(state, strict=strict)


@pytest.mark.parametrize("what", sorted(set(DIFFERENT) - {"a step more", "shard"}))
def test_every_refusal_can_be_overridden(what: str) -> None:
    """With ``strict=False`` the counts of a state are taken, whatever it was saved with."""
    other, _ = DIFFERENT[what]
    state = state_of(base(make()), 10)
    for strict_of in (lambda ds: ds, iter):
        dataset = other()
        expected = list(other())
        loaded = strict_of(dataset)
        loaded.load_state_dict(state, strict=False)

        assert list(loaded) == expected[10:]


def test_an_overridden_state_without_counts_for_a_step_is_refused() -> None:
    """With ``strict=False`` a chain of other steps is still refused, not guessed at."""
    dataset = base(make()).filter(bool).filter(bool)
    dataset.load_state_dict(state_of(base(make())), strict=False)

    with pytest.raises(StateRefused):
        list(dataset)


class Endless:
    """A backend of as many rows as there can be, each its number in many columns."""

    fingerprint = "f" * 64

    def __init__(self, columns: int) -> None:
        self.column_names = [f"a rather long name of column {n}" for n in range(columns)]
        self.features: FeaturesJson = {}

    def __len__(self) -> int:
        return (1 << 62) - 1

    def chunks(self, selection: Selection) -> Iterator[Chunk]:
        for position in selection.positions:
            yield Numbers([dict.fromkeys(selection.columns or self.column_names, position)])


class Numbers:
    """A chunk of rows."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> list[dict[str, Any]]:
        return self._rows


def test_states_are_small() -> None:
    """A state stays under 2 KiB with the most rows, the largest window, and 16 steps."""
    dataset = ComposableIterableDataset(Endless(1)).shuffle(MAX_SEED, MAX_WINDOW_ROWS, 65_536)
    dataset = dataset.slice((1 << 61) - 5).shard(3, 2, contiguous=False)
    for _ in range(8):
        dataset = dataset.filter(lambda row: True)
        dataset = dataset.map(lambda batch: {}, batched=True, batch_size=1000)
    dataset.set_epoch(MAX_SEED)
    state = json.loads(json.dumps(iter(dataset).state_dict()))
    inner = state["at"]
    while inner:
        inner.update({key: (1 << 62) - 1 for key in inner if key != "source"})
        inner = inner.get("source")

    assert len(json.dumps(state)) <= MAX_STATE_BYTES


def test_states_of_many_columns_are_small() -> None:
    """The names of a thousand columns take no more room in a state than a few do."""
    dataset = ComposableIterableDataset(Endless(1000))
    names = dataset.backend.column_names
    read = dataset.remove_columns(names[0])
    kept = dataset.filter(bool).select_columns(names[1:])
    for pipeline, other in ((read, names[1]), (kept, names[2])):
        state = state_of(pipeline, 1)

        assert len(json.dumps(state)) <= MAX_STATE_BYTES
        with pytest.raises(StateRefused, match="columns|steps"):
            pipeline.remove_columns(other).load_state_dict(state)

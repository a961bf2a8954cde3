"""A dataset's rows: views, steps, lengths, independence."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import datasets
import pytest

from fdss.client import ComposableIterableDataset, InMemoryBackend
from fdss.errors import (
    BadParameter,
    BadRequest,
    IterationBroken,
    NotIndexable,
    UnknownColumn,
    UnsupportedStep,
)

ROWS = [{"n": n, "text": f"row {n}"} for n in range(23)]


def make(count: int = 23, **options: Any) -> ComposableIterableDataset:
    rows = [{"n": n, "text": f"row {n}"} for n in range(count)]
    return ComposableIterableDataset(InMemoryBackend(rows), **options)


def numbers(dataset: ComposableIterableDataset) -> list[int]:
    return [row["n"] for row in dataset]


def double(row: dict[str, Any]) -> dict[str, Any]:
    return {"double": 2 * row["n"]}


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (2, 5, slice(2, 5)),
        (None, 4, slice(None, 4)),
        (-3, None, slice(-3, None)),
        (0.0, 0.5, slice(0, 12)),
        ("0.5", None, slice(12, None)),
        ("10%", "90%", slice(2, 21)),
        (0, 1.0, slice(None)),
    ],
)
def test_slice_bounds(start: Any, end: Any, expected: slice) -> None:
    """A bound is a count, a fraction, the text of one, or a percentage."""
    assert list(make().slice(start, end)) == ROWS[expected]


@pytest.mark.parametrize(
    ("start", "end"),
    [(5, 5), (6, 2), (0, 24), (-24, None), (1.5, None), ("x", None), (None, "200%")],
)
def test_bad_slices_are_refused(start: Any, end: Any) -> None:
    """A slice that is empty or out of range is refused, not silently short."""
    with pytest.raises(BadParameter):
        make().slice(start, end)


def test_slices_compose() -> None:
    """A slice of a slice counts from the slice, with every kind of step between."""
    dataset = make().slice(3, 20).select(range(1, 15, 2)).slice(1, -1)

    assert list(dataset) == ROWS[3:20][1:15:2][1:-1]


def test_select_takes_even_steps_only() -> None:
    """Indices that do not rise by one constant step are refused with what helps."""
    assert numbers(make().select([4, 8, 12])) == [4, 8, 12]
    with pytest.raises(UnsupportedStep) as caught:
        make().select([4, 2, 9])
    assert "filter" in caught.value.hint
    with pytest.raises(BadParameter):
        make().select([])
    with pytest.raises(BadParameter):
        make().select([22, 23])


@pytest.mark.parametrize(
    ("index", "asked"), [(5, "5"), ("text", "'text'"), (slice(2), "slice(None, 2, None)")]
)
def test_rows_are_not_picked_by_number(index: Any, asked: str) -> None:
    """With torch and without, a number in brackets is a TypeError that says what helps."""
    with pytest.raises(TypeError) as caught:
        make()[index]

    assert isinstance(caught.value, NotIndexable)
    assert caught.value.message.startswith(f"dataset[{asked}]: ")
    for way in ("skip(n)", "take(n)", "slice(start, end)", "select(indices)", "select_columns("):
        assert way in caught.value.hint


def test_shards_are_contiguous_and_disjoint() -> None:
    """Of 23 rows in 4 shards the parts hold 6, 6, 6 and 5 consecutive rows."""
    shards = [numbers(make().shard(4, index)) for index in range(4)]

    assert [len(shard) for shard in shards] == [6, 6, 6, 5]
    assert sum(shards, []) == list(range(23))


@pytest.mark.parametrize("contiguous", [True, False])
def test_shards_agree_with_datasets(contiguous: bool) -> None:
    """A shard holds the rows that ``Dataset.shard`` gives."""
    reference = datasets.Dataset.from_list(ROWS)
    for index in range(5):
        ours = list(make().shard(5, index, contiguous=contiguous))

        assert ours == list(reference.shard(5, index, contiguous=contiguous))


def test_shard_out_of_range_is_refused() -> None:
    """An index that is no shard's is refused."""
    for num_shards, index in [(4, 4), (0, 0), (4, -1)]:
        with pytest.raises(BadParameter):
            make().shard(num_shards, index)


def test_shuffle_is_a_permutation_that_depends_on_seed_and_epoch() -> None:
    """Each seed and each epoch has its own order of the same rows."""
    dataset = make(500).shuffle(seed=1)
    orders = [numbers(dataset)]
    dataset.set_epoch(1)
    orders.append(numbers(dataset))
    orders.append(numbers(make(500).shuffle(seed=2)))
    dataset.set_epoch(0)

    assert all(sorted(order) == list(range(500)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert numbers(dataset) == orders[0]


def test_a_slice_before_the_shuffle_keeps_its_rows() -> None:
    """Shuffling a slice mixes its rows and lets no other row in; a held-out part stays out."""
    kept, held_out = make(100).slice(0, "80%"), make(100).slice("80%")

    assert sorted(numbers(kept.shuffle(seed=3))) == list(range(80))
    assert sorted(numbers(held_out.shuffle(seed=3))) == list(range(80, 100))


def test_a_slice_after_the_shuffle_takes_from_the_shuffled_order() -> None:
    """A slice, shard or take of a shuffled dataset cuts its order."""
    shuffled = make(100).shuffle(seed=3)
    order = numbers(shuffled)

    assert numbers(shuffled.take(10)) == order[:10]
    assert numbers(shuffled.skip(90)) == order[90:]
    assert numbers(shuffled.slice(20, 40).shard(2, 1)) == order[30:40]
    assert numbers(shuffled.shard(3, 1, contiguous=False)) == order[1::3]


def test_shuffle_of_a_shuffled_slice_is_refused() -> None:
    """A second shuffle takes the place of the first; after a slice between them it is refused."""
    assert numbers(make().shuffle(seed=1).shuffle(seed=2)) == numbers(make().shuffle(seed=2))
    with pytest.raises(UnsupportedStep):
        make().shuffle(seed=1).take(5).shuffle(seed=2)


def test_shuffle_without_seed_draws_one() -> None:
    """An undrawn seed is drawn once, and is the same for every pass over the dataset."""
    dataset = make(200).shuffle()

    assert numbers(dataset) == numbers(dataset)
    assert isinstance(iter(dataset).state_dict()["view"]["shuffle"]["seed"], int)


@pytest.mark.parametrize("seed", [-1, 2**64, True, "7"])
def test_bad_seeds_are_refused(seed: Any) -> None:
    """A seed is an integer from 0 to 2**64 - 1."""
    with pytest.raises(BadParameter):
        make().shuffle(seed=seed)


def test_set_epoch_without_shuffle_changes_nothing() -> None:
    """Without a shuffle every epoch has the stored order."""
    dataset = make()
    dataset.set_epoch(3)

    assert list(dataset) == ROWS


def test_map_merges_and_drops() -> None:
    """A map's result is merged over the row; None drops the row."""
    dataset = make().map(lambda row: None if row["n"] % 2 else {"n": -row["n"], "even": True})

    assert list(dataset)[1] == {"n": -2, "text": "row 2", "even": True}
    assert len(list(dataset)) == 12


def test_map_arguments() -> None:
    """Columns, index and keyword arguments reach the function as ``datasets`` passes them."""
    dataset = make().map(
        lambda n, text, index, *, plus: {"sum": n + index + plus, "text": text.upper()},
        with_indices=True,
        input_columns=["n", "text"],
        remove_columns="n",
        fn_kwargs={"plus": 100},
    )

    assert list(dataset)[2] == {"text": "ROW 2", "sum": 104}


def test_map_must_return_a_dict() -> None:
    """A result that is no dict is refused with the function's name."""
    with pytest.raises(BadRequest, match="double_wrong"):

        def double_wrong(row: dict[str, Any]) -> int:
            return 2

        list(make().map(double_wrong))


@pytest.mark.parametrize("batch_size", [1, 5, 23, 1000, None])
@pytest.mark.parametrize("drop_last_batch", [False, True])
def test_batched_map_agrees_with_datasets(batch_size: int | None, drop_last_batch: bool) -> None:
    """A batched map gives the rows that ``datasets`` gives, one for one."""

    def add(batch: dict[str, list[Any]], indices: list[int]) -> dict[str, list[Any]]:
        return {"size": [len(batch["n"])] * len(batch["n"]), "index": indices}

    options: dict[str, Any] = {
        "with_indices": True,
        "batched": True,
        "batch_size": batch_size,
        "drop_last_batch": drop_last_batch,
    }
    reference = datasets.Dataset.from_list(ROWS).to_iterable_dataset().map(add, **options)

    assert list(make().map(add, **options)) == list(reference)


def repeat(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {"m": [n for n in batch["n"] for _ in range(n % 4)]}


def test_batched_map_may_change_the_number_of_rows() -> None:
    """A batched map may return more rows, fewer, or none for a batch."""
    dataset = make().map(repeat, batched=True, batch_size=4, remove_columns=["n", "text"])
    nothing = make().map(lambda batch: {}, batched=True, remove_columns=["n", "text"])

    assert [row["m"] for row in dataset] == [n for n in range(23) for _ in range(n % 4)]
    assert list(nothing) == []


def test_batched_map_refuses_columns_of_different_lengths() -> None:
    """Rows are never paired with rows they do not belong to."""
    with pytest.raises(BadRequest) as caught:
        list(make().map(repeat, batched=True))
    assert "remove_columns" in caught.value.hint


def test_maps_of_both_kinds_chain() -> None:
    """Batched and unbatched maps with different batch sizes follow one another."""
    dataset = (
        make()
        .map(double)
        .map(
            lambda batch: {"size": [len(batch["n"])] * len(batch["n"])}, batched=True, batch_size=4
        )
        .filter(lambda row: row["n"] % 3 == 0)
        .map(lambda batch: {"n": batch["n"]}, batched=True, batch_size=3)
    )

    assert [row["n"] for row in dataset] == list(range(0, 23, 3))
    assert {row["size"] for row in dataset} == {4, 3}
    assert all(row["double"] == 2 * row["n"] for row in dataset)


def test_filters() -> None:
    """Filters keep rows by row, by columns, by index and by the batch."""
    even = [row for n, row in enumerate(ROWS) if n % 2 == 0]

    assert list(make().filter(lambda row: row["n"] % 2 == 0)) == even
    assert list(make().filter(lambda n: n % 2 == 0, input_columns="n")) == even
    assert list(make().filter(lambda row, index: index % 2 == 0, with_indices=True)) == even
    assert (
        list(
            make().filter(
                lambda batch: [n % 2 == 0 for n in batch["n"]], batched=True, batch_size=4
            )
        )
        == even
    )


def test_a_batched_filter_must_answer_for_every_row() -> None:
    """A list of answers of another length than the batch is refused."""
    with pytest.raises(BadRequest):
        list(make().filter(lambda batch: [True], batched=True))


def test_take_and_skip_count_what_comes_out() -> None:
    """Behind a filter, take and skip count the rows that passed it."""
    even = make().filter(lambda row: row["n"] % 2 == 0)

    assert numbers(even.take(3)) == [0, 2, 4]
    assert numbers(even.skip(9)) == [18, 20, 22]
    assert numbers(even.skip(2).take(2)) == [4, 6]
    assert numbers(make().take(100)) == list(range(23))
    assert numbers(make().skip(100)) == []


def test_take_asks_for_no_row_too_many() -> None:
    """The row after the last one taken is never made."""
    seen: list[int] = []

    def see(row: dict[str, Any]) -> dict[str, Any]:
        seen.append(row["n"])
        return {}

    dataset = make().map(see).take(3)

    assert numbers(dataset) == [0, 1, 2]
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("method", ["shuffle", "slice", "shard", "select"])
def test_views_cannot_follow_take(method: str) -> None:
    """A step that would change which rows are taken is refused."""
    dataset = make().filter(lambda row: True).take(5)
    arguments: dict[str, tuple[Any, ...]] = {"shard": (2, 0), "select": (range(2),)}
    with pytest.raises(UnsupportedStep):
        getattr(dataset, method)(*arguments.get(method, (1,)))


def test_batch_agrees_with_datasets() -> None:
    """``batch`` gathers rows into columns as ``datasets`` does."""
    reference = datasets.Dataset.from_list(ROWS).to_iterable_dataset()
    for drop in (False, True):
        assert list(make().batch(4, drop_last_batch=drop)) == list(
            reference.batch(4, drop_last_batch=drop)
        )


def test_columns_are_followed_through_steps() -> None:
    """``column_names`` tells the columns that come out, also behind a map."""
    dataset = make()

    assert dataset.column_names == ["n", "text"]
    assert dataset.remove_columns("n").column_names == ["text"]
    assert dataset.select_columns(["text", "n"]).column_names == ["text", "n"]
    assert dataset.remove_columns(["n", "text"]).column_names == []
    assert dataset.rename_column("n", "m").column_names == ["m", "text"]
    assert dataset.map(double).column_names == ["n", "text", "double"]
    assert dataset.map(double, remove_columns="text").column_names == ["n", "double"]
    assert dataset.with_indices().column_names == ["n", "text", "index"]
    assert dataset.filter(lambda row: False).map(double).column_names is None


def test_column_steps_do_what_they_say() -> None:
    """Removing, selecting, renaming and numbering columns works at any place of a chain."""
    for dataset in (make(), make().map(double)):
        assert next(iter(dataset.remove_columns(["text"])))["n"] == 0
        assert list(next(iter(dataset.select_columns(["text"])))) == ["text"]
        assert list(next(iter(dataset.rename_column("n", "m"))))[:2] == ["m", "text"]
        assert [row["i"] for row in dataset.with_indices("i").take(3)] == [0, 1, 2]


@pytest.mark.parametrize("format_", ["python", "arrow"])
def test_numbers_stay_with_their_rows(format_: str) -> None:
    """Rows that are skipped or taken behind ``with_indices`` keep the numbers they have there."""
    numbered = make().shuffle(seed=1).with_indices().with_format(format_)
    everything = list(numbered)

    assert list(numbered.skip(5)) == everything[5:]
    assert list(numbered.skip(5).skip(3).take(4)) == everything[8:12]


@pytest.mark.parametrize("format_", ["python", "numpy", "arrow"])
def test_rows_without_columns_are_counted(format_: str) -> None:
    """A row whose last column was removed is still a row, in every format."""
    bare = make().with_format(format_).map(lambda row: row).remove_columns(["n", "text"])

    assert len(list(bare)) == 23
    assert sum(batch.num_rows for batch in bare.with_format("arrow").iter(5)) == 23


def test_columns_that_a_row_has_not_are_refused() -> None:
    """Behind a map, a column that is not there is refused by the first row without it."""
    mapped = make().map(lambda row: {"m": row["n"]})
    for wrong in (
        mapped.select_columns(["m", "typo"]),
        mapped.map(lambda typo: {}, input_columns="typo"),
        mapped.with_format("arrow").map(lambda table: table).select_columns("typo"),
    ):
        with pytest.raises(UnknownColumn, match="typo"):
            list(wrong)


def test_unknown_columns_are_refused_when_they_are_named() -> None:
    """A column that does not exist is refused by the step, not by the first row."""
    wrongs: list[Callable[[ComposableIterableDataset], object]] = [
        lambda ds: ds.remove_columns("x"),
        lambda ds: ds.select_columns(["n", "x"]),
        lambda ds: ds.rename_column("x", "y"),
        lambda ds: ds.map(double, input_columns="x"),
        lambda ds: ds.filter(double, input_columns="x"),
    ]
    for wrong in wrongs:
        with pytest.raises(UnknownColumn, match="'x'"):
            wrong(make())
    with pytest.raises(BadParameter):
        make().rename_column("n", "text")
    with pytest.raises(BadParameter):
        make().select_columns(["n", "n"])


def test_loops_are_independent() -> None:
    """Two loops over one dataset, and a loop begun again, never move one another."""
    dataset = make()
    first, second = iter(dataset), iter(dataset)
    next(first), next(first)

    assert next(second) == ROWS[0]
    assert next(first) == ROWS[2]
    assert list(dataset) == ROWS


def test_an_error_is_no_end() -> None:
    """An iterator that an error has ended says so again, and its state goes on behind it."""
    broken = True

    def fail_once(row: dict[str, Any]) -> dict[str, Any]:
        nonlocal broken
        if row["n"] == 5 and broken:
            broken = False
            raise ZeroDivisionError
        return {}

    dataset = make().map(fail_once)
    iterator = iter(dataset)
    given = [next(iterator) for _ in range(5)]
    state = iterator.state_dict()
    with pytest.raises(ZeroDivisionError):
        next(iterator)
    with pytest.raises(IterationBroken):
        next(iterator)
    dataset.load_state_dict(state)

    assert given + list(dataset) == ROWS


def test_a_closed_iterator_is_at_its_end() -> None:
    """An iterator that was closed on purpose gives no row and no error."""
    iterator = iter(make())
    next(iterator)
    iterator.close()

    assert list(iterator) == []


def test_derived_datasets_are_independent() -> None:
    """Iterating a slice moves no other slice of the same backend."""
    dataset = make()
    left, right = iter(dataset.slice(0, 10)), iter(dataset.slice(5, 15))

    assert [next(left)["n"], next(right)["n"], next(left)["n"], next(right)["n"]] == [0, 5, 1, 6]


def test_rows_given_out_are_the_callers() -> None:
    """Changing a row does not change what the next pass gives."""
    dataset = make()
    for row in dataset:
        row["n"] = None

    assert list(dataset) == ROWS


def test_rows_that_are_none_go_through_steps() -> None:
    """A row that is None has no columns, and goes through every step as a row."""
    rows: list[Any] = [None, {"n": 1}, {}]
    dataset = ComposableIterableDataset(InMemoryBackend(rows))

    assert list(dataset.rename_column("n", "m")) == [None, {"m": 1}, {}]
    assert list(dataset.map(lambda row: {"d": bool(row)})) == [
        {"d": False},
        {"n": 1, "d": True},
        {"d": False},
    ]
    assert list(dataset.with_indices()) == [{"index": 0}, {"n": 1, "index": 1}, {"index": 2}]
    assert list(dataset.batch(3)) == list(dataset.iter(3)) == [{"n": [None, 1, None]}]
    assert list(dataset.filter(lambda row: row is None)) == [None]


def test_rows_may_be_none_or_empty() -> None:
    """A row may be None or an empty dict."""
    rows: list[Any] = [None, {}, {"n": 1}, None]

    assert list(ComposableIterableDataset(InMemoryBackend(rows))) == rows


def test_datasets_pickle() -> None:
    """A dataset crosses to a spawned worker with its view, steps and epoch."""
    dataset = make(100).shuffle(seed=5).map(double).filter(odd).take(7)
    dataset.set_epoch(2)
    expected = list(dataset)

    assert list(pickle.loads(pickle.dumps(dataset))) == expected


def odd(row: dict[str, Any]) -> bool:
    return bool(row["n"] % 2)


def test_static_length_is_the_views() -> None:
    """A static length never changes."""
    dataset = make(length_estimate="static").filter(odd)
    list(dataset)

    assert len(dataset) == 23


@pytest.mark.parametrize("mode", ["dynamic", "exact"])
def test_a_whole_pass_makes_the_length_exact(mode: str) -> None:
    """After a pass to the end the length is what came out; a broken pass does not spoil it."""
    dataset = make(length_estimate=mode).filter(odd)
    list(dataset)

    assert len(dataset) == 11

    next(iter(dataset))

    assert len(dataset) == 11
    assert dataset.get_length_stats()["cached_exact"] == 11


def test_a_dynamic_length_follows_the_ratio() -> None:
    """In the middle of a first pass the length follows the rows made for those read."""
    dataset = make(100).map(repeat, batched=True, batch_size=4, remove_columns=["n", "text"])
    iterator = iter(dataset)
    for _ in range(12):
        next(iterator)

    assert len(dataset) == round(100 * 12 / 8)
    assert dataset.get_length_stats()["ratio"] == 1.5


def test_reset_length_on_iter() -> None:
    """With ``reset_length_on_iter`` an exact length is forgotten when a pass begins."""
    dataset = make(reset_length_on_iter=True).filter(odd)
    list(dataset)
    next(iter(dataset))

    assert dataset.get_length_stats()["cached_exact"] is None


def test_length_without_row_changing_steps_is_known() -> None:
    """Views and column steps have an exact length from the start."""
    assert len(make().slice(3, 10).shuffle(seed=1).rename_column("n", "m")) == 7


def test_an_unknown_length_mode_is_refused() -> None:
    """A mode that does not exist is refused at once."""
    with pytest.raises(BadParameter, match="sometimes"):
        make(length_estimate="sometimes")

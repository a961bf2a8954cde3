"""Order v1: pinned for ever, a bijection for every size, and as mixed as it claims to be."""

from __future__ import annotations

import tracemalloc
import warnings
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from fdss.backend import MAX_SEED, MAX_WINDOW_ROWS
from fdss.errors import BadParameter
from fdss.order import Order, epoch_seed, splitmix64

# (count, seed, block, window), positions, rows. Never change one: saved states depend on them.
PINNED = [
    ((10, 0, 1, 0), [0, 1, 2, 3, 4, 5, 6, 8, 9], [3, 2, 9, 6, 7, 5, 1, 0, 8]),
    ((10, 1, 3, 0), [0, 1, 2, 3, 4, 5, 6, 8, 9], [9, 0, 1, 2, 6, 7, 8, 4, 5]),
    ((10, 1, 3, 4), [0, 1, 2, 3, 4, 5, 6, 8, 9], [0, 2, 9, 1, 8, 3, 7, 4, 5]),
    ((100, 7, 16, 0), [0, 1, 2, 3, 50, 51, 98, 99], [32, 33, 34, 35, 98, 99, 30, 31]),
    ((300, 42, 1, 7), [0, 1, 2, 3, 150, 151, 299], [225, 205, 29, 227, 191, 108, 292]),
    ((37, 11, 3, 131_072), [0, 1, 2, 18, 19, 36], [6, 11, 30, 32, 0, 2]),
    ((1000, 5, 16, 1001), [0, 1, 2, 500, 501, 999], [847, 643, 515, 368, 424, 771]),
    ((1000, 5, 16, 131_072), [0, 1, 2, 500, 501, 999], [847, 643, 515, 368, 424, 771]),
    ((1000, MAX_SEED, 16, 100), [0, 1, 2, 500, 501, 999], [554, 558, 572, 728, 62, 928]),
    ((100003, 12345, 16, 1000), [0, 1, 50001, 100002], [21060, 13808, 57047, 93887]),
    (
        (100003, 12345, 16, 131_072),
        [0, 1, 2, 50001, 50002, 100002],
        [95983, 39306, 4635, 40977, 53575, 78241],
    ),
    (
        (1 << 40, 9, 64, 1000),
        [0, 1, 2, 549755813888, 1099511627775],
        [386275828042, 1020139424137, 608703198867, 762518547976, 778322165293],
    ),
]


def places(count: int) -> NDArray[np.int64]:
    """Return every position of an order."""
    return np.arange(count, dtype=np.int64)


def reference_row(position: int, count: int, seed: int, block: int) -> int:
    """Return the row at a position of the block order, by the definition and one at a time."""

    def mixed(value: int) -> int:
        value = (value + 0x9E3779B97F4A7C15) & MAX_SEED
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MAX_SEED
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MAX_SEED
        return value ^ (value >> 31)

    blocks = -(-count // block)
    half = max(8, (blocks - 1).bit_length() + 1) // 2
    keys = [mixed(mixed(seed) ^ step) for step in range(8)]
    sequence: list[int] = []
    for slot in range(blocks):
        value = slot
        while True:
            left, right = value >> half, value & ((1 << half) - 1)
            for key in keys:
                left, right = right, left ^ (mixed(right ^ key) >> (64 - half))
            value = (left << half) | right
            if value < blocks:
                break
        sequence.extend(range(value * block, min(count, (value + 1) * block)))
    return sequence[position]


@pytest.mark.parametrize(("arguments", "positions", "rows"), PINNED)
def test_pinned(
    arguments: tuple[int, int, int, int], positions: list[int], rows: list[int]
) -> None:
    """The rows at these positions are the same in every release."""
    found = Order(*arguments).rows(np.array(positions, np.int64))
    assert found.tolist() == rows


def test_pinned_hashes() -> None:
    """The hash is SplitMix64, and the seeds of epochs never change."""
    hashed = splitmix64(np.array([0, 1, MAX_SEED], np.uint64))
    assert hashed.tolist() == [16294208416658607535, 10451216379200822465, 16490336266968443936]
    assert epoch_seed(1, 2) == 13608149317741381227
    assert epoch_seed(2, 1) == 16171810823986729605


@pytest.mark.parametrize(("count", "block"), [(1, 1), (700, 1), (100, 7), (5000, 16), (4097, 4)])
def test_definition(count: int, block: int) -> None:
    """The vectorised order is the one that the definition gives row by row."""
    found = Order(count, 99, block).rows(places(count)).tolist()
    some = range(0, count, max(1, count // 7))
    assert [found[place] for place in some] == [
        reference_row(place, count, 99, block) for place in some
    ]


@pytest.mark.parametrize(("block", "window"), [*product([1, 2, 3, 16, 64], [0, 1, 2, 5, 1000])])
def test_bijection(block: int, window: int) -> None:
    """Every count of 0 to 300 rows is ordered without loss or repetition, and back again."""
    for count in range(301):
        order = Order(count, count * 31 + window, block, window)
        rows = order.rows(places(count))
        assert sorted(rows.tolist()) == list(range(count))
        assert np.array_equal(order.positions(rows), places(count))


@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 4096, 65_537])
def test_bijection_at_edges(count: int) -> None:
    """Counts at the edges of the network's domains are ordered without loss."""
    rows = Order(count, MAX_SEED, 1, MAX_WINDOW_ROWS).rows(places(count))
    assert np.array_equal(np.sort(rows), places(count))


@pytest.mark.parametrize("window", [0, 7, 1000])
def test_slices(window: int) -> None:
    """Rows do not depend on which positions are asked for together, or in which order."""
    order = Order(10_007, 5, 16, window)
    whole = order.rows(places(10_007))
    for some in (slice(0, 1), slice(3, 900), slice(990, 2100, 13), slice(10_000, None)):
        assert np.array_equal(order.rows(places(10_007)[some]), whole[some])
    backwards = places(10_007)[::-1]
    assert np.array_equal(Order(10_007, 5, 16, window).rows(backwards), whole[::-1])
    assert order.rows(np.array([], np.int64)).tolist() == []


def test_no_seed() -> None:
    """Without a seed the order is the stored one, whatever block and window say."""
    assert np.array_equal(Order(50, None, 3, 7).rows(places(50)), places(50))


def test_blocks_stay_together() -> None:
    """Rows of a block follow one another in their stored order."""
    rows = Order(1600, 3, 16).rows(places(1600)).reshape(100, 16)
    assert (np.diff(rows, axis=1) == 1).all()
    assert (rows[:, 0] % 16 == 0).all()


def test_windows_stay_in_place() -> None:
    """A window holds the same rows with and without mixing, in another order."""
    plain, mixed = (Order(2500, 8, 16, window).rows(places(2500)) for window in (0, 1000))
    for begin in (0, 1000, 2000):
        inside = slice(begin, begin + 1000)
        assert sorted(plain[inside]) == sorted(mixed[inside])
        assert not np.array_equal(plain[inside], mixed[inside])


@pytest.mark.parametrize("count", [2, 17, 1000, 5003])
def test_a_window_of_all_rows(count: int) -> None:
    """A window of more rows than there are is one of all of them."""
    whole = Order(count, 8, 16, count).rows(places(count))
    for window in (count + 1, MAX_WINDOW_ROWS):
        order = Order(count, 8, 16, window)
        assert np.array_equal(order.rows(places(count)), whole)
        assert np.array_equal(order.positions(whole), places(count))


def test_cost_of_a_window_is_that_of_the_rows() -> None:
    """A window far larger than the dataset costs no more than the dataset."""
    tracemalloc.start()
    Order(1000, 1, 16, MAX_WINDOW_ROWS).rows(places(1))
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < 1 << 18


def test_little_is_held_between_pages() -> None:
    """Between two pages an order holds no more than the window that they share."""
    count = 4 * MAX_WINDOW_ROWS
    order = Order(count, 1, 16, MAX_WINDOW_ROWS)
    tracemalloc.start()
    order.rows(places(count)[:100])
    within, _ = tracemalloc.get_traced_memory()
    order.rows(places(count)[100:MAX_WINDOW_ROWS])
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after < 1 << 16 < within < 5 * MAX_WINDOW_ROWS


def test_position_is_uniform() -> None:
    """Over many seeds a row stands at every position equally often (chi-square, 0.1%)."""
    for block, window, row in [(1, 0, 0), (1, 0, 19), (4, 20, 7), (1, 5, 3)]:
        seen = np.zeros(20)
        for seed in range(4000):
            seen[Order(20, seed, block, window).positions(np.array([row]))[0]] += 1
        assert ((seen - 200) ** 2 / 200).sum() < 43.8


def test_blocks_follow_each_other_by_chance() -> None:
    """Blocks that were neighbours are neighbours afterwards no more often than by chance."""
    followed = sum(
        int((np.diff(Order(2000, seed, 1).rows(places(2000))) == 1).sum()) for seed in range(50)
    )
    assert 20 < followed < 90


def test_seeds_differ() -> None:
    """Neighbouring seeds, and the largest, give unrelated orders."""
    orders = [Order(1000, seed, 1).rows(places(1000)) for seed in (0, 1, 2, MAX_SEED)]
    for first, second in zip(orders, orders[1:], strict=False):
        assert (first == second).sum() < 10


def test_epochs() -> None:
    """Epoch 0 is the seed itself; seeds and epochs do not add up."""
    assert epoch_seed(77, 0) == 77
    assert epoch_seed(1, 2) != epoch_seed(2, 1)
    seeds = {epoch_seed(seed, epoch) for seed, epoch in product(range(50), range(50))}
    assert len(seeds) == 2500
    assert 0 <= epoch_seed(MAX_SEED, MAX_SEED) <= MAX_SEED


def test_cost_is_that_of_the_positions() -> None:
    """A few places of a practically endless dataset are found without touching the others."""
    order = Order((1 << 62) - 1, 1, 65_536, 1 << 10)
    asked = np.array([0, 1 << 40, (1 << 62) - 2], np.int64)
    assert np.array_equal(order.positions(order.rows(asked)), asked)


def test_no_overflow_warnings() -> None:
    """Arithmetic modulo 2**64 is silent even where numpy is told to complain."""
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        Order(1000, MAX_SEED, 3, 10).rows(places(1000))
        epoch_seed(MAX_SEED, MAX_SEED)


@pytest.mark.parametrize(
    ("count", "seed", "block", "window"),
    [(-1, 0, 1, 0), (1, -1, 1, 0), (1, MAX_SEED + 1, 1, 0), (1, 0, 0, 0), (1, 0, 65_537, 0)]
    + [(1, 0, 1, -1), (1, 0, 1, MAX_WINDOW_ROWS + 1)],
)
def test_refused(count: int, seed: int, block: int, window: int) -> None:
    """Arguments out of range are refused."""
    with pytest.raises(BadParameter):
        Order(count, seed, block, window)


@pytest.mark.parametrize(("seed", "epoch"), [(-1, 0), (0, -1), (MAX_SEED + 1, 1)])
def test_epoch_refused(seed: int, epoch: int) -> None:
    """Seeds and epochs out of range are refused."""
    with pytest.raises(BadParameter):
        epoch_seed(seed, epoch)

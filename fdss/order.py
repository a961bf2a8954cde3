"""Order v1: which row stands at a position, for every seed, without a list of all rows.

The rows are cut into blocks of consecutive rows (the last may be short), a keyed permutation puts
the blocks in a sequence, and a second one mixes the positions of each window among themselves.
Everything is integer arithmetic modulo 2**64, so that the order is the same on every platform and
with every version of numpy. It is pinned by vectors in the tests and never changes; a better one
would be called v2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fdss.backend import DEFAULT_BLOCK_ROWS, MAX_BLOCK_ROWS, MAX_SEED, MAX_WINDOW_ROWS
from fdss.errors import BadParameter

Words = NDArray[np.uint64]
Places = NDArray[np.int64]

MAX_ROWS = (1 << 62) - 1

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_ROUNDS = 8
_SMALLEST_BITS = 8
_WINDOW_KEY = 0x77696E646F77  # the letters "window": apart from the round keys 0 to 7
_SPAN_WORDS = 1 << 17

_NONE = (-1, np.empty((0, 0), np.uint32))


def splitmix64(values: Words) -> Words:
    """Return the SplitMix64 hash of each value, a bijection of the 64-bit words.

    It is the output function of Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
    Generators" (OOPSLA 2014), with the constants of Vigna's public-domain ``splitmix64.c``.

    Args:
        values: uint64, any shape but a bare scalar.
    """
    mixed = values + _GAMMA
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
    return mixed ^ (mixed >> np.uint64(31))


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of one epoch; epoch 0 has the seed itself.

    Different epochs of a seed have different seeds, and ``(1, 2)`` is not ``(2, 1)``.

    Args:
        seed: 0 to 2**64 - 1.
        epoch: 0 to 2**64 - 1.

    Raises:
        BadParameter: Either is out of range.
    """
    _check("seed", seed, 0, MAX_SEED)
    _check("epoch", epoch, 0, MAX_SEED)
    return seed if epoch == 0 else _hashed(_hashed(seed) ^ epoch)


class Order:
    """The sequence in which a number of rows is read.

    Without a seed the sequence is the stored one. Asking for places costs time and memory in
    proportion to their number, plus the windows they lie in, whatever the number of rows.
    """

    def __init__(
        self, count: int, seed: int | None, block: int = DEFAULT_BLOCK_ROWS, window: int = 0
    ) -> None:
        """Prepare the order of ``count`` rows.

        Args:
            count: Rows, 0 to 2**62 - 1.
            seed: 0 to 2**64 - 1; None keeps the stored order.
            block: Consecutive rows that stay together, 1 to 65,536.
            window: Positions mixed among themselves, 0 (off) to 131,072; more than
                there are rows mean all of them.

        Raises:
            BadParameter: An argument is out of range.
        """
        _check("count", count, 0, MAX_ROWS)
        _check("block", block, 1, MAX_BLOCK_ROWS)
        _check("window", window, 0, MAX_WINDOW_ROWS)
        if seed is not None:
            _check("seed", seed, 0, MAX_SEED)
        self.count = count
        self._is_stored = seed is None or count < 2
        if seed is None or count < 2:
            return
        self._block = block
        blocks = -(-count // block)
        self._short = count - (blocks - 1) * block
        self._blocks = _Permutation(blocks, seed)
        self._short_slot = int(self._blocks.inverse(np.array([blocks - 1], np.uint64))[0])
        self._windows = _Windows(count, seed, min(window, count)) if window > 1 else None

    def rows(self, positions: Places) -> Places:
        """Return the row at each position.

        Args:
            positions: int64, each 0 to ``count``, end excluded, in any order.
        """
        if self._is_stored or not len(positions):
            return positions.copy()
        if self._windows is not None:
            positions = self._windows.forward(positions)
        # As if the short block were a full one: what comes after it moves up by what it lacks.
        lacking = self._block - self._short
        short_end = self._short_slot * self._block + self._short
        spread = positions + np.where(positions >= short_end, lacking, 0)
        slots, offsets = np.divmod(spread, self._block)
        return self._blocks_at(slots) * self._block + offsets

    def positions(self, rows: Places) -> Places:
        """Return the position of each row: the inverse of ``rows``.

        Args:
            rows: int64, each 0 to ``count``, end excluded, in any order.
        """
        if self._is_stored or not len(rows):
            return rows.copy()
        blocks, offsets = np.divmod(rows, self._block)
        slots = self._blocks.inverse(blocks.astype(np.uint64)).astype(np.int64)
        spread = slots * self._block + offsets
        lacking = self._block - self._short
        found = spread - np.where(slots > self._short_slot, lacking, 0)
        return found if self._windows is None else self._windows.inverse(found)

    def _blocks_at(self, slots: Places) -> Places:
        low, high = int(slots.min()), int(slots.max())
        if high - low < len(slots):
            every = self._blocks.forward(np.arange(low, high + 1, dtype=np.uint64))
            return every.astype(np.int64)[slots - low]
        return self._blocks.forward(slots.astype(np.uint64)).astype(np.int64)


class _Permutation:
    """A keyed permutation of 0 to ``count``: a balanced Feistel network with cycle-walking.

    Black and Rogaway, "Ciphers with Arbitrary Finite Domains" (CT-RSA 2002): the network permutes
    the smallest domain of an even number of bits that holds ``count``; a value that falls outside
    is put through again until it is inside.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count = np.uint64(count)
        bits = max(_SMALLEST_BITS, (count - 1).bit_length())
        self._half = np.uint64((bits + 1) // 2)
        self._mask = np.uint64((1 << int(self._half)) - 1)
        self._shift = np.uint64(64) - self._half
        base = _hashed(seed)
        self._keys = [np.uint64(_hashed(base ^ step)) for step in range(_ROUNDS)]
        # A handful of blocks in a domain of 256 would walk for long: the walks are made once.
        self._table = self._walked(count) if count < 1 << _SMALLEST_BITS else None
        self._inverse_table = None if self._table is None else np.argsort(self._table)

    def forward(self, values: Words) -> Words:
        if self._table is not None:
            return self._table[values.astype(np.int64)]
        return self._walk(values, self._encrypted)

    def inverse(self, values: Words) -> Words:
        if self._inverse_table is not None:
            return self._inverse_table[values.astype(np.int64)].astype(np.uint64)
        return self._walk(values, self._decrypted)

    def _walked(self, count: int) -> Words:
        domain = np.arange(1 << _SMALLEST_BITS, dtype=np.uint64)
        steps = [int(value) for value in self._encrypted(domain)]
        table = []
        for value in steps[:count]:
            while value >= count:
                value = steps[value]
            table.append(value)
        return np.array(table, np.uint64)

    def _walk(self, values: Words, step: Callable[[Words], Words]) -> Words:
        walked = step(values)
        outside = np.flatnonzero(walked >= self._count)
        while len(outside):
            moved = step(walked[outside])
            walked[outside] = moved
            outside = outside[moved >= self._count]
        return walked

    def _encrypted(self, values: Words) -> Words:
        left, right = values >> self._half, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (splitmix64(right ^ key) >> self._shift)
        return (left << self._half) | right

    def _decrypted(self, values: Words) -> Words:
        left, right = values >> self._half, values & self._mask
        for key in reversed(self._keys):
            left, right = right ^ (splitmix64(left ^ key) >> self._shift), left
        return (left << self._half) | right


class _Windows:
    """A permutation within each window of consecutive positions; the last may be short.

    The one of the latest window is kept, as long as positions of it are still to come.
    """

    def __init__(self, count: int, seed: int, window: int) -> None:
        self._count = count
        self._window = window
        self._key = np.uint64(_hashed(_hashed(seed) ^ _WINDOW_KEY))
        self._latest: tuple[int, NDArray[np.uint32]] = _NONE

    def forward(self, positions: Places) -> Places:
        return self._mapped(positions, inverse=False)

    def inverse(self, positions: Places) -> Places:
        return self._mapped(positions, inverse=True)

    def _mapped(self, positions: Places, *, inverse: bool) -> Places:
        numbers, offsets = np.divmod(positions, self._window)
        touched = np.unique(numbers)
        mapped = np.empty_like(positions)
        at_once = max(1, _SPAN_WORDS // self._window)
        for begin in range(0, len(touched), at_once):
            some = touched[begin : begin + at_once]
            orders = self._orders(some)
            if inverse:
                orders = np.argsort(orders, axis=1)
            places = np.searchsorted(some, numbers)
            inside = (numbers >= some[0]) & (numbers <= some[-1])
            mapped[inside] = orders[places[inside], offsets[inside]]
        if (int(positions.max()) + 1) % self._window == 0:
            self._latest = _NONE
        found: Places = mapped + numbers * self._window
        return found

    def _orders(self, numbers: Places) -> Places:
        """Return the order within each of some windows, one row of offsets for each."""
        latest, order = self._latest
        if len(numbers) == 1 and latest == numbers[0]:
            return order.astype(np.int64)
        offsets = np.arange(self._window, dtype=np.int64)
        positions = numbers[:, None] * self._window + offsets
        hashes = splitmix64(positions.astype(np.uint64) ^ self._key)
        # The hash is a bijection and the sort is stable: places past the end come last.
        hashes[positions >= self._count] = np.uint64(MAX_SEED)
        orders: Places = np.argsort(hashes, axis=1, kind="stable")
        self._latest = (int(numbers[-1]), orders[-1:].astype(np.uint32))
        return orders


def _hashed(value: int) -> int:
    return int(splitmix64(np.array([value], np.uint64))[0])


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise BadParameter(f"{name} must be {low} to {high}, found {value}.")

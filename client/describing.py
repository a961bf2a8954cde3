"""The part of a dataset that tells of itself: its rows, columns and length, and how it is read."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from fdss.backend import Backend
from fdss.errors import NotIndexable

from .board import Board
from .distributing import Distributing
from .lengths import Lengths
from .pipeline import Pipeline
from .statistics import Statistics, statistics_of

if TYPE_CHECKING:
    from datasets import Features
    from typing_extensions import Self


class Describing(Distributing):
    """The part of a dataset that tells of itself; nothing here changes anything.

    Attributes:
        load_args: The arguments the backend was loaded with, for the reader's information.
    """

    load_args: dict[str, Any]
    _backend: Backend
    _board: Board
    _described: Pipeline | None
    _lengths: Lengths

    @abstractmethod
    def __iter__(self) -> Iterator[Any]:
        """Return an iterator over the rows."""

    @abstractmethod
    def _fresh(self) -> Self:
        """Return the same dataset, without what passes over this one have left behind."""

    @property
    def backend(self) -> Backend:
        """Return where the rows are."""
        return self._backend

    @property
    def epoch(self) -> int:
        """Return the epoch that the next iteration gives, unless a state says another."""
        return self._epoch.number

    @property
    def n_shards(self) -> int:
        """Return 1: rows are shared out by position, whatever files they lie in."""
        return 1

    @property
    def column_names(self) -> list[str] | None:
        """Return the names of the columns that come out; None when there is no row to tell.

        Behind a ``map`` that is known from the first row, which is made once for the question.
        """
        known = self._known_columns
        if known is None:
            first = next(iter(self._fresh().with_format()), None)
            return None if first is None else list(first)
        return list(known)

    @property
    def features(self) -> Features | None:
        """Return the HF features of the columns that come out; None when they are not known.

        Behind a ``map`` they are what its ``features=`` said.
        """
        from datasets import Features

        told = self._pipeline.features
        return None if told is None else Features.from_dict(told)

    def __len__(self) -> int:
        """Return the number of rows that come out, or its estimate (``length_estimate``)."""
        return self._lengths.estimate(self._pipeline.input_rows, steps=not self._outputs_are_places)

    def __getitem__(self, index: object) -> NoReturn:
        """Refuse to pick a row by its number, with or without torch.

        Raises:
            NotIndexable: Always.
        """
        asked = repr(index) if isinstance(index, int | str | slice) else type(index).__name__
        raise NotIndexable(
            f"dataset[{asked}]: rows come in order, by iteration, and are not picked.",
            hint="skip(n) begins behind n rows, and next(iter(dataset.skip(n))) is one; "
            "take(n), slice(start, end) and select(indices) give a part, "
            "select_columns(names) columns",
        )

    def get_length_stats(self) -> dict[str, Any]:
        """Return what is known of the length: the mode, the counts, the estimate."""
        return self._lengths.stats(self._pipeline.input_rows, steps=not self._outputs_are_places)

    def stats(self) -> Statistics:
        """Return what the newest pass over this dataset has read, in all processes that read it.

        Call it at any time, also while DataLoader workers read: each writes its counts into
        memory that it shares with the process that started it. A dataset made of this one has
        counts of its own, and so has a copy that was pickled for any other reason than to start a
        process. ``print(ds.stats())`` shows a line for each reader.
        """
        snapshots, uncounted = self._board.newest()
        return statistics_of(snapshots, time.perf_counter_ns(), uncounted)

    def __repr__(self) -> str:
        path = self.load_args.get("path", type(self.backend).__name__)
        if self._described is None:
            return f"<{type(self).__name__} {path}>"
        steps = "".join(f".{step.name}" for step in self._pipeline.steps)
        ranks = self._pipeline.ranks
        rank = "" if ranks is None else f" rank={ranks.rank}/{ranks.world_size}"
        return f"<{type(self).__name__} {path} rows={self._pipeline.input_rows}{rank}{steps}>"

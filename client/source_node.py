"""The first node of a chain: rows of a backend."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

from fdss.backend import Backend, Chunk, Selection
from fdss.errors import StateRefused

from .formats import Form
from .formats_blocks import Block, Kinds, Piece, block_of, rebatched
from .meter import Meter
from .nodes import POSITION_KEY, State, count_in
from .shares import Segment, Share


class SourceNode:
    """The rows of a backend in the order of one epoch.

    Args:
        share: The places that are given.
        select: From some of them to what is read.

    Attributes:
        position: Rows that were handed out, 0 to ``len(share)``.
        meter: Counts them; given before the first is asked for.
    """

    meter: Meter

    def __init__(
        self,
        backend: Backend,
        share: Share,
        select: Callable[[Segment], Selection],
        *,
        kinds: Kinds | None,
        state: State | None,
    ) -> None:
        self._backend = backend
        self._share = share
        self._select = select
        self._kinds = kinds
        self.position = 0
        if state is not None:
            self.position = share.restored(count_in(state, POSITION_KEY))
        if self.position > len(share):
            raise StateRefused(
                f"The state stands behind row {self.position:,}; there are only {len(share):,}."
            )

    def rows(self, form: Form) -> Iterator[Any]:
        """Yield the rows from the present position to the end."""
        with closing(self._chunks()) as chunks:
            for chunk in chunks:
                for row in form.of_chunk(chunk, self._kinds):
                    self.position += 1
                    yield row

    def batches(self, form: Form, most: int | None) -> Iterator[tuple[int, Any]]:
        """Yield the same rows by the batch; columns are cut and joined without being read."""
        with closing(self._chunks()) as chunks:
            for batch in rebatched(map(self._piece, chunks), most, self._kinds):
                rows = len(batch)
                self.position += rows
                if isinstance(batch, Block):
                    yield rows, form.of_block(batch)
                else:
                    yield rows, form.of_rows(batch)

    def _chunks(self) -> Generator[Chunk, None, None]:
        meter = self.meter
        for segment in self._share.segments(self.position):
            chunks = meter.chunks(self._backend, self._select(segment))
            try:
                meter.wait(self.position)
                for chunk in chunks:
                    meter.take()
                    yield chunk
                    meter.wait(self.position)
            finally:
                close = getattr(chunks, "close", None)
                if close is not None:
                    close()
                meter.stop(self.position)

    def _piece(self, chunk: Chunk) -> Piece:
        block = block_of(chunk, self._kinds)
        return chunk.rows() if block is None else block.table

    def state(self) -> State:
        """Return the position, as the share counts it."""
        return {POSITION_KEY: self._share.saved(self.position)}

    @property
    def ends_the_epoch(self) -> bool:
        """Return whether behind the last row nothing is left of the epoch, for no rank."""
        return self._share.ends_the_epoch

    def at_end(self) -> bool:
        """Return whether every row was handed out."""
        return self.position >= len(self._share)

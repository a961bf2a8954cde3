"""What DataLoader workers read and the main process sets: the epoch, and where a pass begins."""

from __future__ import annotations

from typing import Any

from fdss.errors import BadParameter

from .ranks import Beginning
from .shared import SharedWords

MAX_WORKERS = 1024


class Epoch:
    """A number in memory that worker processes share.

    A worker that lives on from one epoch to the next (``persistent_workers``) has a dataset of
    its own, and would never hear of ``set_epoch`` otherwise.

    Attributes:
        number: 0 to 2**64 - 1.
        is_named: Whether ``set_epoch`` has named it in this process.
    """

    def __init__(self, number: int = 0) -> None:
        self._shared = SharedWords(1, [number])
        self.is_named = False

    @property
    def number(self) -> int:
        """Return the number."""
        return int(self._shared.words[0])

    @number.setter
    def number(self, number: int) -> None:
        """Set the number, for the workers too."""
        self._shared.words[0] = number

    def __getstate__(self) -> dict[str, Any]:
        return {"_shared": self._shared, "is_named": False}


class Start:
    """Where the passes of a rank begin, in memory that worker processes share.

    A loaded state is where one pass begins, those after it begin at the first row. The main
    process never hears when a DataLoader begins one, so each worker counts its own.
    """

    _BEGAN, _PLACE, _DROPPED, _OUTSIDE, _WORKERS = range(5)

    def __init__(self) -> None:
        self._memory = SharedWords(self._WORKERS + MAX_WORKERS)

    @property
    def _shared(self) -> Any:
        return self._memory.words

    @property
    def newest(self) -> Beginning:
        """Return where the newest pass has begun; before any, where the first one will."""
        return self._of_pass(self._shared[self._WORKERS])

    @property
    def has_begun(self) -> bool:
        """Return whether a pass has begun where it was said last."""
        return bool(self._shared[self._OUTSIDE] or self._shared[self._WORKERS])

    @property
    def has_dropped(self) -> bool:
        """Return whether a row of the newest passes was dropped by a function, in any process."""
        return bool(self._shared[self._DROPPED])

    def note_dropped(self) -> None:
        """Say that a row was dropped."""
        self._shared[self._DROPPED] = 1

    @property
    def has_begun_in_workers(self) -> bool:
        """Return whether a pass has begun in DataLoader workers where it was said last."""
        return bool(self._shared[self._WORKERS])

    def load(self, begin: Beginning) -> None:
        """Let the next pass begin elsewhere."""
        self._shared[self._BEGAN], self._shared[self._PLACE] = begin.began, begin.place
        for at in range(self._DROPPED, len(self._shared)):
            self._shared[at] = 0

    def go_on(self, begin: Beginning) -> None:
        """Say that a pass of this process, which has begun, goes on from elsewhere."""
        self.load(begin)
        self.begin(None)

    def begin(self, worker: int | None) -> Beginning:
        """Return where a pass that begins now does, in a worker or outside of one.

        Raises:
            BadParameter: The worker's number is 1,024 or more.
        """
        if worker is None:
            self._shared[self._OUTSIDE] += 1
            return self.newest
        if worker >= MAX_WORKERS:
            raise BadParameter(f"A rank has at most {MAX_WORKERS} DataLoader workers.")
        self._shared[self._WORKERS + worker] += 1
        return self._of_pass(self._shared[self._WORKERS + worker])

    def _of_pass(self, passes: int) -> Beginning:
        if passes + self._shared[self._OUTSIDE] > 1:
            return Beginning()
        return Beginning(self._shared[self._BEGAN], self._shared[self._PLACE])

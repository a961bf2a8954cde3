"""A mapping that keeps what was used last, up to a number of entries and of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """Values by name, the one used longest ago first; for any number of threads."""

    def __init__(self, most: int, most_bytes: int) -> None:
        """Start empty.

        Args:
            most: Most entries, 1 or more.
            most_bytes: Most bytes of all entries together; a larger one stays alone.
        """
        self._most = most
        self._most_bytes = most_bytes
        self._held: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def __len__(self) -> int:
        return len(self._held)

    def get(self, name: str) -> V | None:
        """Return the value of a name, which is the last used from now on; None if there is none."""
        with self._lock:
            if name not in self._held:
                return None
            self._held.move_to_end(name)
            return self._held[name][0]

    def put(self, name: str, value: V, size_bytes: int) -> None:
        """Keep a value as the last used, and forget those beyond the bounds."""
        with self._lock:
            self._bytes += size_bytes - self._held.pop(name, (value, 0))[1]
            self._held[name] = value, size_bytes
            while len(self._held) > self._most or (
                self._bytes > self._most_bytes and len(self._held) > 1
            ):
                _, (_, freed) = self._held.popitem(last=False)
                self._bytes -= freed

    def items(self) -> list[tuple[str, V]]:
        """Return names and values, the one used longest ago first."""
        with self._lock:
            return [(name, value) for name, (value, _) in self._held.items()]

"""Answers that are given up when they send too much, or too slowly, and nothing comes of it."""

from __future__ import annotations

import io
import time
from http.client import HTTPResponse
from typing import Any

import requests

from .limits import ClientLimits

# What a buffered reader takes beyond the bytes it was asked for.
_SLACK_BYTES = 64 * 1024


class Watch:
    """Counts what is received, and how long it was waited for, since something came of it.

    Without it a server keeps its client for ever: with headers, interim answers, chunk headers
    and trailers that never end, or a byte before every timeout. Time that nobody waits for bytes
    does not count.
    """

    def __init__(self, limits: ClientLimits, timeout_s: float | None) -> None:
        """Begin with the head of an answer.

        Args:
            timeout_s: Longest wait for any bytes, in seconds; None for no end.
        """
        self._limits = limits
        self._timeout_s = timeout_s
        self._bytes = 0
        self._waited_s = 0.0
        self._most_bytes = limits.head_bytes
        self._name = "head_bytes"

    def body(self, limits: ClientLimits) -> None:
        """Begin with the body of an answer."""
        self._limits = limits
        # Chunks of a few bytes take as many bytes again.
        self._most_bytes = 4 * limits.most_batch_bytes
        self._name = "row_bytes" if limits.row_bytes > limits.batch_bytes else "batch_bytes"
        self.progress()

    def progress(self) -> None:
        """Say that something came of what was received."""
        self._bytes = 0
        self._waited_s = 0.0

    def count(self, received_bytes: int, seconds: float) -> None:
        """Take in what one wait has brought.

        Raises:
            AnswerTooLarge: Too much came of which nothing has come.
            TimeoutError: Too little came in all that time.
        """
        self._bytes += received_bytes
        self._waited_s += seconds
        if self._bytes > self._most_bytes + _SLACK_BYTES:
            raise self._limits.too_large(
                self._name, f"{self._bytes:,} bytes of an answer came that hold nothing of use"
            )
        least_bytes_s, timeout_s = self._limits.least_bytes_s, self._timeout_s
        if not least_bytes_s or timeout_s is None:
            return
        if self._waited_s > timeout_s + self._bytes / least_bytes_s:
            raise TimeoutError(
                f"only {self._bytes:,} bytes came in {self._waited_s:.1f} s, and no whole row"
            )


class WatchedResponse(HTTPResponse):
    """An answer whose bytes are counted as they are received.

    Attributes:
        watch: Counts them.
    """

    def __init__(self, sock: Any, *args: Any, limits: ClientLimits, **kwargs: Any) -> None:
        """Take the socket the answer comes from."""
        super().__init__(sock, *args, **kwargs)
        self._limits = limits
        self.watch = Watch(limits, sock.gettimeout())
        received: Any = self.fp
        self.fp = io.BufferedReader(_Watched(received.detach(), self.watch))

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        self.watch.body(self._limits)


def watch_of(response: requests.Response, limits: ClientLimits) -> Watch:
    """Return the watch over an answer; over one of a connection of another kind, one without it."""
    found = getattr(response.raw._fp, "watch", None)
    if found is None:
        return Watch(limits, None)
    watch: Watch = found
    watch.body(limits)
    return watch


class _Watched(io.RawIOBase):
    """The bytes of a socket, each wait for them told to a watch."""

    def __init__(self, received: Any, watch: Watch) -> None:
        self._received = received
        self._watch = watch

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        begun_s = time.perf_counter()
        count: int | None = self._received.readinto(buffer)
        self._watch.count(count or 0, time.perf_counter() - begun_s)
        return count

    def close(self) -> None:
        if not self.closed:
            self._received.close()
        super().close()

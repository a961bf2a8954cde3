"""Child processes: readers that pass over the rows when they are told, and servers."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

START_TIMEOUT_S = 600.0
PASS_TIMEOUT_S = 1800.0

# A fork would inherit threads and connections; every child begins from nothing.
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Amount:
    """What one pass read.

    Attributes:
        rows: Rows.
        size_bytes: Bytes, where the pass counts them.
        wrong_rows: Rows that were not those that are stored, where the pass looks.
        memory_bytes: Most memory in each part of the pass, where it looks.
    """

    rows: int
    size_bytes: int = 0
    wrong_rows: int = 0
    memory_bytes: tuple[int, ...] = ()

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.rows + other.rows,
            self.size_bytes + other.size_bytes,
            self.wrong_rows + other.wrong_rows,
            self.memory_bytes + other.memory_bytes,
        )


@dataclass(frozen=True)
class Pass:
    """One timed pass: what was read, seconds on the clock, seconds of the reader's CPU."""

    amount: Amount
    seconds: float
    cpu_s: float


Read: TypeAlias = Callable[[], Amount]
MakeRead: TypeAlias = Callable[..., Read]


def counted(rows: Iterable[Any]) -> Read:
    """Return a pass that takes rows one by one, as a training loop does, and counts them."""

    def read() -> Amount:
        count = 0
        for _ in rows:
            count += 1
        return Amount(count)

    return read


class Reader:
    """A child process that makes a pass over its rows each time it is told to."""

    def __init__(self, make: MakeRead, arguments: dict[str, Any]) -> None:
        """Start the process, which calls ``make`` once; returns when that is done."""
        self._pipe, child_pipe = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=_read_when_told, args=(child_pipe, make, arguments), daemon=False
        )
        self._process.start()
        child_pipe.close()
        self._answer(START_TIMEOUT_S)

    def begin(self, times: int = 1) -> None:
        """Tell it to begin a pass, which reads ``times`` times."""
        self._pipe.send(times)

    def result(self) -> Pass:
        """Return the pass that was begun, once it is over."""
        result: Pass = self._answer(PASS_TIMEOUT_S)
        return result

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        _end(self._process)

    def _answer(self, timeout_s: float) -> Any:
        if not self._pipe.poll(timeout_s):
            raise TimeoutError(f"No answer of a reader in {timeout_s:.0f} s.")
        answer = self._pipe.recv()
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer


@contextmanager
def served(serve: Callable[..., None], **arguments: Any) -> Iterator[tuple[int, int]]:
    """Run a server in a child process; give its process id and its port.

    Args:
        serve: Called in the child with ``tell``, which it calls with its port, and ``arguments``.
    """
    pipe, child_pipe = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(child_pipe, serve, arguments), daemon=False)
    process.start()
    child_pipe.close()
    try:
        if not pipe.poll(START_TIMEOUT_S):
            raise TimeoutError(f"No server after {START_TIMEOUT_S:.0f} s.")
        assert process.pid is not None
        yield process.pid, pipe.recv()
    finally:
        pipe.close()
        _end(process)


def _serve(pipe: Connection, serve: Callable[..., None], arguments: dict[str, Any]) -> None:
    serve(pipe.send, **arguments)


def _read_when_told(pipe: Connection, make: MakeRead, arguments: dict[str, Any]) -> None:
    try:
        read = make(**arguments)
        pipe.send(None)
        while times := pipe.recv():
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            amount = sum((read() for _ in range(times)), Amount(0))
            seconds = time.perf_counter() - began_s
            pipe.send(Pass(amount, seconds, time.process_time() - began_cpu_s))
    except EOFError:
        return
    except Exception as error:  # the edge of the process: the parent raises it
        pipe.send(f"{make.__module__}.{make.__name__}: {error!r}")


def _end(process: Any) -> None:
    process.join(1)
    if process.is_alive():
        process.terminate()
        process.join(10)
    if process.is_alive():
        process.kill()
        process.join()

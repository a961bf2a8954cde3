"""Clients that come and go: ``python -m benchmarks.soak --minutes N``.

Clients seek to random positions, shuffled or not, check what they read, break off in the middle,
ask and read nothing, and are killed. The table says what the server held all the while: threads,
sockets, descriptors and memory that only rise are a leak.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import random
import signal
import socket
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from fdss.client import ComposableIterableDataset
from fdss.errors import FdssError
from fdss.wire import names

from . import product
from .processes import Holdings, holdings
from .run import DEFAULT_FOLDER
from .workloads import Row, Workload, Workloads, check_of

THREADS = 8
ROWS = 20_000
MOST_ROWS = 3000
MOST_STALL_S = 5.0
KILL_EVERY_S = 7.0
PASSED, WRONG = "passes", "wrong rows"
HEADER = "seconds  threads  sockets  descriptors  MiB  health ms  what became of passes"

_SPAWN = multiprocessing.get_context("spawn")


def main() -> None:
    """Run the soak and print what the server holds; fails if a row was wrong."""
    parser = argparse.ArgumentParser("python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two lines")
    parser.add_argument("--workers", type=int, default=1, help="processes of the server")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="for the datasets")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    workload = Workloads(given.folder).get("text", ROWS)
    flags = ("--workers", str(given.workers)) if given.workers > 1 else ()
    with product.running([workload], *flags) as server:
        idle = holdings(server.pid)
        print(HEADER)
        with closing(Crowd(server, workload, given.clients)) as crowd:
            _watch(server, crowd, given.minutes * 60, given.every)
        time.sleep(MOST_STALL_S)
        after = holdings(server.pid)
        print(f"before the first client: {_told(idle)}\nafter the last client:   {_told(after)}")
    if crowd.counts[WRONG]:
        raise SystemExit(f"{crowd.counts[WRONG]} passes with wrong rows")


class Crowd:
    """Client processes of ``THREADS`` clients each; one that is killed is replaced.

    Attributes:
        counts: What became of passes: ``PASSED``, ``WRONG`` or an error.
    """

    def __init__(self, server: product.Server, workload: Workload, clients: int) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._arguments = (server.port, workload.folder.name, server.rows_path(workload))
        self._members = [self._member() for _ in range(max(1, clients // THREADS))]

    def kill_one(self) -> None:
        """Kill one process, with all its clients, in whatever they do."""
        place = random.randrange(len(self._members))
        process, pipe = self._members[place]
        process.kill()
        process.join()
        pipe.close()
        self._members[place] = self._member()

    def count(self) -> None:
        """Take in what the clients tell."""
        for _, pipe in self._members:
            with suppress(EOFError):
                while pipe.poll():
                    self.counts[pipe.recv()] += 1

    def close(self) -> None:
        """End all clients."""
        for process, pipe in self._members:
            process.kill()
            process.join()
            pipe.close()

    def _member(self) -> tuple[Any, Any]:
        pipe, child_pipe = _SPAWN.Pipe()
        arguments = (child_pipe, random.getrandbits(32), *self._arguments)
        process = _SPAWN.Process(target=_churn, args=arguments)
        process.start()
        child_pipe.close()
        return process, pipe


def _watch(server: product.Server, crowd: Crowd, seconds: float, every_s: float) -> None:
    began_s = time.monotonic()
    kill_s = line_s = 0.0
    while (now_s := time.monotonic() - began_s) < seconds:
        if now_s - kill_s > KILL_EVERY_S:
            kill_s = now_s
            crowd.kill_one()
        crowd.count()
        if now_s - line_s > every_s:
            line_s = now_s
            asked_s = time.perf_counter()
            product.asked(server.port, names.HEALTH_PATH)
            health_ms = (time.perf_counter() - asked_s) * 1e3
            told = ", ".join(f"{count} {what}" for what, count in crowd.counts.items())
            print(
                f"{now_s:7.0f}  {_told(holdings(server.pid))}  {health_ms:.1f}  {told}", flush=True
            )
        time.sleep(0.2)


def _told(held: Holdings) -> str:
    numbers = (held.threads, held.sockets, held.descriptors, held.memory_bytes >> 20)
    return "  ".join(map(str, numbers))


def _churn(pipe: Any, seed: int, port: int, name: str, path: str) -> None:
    # What ends it is a kill; an interrupt is the parent's to answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    dataset = ComposableIterableDataset(product.backend(f"http://127.0.0.1:{port}", name))
    lock = threading.Lock()
    threads = [
        threading.Thread(target=_live, args=(pipe, lock, seed + n, dataset, port, path))
        for n in range(THREADS)
    ]
    for thread in threads:
        thread.start()


def _live(
    pipe: Any,
    lock: threading.Lock,
    seed: int,
    dataset: ComposableIterableDataset,
    port: int,
    path: str,
) -> None:
    chance = random.Random(seed)
    while True:
        try:
            wrong = _stall(chance, port, path) if chance.random() < 0.2 else _read(chance, dataset)
            told = WRONG if wrong else PASSED
        except (FdssError, OSError) as error:
            told = type(error).__name__
        with lock:
            try:
                pipe.send(told)
            except OSError:
                # The parent has gone.
                os._exit(0)


def _read(chance: random.Random, dataset: ComposableIterableDataset) -> bool:
    """Read some rows from somewhere, to their end or not, and return whether one was wrong."""
    begin, rows = chance.randrange(len(dataset)), chance.randrange(1, MOST_ROWS)
    order = dataset.shuffle(seed=chance.getrandbits(32)) if chance.random() < 0.5 else dataset
    enough = rows if chance.random() < 0.5 else chance.randrange(rows)
    end = min(begin + rows, len(dataset))
    with closing(iter(order.slice(begin, end))) as reader:
        for number, row in enumerate(reader):
            if not _is_right(row) or (order is dataset and row["id"] != begin + number):
                return True
            if number == enough:
                break
    return False


def _is_right(row: Row) -> bool:
    return bool(row["check"] == check_of(row["id"], row["text"]))


def _stall(chance: random.Random, port: int, path: str) -> bool:
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        client.sendall(product.request_bytes(path, arrow=chance.random() < 0.5))
        client.recv(1)
        time.sleep(chance.uniform(0, MOST_STALL_S))
    return False


if __name__ == "__main__":
    main()

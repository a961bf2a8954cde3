"""Kills while a job reads: ``python -m benchmarks.chaos --rounds N --seed S``.

Three servers hold the same rows in files of different layouts, a router sends a job to them, and
a Redis says who they are. A job reads epoch after epoch, shuffled and mapped, through a DataLoader
of two workers. Meanwhile a server is killed, or ended, or stopped and continued, or its port stays
closed for a while, or all of them are killed at once, or the router is killed, or Redis is started
anew. Every epoch has to be, row by row, that of an undisturbed reader.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import requests

from fdss.wire.names import HEALTH_PATH

from .hosts import Host, Lines, environment, free_port

ROWS = 20_000
#: How often each kind of misfortune befalls the cluster in 20 rounds.
DECK = {
    "server killed": 5,
    "server ended": 3,
    "server stopped": 4,
    "port closed": 3,
    "router killed": 2,
    "redis restarted": 2,
    "all servers killed": 1,
}
LAYOUTS = {"one": 1, "two": 3, "three": 7}
CLUSTER = "chaos"
TOKEN = "chaos"
JOB = Path(__file__).with_name("chaos_job.py")
#: A server that is stopped counts as lost after as long.
STALL_S = 2.0
MOST_STOPPED_S = 4.0
MOST_CLOSED_S = 3.0
LEAST_GAP_S, MOST_GAP_S = 0.2, 2.0
LAST_EPOCH_S = 180.0


class Cluster:
    """Servers, router and Redis, and what can befall them."""

    def __init__(self, folder: Path, rows: int, stack: ExitStack) -> None:
        """Start all of them.

        Args:
            folder: For the datasets, homes and logs.
            rows: How many the dataset has.
            stack: Ends them.
        """
        redis_port, self.router_port = free_port(), free_port()
        membership = f"redis://127.0.0.1:{redis_port}/0"
        (folder / "token").write_text(TOKEN)
        (folder / "token").chmod(0o600)
        common = ["--auth-token-file", str(folder / "token"), "--cluster", CLUSTER]
        common += ["--membership", membership, "--drain-timeout", "1"]
        _save(folder, rows)

        def host(start: Callable[..., Host], name: str, port: int, command: list[str]) -> Host:
            home = folder / f"home-{name}"
            home.mkdir()
            started = start(name, port, command, home)
            stack.callback(started.close)
            return started

        redis = ["redis-server", "--port", str(redis_port), "--save", "", "--bind", "127.0.0.1"]
        self.redis = host(Host, "redis", redis_port, redis)
        self.servers = [
            host(
                Host.of_fdss, name, free_port(), ["start", f"--local=rows={folder / name}", *common]
            )
            for name in LAYOUTS
        ]
        self.router = host(Host.of_fdss, "router", self.router_port, ["router", "start", *common])

    def befall(self, kind: str, chance: random.Random) -> None:
        """Let something of ``DECK`` happen; afterwards all of them run, or are on their way up."""
        server = self._busy(chance)
        kinds: dict[str, Callable[[], None]] = {
            "server killed": lambda: _restart(server, signal.SIGKILL),
            "server ended": lambda: _restart(server, signal.SIGTERM),
            "server stopped": lambda: _pause(server, chance.uniform(0.1, MOST_STOPPED_S)),
            "port closed": lambda: _close(server, chance.uniform(0.5, MOST_CLOSED_S)),
            "router killed": lambda: _restart(self.router, signal.SIGKILL),
            "redis restarted": lambda: _restart(self.redis, signal.SIGKILL),
            "all servers killed": self._kill_all,
        }
        kinds[kind]()

    def _busy(self, chance: random.Random) -> Host:
        """Return a server that is read from, if one says so; most others would not be missed."""
        busy = [server for server in self.servers if _is_read_from(server)]
        return chance.choice(busy or self.servers)

    def _kill_all(self) -> None:
        for server in self.servers:
            server.end(signal.SIGKILL)
        for server in self.servers:
            server.start()


def main() -> None:
    """Let things happen while a job reads, and fail if a row of it was wrong."""
    parser = argparse.ArgumentParser("python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=ROWS, help="of an epoch")
    parser.add_argument("--workers", type=int, default=2, help="of the DataLoader")
    given = parser.parse_args()
    # Ended from outside, it ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("The end was asked for."))
    chance = random.Random(given.seed)
    happened: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="fdss-chaos-") as made, ExitStack() as stack:
        folder = Path(made)
        cluster = Cluster(folder, given.rows, stack)
        job = _job(folder, cluster.router_port, given.workers)
        stack.callback(job.wait)
        stack.callback(job.kill)
        assert job.stdout is not None
        epochs = Lines(job.stdout)
        assert job.stderr is not None
        log = Lines(job.stderr)
        if not epochs.wait_for(1, LAST_EPOCH_S):
            raise SystemExit("".join(log.lines) + "The job reads nothing.")
        for kind in itertools.islice(_kinds(chance), given.rounds):
            time.sleep(chance.uniform(LEAST_GAP_S, MOST_GAP_S))
            cluster.befall(kind, chance)
            happened[kind] += 1
            if job.poll() is not None:
                raise SystemExit("".join(epochs.lines + log.lines) + "The job has ended.")
        # The one that is being read, and one more, undisturbed.
        if not epochs.wait_for(len(epochs.lines) + 2, LAST_EPOCH_S):
            raise SystemExit("".join(epochs.lines + log.lines) + "The job goes on no more.")
    print(", ".join(f"{count} x {what}" for what, count in sorted(happened.items())))
    wrong = [line for line in epochs.lines if " right" not in line]
    told = f"{len(epochs.lines)} epochs of {given.rows:,} rows, {len(wrong)} wrong"
    print(f"{given.rounds} rounds, {told}")
    print(f"{_failures(epochs.lines)} times a server failed a reader")
    if wrong:
        raise SystemExit("".join(wrong))


def _failures(lines: list[str]) -> int:
    """Return how often readers were failed, which each line says anew."""
    return max(int(line.split(" failures, ")[0].split()[-1]) for line in lines)


def _kinds(chance: random.Random) -> Iterator[str]:
    while True:
        deck = [kind for kind, times in DECK.items() for _ in range(times)]
        chance.shuffle(deck)
        yield from deck


def _is_read_from(server: Host) -> bool:
    try:
        answer = requests.get(f"http://127.0.0.1:{server.port}{HEALTH_PATH}", timeout=0.5)
        load = answer.json()["load"]
    except (requests.RequestException, ValueError):
        return False
    return bool(load["streams"] or load["bytes_per_s"])


def _restart(host: Host, number: signal.Signals) -> None:
    host.end(number)
    host.start()


def _close(host: Host, seconds: float) -> None:
    host.end(signal.SIGTERM)
    time.sleep(seconds)
    host.start()


def _pause(host: Host, seconds: float) -> None:
    host.signal(signal.SIGSTOP)
    time.sleep(seconds)
    host.signal(signal.SIGCONT)


def _job(folder: Path, router_port: int, workers: int) -> subprocess.Popen[str]:
    home = folder / "home-job"
    home.mkdir()
    variables = environment(home) | {
        "FORGATHER_DATASET_SERVER": "auto",
        "FORGATHER_SERVER_URL": f"http://127.0.0.1:{router_port}",
        "FORGATHER_SERVER_TOKEN": TOKEN,
        "FORGATHER_DATASET_CLIENT_STALL_SECONDS": str(STALL_S),
    }
    return subprocess.Popen(
        # By its path: the checkout must not come before an installed fdss.
        [sys.executable, str(JOB), str(folder / "one"), str(workers)],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def _save(folder: Path, count: int) -> None:
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    texts = [f"row {n} " + "x" * (n * 7919 % 6000) for n in range(count)]
    rows = Dataset.from_dict({"n": range(count), "text": texts})
    for name, files in LAYOUTS.items():
        rows.save_to_disk(str(folder / name), num_shards=files)


if __name__ == "__main__":
    main()

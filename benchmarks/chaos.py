"""Kills while a job reads: ``python -m benchmarks.chaos --rounds N --seed S``.

Three servers hold the same rows in files of different layouts, a router sends a job to them, and
a Redis says who they are. A job reads epoch after epoch, shuffled and mapped, through a DataLoader
of two workers. Meanwhile a server is killed, or stopped and continued, or ended and started again,
or the router is killed, or Redis is started anew. Every epoch has to be, row by row, that of an
undisturbed reader.
"""

from __future__ import annotations

import argparse
import collections
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from .hosts import Host, Lines, environment, free_port

ROWS = 40_000
LAYOUTS = {"one": 1, "two": 3, "three": 7}
CLUSTER = "chaos"
TOKEN = "chaos"
#: A server that is stopped counts as lost after as long.
STALL_S = 2.0
MOST_STOPPED_S = 4.0
LEAST_GAP_S, MOST_GAP_S = 0.2, 2.0
LAST_EPOCH_S = 180.0


class Cluster:
    """Servers, router and Redis, and what can befall them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Start all of them.

        Args:
            folder: For the datasets, homes and logs.
            stack: Ends them.
        """
        redis_port, self.router_port = free_port(), free_port()
        membership = f"redis://127.0.0.1:{redis_port}/0"
        (folder / "token").write_text(TOKEN)
        (folder / "token").chmod(0o600)
        common = ["--auth-token-file", str(folder / "token"), "--cluster", CLUSTER]
        common += ["--membership", membership]
        _save(folder)

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

    def befall(self, chance: random.Random) -> str:
        """Let something happen, and return what.

        Every kind leaves all of them running, or on their way up.
        """
        server = chance.choice(self.servers)
        kinds: list[tuple[str, Callable[[], None]]] = [
            ("server killed", lambda: _restart(server, signal.SIGKILL)),
            ("server ended", lambda: _restart(server, signal.SIGTERM)),
            ("server stopped", lambda: _pause(server, chance.uniform(0.1, MOST_STOPPED_S))),
            ("router killed", lambda: _restart(self.router, signal.SIGKILL)),
            ("redis restarted", lambda: _restart(self.redis, signal.SIGKILL)),
            ("all servers killed", self._kill_all),
        ]
        kind, happen = chance.choices(kinds, weights=(6, 4, 4, 2, 2, 1))[0]
        happen()
        return kind

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
    parser.add_argument("--workers", type=int, default=2, help="of the DataLoader")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    happened: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="fdss-chaos-") as made, ExitStack() as stack:
        folder = Path(made)
        cluster = Cluster(folder, stack)
        job = _job(folder, cluster.router_port, given.workers)
        stack.callback(job.kill)
        assert job.stdout is not None
        epochs = Lines(job.stdout)
        if not epochs.wait_for(1, LAST_EPOCH_S):
            raise SystemExit("The job reads nothing.")
        for _ in range(given.rounds):
            time.sleep(chance.uniform(LEAST_GAP_S, MOST_GAP_S))
            happened[cluster.befall(chance)] += 1
            if job.poll() is not None:
                raise SystemExit("".join(epochs.lines) + "The job has ended.")
        # The one that is being read, and one more, undisturbed.
        if not epochs.wait_for(len(epochs.lines) + 2, LAST_EPOCH_S):
            raise SystemExit("".join(epochs.lines) + "The job goes on no more.")
    print(", ".join(f"{count} x {what}" for what, count in sorted(happened.items())))
    wrong = [line for line in epochs.lines if " right" not in line]
    print(f"{given.rounds} rounds, {len(epochs.lines)} epochs of {ROWS:,} rows, {len(wrong)} wrong")
    if wrong:
        raise SystemExit("".join(wrong))


def _restart(host: Host, number: signal.Signals) -> None:
    host.end(number)
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
        [sys.executable, "-m", "benchmarks.chaos_job", str(folder / "one"), str(workers)],
        env=variables,
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )


def _save(folder: Path) -> None:
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    texts = [f"row {n} " + "x" * (n * 7919 % 600) for n in range(ROWS)]
    rows = Dataset.from_dict({"n": range(ROWS), "text": texts})
    for name, files in LAYOUTS.items():
        rows.save_to_disk(str(folder / name), num_shards=files)


if __name__ == "__main__":
    main()

"""The command: which benchmarks to run, on what, and where the table goes."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# ``python benchmarks/run.py`` finds the folder it lies in, and has to find the one above.
if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).parents[1])

from benchmarks import distance, keeping, opening, rows, secured, stalls, streams
from benchmarks.bench import Bench
from benchmarks.peers import NEEDS
from benchmarks.report import Line, markdown, table
from benchmarks.workloads import Workloads

RESULTS = Path(__file__).with_name("RESULTS.md")
DEFAULT_FOLDER = Path(tempfile.gettempdir()) / "fdss-benchmarks"
ROUNDS = 5
BENCHMARKS = {
    name: benchmark
    for part in (rows, streams, secured, opening, stalls, distance, keeping)
    for name, benchmark in part.BENCHMARKS.items()
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run benchmarks and print their tables."""
    given = _parser().parse_args(arguments)
    # Nothing here may ask the Hub.
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    os.environ.pop("FORGATHER_DATASET_SERVER", None)
    given.folder.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(given.folder / "cache")
    rounds = 1 if given.quick else given.rounds
    bench = Bench(Workloads(given.folder), given.quick, given.peers, rounds)
    found = []
    for name in given.only:
        lines: list[Line] = BENCHMARKS[name](bench)
        found.append((name, lines))
        print(table(name, lines), flush=True)
        if given.write:
            command = shlex.join(
                ["python", "-m", "benchmarks", *_told(given, [name for name, _ in found])]
            )
            RESULTS.write_text(markdown(found, command, bench.notes), "utf-8")
    for note in bench.notes:
        print(note)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small and once: does it work?")
    every = list(BENCHMARKS)
    parser.add_argument("--only", nargs="+", choices=every, default=every, metavar="NAME")
    peers = list(NEEDS)
    parser.add_argument("--peers", nargs="*", choices=peers, default=peers, metavar="PEER")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="that are measured")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="for the datasets")
    parser.epilog = f"Benchmarks: {', '.join(every)}. Peers: {', '.join(peers)}."
    return parser


def _told(given: argparse.Namespace, ran: list[str]) -> list[str]:
    told = ["--quick"] if given.quick else []
    told += [] if given.rounds == ROUNDS else ["--rounds", str(given.rounds)]
    if ran != list(BENCHMARKS):
        told += ["--only", *ran]
    if given.peers != list(NEEDS):
        told += ["--peers", *given.peers]
    return [*told, "--write"]


if __name__ == "__main__":
    main()

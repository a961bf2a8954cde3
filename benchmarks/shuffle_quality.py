"""``python -m benchmarks.shuffle_quality``: how well orders mix, and what they cost to read."""

from __future__ import annotations

import argparse
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import shuffle_orders as orders, shuffle_plots, shuffle_reads, shuffle_report
from .shuffle_orders import BLOCK, BLOCKS, WINDOWS, Shuffled
from .shuffle_reads import Choice
from .shuffle_scores import BATCH, UNITS, Score, Source, equal, scored, zipf
from .workloads import Workload, Workloads

DOCUMENT = Path(__file__).parents[1] / "docs" / "shuffle.md"
DEFAULT_FOLDER = Path(tempfile.gettempdir()) / "fdss-benchmarks"
IMAGES = DOCUMENT.with_name("images")
SEEDS = (1, 2, 3)
WARM_ROWS = 10_000
WARM_ROUNDS = 9
COLD_ROWS = 2000
COLD_ROUNDS = 3
COLD_WINDOWS = (1000, 10_000)
SIDE_BY_SIDE = (*((BLOCK, window) for window in WINDOWS), (8, 10_000), (4, 10_000))
LAGGED = (
    orders.our_name(BLOCK, 0),
    orders.our_name(BLOCK, 10_000),
    "file shuffle, buffer 1,000",
    "datasets, streamed, buffer 1,000",
    "Mosaic py1e, block 2^18",
    "Grain, MapDataset.shuffle",
)


@dataclass
class Run:
    """One run of the command.

    Attributes:
        quick: Whether everything is small, only to see that it works.
        peers: Names of the peers that may run.
        folder: Where the datasets are.
        sections: What the document is to hold, by the names of its sections.
        notes: What the reader of the tables has to know, in sentences.
    """

    quick: bool
    peers: Sequence[str]
    folder: Path
    sections: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def choices(self, windows: Sequence[int] = WINDOWS) -> list[Choice]:
        """Return the blocks and windows that are tried."""
        if self.quick:
            return [(BLOCK, 1000)]
        return [(block, window) for block in BLOCKS for window in windows]

    def workload(self, kind: str, rows: int) -> Workload:
        """Return a dataset, or in its place a tiny one if the run is quick."""
        workloads = Workloads(self.folder)
        return workloads.get("tiny", 4000) if self.quick else workloads.get(kind, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Score orders, time them, print what is found, and write it down if that is wanted."""
    given = _parser().parse_args(arguments)
    run = Run(given.quick, given.peers, given.folder)
    given.folder.mkdir(parents=True, exist_ok=True)
    told = ["python", "-m", "benchmarks.shuffle_quality", *_told(given)]
    for part in given.only:
        workloads = PARTS[part](run)
        command = shlex.join(told)
        run.sections[f"{part} machine"] = shuffle_report.machine(command, workloads, run.notes)
    for name, body in run.sections.items():
        print(f"\n## {name}\n\n{body}")
    if given.write:
        document = DOCUMENT.read_text("utf-8")
        DOCUMENT.write_text(shuffle_report.filled(document, run.sections), "utf-8")


def quality(run: Run) -> list[Workload]:
    """Score orders on sorted sources."""
    count, few = (20_000, 10_000) if run.quick else (1_000_000, 100_000)
    shuffles = [
        orders.ideal(),
        *(orders.ours(*choice) for choice in (run.choices() if run.quick else SIDE_BY_SIDE)),
        *(orders.files_and_buffer(size) for size in (1000, 10_000)),
        *orders.peers(run.peers, run.notes),
    ]
    large = [zipf(count), equal(count)]
    small = [zipf(few), equal(few)]
    scores = [_scores(run, shuffles, sources) for sources in (large, small)]
    for size, sources, found in zip(("large", "small"), (large, small), scores, strict=True):
        for source, one in zip(sources, zip(*found, strict=True), strict=True):
            name = f"{size} {'zipf' if source is sources[0] else 'equal'}"
            run.sections[f"{name} batches"] = shuffle_report.batches_table(source, one)
            if size == "large":
                run.sections[f"{name} units"] = shuffle_report.units_table(source, one)
                run.sections[f"{name} sequence"] = shuffle_report.sequence_table(source, one)
    grid = {
        choice: _scores(run, [orders.ours(*choice)], large[:1])[0][0] for choice in run.choices()
    }
    for unit in UNITS:
        run.sections[f"grid {unit}"] = shuffle_report.grid_table(grid, unit)
    _draw(run, [one for one, _ in scores[0]], grid)
    return []


def warm(run: Run) -> list[Workload]:
    """Time blocks and windows of a dataset that is in memory."""
    workload = run.workload("text", 100_000)
    rows, rounds = (1000, 1) if run.quick else (WARM_ROWS, WARM_ROUNDS)
    for name, measure in (
        ("batches", shuffle_reads.warm_batches),
        ("rows", shuffle_reads.warm_rows),
    ):
        rates = measure(workload, run.choices(), rows, rounds)
        run.sections[f"warm {name}"] = shuffle_report.rates_table(rates, (BLOCK, 1000))
    return [workload]


def cold(run: Run) -> list[Workload]:
    """Time blocks and windows of a dataset that is on disk, and compute what drives would do."""
    workload = run.workload("text", 400_000)
    rounds = 1 if run.quick else COLD_ROUNDS
    batches = {
        choice: shuffle_reads.cold_batches(workload, choice, COLD_ROWS, rounds)
        for choice in run.choices(COLD_WINDOWS)
    }
    reads = {
        block: shuffle_reads.cold_reads(workload, block, rounds)
        for block in dict.fromkeys(block for block, _ in batches)
    }
    run.sections["cold"] = shuffle_report.cold_table(batches, reads)
    run.sections["model"] = shuffle_report.model_table(BLOCKS, WINDOWS, workload.row_bytes)
    return [workload]


PARTS = {"quality": quality, "warm": warm, "cold": cold}


def _scores(run: Run, shuffles: Sequence[Shuffled], sources: Sequence[Source]) -> list[list[Score]]:
    """Return the scores of each order on each source, which have as many rows."""
    seeds = SEEDS[:1] if run.quick else SEEDS
    found = []
    for shuffled in shuffles:
        found.append(scored(shuffled, sources, seeds))
        for source, score in zip(sources, found[-1], strict=True):
            worth = score.spreads[BATCH].effective_rows
            told = f"a batch of {BATCH} is worth {shuffle_report.short(worth)} rows"
            print(f"{source.rows:,} rows, {source.name} | {score.name} | {told}", flush=True)
    return found


def _draw(run: Run, scores: Sequence[Score], grid: dict[Choice, Score]) -> None:
    if run.quick:
        return
    try:
        shuffle_plots.drawn(IMAGES, scores, grid, LAGGED)
    except ImportError as error:
        run.notes.append(f"No pictures: {error}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.shuffle_quality", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small and once: does it work?")
    parts = list(PARTS)
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, metavar="PART")
    known = list(orders.PEERS)
    parser.add_argument("--peers", nargs="*", choices=known, default=known, metavar="PEER")
    parser.add_argument("--write", action="store_true", help=f"write {DOCUMENT.name}, draw")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="for the datasets")
    parser.epilog = f"Parts: {', '.join(parts)}. Peers: {', '.join(known)}."
    return parser


def _told(given: argparse.Namespace) -> list[str]:
    told = [] if given.only == list(PARTS) else ["--only", *given.only]
    told += [] if given.peers == list(orders.PEERS) else ["--peers", *given.peers]
    return [*told, "--write"]


if __name__ == "__main__":
    main()

"""What a dataset tells of its readers: how much came, how fast, and how long it was waited for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .slots import Snapshot
from .waits import quantile_s


@dataclass(frozen=True)
class Counts:
    """What was read in one pass, up to the newest chunk that was used up or is waited for.

    Rows come in chunks. A reader waits for a chunk, then its rows are used up, then it waits for
    the next one. So the waits say what the server, the link or the files cost, and the time
    between them what is made of the rows.

    Attributes:
        rows: Rows that were handed on, counted as they leave the backend.
        chunks: Pieces that they came in; each was waited for once.
        received_bytes: Bytes of rows as they came from servers, compressed if they were.
        requests: Requests for rows that servers were sent, those that failed too.
        retries: Times that something was asked again after a failure.
        fail_overs: Times that rows came from another server than those before.
        servers: URLs of the servers that rows came from, the newest last.
        elapsed_s: Seconds since the first row of the pass was asked for.
        rows_per_s: Rows of a second of them.
        waited_s: Seconds that a reader waited for chunks.
        wait_share: Part of the elapsed seconds that was waited, 0 to 1.
        wait_p50_s: Half of the waits were not longer; known to one part in sixteen.
        wait_p95_s: Nor were 95 % of them longer than this.
        wait_p99_s: Nor 99 % longer than this.
        worked_s: Processor seconds of the thread that iterates: it makes the rows, runs the steps
            and, in a DataLoader worker, collates; reading files is in the waits as well.
        work_share: Part of the elapsed seconds that these were, 0 to 1.
    """

    rows: int
    chunks: int
    received_bytes: int
    requests: int
    retries: int
    fail_overs: int
    servers: tuple[str, ...]
    elapsed_s: float
    rows_per_s: float
    waited_s: float
    wait_share: float
    wait_p50_s: float
    wait_p95_s: float
    wait_p99_s: float
    worked_s: float
    work_share: float


@dataclass(frozen=True)
class ReaderCounts(Counts):
    """What one process has read in its newest pass.

    Attributes:
        worker: Number of the DataLoader worker; None for the process itself.
        epoch: Epoch of the pass.
        position: Rows of its part of the epoch that lie behind it, those before a resumed state
            included.
        is_over: Whether the last row of the pass was handed on.
    """

    worker: int | None
    epoch: int
    position: int
    is_over: bool


@dataclass(frozen=True)
class Statistics:
    """What the newest pass over a dataset has read.

    Attributes:
        total: All readers together. Their shares are of the seconds of all of them.
        readers: Each process that reads; none before the first row was asked for.
        uncounted_workers: DataLoader workers beyond the 64th, which are not counted.
    """

    total: Counts
    readers: tuple[ReaderCounts, ...] = ()
    uncounted_workers: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "total": _as_json(self.total),
            "readers": [_as_json(reader) for reader in self.readers],
            "uncounted_workers": self.uncounted_workers,
        }

    def __str__(self) -> str:
        readers = (
            f"{'main process' if reader.worker is None else f'worker {reader.worker}'},"
            f" epoch {reader.epoch}: {in_words(reader)}"
            for reader in self.readers
        )
        return "\n".join((f"total: {in_words(self.total)}", *readers))


def statistics_of(snapshots: Sequence[Snapshot], now_ns: int, uncounted: int = 0) -> Statistics:
    """Return what the snapshots of all readers say.

    Args:
        now_ns: The clock, for the waits under way.
        uncounted: Workers of which there is no snapshot.
    """
    now = [snapshot.waiting_until(now_ns) for snapshot in snapshots]
    return Statistics(
        Counts(**_counts(now)), tuple(reader_counts(snapshot) for snapshot in now), uncounted
    )


def reader_counts(snapshot: Snapshot) -> ReaderCounts:
    """Return what the snapshot of one reader says."""
    return ReaderCounts(
        **_counts([snapshot]),
        worker=snapshot.worker,
        epoch=snapshot.epoch,
        position=snapshot.position,
        is_over=bool(snapshot.is_over),
    )


def in_words(counts: Counts) -> str:
    """Return counts as a line."""
    p50, p95, p99 = map(_in_words, (counts.wait_p50_s, counts.wait_p95_s, counts.wait_p99_s))
    servers = f", from {', '.join(counts.servers)}" if counts.servers else ""
    return (
        f"{counts.rows:,} rows in {counts.elapsed_s:,.1f} s, {counts.rows_per_s:,.1f} rows/s,"
        f" waited {counts.wait_share:.1%} (p50 {p50}, p95 {p95}, p99 {p99}),"
        f" worked {counts.work_share:.1%}, {counts.received_bytes:,} bytes in"
        f" {counts.requests:,} requests, {counts.retries:,} retries,"
        f" {counts.fail_overs:,} fail-overs{servers}"
    )


def _in_words(wait_s: float) -> str:
    return f"{wait_s:,.1f} s" if wait_s >= 1 else f"{1000 * wait_s:.3g} ms"


def _counts(snapshots: Sequence[Snapshot]) -> dict[str, Any]:
    rows = sum(snapshot.rows for snapshot in snapshots)
    began_ns = min((snapshot.began_ns for snapshot in snapshots), default=0)
    elapsed_s = max((snapshot.counted_ns - began_ns for snapshot in snapshots), default=0) / 1e9
    spent_s = sum(snapshot.counted_ns - snapshot.began_ns for snapshot in snapshots) / 1e9
    waited_s = sum(snapshot.waited_ns for snapshot in snapshots) / 1e9
    worked_s = sum(snapshot.worked_ns for snapshot in snapshots) / 1e9
    waits = [sum(counts) for counts in zip(*(s.waits for s in snapshots), strict=True)]
    servers = dict.fromkeys(server for snapshot in snapshots for server in snapshot.servers)
    return {
        "rows": rows,
        "chunks": sum(snapshot.chunks for snapshot in snapshots),
        "received_bytes": sum(snapshot.received_bytes for snapshot in snapshots),
        "requests": sum(snapshot.requests for snapshot in snapshots),
        "retries": sum(snapshot.retries for snapshot in snapshots),
        "fail_overs": sum(snapshot.fail_overs for snapshot in snapshots),
        "servers": tuple(servers),
        "elapsed_s": elapsed_s,
        "rows_per_s": rows / elapsed_s if elapsed_s else 0.0,
        "waited_s": waited_s,
        "wait_share": _share(waited_s, spent_s),
        "wait_p50_s": quantile_s(waits, 0.50),
        "wait_p95_s": quantile_s(waits, 0.95),
        "wait_p99_s": quantile_s(waits, 0.99),
        "worked_s": worked_s,
        "work_share": _share(worked_s, spent_s),
    }


def _share(part_s: float, whole_s: float) -> float:
    return min(part_s / whole_s, 1.0) if whole_s else 0.0


def _as_json(counts: Counts) -> dict[str, Any]:
    return {**asdict(counts), "servers": list(counts.servers)}

"""The table of what was measured, for a terminal and for RESULTS.md."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGES = (
    "datasets",
    "pyarrow",
    "numpy",
    "orjson",
    "flask",
    "waitress",
    "requests",
    "urllib3",
    "fastapi",
    "uvicorn",
    "mosaicml-streaming",
    "litdata",
)
HEADER = ("benchmark", "what", "FDSS", "beside it", "its figure", "ratio")


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        what: What FDSS did.
        figure: Median of FDSS, with its unit.
        other: What stands beside it; empty for a figure that stands alone.
        other_figure: Median of that, with its unit.
        ratio: Median over the rounds of FDSS by the other; None where there is none.
    """

    what: str
    figure: str
    other: str = ""
    other_figure: str = ""
    ratio: float | None = None

    def cells(self, benchmark: str) -> tuple[str, ...]:
        """Return the cells of the table."""
        ratio = "" if self.ratio is None else f"{self.ratio:.3g} ×"
        return (benchmark, self.what, self.figure, self.other, self.other_figure, ratio)


def rate(per_second: float) -> str:
    """Return rows a second for people."""
    return f"{per_second:,.0f} rows/s"


def megabytes(per_second: float) -> str:
    """Return bytes a second for people."""
    return f"{per_second / 1e6:,.0f} MB/s"


def table(benchmark: str, lines: Sequence[Line]) -> str:
    """Return lines for a terminal, one a line."""
    return "\n".join(" | ".join(filter(None, line.cells(benchmark))) for line in lines)


def markdown(
    found: Sequence[tuple[str, Sequence[Line]]], command: str, notes: Sequence[str]
) -> str:
    """Return the whole of RESULTS.md."""
    rows: list[tuple[str, ...]] = [HEADER, ("---", "---", "--:", "---", "--:", "--:")]
    rows += [line.cells(benchmark) for benchmark, lines in found for line in lines]
    parts = [
        "# Results of the benchmarks",
        "Written by the command below; "
        "[docs/performance.md](../docs/performance.md) says what is measured and how to read it.",
        f"```bash\n{command}\n```",
        "\n".join(f"| {' | '.join(cells)} |" for cells in rows),
        *notes,
        "\n".join(f"- {fact}" for fact in (*_machine(), versions(PACKAGES))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _machine() -> list[str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        f"machine: {processor()}, {os.cpu_count()} CPUs, {memory:.0f} GiB",
        f"system: {platform.system()} {platform.release()}, loopback; Python"
        f" {platform.python_version()}",
    ]


def processor() -> str:
    """Return the name of the processor."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def versions(packages: Sequence[str]) -> str:
    """Return the packages, each with its version or that it is not installed."""
    return ", ".join(f"{package} {_version(package)}" for package in packages)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"

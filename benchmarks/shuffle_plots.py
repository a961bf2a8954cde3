"""The pictures of the shuffle; colours that can be seen on a light and on a dark page."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .shuffle_orders import IDEAL
from .shuffle_reads import Choice
from .shuffle_scores import BATCH, LAGS, Score

GREY = "#808890"
COLOURS = ("#3f8ae0", "#e0782f", "#2fa36b", "#a866cc", "#c9514f", "#9a8a2f")
_STYLE = {
    "svg.hashsalt": "fdss",
    "font.size": 10,
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.titlecolor": GREY,
    "axes.edgecolor": GREY,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "grid.color": GREY,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "savefig.transparent": True,
}


def drawn(
    folder: Path, scores: Sequence[Score], grid: Mapping[Choice, Score], lagged: Sequence[str]
) -> None:
    """Draw all pictures into a folder.

    Args:
        scores: Of the orders side by side.
        grid: Of blocks and windows.
        lagged: Names of the orders whose correlations are drawn.

    Raises:
        ImportError: There is no matplotlib.
    """
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    plots: Any = importlib.import_module("matplotlib.pyplot")
    folder.mkdir(parents=True, exist_ok=True)
    with plots.rc_context(_STYLE):
        for name, figure in (
            ("shuffle-orders", _orders(plots, scores)),
            ("shuffle-choices", _choices(plots, grid)),
            ("shuffle-lags", _lags(plots, [s for s in scores if s.name in lagged])),
        ):
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
            plots.close(figure)


def _orders(plots: Any, scores: Sequence[Score]) -> Any:
    """Draw what a batch of each order is worth."""
    figure, axes = plots.subplots(figsize=(7.2, 0.3 * len(scores) + 0.8))
    for place, score in enumerate(reversed(scores)):
        rows = score.spreads[BATCH].effective_rows
        is_ours = score.name.startswith("FDSS")
        colour = COLOURS[0] if is_ours else GREY if score.name == IDEAL else COLOURS[1]
        axes.barh(place, rows, color=colour, height=0.7)
        axes.text(rows * 1.08, place, f"{rows:.3g}", va="center", color=GREY)
    axes.set_yticks(range(len(scores)), [score.name for score in reversed(scores)])
    axes.set_xscale("log")
    axes.set_xlim(1, BATCH * 2)
    axes.set_xticks([1, 4, 16, 64, BATCH], ["1", "4", "16", "64", str(BATCH)])
    axes.minorticks_off()
    axes.set_xlabel(f"independent rows that a batch of {BATCH} is worth (logarithmic)")
    return figure


def _choices(plots: Any, grid: Mapping[Choice, Score]) -> Any:
    """Draw what runs of rows are worth, by block and window."""
    units = list(next(iter(grid.values())).spreads)
    blocks, windows = sorted({b for b, _ in grid}), sorted({w for _, w in grid})
    figure, every = plots.subplots(1, len(units), figsize=(9, 3), sharey=True)
    for axes, unit in zip(every, units, strict=True):
        for window, colour in zip(windows, COLOURS, strict=False):
            worth = [grid[b, window].spreads[unit].effective_rows / unit for b in blocks]
            told = f"window {window:,}" if window else "no window"
            axes.plot(blocks, [min(1, share) for share in worth], "o-", color=colour, label=told)
        axes.set_xscale("log")
        axes.set_xticks(blocks, [str(block) for block in blocks])
        axes.minorticks_off()
        axes.set_title(f"{unit:,} rows")
        axes.set_xlabel("block")
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.grid(True)
    every[0].set_ylabel("independent rows, of all")
    figure.legend(*every[0].get_legend_handles_labels(), ncols=4, loc="lower center")
    figure.tight_layout(rect=(0, 0.1, 1, 1))
    return figure


def _lags(plots: Any, scores: Sequence[Score]) -> Any:
    """Draw how stored rows and topics are correlated along an order."""
    figure, every = plots.subplots(1, 2, figsize=(9, 3), sharey=True)
    lags = range(1, LAGS + 1)
    for axes, title in zip(every, ("stored rows", "topics"), strict=True):
        for score, colour in zip(scores, COLOURS, strict=False):
            values = score.row_lags if title == "stored rows" else score.topic_lags
            axes.plot(lags, values, color=colour, label=score.name, linewidth=1.6)
        axes.set_title(title)
        axes.set_xlabel("positions apart")
        axes.grid(True)
    every[0].set_ylabel("correlation")
    handles = every[0].get_legend_handles_labels()
    figure.legend(*handles, ncols=2, loc="lower center")
    figure.tight_layout(rect=(0, 0.24, 1, 1))
    return figure

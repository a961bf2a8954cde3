"""How many rows an iteration will give, when steps make more or fewer of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fdss.errors import BadParameter

MODES = ("dynamic", "static", "exact")


@dataclass
class Lengths:
    """What passes over a dataset have shown of its length.

    Only whole passes give an exact count: one that was broken off, or began from a saved state,
    moves the estimate and nothing else.

    Attributes:
        mode: "static": always the view's length. "dynamic": the count of the last whole pass,
            else the view's length times the rows that came out for each that went in so far.
            "exact": the count of the last whole pass, else the view's length.
        reset_on_iter: Forget what earlier passes have shown when a pass begins.
        input_count: Rows that went in during the newest pass.
        output_count: Rows that came out of them.
        exact: Rows of the last whole pass; None before there was one.
        invalidated: A pass was broken off since.
    """

    mode: str = "dynamic"
    reset_on_iter: bool = False
    input_count: int = 0
    output_count: int = 0
    exact: int | None = None
    invalidated: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise BadParameter(f"length_estimate={self.mode!r} is not one of {', '.join(MODES)}.")

    def begin(self) -> None:
        """Start the counts of a new pass."""
        self.input_count = self.output_count = 0
        if self.reset_on_iter:
            self.exact = None
        self.invalidated = self.exact is None

    def end(self, rows: int) -> None:
        """Take the rows of a pass from the first to the last as the exact count."""
        self.exact = rows
        self.invalidated = False

    def estimate(self, view_rows: int, *, steps: bool) -> int:
        """Return the rows to expect of a whole pass.

        Args:
            view_rows: Rows that go in.
            steps: Whether any step can make more or fewer of them.
        """
        if self.mode == "static" or not steps:
            return view_rows
        if self.exact is not None:
            return self.exact
        if self.mode == "dynamic" and self.input_count and self.output_count:
            return round(view_rows * self.output_count / self.input_count)
        return view_rows

    def stats(self, view_rows: int, *, steps: bool) -> dict[str, Any]:
        """Return everything that is known, by name."""
        ratio = self.output_count / self.input_count if self.input_count else None
        return {
            "mode": self.mode,
            "original_length": view_rows,
            "input_count": self.input_count,
            "output_count": self.output_count,
            "cached_exact": self.exact,
            "ratio": ratio,
            "invalidated": self.invalidated,
            "reset_on_iter": self.reset_on_iter,
            "current_estimate": self.estimate(view_rows, steps=steps),
        }

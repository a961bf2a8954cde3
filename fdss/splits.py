"""Split notation: ``train``, ``train[10%:20%]``, ``train[-100:]``, ``train[:10%]+test[3:5]``.

It means what it means to ``datasets`` (``datasets.ReadInstruction``), down to the rounding: a
percentage is ``round(percent * rows / 100)``, halves to even, or with ``(pct1_dropremainder)`` a
multiple of one whole percent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fdss.errors import BadSplit, SplitNotFound

ALL_SPLITS = "all"
CLOSEST = "closest"
DROP_REMAINDER = "pct1_dropremainder"

_HINT = "write train, train[:1000], train[10%:20%], train[-5%:] or train+test"
_PART = re.compile(
    r"(?P<name>\w+(?:\.\w+)*)"
    r"(?P<slice>\[(?:(?P<begin>-?[\d_]+)(?P<begin_percent>%)?)?"
    r":(?:(?P<end>-?[\d_]+)(?P<end_percent>%)?)?\])?"
    r"(?:\((?P<rounding>[^)]*)\))?"
)
_PLUS = re.compile(r"\s*\+\s*")


@dataclass(frozen=True)
class SplitPart:
    """One split, or one slice of it.

    Attributes:
        name: The split in whole.
        begin: First row, or percentage of the rows; negative counts from the end; None for 0.
        end: End (excluded), likewise; None for the end of the split.
        rounding: How percentages become rows; None when the boundaries are rows.
        text: The part as it was written.
    """

    name: str
    begin: int | None = None
    end: int | None = None
    rounding: str | None = None
    text: str = field(default="", compare=False)

    @property
    def is_whole(self) -> bool:
        """Tell whether the part is a split without a slice."""
        return self.begin is None and self.end is None

    def of(self, count: int) -> range:
        """Return the rows the part means in a split of ``count`` rows.

        A slice that ends before it begins means no rows.

        Raises:
            BadSplit: ``pct1_dropremainder`` is asked of less than 100 rows.
        """
        begin = _bounded(0 if self.begin is None else self._rows(self.begin, count), count)
        end = _bounded(count if self.end is None else self._rows(self.end, count), count)
        return range(begin, max(begin, end))

    def _rows(self, boundary: int, count: int) -> int:
        if self.rounding is None:
            return boundary
        if self.rounding == CLOSEST:
            return round(boundary * count / 100.0)
        if count < 100:
            raise BadSplit(
                f"Rounding {DROP_REMAINDER!r} needs 100 rows or more; "
                f"split {self.name!r} has {count}."
            )
        return boundary * math.trunc(count / 100.0)


def parse_split(text: str) -> tuple[SplitPart, ...]:
    """Return the parts that a split in the notation of ``datasets`` adds up.

    Raises:
        BadSplit: The text is not in that notation.
    """
    parts = tuple(_parsed(part, text) for part in _PLUS.split(text))
    roundings = {part.rounding for part in parts[1:] if part.rounding} | {parts[0].rounding}
    if parts[0].rounding and len(roundings) > 1:
        raise BadSplit(f"Split {text!r} adds slices of different roundings.", hint=_HINT)
    return parts


def resolve_split(
    parts: tuple[SplitPart, ...], counts: Mapping[str, int]
) -> list[tuple[str, range]]:
    """Return the rows of each split that the parts mean, in order; none of them empty.

    ``all`` stands for every split, in the order of ``counts``, unless a split has that name.

    Args:
        parts: What ``parse_split`` returned.
        counts: Rows of each split that exists.

    Raises:
        SplitNotFound: A split does not exist.
        BadSplit: A slice is impossible, or slices together select no row.
    """
    if [part.name for part in parts] == [ALL_SPLITS] and parts[0].is_whole:
        parts = parts if ALL_SPLITS in counts else tuple(SplitPart(name) for name in counts)
    found = []
    for part in parts:
        if part.name not in counts:
            known = ", ".join(counts) or "none"
            raise SplitNotFound(f"Split {part.name!r} does not exist; found: {known}.")
        found.append((part.name, part.of(counts[part.name])))
    selected = [(name, rows) for name, rows in found if len(rows)]
    if selected or all(part.is_whole for part in parts):
        return selected or found[:1]
    asked = "+".join(part.text for part in parts)
    has = ", ".join(f"{name!r} has {counts[name]:,}" for name in dict(found))
    raise BadSplit(f"Split {asked!r} selects no rows: {has}.", hint=_HINT)


def _parsed(part: str, text: str) -> SplitPart:
    match = _PART.fullmatch(part)
    if match is None:
        raise BadSplit(f"Split {text!r} is not in split notation at {part!r}.", hint=_HINT)
    begin, end = _boundary(match["begin"], text), _boundary(match["end"], text)
    is_percent = bool(match["begin_percent"] or match["end_percent"])
    rounding = match["rounding"]
    if rounding not in (None, CLOSEST, DROP_REMAINDER) or (rounding and not is_percent):
        raise BadSplit(f"Split {text!r} has a rounding that does not apply: {rounding!r}.")
    if not is_percent:
        return SplitPart(match["name"], begin, end, text=part)
    if any(abs(boundary) > 100 for boundary in (begin, end) if boundary is not None):
        raise BadSplit(f"Split {text!r} has a percentage beyond -100% to 100%.")
    return SplitPart(match["name"], begin, end, rounding or CLOSEST, part)


def _boundary(digits: str | None, text: str) -> int | None:
    try:
        return int(digits) if digits else None
    except ValueError as exc:
        raise BadSplit(f"Split {text!r} has a boundary that is no number: {digits!r}.") from exc


def _bounded(row: int, count: int) -> int:
    return min(max(count + row, 0) if row < 0 else row, count)

"""How the values of a column are distributed over the rows of a page, as bars to draw."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .figures import size
from .values_inside import is_file
from .values_text import shortened
from .values_types import FILES, kind_of, label_name

MOST_BARS = 10
#: So many different values are counted one by one, if there are at least twice as many rows.
MOST_COUNTED = 6
MOST_NAME = 24


@dataclass(frozen=True)
class Bar:
    """Values that are alike.

    Attributes:
        words: Which ones they are.
        count: How many.
        height: Of the bar, in hundredths of the highest one.
    """

    words: str
    count: int
    height: int


@dataclass(frozen=True)
class Chart:
    """A distribution.

    Attributes:
        bars: In order; none where nothing can be said.
        unit: What is counted: values, numbers, characters, entries, bytes or times.
        least: The begin of the scale.
        most: Its end; empty where each bar is one value.
        missing: Rows without a value.
    """

    bars: tuple[Bar, ...]
    unit: str = ""
    least: str = ""
    most: str = ""
    missing: int = 0

    @property
    def words(self) -> str:
        """Return what the bars show, for those who hear them."""
        shown = "; ".join(f"{bar.words}: {bar.count}" for bar in self.bars if bar.count)
        none = f"{self.missing} none" if self.missing else ""
        return "; ".join(filter(None, (shown, none))) or "no values"


def chart_of(values: Sequence[Any], feature: Any) -> Chart:
    """Return the distribution of a column's values on a page."""
    known = [value for value in values if value is not None]
    missing = len(values) - len(known)
    if not known:
        return Chart((), missing=missing)
    if kind_of(feature) in FILES:
        sizes = [len(v["bytes"]) for v in known if is_file(v) and isinstance(v.get("bytes"), bytes)]
        return _histogram(sizes, "bytes", missing)
    counted = _counted(known, feature)
    if counted is not None:
        return Chart(counted, "values", missing=missing)
    if all(isinstance(value, int | float | Decimal) for value in known):
        numbers = [number for value in known if (number := _finite(value)) is not None]
        return _histogram(numbers, "numbers", missing)
    if all(isinstance(value, dt.datetime) for value in known) or all(
        type(value) is dt.date for value in known
    ):
        return _times(known, missing)
    return _lengths(known, missing)


def _counted(known: Sequence[Any], feature: Any) -> tuple[Bar, ...] | None:
    """Return a bar for each value if they are few; None otherwise."""
    if not all(isinstance(value, str | bool | int) for value in known):
        return None
    counts = Counter((type(value), value) for value in known)
    always = kind_of(feature) == "ClassLabel" or all(isinstance(value, bool) for value in known)
    if not always and (len(counts) > MOST_COUNTED or len(known) < 2 * len(counts)):
        return None
    if not always and any(isinstance(value, str) and len(value) > 100 for value in known):
        return None
    common = counts.most_common(MOST_BARS)
    most = common[0][1]
    bars = [Bar(_name(value, feature), n, _height(n, most)) for (_, value), n in common]
    others = len(known) - sum(bar.count for bar in bars)
    if others:
        bars.append(Bar(f"{len(counts) - len(bars)} others", others, _height(others, most)))
    return tuple(bars)


def _name(value: Any, feature: Any) -> str:
    name = label_name(feature, value)
    if name is not None:
        return f"{shortened(name, MOST_NAME)} ({value})"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{shortened(value, MOST_NAME)}"' if isinstance(value, str) else str(value)


def _lengths(known: Sequence[Any], missing: int) -> Chart:
    kinds = {
        "characters": str,
        "entries": (list, tuple),
        "bytes": (bytes, bytearray),
        "fields": dict,
    }
    for unit, kind in kinds.items():
        if all(isinstance(value, kind) for value in known):  # type: ignore[arg-type]
            if unit == "fields":
                break
            return _histogram([len(value) for value in known], unit, missing)
    return Chart((), missing=missing)


def _times(known: Sequence[Any], missing: int) -> Chart:
    zero = min(known, key=_seconds)
    begin = _seconds(zero)
    chart = _histogram([_seconds(value) - begin for value in known], "times", missing)
    last = max(known, key=_seconds)
    # Their bars have no names of their own: a tenth of a span of time is none that one reads.
    bars = tuple(
        Bar(f"part {at} of {len(chart.bars)}", bar.count, bar.height)
        for at, bar in enumerate(chart.bars, 1)
    )
    return Chart(bars, "times", zero.isoformat()[:19], last.isoformat()[:19], missing)


def _seconds(value: Any) -> float:
    if isinstance(value, dt.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=dt.timezone.utc)
        return (aware - dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)).total_seconds()
    return float(value.toordinal()) * 86_400


def _histogram(numbers: Sequence[Any], unit: str, missing: int) -> Chart:
    if not numbers:
        return Chart((), unit, missing=missing)
    least, most = min(numbers), max(numbers)
    if least == most:
        words = _words(least, unit)
        return Chart((Bar(words, len(numbers), 100),), unit, words, words, missing)
    if all(isinstance(number, int) for number in numbers) and most - least < MOST_BARS:
        counts = [0] * (most - least + 1)
        for number in numbers:
            counts[number - least] += 1
        names = [_words(number, unit) for number in range(least, most + 1)]
    else:
        counts = [0] * MOST_BARS
        for number in numbers:
            counts[_bin(number, least, most, MOST_BARS)] += 1
        edges = [_words(_edge(least, most, at, MOST_BARS), unit) for at in range(MOST_BARS + 1)]
        names = [f"{low} to {high}" for low, high in zip(edges, edges[1:], strict=False)]
    highest = max(counts)
    bars = tuple(
        Bar(name, count, _height(count, highest)) for name, count in zip(names, counts, strict=True)
    )
    return Chart(bars, unit, _words(least, unit), _words(most, unit), missing)


def _bin(number: Any, least: Any, most: Any, bins: int) -> int:
    # Halves, because the width of the largest doubles is none.
    share = (float(number) / 2 - float(least) / 2) / (float(most) / 2 - float(least) / 2)
    return min(int(share * bins), bins - 1) if math.isfinite(share) else 0


def _edge(least: Any, most: Any, at: int, bins: int) -> float:
    share = at / bins
    return float(least) * (1 - share) + float(most) * share


def _words(number: Any, unit: str) -> str:
    if unit == "bytes":
        return size(float(number))
    if isinstance(number, int):
        return f"{number:,}"
    return f"{float(number):.4g}"


def _height(count: int, most: int) -> int:
    # A bar that is there is seen.
    return max(round(100 * count / most), 4) if count else 0


def _finite(value: Any) -> float | None:
    """Return a number that can be drawn; None for one that cannot."""
    try:
        number = float(value)
    except (OverflowError, ValueError):
        # An integer beyond the doubles, a decimal that signals.
        return None
    if not math.isfinite(number):
        return None
    return value if isinstance(value, int) else number

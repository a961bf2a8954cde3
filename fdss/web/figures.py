"""Numbers as people read them: sizes, counts, rates, ages."""

from __future__ import annotations

import time
from collections.abc import Callable

UNKNOWN = "–"
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_SPANS = (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0))


def size(bytes_: float | None) -> str:
    """Return a number of bytes in units of 1,024."""
    if bytes_ is None:
        return UNKNOWN
    value, unit = float(bytes_), _UNITS[0]
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def count(number: float | None) -> str:
    """Return a whole number with separators."""
    return UNKNOWN if number is None else f"{number:,.0f}"


def counted(number: int, thing: str) -> str:
    """Return how many things there are."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def rate(bytes_per_s: float | None) -> str:
    """Return bytes in a second."""
    return UNKNOWN if bytes_per_s is None else f"{size(bytes_per_s)}/s"


def milliseconds(seconds: float | None) -> str:
    """Return a short time."""
    if seconds is None:
        return UNKNOWN
    return f"{seconds:.1f} s" if seconds >= 1 else f"{max(1, round(seconds * 1000))} ms"


def age(at_s: float | None) -> str:
    """Return how long ago a time was, in seconds since the epoch."""
    return "never" if at_s is None else f"{span(time.time() - at_s)} ago"


def span(seconds: float) -> str:
    """Return a length of time in its largest unit."""
    for unit, length_s in _SPANS:
        if seconds >= length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


FILTERS: dict[str, Callable[..., str]] = {
    "age": age,
    "count": count,
    "counted": counted,
    "milliseconds": milliseconds,
    "rate": rate,
    "size": size,
}

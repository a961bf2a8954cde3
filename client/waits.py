"""Waits counted by their length, in buckets that are as much wider as the waits are longer.

Each doubling is cut into eight buckets of one width, as HdrHistogram does (Tene, 2012), so a length
is known to one part in sixteen, whatever it is, and to half a microsecond.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Waits of up to 12 days; longer ones count as such.
BUCKETS = 304

_PARTS = 8
_NS_A_US = 1000


def bucket_of(wait_ns: int) -> int:
    """Return the bucket of a wait of 0 ns or more."""
    us = wait_ns // _NS_A_US
    doublings = max(us.bit_length() - _PARTS.bit_length(), 0)
    return min(_PARTS * doublings + (us >> doublings), BUCKETS - 1)


def middle_s(bucket: int) -> float:
    """Return the middle of a bucket in seconds."""
    doublings = max(bucket // _PARTS - 1, 0)
    begin_us = (bucket - _PARTS * doublings) << doublings
    return (begin_us + (1 << doublings) / 2) / 1e6


def quantile_s(counts: Sequence[int], share: float) -> float:
    """Return the length that a share of the waits do not exceed; 0.0 when there is no wait.

    Args:
        counts: Waits of each bucket.
        share: More than 0, to 1.
    """
    left = max(math.ceil(share * sum(counts)), 1)
    for bucket, count in enumerate(counts):
        left -= count
        if left <= 0:
            return middle_s(bucket)
    return 0.0

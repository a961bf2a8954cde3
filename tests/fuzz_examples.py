"""How many examples the fuzzing tests try."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

#: How many examples each test tries; 0 for a few, the same in every run.
HUNTED = int(os.environ.get("FUZZ_EXAMPLES", "0"))


def examples(count: int) -> settings:
    """Return settings for ``count`` reproducible examples, or for FUZZ_EXAMPLES random ones."""
    return settings(
        max_examples=HUNTED or count,
        derandomize=not HUNTED,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )

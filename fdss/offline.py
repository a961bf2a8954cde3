"""The switches that keep Hugging Face libraries off the network, and their bars out of a log."""

from __future__ import annotations

import os

SWITCHES = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
QUIET_SWITCHES = {
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def switch_offline() -> None:
    """Turn downloads and telemetry off for this process and its children.

    The libraries read the switches once, when they are imported: call this before.
    """
    os.environ.update(SWITCHES)


def switch_quiet() -> None:
    """Turn progress bars off for this process and its children; to be called as early."""
    os.environ.update(QUIET_SWITCHES)

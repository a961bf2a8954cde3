"""The switches that keep Hugging Face libraries off the network."""

from __future__ import annotations

import os

SWITCHES = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def switch_offline() -> None:
    """Turn downloads and telemetry off for this process and its children.

    The libraries read the switches once, when they are imported: call this before.
    """
    os.environ.update(SWITCHES)

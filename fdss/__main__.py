"""``python -m fdss``: the ``fdss`` command."""

from __future__ import annotations

import importlib

if __name__ == "__main__":
    importlib.import_module("fdss.cli.main").main()

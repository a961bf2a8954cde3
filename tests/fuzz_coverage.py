"""Inputs that are led by what they reach: ``PYTHONPATH=. python tests/fuzz_coverage.py TARGET``.

Needs ``atheris``. What follows the target goes to libFuzzer, such as ``-max_total_time=60``. Only
typed errors may come out.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable
from typing import Any

# Not a dependency of the tests, and without annotations of its own.
atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(include=["fdss"]):
    from fdss.bundles import parse_bundle
    from fdss.config_text import parse_mapping
    from fdss.errors import FdssError
    from fdss.splits import parse_split
    from fdss.wire import names
    from fdss.wire.ndjson import decode_lines

TARGETS: dict[str, Callable[[bytes], object]] = {
    "bundle": lambda data: parse_bundle(data.decode("utf-8", "replace")),
    "config": lambda data: parse_mapping(data.decode("utf-8", "replace")),
    "split": lambda data: parse_split(data.decode("utf-8", "replace")),
    "plain": lambda data: decode_lines(data.split(b"\n"), names.PLAIN),
    "tagged": lambda data: decode_lines(data.split(b"\n"), names.TAGGED),
}


def main() -> None:
    """Try inputs of one target until one of them ends in another error, or time is over."""
    target = TARGETS[sys.argv.pop(1)]

    def one(data: bytes) -> None:
        with contextlib.suppress(FdssError):
            target(data)

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Errors found by their code or their status."""

from __future__ import annotations

from .answers import BadRequest
from .base import FdssError


def error_kinds() -> dict[str, type[FdssError]]:
    """Return every class of the tree by its code."""
    kinds: list[type[FdssError]] = [FdssError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    return {kind.code: kind for kind in kinds}


def kind_of_status(status: int) -> type[FdssError]:
    """Return the class that stands for an HTTP status of 400 or more where no code is told."""
    general: list[type[FdssError]] = [*FdssError.__subclasses__(), FdssError]
    kinds = {kind.status: kind for kind in general}
    return kinds.get(status, BadRequest if status < 500 else FdssError)

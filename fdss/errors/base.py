"""What every error has."""

from __future__ import annotations

from functools import partial
from typing import Any


class FdssError(Exception):
    """Anything FDSS refuses or fails to do, with a code, an HTTP status and a hint.

    Attributes:
        message: What was asked and what was found, one sentence.
        hint: What helps; empty when nothing general does.
        code: Kebab-case name that stays the same over versions.
        status: HTTP status of a response that carries the error.
        travels: Whether a response can carry it; the others are met on the side that raises them.
    """

    code = "internal"
    status = 500
    travels = True
    default_hint = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint

    def __str__(self) -> str:
        """Return the message and, in brackets, the hint: what a traceback shows."""
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def as_json(self) -> dict[str, Any]:
        """Return the body every error response carries."""
        return {"error": self.message, "code": self.code, "hint": self.hint}

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), hint=self.hint), (self.message,)

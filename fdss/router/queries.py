"""Parameters in the query of the current request."""

from __future__ import annotations

import re

from flask import request

from fdss.errors import BadParameter

MAX_TEXT = 4096

_INTEGER = re.compile(r"[0-9]{1,20}", re.ASCII)


def text_of(key: str) -> str:
    """Return a text without white space around it; empty if it is not given.

    Raises:
        BadParameter: It is too long, or no plain text.
    """
    text = request.args.get(key, "")
    if len(text) > MAX_TEXT or not text.isprintable():
        raise BadParameter(f"Parameter {key!r} is too long or has control characters.")
    return text.strip()


def needed_text_of(key: str) -> str:
    """Return a text that has to be given; errors as in ``text_of``, and where it is not."""
    text = text_of(key)
    if not text:
        raise BadParameter(f"Missing required parameter {key!r}.")
    return text


def integer_of(key: str, least: int, most: int) -> int | None:
    """Return an integer; None if it is not given.

    Raises:
        BadParameter: It is none from ``least`` to ``most``.
    """
    text = request.args.get(key)
    if text is None:
        return None
    if not _INTEGER.fullmatch(text) or not least <= int(text) <= most:
        raise BadParameter(
            f"Parameter {key!r} is an integer from {least} to {most}; found {text[:40]!r}."
        )
    return int(text)

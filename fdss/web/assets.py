"""The files that pages need, under addresses that change with their content."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from flask import Blueprint, Response, url_for

from fdss.errors import NotFound

#: Kinds of files, and the only ones that are given out.
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOREVER = "public, max-age=31536000, immutable"

blueprint = Blueprint("assets", __name__)


@blueprint.get("/static/<digest>/<name>")
def give(digest: str, name: str) -> Response:
    """Answer with a file; any other content than the one that was named is not there."""
    known = _contents()
    if name not in known or _digest(name) != digest:
        raise NotFound("There is no such file.")
    return Response(
        known[name],
        content_type=f"{TYPES[_ending(name)]}; charset=utf-8",
        headers={"Cache-Control": FOREVER},
    )


def asset(name: str) -> str:
    """Return the address of a file in the folder ``static``.

    Raises:
        KeyError: There is none.
    """
    return url_for("web.assets.give", digest=_digest(name), name=name)


@cache
def _contents() -> dict[str, bytes]:
    folder = files(__package__) / "static"
    return {
        file.name: file.read_bytes() for file in folder.iterdir() if _ending(file.name) in TYPES
    }


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(_contents()[name]).hexdigest()[:16]


def _ending(name: str) -> str:
    return name[name.rfind(".") :]

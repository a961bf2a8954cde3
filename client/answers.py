"""What a server's answer means: its JSON, or the typed error it stands for."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests

from fdss.errors import (
    AnswerTooLarge,
    BadParameter,
    FdssError,
    PageForeign,
    ServerUnreachable,
    SettingError,
    Unavailable,
    error_kinds,
    kind_of_status,
)

from .limits import ClientLimits
from .objects import bounded_object

MAX_ERROR_BYTES = 64 * 1024
MAX_MESSAGE_CHARACTERS = 2_000
MAX_RETRY_DIGITS = 9
NOT_FDSS_HINT = "check that the URL is that of a dataset server, and what stands in between"

# Statuses of what may stand between, and of servers from before FDSS.
_BY_STATUS: dict[int, type[FdssError]] = {
    407: SettingError,
    408: ServerUnreachable,
    421: ServerUnreachable,
    422: BadParameter,
    425: Unavailable,
    429: Unavailable,
    502: ServerUnreachable,
    504: ServerUnreachable,
}


def json_of(response: requests.Response, asked: str) -> dict[str, Any]:
    """Return the JSON object of an answer with status 200.

    Args:
        asked: Method and URL, for messages.

    Raises:
        AnswerTooLarge: The body is beyond the limits of the environment.
        PageForeign: The body is not a JSON object.
    """
    body = bounded_object(response, asked, ClientLimits.from_environment())
    if body is not None:
        return body
    raise PageForeign(f"{asked} answered {_kind_of(response)}, not JSON.", hint=NOT_FDSS_HINT)


def error_of(response: requests.Response, asked: str) -> FdssError:
    """Return the error that an answer with another status than 200 stands for.

    The class comes from the answer's ``code`` if it has a known one, else from the status.
    """
    if 300 <= response.status_code < 400:
        return _redirected(response, asked)
    body = _error_body(response)
    message = _message(body)
    if message is None:
        error = _by_status(response)(
            f"{asked} answered {response.status_code} with {_kind_of(response)}.",
            hint=NOT_FDSS_HINT,
        )
    else:
        kind = error_kinds().get(str(body.get("code"))) or _by_status(response)
        hint = body.get("hint")
        error = kind(message, hint=_clean(hint) if isinstance(hint, str) and hint else None)
    if isinstance(error, Unavailable):
        error.retry_after_s = _retry_after_s(response)
    return error


def media_type(response: requests.Response) -> str:
    """Return the media type of an answer without its parameters, in lower case."""
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _redirected(response: requests.Response, asked: str) -> PageForeign:
    try:
        target = urlsplit(response.headers.get("Location", ""))
    except ValueError:
        target = urlsplit("nowhere")
    # The query may hold a token.
    shown = _clean(urlunsplit((target.scheme, target.netloc, target.path, "", "")))
    return PageForeign(
        f"{asked} was redirected to {shown!r} (status {response.status_code}).",
        hint="redirects are never followed; set the server's own URL",
    )


def _by_status(response: requests.Response) -> type[FdssError]:
    status = response.status_code
    if status < 400:
        return PageForeign
    return _BY_STATUS.get(status) or kind_of_status(status)


def _error_body(response: requests.Response) -> dict[str, Any]:
    limits = ClientLimits(answer_bytes=MAX_ERROR_BYTES)
    # What cannot be read says no less than the status alone.
    with contextlib.suppress(PageForeign, AnswerTooLarge, requests.RequestException):
        return bounded_object(response, "", limits) or {}
    return {}


def _message(body: dict[str, Any]) -> str | None:
    found = body.get("error", body.get("detail"))
    if isinstance(found, list):
        found = "; ".join(
            str(entry.get("msg", entry)) if isinstance(entry, dict) else str(entry)
            for entry in found
        )
    return _clean(found) if isinstance(found, str) and found else None


def _clean(text: str) -> str:
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown[:MAX_MESSAGE_CHARACTERS]


def _kind_of(response: requests.Response) -> str:
    return _clean(media_type(response)) or "a body of no media type"


def _retry_after_s(response: requests.Response) -> int:
    given = response.headers.get("Retry-After", "")
    is_number = given.isascii() and given.isdigit() and len(given) <= MAX_RETRY_DIGITS
    return int(given) if is_number else Unavailable.retry_after_s

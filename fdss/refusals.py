"""Requests that never reach the application, answered in the shape of every other error."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import orjson
from waitress.task import ErrorTask
from waitress.utilities import Error

from fdss.errors import BadRequest, BodyTooLarge, FdssError, Unavailable
from fdss.wire.names import GUARD_HEADERS, JSON

logger = logging.getLogger(__name__)

# Behind it stands what was sent, which may be a header with a token.
_QUOTED = ' "'


class Refused(Error):  # type: ignore[misc]
    """An error of ours as a request carries it for waitress."""

    def __init__(self, error: FdssError) -> None:
        super().__init__(error.message)
        self.error = error


class Refusal(ErrorTask):  # type: ignore[misc]
    """The answer to what is no HTTP, too large, or one too many: JSON, then the end."""

    def execute(self) -> None:
        """Write the response."""
        error = error_of(self.request.error)
        # Full is news to the operator, nonsense is not.
        level = logging.INFO if isinstance(error, Unavailable) else logging.DEBUG
        logger.log(level, "%s is refused: %s", self.channel.addr[0], error.message)
        body = orjson.dumps(error.as_json())
        self.status = f"{error.status} {HTTPStatus(error.status).phrase}"
        self.response_headers.extend([("Content-Type", JSON), *GUARD_HEADERS.items()])
        if isinstance(error, Unavailable):
            self.response_headers.append(("Retry-After", str(error.retry_after_s)))
        self.set_close_on_finish()
        self.content_length = len(body)
        method = getattr(self.request, "command", "")
        self.write(b"" if method == "HEAD" else body)
        self.channel.server.meter.refused(error, method)


def error_of(found: Any) -> FdssError:
    """Return the error that stands for what waitress found."""
    if isinstance(found, Refused):
        return found.error
    text = str(found.body)
    if found.code == BodyTooLarge.status:
        return BodyTooLarge(
            f"The body of the request is too large: it {text}.",
            hint="send less, or start the server with a larger --max-body-bytes",
        )
    return BadRequest(f"The request is malformed: {text.partition(_QUOTED)[0]}.")

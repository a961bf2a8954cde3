"""Requests that never reach the application, answered in the shape of every other error."""

from __future__ import annotations

import orjson
from waitress.task import ErrorTask

from fdss.errors import Unavailable, kind_of_status
from fdss.wire.names import JSON


class Refusal(ErrorTask):  # type: ignore[misc]
    """The answer to what is no HTTP, too large, or one too many: JSON, then the end."""

    def execute(self) -> None:
        """Write the response."""
        found = self.request.error
        error = kind_of_status(found.code)(f"{found.reason}: {found.body}")
        body = orjson.dumps(error.as_json())
        self.status = f"{found.code} {found.reason}"
        self.response_headers.append(("Content-Type", JSON))
        if isinstance(error, Unavailable):
            self.response_headers.append(("Retry-After", str(error.retry_after_s)))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)

"""Requests that never reach the application, answered in the shape of every other error."""

from __future__ import annotations

import orjson
from waitress.task import ErrorTask

from fdss.channels import StreamChannel
from fdss.errors import BadRequest, BodyTooLarge, FdssError
from fdss.listener import Listener
from fdss.wire.names import JSON


class Refusal(ErrorTask):  # type: ignore[misc]
    """The answer to a request that is no HTTP, or too large: JSON, then the end."""

    def execute(self) -> None:
        """Write the response."""
        found = self.request.error
        kind = {413: BodyTooLarge}.get(found.code, BadRequest if found.code < 500 else FdssError)
        body = orjson.dumps(kind(f"{found.reason}: {found.body}").as_json())
        self.status = f"{found.code} {found.reason}"
        self.response_headers.append(("Content-Type", JSON))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class RefusingChannel(StreamChannel):
    """A connection that refuses in JSON."""

    error_task_class = Refusal


class RefusingListener(Listener):
    """A listener whose connections refuse in JSON."""

    channel_class = RefusingChannel

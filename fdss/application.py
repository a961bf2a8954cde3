"""What the applications of servers and routers have in common: they answer what they name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request
from flask.typing import RouteCallable
from werkzeug.exceptions import HTTPException

from fdss.access import shown_path
from fdss.errors import AuthenticationRequired, FdssError, Unavailable
from fdss.wire.names import REALM


class Application(Flask):
    """An application that answers to nothing but what its endpoints name, and by that name only."""

    def __init__(self, name: str, max_body_bytes: int) -> None:
        super().__init__(name, static_folder=None, template_folder=None)
        self.config["MAX_CONTENT_LENGTH"] = max_body_bytes
        # A redirect to a tidier path would answer before the gate does.
        self.url_map.merge_slashes = False
        self.url_map.strict_slashes = True

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: RouteCallable | None = None,
        provide_automatic_options: bool | None = None,
        **options: Any,
    ) -> None:
        """Add a rule without an answer to OPTIONS, which no client of ours asks."""
        super().add_url_rule(rule, endpoint, view_func, False, **options)


def install_errors(
    app: Flask,
    answer: Callable[[FdssError], Response],
    translated: Callable[[HTTPException], FdssError],
    who: str,
    logger: logging.Logger,
) -> None:
    """Make every error of an application an answer; what is its own fault is logged.

    Args:
        answer: Makes the answer to an error, without the headers that its kind asks for.
        translated: Says which error one of the routing is.
        who: What failed where nobody expected it: "server" or "router".
    """

    def answered(error: FdssError) -> Response:
        response = answer(error)
        if isinstance(error, AuthenticationRequired):
            response.headers["WWW-Authenticate"] = f'Bearer realm="{REALM}"'
        if isinstance(error, Unavailable):
            response.headers["Retry-After"] = str(error.retry_after_s)
        return response

    @app.errorhandler(FdssError)
    def known(error: FdssError) -> Response:
        if error.status >= 500 and not isinstance(error, Unavailable):
            logger.error("%s %s failed", request.method, shown_path(), exc_info=error)
        return answered(error)

    @app.errorhandler(HTTPException)
    def refused_by_routing(error: HTTPException) -> Response:
        response = answered(translated(error))
        for header, value in error.get_headers():
            if header == "Allow":
                response.headers[header] = value
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        logger.error("%s %s failed", request.method, shown_path(), exc_info=error)
        hint = f"the {who}'s log has the details"
        return answered(FdssError(f"The {who} failed to answer.", hint=hint))

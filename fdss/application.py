"""What the applications of servers and routers have in common: they answer what they name."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask.typing import RouteCallable


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

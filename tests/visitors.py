"""Somebody at a router's pages: logging in, and forms with the value that they must carry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from werkzeug.test import TestResponse

from fdss.router.app import create_router_app
from fdss.router.router import Router

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from playwright.sync_api import Page

TOKEN = "t" * 64


@dataclass
class Visitor:
    """A browser that keeps cookies, at a router that is not on a port."""

    client: FlaskClient
    #: A page with a form that is shown to those who are in.
    page: str = "/servers/add"

    def get(self, path: str, **headers: str) -> TestResponse:
        """Ask for a page."""
        return self.client.get(path, headers=headers)

    def send(self, path: str, /, fields: dict[str, str], **headers: str) -> TestResponse:
        """Send a form, with the value that forms of the page carry."""
        told = {"form_token": self.form_token(), **fields}
        return self.client.post(path, data=told, headers=headers)

    def form_token(self) -> str:
        """Return what a form of a page carries."""
        page = self.get("/login")
        if page.status_code != 200:
            page = self.get(self.page)
        found = re.search(r'name="form_token" value="([0-9a-f]+)"', page.text)
        return found[1] if found else ""

    def log_in(self, token: str = TOKEN, target: str = "") -> TestResponse:
        """Send the form that logs in."""
        return self.send("/login", {"token": token, "next": target})


def visitor(router: Router, token: str | None = TOKEN) -> Visitor:
    """Return somebody who looks at the pages of a router."""
    return Visitor(create_router_app(router, token).test_client())


def log_in(page: Page, token: str | None) -> None:
    """Log in on the page that a browser shows."""
    assert token is not None
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()
    # Its scripts have run: what is typed now is heard.
    page.wait_for_load_state()

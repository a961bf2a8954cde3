"""A headless browser for tests, whose pages are held to what every page of ours must be."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

#: The names of the browser in Debian and elsewhere.
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT_MS = 60_000

_TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error("CSP " + event.violatedDirective + " " + event.blockedURI));
"""

Visit = Callable[..., "Page"]


@dataclass
class Watch:
    """What went wrong on the pages of one context, as the browser tells it."""

    origin: str
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    #: Words of faults that a test brings about.
    expected: tuple[str, ...] = ()

    def see_request(self, request: Request) -> None:
        """Note where a request goes."""
        self.requests.append(request.url)
        parts = urlsplit(request.url)
        if f"{parts.scheme}://{parts.netloc}" != self.origin and parts.scheme not in (
            "data",
            "blob",
        ):
            self.faults.append(f"a request leaves for {request.url}")

    def see_message(self, message: ConsoleMessage) -> None:
        """Note what the browser complains of."""
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text}")

    def check(self) -> None:
        """Fail if anything went wrong that was not expected."""
        assert [
            fault for fault in self.faults if not any(word in fault for word in self.expected)
        ] == []


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start a browser; skip the test where there is none."""
    program = next((found for found in map(shutil.which, PROGRAMS) if found), None)
    if program is None:
        pytest.skip("no chromium is installed")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"] if is_root else []
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Return a call that opens an address of an origin in a context of its own.

    When the test ends, nothing may have broken the policy of the page, thrown an error or asked
    anybody else; ``expected`` names words of complaints that the test wants.
    """
    watches: list[Watch] = []
    with contextlib.ExitStack() as stack:

        def open_page(address: str, expected: tuple[str, ...] = (), **options: Any) -> Page:
            parts = urlsplit(address)
            watch = Watch(f"{parts.scheme}://{parts.netloc}", expected=expected)
            watches.append(watch)
            context = browser.new_context(**options)
            stack.callback(context.close)
            context.set_default_timeout(TIMEOUT_MS)
            context.add_init_script(_TELL_VIOLATIONS)
            context.on("request", watch.see_request)
            context.on("console", watch.see_message)
            context.on("weberror", lambda error: watch.faults.append(str(error.error)))
            page = context.new_page()
            page.goto(address)
            return page

        yield open_page
    for watch in watches:
        watch.check()

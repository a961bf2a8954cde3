"""The site of docs: it builds without a warning, holds every page, and asks nobody else."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from pages import all_of, command_of

import fdss.client
from fdss.cli.main import LAZY

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.site

#: Elements whose addresses a browser asks for by itself, or when a page is sent off.
LOADING = ("audio", "embed", "form", "iframe", "img", "link", "object", "script", "source", "video")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built site."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed")
    if not Path(fdss.__file__).with_name("client").is_dir():
        pytest.skip("the reference of Python is read from an installed FDSS")
    folder = tmp_path_factory.mktemp("site")
    # Not -m, which would put the checkout on the path.
    mkdocs = Path(sys.executable).with_name("mkdocs")
    built = subprocess.run(
        [mkdocs, "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )
    assert built.returncode == 0, built.stderr
    assert not re.search(r"^(WARNING|ERROR)", built.stderr, re.MULTILINE), built.stderr
    return folder


class _Addresses(HTMLParser):
    """Collects the ids of a page, where it leads, and what it loads."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.leads: list[str] = []
        self.loads: list[str] = []
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif name in ("src", "href", "srcset", "action", "data") and value:
                (self.loads if tag in LOADING else self.leads).append(value)


def _pages_of(navigation: list[object]) -> list[str]:
    found = []
    for entry in navigation:
        below = next(iter(entry.values())) if isinstance(entry, dict) else entry
        found += _pages_of(below) if isinstance(below, list) else [str(below)]
    return found


def test_every_page_is_built_and_in_the_navigation(site: Path) -> None:
    """Every file of docs/ stands in the navigation once, and has a page of the site."""
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    pages = _pages_of(yaml.safe_load(text)["nav"])
    written = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}

    assert len(pages) == len(set(pages))
    assert written <= set(pages)
    assert [page for page in pages if not (site / page).with_suffix(".html").is_file()] == []


def test_the_site_asks_nobody_else(site: Path) -> None:
    """No page, style or script names an address elsewhere that a browser would load."""
    pages = [path for path in site.rglob("*.html")]
    styles = "".join(path.read_text("utf-8") for path in site.rglob("*.css"))

    assert len(pages) > 20
    for page in pages:
        assert [a for a in _Addresses(page).loads if re.match(r"(\w+:)?//", a)] == [], page.name
    assert re.findall(r"(?:url\(|@import )\s*[\"']?(?:https?:)?//", styles) == []


def test_links_lead_to_pages_and_headings(site: Path) -> None:
    """Every link to another page of the site, also to files beyond docs/, leads somewhere."""
    found = {path: _Addresses(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert any("examples/ddp_loop.py.html" in address.leads for address in found.values())
    for page, addresses in found.items():
        for link in addresses.leads:
            target, _, anchor = link.partition("#")
            if re.match(r"\w+:", link):
                continue
            path = (page.parent / target).resolve() if target else page
            assert path.is_file(), f"{page.name}: {link}"
            assert not anchor or path not in found or anchor in found[path].ids | {"__top"}, link


@pytest.mark.parametrize("name", fdss.client.__all__)
def test_public_names_are_in_the_reference(site: Path, name: str) -> None:
    """Every name of ``fdss.client`` stands in the reference with a heading of its own."""
    assert f"fdss.client.{name}" in _Addresses(site / "python.html").ids


@pytest.mark.parametrize("name", LAZY)
def test_commands_are_in_the_reference(site: Path, name: str) -> None:
    """Every command stands in the reference, and those in it, with all of their flags."""
    page = (site / "cli.html").read_text("utf-8")
    for command in all_of(command_of(name)):
        title = name if command.name == name else f"{name}-{command.name}"
        section = page.partition(f'<h2 id="fdss-{title}">')[2].partition("<h2")[0]
        flags = {flag for option in command.params for flag in option.opts if flag[0] == "-"}

        assert section, title
        assert [flag for flag in flags if not re.search(rf"{flag}\b", section)] == []


def test_flags_are_shown_as_they_are_typed(site: Path) -> None:
    """What Markdown or HTML would take for its own stands in the reference unchanged."""
    page = unescape((site / "cli.html").read_text("utf-8"))

    assert re.search(r"--log-level \[\w+\|\w+", page)
    assert "0<=x<=65535" in page

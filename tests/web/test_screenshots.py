"""Pictures of every view, small enough for documents; ``SCREENSHOTS=docs/images`` keeps them."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsers import Visit
from clusters import MakePeer, Route, eventually, register
from PIL import Image
from scenes import CACHE, HANDLES, LOCALS, MB, holds, is_busy, local
from visitors import TOKEN, log_in

from fdss.wire.names import HEALTH_PATH, LOCAL_PATH

if TYPE_CHECKING:
    from playwright.sync_api import Page

MAX_BYTES = 120_000
WIDTH, HEIGHT = 1100, 760
COLORS = 96

pytestmark = pytest.mark.browser


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where pictures are kept."""
    return Path(os.environ.get("SCREENSHOTS", tmp_path))


def _keep(page: Page, file: Path) -> None:
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(file, optimize=True)
    assert file.stat().st_size < MAX_BYTES


def _scene(peer: MakePeer) -> str:
    """Start servers as a small lab has them, and return the URL of the first."""
    first = peer("data-1 · basement")
    register(first.url, TOKEN, "data-1 · basement")
    first.offers(downloads=True)
    holds(first, CACHE, LOCALS, HANDLES)
    is_busy(first, 12, 184.6 * MB)
    second = peer("data-2 · rack")
    holds(second, CACHE[:4], (local("stories", {"train": 119_000}, 604 * MB, "b" * 16),))
    is_busy(second, 3, 41.2 * MB)
    third = peer("laptop of Ada")
    register(third.url, TOKEN, "laptop of Ada")
    holds(third, CACHE[5:])
    third.answers[LOCAL_PATH] = 401
    is_busy(third, 0, 0)
    fourth = peer("data-3 · rack")
    fourth.answers[HEALTH_PATH] = 503
    return first.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_views_fit_into_the_documents(
    peer: MakePeer, route: Route, visit: Visit, folder: Path, scheme: str
) -> None:
    """Each view makes a picture of less than 120 kB, in light and dark."""
    _scene(peer)
    client = route()
    eventually(lambda: len(client.router.router.inventory()["conflicts"]) == 1)
    eventually(lambda: client.knows(2))
    options = {"color_scheme": scheme, "viewport": {"width": WIDTH, "height": HEIGHT}}
    page = visit(client.router.url, **options)
    _keep(page, folder / f"web-login-{scheme}.png")
    assert client.router.token is not None
    log_in(page, client.router.token)
    page.get_by_role("link", name="data-3 · rack", exact=True).wait_for()
    _keep(page, folder / f"web-servers-{scheme}.png")
    page.get_by_role("link", name="data-1 · basement", exact=True).click()
    page.get_by_role("heading", name="HF cache").wait_for()
    _keep(page, folder / f"web-server-{scheme}.png")
    page.goto(f"{client.router.url}/servers/add")
    _keep(page, folder / f"web-add-{scheme}.png")
    page.goto(f"{client.router.url}/cluster")
    page.get_by_role("heading", name="Datasets").wait_for()
    _keep(page, folder / f"web-cluster-{scheme}.png")

"""Pictures of the views of rows, small enough for documents; ``SCREENSHOTS`` names their folder."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsers import Visit
from clusters import Route, Serve, eventually, register
from datasets import Dataset
from explored import conversations, hostile, pictures, save
from PIL import Image

from fdss.router.membership import server_id_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

MAX_BYTES = 120_000
WIDTH, HEIGHT = 1280, 760
COLORS = 96
VIEWS = {
    "datasets": "",
    "rows": "/rows?path=local/conversations",
    "seed": "/rows?path=local/conversations&seed=7&position=100",
    "row": "/row?path=local/conversations&position=3",
    "pictures": "/rows?path=local/pictures",
    "hostile": "/rows?path=local/hostile",
}
DARK = ("seed", "row")

pytestmark = pytest.mark.browser


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where pictures are kept."""
    return Path(os.environ.get("SCREENSHOTS", tmp_path))


def _keep(page: Page, file: Path) -> None:
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(file, optimize=True)
    assert file.stat().st_size < MAX_BYTES


def test_views_of_rows_fit_into_the_documents(
    tmp_path: Path, serve: Serve, route: Route, visit: Visit, folder: Path
) -> None:
    """Each view of rows makes a picture of less than 120 kB."""
    plain = Dataset.from_dict({"text": ["a story"] * 120})
    made = {
        "conversations": conversations(),
        "pictures": pictures(),
        "hostile": hostile(),
        "stories": plain,
    }
    server = serve(
        registered=False, **{name: save(dataset, tmp_path / name) for name, dataset in made.items()}
    )
    register(server.url, server.token, "data-1 · basement")
    client = route(no_auth=True)
    eventually(lambda: client.knows(1))
    root = f"{client.router.url}/explore/{server_id_of(server.url)}"
    for name, path in VIEWS.items():
        scheme = "dark" if name in DARK else "light"
        viewport = {"width": WIDTH, "height": HEIGHT}
        page = visit(f"{root}{path}", color_scheme=scheme, viewport=viewport)
        page.locator("h1:not(:has-text('opening'))").wait_for()
        page.wait_for_load_state("networkidle")
        _keep(page, folder / f"explore-{name}.png")

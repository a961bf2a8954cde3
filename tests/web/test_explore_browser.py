"""Looking at rows in a real browser: reading, listening, hostile cells, servers that die."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsers import Visit
from clusters import Client, Route, Serve, eventually
from explored import HOSTILE, conversations, hostile, pictures, save

from fdss.client.loader import fast_load_iterable_dataset
from fdss.router.membership import server_id_of
from fdss.serving import Server

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Page

pytestmark = pytest.mark.browser

ROWS = 400


@dataclass(frozen=True)
class Stand:
    """A server with datasets, and a router that knows it."""

    server: Server
    client: Client

    @property
    def url(self) -> str:
        """Return the address of what the server has."""
        return f"{self.client.router.url}/explore/{server_id_of(self.server.url)}"

    def rows(self, name: str, more: str = "") -> str:
        """Return the address of rows of a dataset."""
        return f"{self.url}/rows?path=local/{name}{more}"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Save the datasets that the tests look at."""
    folder = tmp_path_factory.mktemp("shelf")
    made = {"talk": conversations(ROWS), "pictures": pictures(), "hostile": hostile()}
    return {name: save(dataset, folder / name) for name, dataset in made.items()}


@pytest.fixture
def stand(
    serve: Serve, route: Route, shelf: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stand]:
    """Start a server and a router that wants no token."""
    monkeypatch.setattr("fdss.web.explore_opening.PATIENCE_S", 600.0)
    server = serve(**shelf)
    client = route(no_auth=True)
    eventually(lambda: client.knows(1))
    yield Stand(server, client)


def _ids(page: Page) -> list[int]:
    page.wait_for_load_state()
    cells = page.locator("table.rows tbody tr td:nth-of-type(1)").all_inner_texts()
    return [int(text) for text in cells]


def test_from_a_server_to_a_row(stand: Stand, visit: Visit) -> None:
    """Links lead from the list of servers to a row, and buttons and fields to others."""
    page = visit(f"{stand.client.router.url}/explore")
    page.get_by_role("table").get_by_role("link").click()
    page.get_by_role("row", name="local/talk").get_by_role(
        "link", name=re.compile("validation")
    ).click()
    page.get_by_role("link", name=re.compile("train")).first.click()
    page.get_by_label("Go to row").fill("123")
    page.get_by_label("Rows per page").select_option("50")
    page.get_by_role("button", name="Show").click()
    page.get_by_text(re.compile("Rows 123 – 172")).first.wait_for()
    assert _ids(page) == list(range(123, 173))
    page.get_by_role("link", name="Next ›").first.click()
    page.get_by_role("rowheader", name="173").get_by_role("link").click()

    page.get_by_role("heading", level=1, name=f"Row 173 of {ROWS}", exact=True).wait_for()
    assert page.get_by_role("definition").first.inner_text() == "173"


def test_the_seed_box_shows_the_order_of_a_client(
    stand: Stand, visit: Visit, shelf: dict[str, Path]
) -> None:
    """The order behind a seed is the one that a training run reads."""
    dataset = fast_load_iterable_dataset(str(shelf["talk"]), split="train").shuffle(seed=11)
    expected = [row["id"] for row in dataset][:25]
    page = visit(stand.rows("talk"))
    page.get_by_label("Seed").fill("11")
    page.get_by_role("button", name="Show").click()
    page.get_by_text("shuffle(seed=11)").wait_for()

    assert _ids(page) == expected
    page.get_by_role("link", name="Stored order").click()
    page.get_by_text("shuffle(seed=11)").wait_for(state="detached")
    assert _ids(page) == list(range(25))


def test_images_are_seen_and_sounds_heard(stand: Stand, visit: Visit) -> None:
    """Images of all formats have pixels, and a sound has its length and plays to a place."""
    page = visit(stand.rows("pictures"))
    images = page.locator("table.rows img")
    count = images.count()
    for number in range(count):
        images.nth(number).scroll_into_view_if_needed()
    page.wait_for_function(
        "() => [...document.querySelectorAll('table.rows img')].every("
        "  (image) => image.complete && image.naturalWidth > 0)"
    )
    assert count > 25
    page.goto(stand.rows("pictures").replace("/rows", "/row") + "&position=3")
    page.wait_for_function("() => document.querySelector('audio').duration > 0")
    length_s = page.evaluate(
        "async () => { const sound = document.querySelector('audio');"
        " sound.currentTime = 0.05; await new Promise((done) => (sound.onseeked = done));"
        " return [sound.duration, sound.currentTime]; }"
    )
    assert length_s == pytest.approx([0.1, 0.05], abs=0.01)


def test_hostile_cells_do_nothing(stand: Stand, visit: Visit) -> None:
    """No cell opens a dialog, runs a script or breaks the policy; all are seen as they read."""
    page = visit(f"{stand.client.router.url}/explore")
    dialogs: list[str] = []

    def note(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", note)
    for address in (
        stand.rows("hostile"),
        *(
            stand.rows("hostile").replace("/rows", "/row") + f"&position={row}"
            for row in range(0, len(HOSTILE), 3)
        ),
    ):
        page.goto(address)
        page.evaluate(
            "for (const folded of document.querySelectorAll('details')) folded.open = true"
        )
    page.goto(stand.rows("hostile"))
    cells = page.locator("table.rows tbody td:nth-of-type(1)").all_inner_texts()

    assert dialogs == []
    assert cells[:3] == list(HOSTILE[:3])
    assert cells[3] == "\\u202egnp.exe"
    assert cells[7] == HOSTILE[7]
    assert "1,000,000 characters" in cells[-1]
    assert page.locator("table.rows script, table.rows h1, table.rows svg image").count() == 0
    assert page.locator("thead th").nth(1).inner_text().startswith("<b>name</b>")


def test_a_whole_cell_is_plain_text(stand: Stand, visit: Visit) -> None:
    """The whole of a cell that reads like a script is text in the browser too."""
    page = visit(f"{stand.url}/cell?path=local/hostile&position=0&column=0")

    assert page.evaluate("document.contentType") == "text/plain"
    assert page.locator("body").inner_text() == HOSTILE[0]


def test_long_text_unfolds(stand: Stand, visit: Visit) -> None:
    """A click on its size shows more of a text, and a link all of it."""
    page = visit(stand.rows("hostile"))
    page.get_by_text("1,000,000 characters").first.click()
    page.get_by_role("link", name="All of it, 1,000,000 characters").first.click()
    page.wait_for_url(re.compile("/cell"))

    assert len(page.locator("body").inner_text()) == 1_000_000


def test_a_server_that_dies_is_told(stand: Stand, visit: Visit) -> None:
    """When the server dies under the page, the next click says so, and leads back."""
    page = visit(stand.rows("talk"), expected=("502",))
    stand.server.close()
    page.get_by_role("link", name="Next ›").first.click()
    page.get_by_role("heading", name="The server did not answer as it should").wait_for()
    page.get_by_role("link", name="What the server has").click()

    page.get_by_role("table").get_by_text("local/talk").wait_for()


def test_all_is_read_without_scripts(stand: Stand, visit: Visit) -> None:
    """Without JavaScript one reads, pages, unfolds, shuffles and gets JSON."""
    page = visit(stand.rows("talk"), java_script_enabled=False)
    page.get_by_role("link", name="Next ›").first.click()
    page.get_by_text(re.compile("Rows 25 – 49")).first.wait_for()
    page.get_by_label("Seed").fill("5")
    page.get_by_role("button", name="Show").click()
    page.get_by_text("shuffle(seed=5)").wait_for()
    page.get_by_role("rowheader").get_by_role("link").first.click()
    page.get_by_role("link", name="JSON").click()
    page.wait_for_url(re.compile("/row\\.json"))

    assert '"prompt": "' in page.locator("body").inner_text()


def test_keys_and_copies(stand: Stand, visit: Visit) -> None:
    """Keys turn pages and go through rows, and a button copies a row as JSON."""
    page = visit(stand.rows("talk"), permissions=["clipboard-read", "clipboard-write"])
    page.keyboard.press("n")
    page.get_by_text(re.compile("Rows 25 – 49")).first.wait_for()
    page.wait_for_load_state()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Row 26").wait_for()
    page.wait_for_load_state()
    page.get_by_role("button", name="Copy as JSON").click()
    page.get_by_text("Copied").wait_for()

    assert '"id": 26' in page.evaluate("navigator.clipboard.readText()")


def test_narrow_screens_do_not_overflow(stand: Stand, visit: Visit) -> None:
    """On a telephone only the table scrolls sideways, never the page."""
    page = visit(stand.rows("talk"), viewport={"width": 360, "height": 700})
    for address in (stand.rows("talk"), stand.url, f"{stand.url}/row?path=local/talk&position=1"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_charts_are_told_to_those_who_hear_them(stand: Stand, visit: Visit) -> None:
    """Charts, tables and images have words for screen readers."""
    page = visit(stand.rows("pictures"))

    assert page.get_by_role("img", name=re.compile(r"values: rings \(0\): \d+")).count() == 1
    assert page.get_by_role("table", name="Rows 0 to 24 of local/pictures").count() == 1
    assert page.get_by_role("img", name=re.compile("Image: image, photo-000")).count() == 1
    assert page.locator("img:not([alt])").count() == 0

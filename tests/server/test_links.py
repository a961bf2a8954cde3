"""Links in a served folder lead nowhere else."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fdss.app import create_app
from fdss.catalog import Catalog
from fdss.config import ServerConfig

pytestmark = pytest.mark.only_on("linux", "darwin")
SECRET = "the-secret-text"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return a folder that is not served."""
    folder = tmp_path / "secret"
    folder.mkdir()
    (folder / "rows.json").write_text(f'{{"text": "{SECRET}"}}\n')
    return folder


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """Return a folder that is served, with a row of its own."""
    folder = tmp_path / "served"
    (folder / "below").mkdir(parents=True)
    (folder / "own.json").write_text('{"text": "own"}\n')
    return folder


def _client(folder: Path, **settings: Any) -> FlaskClient:
    config = ServerConfig(auth_token="test-token", local={"x": folder}, **settings)
    client = create_app(config, Catalog(config)).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = "Bearer test-token"
    return client


def _answer(client: FlaskClient, **arguments: Any) -> tuple[int, str]:
    loaded = client.post("/v1/load", json={"path": "local/x", **arguments})
    if loaded.status_code != 200:
        return loaded.status_code, loaded.get_data(as_text=True)
    handle = loaded.get_json()["handle"]
    return 200, client.get(f"/v1/datasets/{handle}/iter").get_data(as_text=True)


@pytest.mark.parametrize("name", ["rows.json", "below/rows.json", "README.md", ".hidden"])
@pytest.mark.parametrize("kind", ["file", "folder", "relative", "chain", "absent"])
def test_a_link_that_leads_out_is_refused(served: Path, secret: Path, name: str, kind: str) -> None:
    """However a link is made and wherever it stands, the folder is not served, nor any of it."""
    link = served / name
    target = {
        "file": secret / "rows.json",
        "folder": secret,
        "relative": Path(os.path.relpath(secret / "rows.json", link.parent)),
        "chain": served / "below" / "between",
        "absent": secret / "nothing",
    }[kind]
    if kind == "chain":
        target.symlink_to(secret / "rows.json")
    link.symlink_to(target)
    for arguments in ({}, {"data_files": "own.json"}, {"data_files": "**"}, {"data_files": name}):
        status, text = _answer(_client(served), **arguments)
        assert (status, SECRET in text, str(secret) in text) == (403, False, False)
        assert "--follow-links" in text


def test_an_operator_may_serve_what_links_lead_to(served: Path, secret: Path) -> None:
    """With --follow-links the files elsewhere are rows of the folder."""
    (served / "own.json").unlink()
    (served / "rows.json").symlink_to(secret / "rows.json")

    assert _answer(_client(served))[0] == 403
    assert SECRET in _answer(_client(served, follow_links=True))[1]


def test_links_inside_are_followed(served: Path, tmp_path: Path) -> None:
    """A link to another file of the folder is one, and the folder itself may be a link."""
    (served / "own.json").rename(served / "below" / "own.bin")
    (served / "own.json").symlink_to("below/own.bin")
    (served / "loop").symlink_to("loop")
    (tmp_path / "alias").symlink_to(served)

    assert _answer(_client(tmp_path / "alias"), data_files="own.json")[0] == 200


def test_a_snapshot_of_the_hub_may_lead_to_its_blobs(tmp_path: Path) -> None:
    """The cache of the Hub keeps files in one folder of a repository and links in another."""
    repository = tmp_path / "datasets--some--rows"
    snapshot, blobs = repository / "snapshots" / "c0ffee", repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "b10b").write_text('{"text": "own"}\n')
    (snapshot / "own.json").symlink_to("../../blobs/b10b")
    assert _answer(_client(snapshot))[0] == 200
    (snapshot / "ref").symlink_to("../../refs/main")

    assert _answer(_client(snapshot))[0] == 403


@pytest.mark.parametrize("name", ["rows.json", "README.md", "dataset_info.json", "state.json"])
def test_nobody_waits_for_a_pipe(served: Path, name: str) -> None:
    """A pipe among the files is refused, and not opened."""
    if sys.platform != "win32":
        os.mkfifo(served / name)

    assert _answer(_client(served))[0] == 403

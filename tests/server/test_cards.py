"""The card of a dataset names the dataset's own files, and no others."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from fdss.app import create_app
from fdss.catalog import Catalog
from fdss.config import ServerConfig

SECRET = "the-secret-text"
CONFIG = "configs:\n- config_name: default\n"


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """Return a served folder with a row of its own, beside a folder that is not served."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "rows.json").write_text(f'{{"text": "{SECRET}"}}\n')
    folder = tmp_path / "served"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "rows.json").write_text('{"text": "own"}\n')
    return folder


def _answer(folder: Path, **settings: Any) -> tuple[int, str]:
    config = ServerConfig(auth_token="test-token", local={"x": folder}, **settings)
    client = create_app(config, Catalog(config)).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = "Bearer test-token"
    loaded = client.post("/v1/load", json={"path": "local/x"})
    if loaded.status_code != 200:
        return loaded.status_code, loaded.get_data(as_text=True)
    handle = loaded.get_json()["handle"]
    return 200, client.get(f"/v1/datasets/{handle}/iter").get_data(as_text=True)


def _write(folder: Path, name: str, card: str) -> None:
    (folder / name).write_text(f"---\n{card}---\n" if name == "README.md" else card)


each_card = pytest.mark.parametrize("name", ["README.md", ".huggingface.yaml"])


@each_card
@pytest.mark.parametrize(
    "card",
    [
        CONFIG + "  data_files: {secret}/rows.json\n",
        CONFIG + "  data_files: ../secret/rows.json\n",
        CONFIG + "  data_files: 'data/../../secret/*'\n",
        CONFIG + "  data_files: 'file://{secret}/rows.json'\n",
        CONFIG + "  data_files: 'simplecache::file://{secret}/rows.json'\n",
        CONFIG
        + "  data_files:\n  - split: train\n    path: [data/rows.json, ../secret/rows.json]\n",
        CONFIG + "  data_files: &a [../secret/rows.json]\nother: *a\n",
        CONFIG + "  data_dir: {secret}\n",
        CONFIG + "  data_dir: ../secret\n",
        "# ---\n" + CONFIG + "  data_files: {secret}/rows.json\n",
        CONFIG + "  drop_labels: '---'\n  data_files: {secret}/rows.json\n",
    ],
)
def test_a_card_names_no_files_of_others(served: Path, name: str, card: str) -> None:
    """However a card spells a file that is not the dataset's, the dataset is refused."""
    secret = served.with_name("secret")
    _write(served, name, card.replace("{secret}", str(secret)))
    status, text = _answer(served)

    assert (status, SECRET in text, str(secret) in text) == (403, False, False)


@each_card
@pytest.mark.parametrize("comment", ["", "# ---\n"])
def test_a_card_makes_nobody_call(served: Path, name: str, comment: str) -> None:
    """An address in a card is refused without anybody being asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/rows.json"
        _write(served, name, f"{comment}{CONFIG}  data_files: {address}\n")

        assert _answer(served)[0] == 403
        with pytest.raises(BlockingIOError):
            listener.accept()


@each_card
@pytest.mark.parametrize("files", ["data_files: data/*.json", "data_dir: data"])
def test_a_card_names_files_of_its_own(served: Path, name: str, files: str) -> None:
    """What stands in the folder is what a card may choose from."""
    (served / "other.csv").write_text("text\nother\n")
    _write(served, name, f"{CONFIG}  {files}\n")

    assert _answer(served) == (200, '{"text":"own"}\n')


@each_card
def test_a_card_that_grows_is_looked_at_once(served: Path, name: str) -> None:
    """Aliases of aliases, which would be billions of texts, are no more than they are."""
    names = "abcdefghijklmnop"
    lines = ["a: &a [x, x, x, x, x, x, x, x]"]
    lines += [
        f"{after}: &{after} [{', '.join([f'*{before}'] * 8)}]"
        for before, after in zip(names, names[1:], strict=False)
    ]
    card = "\n".join(lines) + f"\n{CONFIG}  data_files: *{names[-1]}\n"
    _write(served, name, card)

    assert _answer(served)[0] in (400, 403, 404)


def test_a_copy_that_was_made_with_paths_is_not_served_without(served: Path) -> None:
    """What a card reached while paths were allowed is refused once they are not."""
    _write(served, "README.md", f"{CONFIG}  data_files: ../secret/rows.json\n")

    assert SECRET in _answer(served, allow_paths=True)[1]
    assert _answer(served)[0] == 403


@pytest.mark.only_on("linux", "darwin")
def test_a_card_too_large_to_look_at_is_refused(served: Path) -> None:
    """A card of gigabytes is not read."""
    with (served / "README.md").open("wb") as file:
        file.truncate(1 << 33)

    assert _answer(served)[0] == 403

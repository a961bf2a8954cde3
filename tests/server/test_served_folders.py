"""The server over real storage: what it serves, and what no request gets out of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fdss.app import create_app
from fdss.catalog import Catalog
from fdss.config import ServerConfig

if TYPE_CHECKING:
    from datasets import Dataset

ErrorCheck = Callable[[TestResponse, int, str], None]
HEADERS = {"Authorization": "Bearer test-token"}


def _client(**settings: Any) -> FlaskClient:
    config = ServerConfig(auth_token="test-token", **settings)
    client = create_app(config, Catalog(config)).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = "Bearer test-token"
    return client


@pytest.fixture
def client(own_sample_folder: Path) -> FlaskClient:
    """Return a client of a server with default flags that serves ``local/sample``."""
    return _client(local={"sample": own_sample_folder})


def _load(client: FlaskClient, **body: Any) -> TestResponse:
    return client.post("/v1/load", json=body)


def _rows(client: FlaskClient, handle: str, query: str = "") -> list[dict[str, Any]]:
    response = client.get(f"/v1/datasets/{handle}/iter?{query}")
    assert response.status_code == 200, response.get_json()
    return [json.loads(line) for line in response.data.splitlines()]


def test_a_saved_folder_is_served_row_for_row(
    client: FlaskClient, sample_rows: list[dict[str, Any]]
) -> None:
    """The rows over HTTP are the rows that were saved, in their order."""
    loaded = _load(client, path="local/sample").get_json()

    assert loaded["length"] == len(sample_rows)
    assert loaded["column_names"] == list(sample_rows[0])
    assert list(loaded["features"]) == loaded["column_names"]
    assert _rows(client, loaded["handle"]) == sample_rows


def test_pages_of_a_seed_are_the_whole_in_pieces(
    client: FlaskClient, sample_rows: list[dict[str, Any]]
) -> None:
    """Pages by position and limit give every row once, in the order of the seed."""
    handle = _load(client, path="local/sample").get_json()["handle"]
    order = "seed=7&block=4&window=50"
    whole = _rows(client, handle, order)
    pages = [
        row
        for position in range(0, len(whole), 130)
        for row in _rows(client, handle, f"{order}&position={position}&limit=130")
    ]

    assert pages == whole
    assert whole != sample_rows
    assert sorted(whole, key=lambda row: int(row["number"])) == sample_rows


def test_split_notation_is_the_server_s_to_resolve(client: FlaskClient) -> None:
    """A load of a slice has the slice's length and rows, under a handle of its own."""
    loaded = _load(client, path="local/sample", split="train[10:15]").get_json()

    assert loaded["length"] == 5
    assert [row["number"] for row in _rows(client, loaded["handle"])] == [10, 11, 12, 13, 14]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"split": "test"}, 404, "split-not-found"),
        ({"split": "train[:"}, 400, "bad-split"),
        ({"split": "../train"}, 400, "bad-split"),
        ({"split": "train[5:2:7]"}, 400, "bad-split"),
        ({"revision": "main"}, 400, "bad-parameter"),
    ],
)
def test_a_load_that_cannot_be_is_a_client_error(
    client: FlaskClient,
    assert_error_shape: ErrorCheck,
    own_sample_folder: Path,
    body: dict[str, str],
    status: int,
    code: str,
) -> None:
    """Storage's refusals have their own status, and never tell where the dataset lies."""
    response = _load(client, path="local/sample", **body)

    assert_error_shape(response, status, code)
    assert str(own_sample_folder).encode() not in response.data


def test_changed_files_are_served_anew_and_refused_to_those_who_mean_the_old(
    client: FlaskClient,
    own_sample_folder: Path,
    sample_dataset: Dataset,
    assert_error_shape: ErrorCheck,
) -> None:
    """After the files change, the same handle has another fingerprint, and If-Match a 412."""
    loaded = _load(client, path="local/sample").get_json()
    for file in own_sample_folder.iterdir():
        file.unlink()
    sample_dataset.select(range(10)).save_to_disk(str(own_sample_folder))
    path = f"/v1/datasets/{loaded['handle']}"
    old = {"If-Match": f'"{loaded["fingerprint"]}"'}

    assert_error_shape(client.get(f"{path}/iter", headers=old), 412, "content-changed")
    now = client.get(path).get_json()
    assert now["length"] == 10
    assert now["fingerprint"] != loaded["fingerprint"]
    assert len(_rows(client, loaded["handle"])) == 10


def test_a_folder_that_vanished_is_an_error_without_its_path(
    client: FlaskClient, own_sample_folder: Path
) -> None:
    """Whatever goes wrong with a folder, the answer does not tell where it was."""
    handle = _load(client, path="local/sample").get_json()["handle"]
    for file in own_sample_folder.iterdir():
        file.unlink()
    own_sample_folder.rmdir()
    answers = [client.get(f"/v1/datasets/{handle}/iter"), _load(client, path="local/sample")]

    assert [answer.status_code >= 400 for answer in answers] == [True, True]
    assert not any(str(own_sample_folder).encode() in answer.data for answer in answers)


def test_local_tells_splits_features_and_fingerprints(client: FlaskClient) -> None:
    """The list describes each local; a split has a fingerprint once it is loaded."""
    (before,) = client.get("/v1/local").get_json()["local"]
    loaded = _load(client, path="local/sample").get_json()
    (after,) = client.get("/v1/local").get_json()["local"]

    assert before["name"] == "sample"
    assert before["layout"] == "dataset"
    assert [split["num_examples"] for split in before["splits"]] == [1000]
    assert list(before["features"]) == loaded["column_names"]
    assert [split["fingerprint"] for split in before["splits"]] == [None]
    assert [split["fingerprint"] for split in after["splits"]] == [loaded["fingerprint"]]
    assert "path" not in after


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of readable files next to what is served, and work in its parent."""
    folder = tmp_path / "ns" / "secret"
    folder.mkdir(parents=True)
    (folder / "secret.jsonl").write_text('{"text": "top secret"}\n')
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "secret.txt").write_text("top secret\n")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize(
    "body",
    [
        {"path": "ns/secret"},
        {"path": "secret"},
        {"path": "text", "data_files": "{secret}/secret.jsonl"},
        {"path": "json", "data_files": "{secret}/secret.jsonl"},
        {"path": "json", "data_files": {"train": ["{secret}/secret.jsonl"]}},
        {"path": "json", "data_files": "file://{secret}/secret.jsonl"},
        {"path": "json", "data_files": "ns/secret/secret.jsonl"},
        {"path": "{secret}"},
        {"path": "{secret}/secret.jsonl"},
        {"path": "./ns/secret"},
        {"path": "ns/secret", "data_files": "secret.jsonl"},
        {"path": "secret", "data_files": "secret.txt"},
        {"path": "local/served", "data_files": "{secret}/secret.jsonl"},
        {"path": "local/served", "data_files": "../ns/secret/secret.jsonl"},
        {"path": "local/served", "data_files": "**/../../ns/secret/*"},
        {"path": "local/served/../ns/secret"},
        {"path": "local/../ns/secret"},
        {"path": "ns/secret", "name": "../../ns/secret"},
        {"path": "ns/secret", "revision": "../../ns"},
    ],
)
def test_no_request_reads_a_file_that_is_not_served(
    secret: Path, tmp_path: Path, body: dict[str, Any]
) -> None:
    """With default flags nothing outside the cache and the named locals can be loaded."""
    served = tmp_path / "served"
    served.mkdir()
    (served / "rows.jsonl").write_text('{"text": "served"}\n')
    client = _client(local={"served": served})
    filled = json.loads(json.dumps(body).replace("{secret}", secret.as_posix()))
    response = _load(client, **filled)

    assert 400 <= response.status_code < 500
    assert b"top secret" not in response.data
    assert client.get("/v1/datasets").get_json() == {"handles": []}


def test_files_below_a_named_local_can_be_chosen(tmp_path: Path) -> None:
    """Relative patterns choose among the files of a named local."""
    served = tmp_path / "served"
    served.mkdir()
    for name in ("a", "b"):
        (served / f"{name}.jsonl").write_text(f'{{"text": "{name}"}}\n')
    client = _client(local={"served": served})
    loaded = _load(client, path="local/served", data_files="b.jsonl").get_json()

    assert _rows(client, loaded["handle"]) == [{"text": "b"}]


def test_allowed_paths_are_served(sample_folder: Path) -> None:
    """With --allow-paths a client names a folder, and sees what it named."""
    loaded = _load(_client(allow_paths=True), path=str(sample_folder)).get_json()

    assert (loaded["source"], loaded["length"]) == ("path", 1000)
    assert loaded["load_args"] == {"path": str(sample_folder), "split": "train"}


_WATCHED_LOAD = """
import json, os, sys

for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.pop(variable, None)
asked = []

def watch(event, arguments):
    if event == "socket.getaddrinfo":
        asked.append(str(arguments[0]))
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        asked.append(str(arguments[1][0]))

sys.addaudithook(watch)
from fdss.offline import switch_offline
switch_offline()
from fdss.app import create_app
from fdss.catalog import Catalog
from fdss.config import ServerConfig

config = ServerConfig(auth_token="test-token")
client = create_app(config, Catalog(config)).test_client()
bodies = [
    {"path": "allenai/c4", "name": "en"},
    {"path": "squad"},
    {"path": "allenai/c4", "data_files": "en/*.json.gz"},
    {"path": "allenai/c4", "revision": "refs/convert/parquet"},
]
answers = [
    client.post("/v1/load", json=body, headers={"Authorization": "Bearer test-token"})
    for body in bodies
]
told = [(answer.status_code, answer.get_json()["code"]) for answer in answers]
hosts = [host for host in asked if host not in ("127.0.0.1", "::1", "localhost", "None")]
print("\\n" + json.dumps({"told": told, "hosts": hosts}))
"""


def test_without_downloads_nothing_asks_the_network(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """A load of a dataset that is not cached is a 404, and no other machine hears of it."""
    result = json.loads(run_python("-c", _WATCHED_LOAD).stdout.splitlines()[-1])

    assert result == {"told": [[404, "dataset-not-found"]] * 4, "hosts": []}

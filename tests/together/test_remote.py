"""A remote backend and a real server: the same rows as local storage, whatever happens."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import json
import logging
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st
from ports import free_port

from fdss import places
from fdss.arguments import LoadArguments
from fdss.backend import Backend, Row, Selection
from fdss.client import RemoteBackend, Transfer, fast_load_iterable_dataset, load_remote
from fdss.config import ServerConfig
from fdss.errors import (
    AuthenticationRequired,
    ContentChanged,
    PageCut,
    PathsDisabled,
    ServerUnreachable,
    SplitNotFound,
    UnknownHandle,
    UnknownLocal,
)
from fdss.serving import Server
from fdss.storage import Folder, OpenOptions, open_dataset

ROWS = 600
RunPython = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a saved dataset with a column of every kind of type."""
    from datasets import ClassLabel, Dataset, Features, Image, Value
    from PIL import Image as Picture

    picture = Picture.new("RGB", (2, 2), (1, 2, 3))
    features = Features(
        {
            "n": Value("int64"),
            "text, and more": Value("string"),
            "raw": Value("binary"),
            "real": Value("float64"),
            "when": Value("timestamp[us, tz=UTC]"),
            "day": Value("date32"),
            "price": Value("decimal128(10, 2)"),
            "kind": ClassLabel(names=["a", "b"]),
            "parts": [{"x": Value("int32"), "y": Value("string")}],
            "picture": Image(),
        }
    )
    rows = {
        "n": list(range(ROWS)),
        "text, and more": [None if n % 7 == 0 else f"{n} grüße \u2028 \x85\r" for n in range(ROWS)],
        "raw": [bytes([n % 256, 0, 10]) for n in range(ROWS)],
        "real": [(float("nan"), float("inf"), n / 3)[n % 3] for n in range(ROWS)],
        "when": [dt.datetime(2020, 1, 1, 0, 0, n % 60, n, dt.timezone.utc) for n in range(ROWS)],
        "day": [dt.date(2020, 1, 1 + n % 28) for n in range(ROWS)],
        "price": [decimal.Decimal(n) / 4 for n in range(ROWS)],
        "kind": [n % 2 for n in range(ROWS)],
        "parts": [[{"x": n, "y": str(n)}] * (n % 3) for n in range(ROWS)],
        "picture": [None if n % 2 else picture for n in range(ROWS)],
    }
    saved = tmp_path_factory.mktemp("kinds") / "saved"
    Dataset.from_dict(rows, features=features).save_to_disk(str(saved), num_shards=4)
    return saved


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """Yield a running server of the folder as ``local/kinds``."""
    with Server(ServerConfig(port=0, local={"kinds": folder})) as running:
        yield running


TRANSFERS = [Transfer(), Transfer(compression="zstd"), Transfer("ndjson")]


@pytest.fixture(scope="module", params=TRANSFERS, ids=["arrow", "zstd", "ndjson"])
def remote(server: Server, request: pytest.FixtureRequest) -> RemoteBackend:
    loaded = load_remote(server.url, LoadArguments("local/kinds"), token=server.token)
    return RemoteBackend(server.url, loaded.handle, token=server.token, transfer=request.param)


@pytest.fixture(scope="module")
def local(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Backend:
    options = OpenOptions(
        index_folder=tmp_path_factory.mktemp("index"),
        datasets_cache=places.datasets_cache(),
        hub_cache=places.hub_cache(),
    )
    return open_dataset(Folder(folder), LoadArguments(str(folder)), options)


def rows_of(backend: Backend, selection: Selection) -> Iterator[Row]:
    for chunk in backend.chunks(selection):
        yield from chunk.rows()


def comparable(value: Any) -> Any:
    """Return a value whose equality means the same class and the same content."""
    if isinstance(value, dict):
        return [(name, comparable(field)) for name, field in value.items()]
    if isinstance(value, list):
        return [comparable(element) for element in value]
    if hasattr(value, "tobytes"):
        return (value.mode, value.size, value.tobytes())
    return (type(value), repr(value))


@st.composite
def selections(draw: st.DrawFn) -> Selection:
    begin, end = sorted(draw(st.tuples(*[st.integers(0, ROWS)] * 2)))
    rows = range(ROWS)[begin : end : draw(st.integers(1, 5))]
    first, last = sorted(draw(st.tuples(*[st.integers(0, len(rows))] * 2)))
    return Selection(
        rows=rows,
        positions=range(len(rows))[first : last : draw(st.integers(1, 4))],
        seed=draw(st.none() | st.integers(0, (1 << 64) - 1)),
        block=draw(st.integers(1, 40)),
        window=draw(st.integers(0, 100)),
        columns=draw(st.none() | st.permutations(["n", "text, and more", "real"]).map(tuple)),
    )


@settings(max_examples=60, deadline=None)
@given(selection=selections())
def test_remote_rows_are_the_local_rows(
    remote: RemoteBackend, local: Backend, selection: Selection
) -> None:
    """Every selection gives the same values of the same classes from a server and from here."""
    there, here = list(rows_of(remote, selection)), list(rows_of(local, selection))
    assert len(there) == len(selection)
    assert comparable(there) == comparable(here)


def test_remote_rows_are_those_of_datasets(remote: RemoteBackend, folder: Path) -> None:
    """The whole dataset reads as ``datasets`` reads it, pictures and all."""
    from datasets import Dataset

    whole = Selection(range(ROWS), range(ROWS))
    read = Dataset.load_from_disk(str(folder))
    assert comparable(list(rows_of(remote, whole))) == comparable(list(read))


def test_remote_describes_itself_as_the_local_one(
    server: Server, remote: RemoteBackend, local: Backend
) -> None:
    """Length, columns, features and fingerprint are the same, from a load and from a handle."""
    by_handle = RemoteBackend(server.url, remote.handle, token=server.token)
    for backend in (remote, by_handle):
        assert len(backend) == len(local)
        assert backend.column_names == local.column_names
        assert backend.features == local.features
        assert backend.fingerprint == local.fingerprint


def test_errors_of_a_load_are_the_servers(server: Server) -> None:
    """A wrong name, split, path or token is told as what it is, not as an unreachable server."""
    refused: list[tuple[LoadArguments, str | None, type[Exception]]] = [
        (LoadArguments("local/typo"), server.token, UnknownLocal),
        (LoadArguments("local/kinds", split="typo"), server.token, SplitNotFound),
        (LoadArguments("/etc"), server.token, PathsDisabled),
        (LoadArguments("local/kinds"), "wrong", AuthenticationRequired),
    ]
    for arguments, token, kind in refused:
        with pytest.raises(kind) as caught:
            load_remote(server.url, arguments, token=token)
        assert type(caught.value) is kind


def test_unknown_handle_is_told_before_any_row(server: Server) -> None:
    """A handle the server does not know is an error of its own."""
    with pytest.raises(UnknownHandle):
        len(RemoteBackend(server.url, "0" * 16, token=server.token))


def test_loader_goes_through_the_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable set, a split is the server's to cut, and rows come from it."""
    monkeypatch.setenv("FORGATHER_DATASET_SERVER", f" {server.url}/ ")
    monkeypatch.setenv("FORGATHER_DATASET_SERVER_TOKEN", str(server.token))
    dataset = fast_load_iterable_dataset("local/kinds", split="train[10:20]")
    assert [row["n"] for row in dataset] == list(range(10, 20))


def test_changed_content_is_noticed(own_sample_folder: Path) -> None:
    """Rows that were replaced while a server was down are refused, not mixed in."""
    from datasets import Dataset

    config = ServerConfig(port=free_port(), no_auth=True, local={"own": own_sample_folder})
    with Server(config) as running:
        backend = load_remote(running.url, LoadArguments("local/own"))
        whole = Selection(range(len(backend)), range(len(backend)))
        assert len(list(rows_of(backend, whole))) == len(backend)
    for file in own_sample_folder.iterdir():
        file.unlink()
    Dataset.from_dict({"n": [1]}).save_to_disk(str(own_sample_folder))
    with Server(config) as running:
        again = load_remote(running.url, LoadArguments("local/own"))
        assert again.handle == backend.handle
        with pytest.raises(ContentChanged):
            list(rows_of(backend, whole))


@pytest.mark.parametrize("body", ["arrow", "ndjson"])
def test_killed_server_is_an_error_at_the_right_row(tmp_path: Path, body: str) -> None:
    """A server killed in the middle of a page raises PageCut behind the rows that had come."""
    saved = tmp_path / "large.arrow"
    table = pa.table({"n": list(range(256)), "text": ["x" * 65536] * 256})
    with pa.OSFile(str(saved), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    with subprocess.Popen(
        [sys.executable, "-c", SERVING, str(saved)],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            arguments = LoadArguments("local/large")
            loaded = load_remote(url, arguments)
            backend = RemoteBackend(
                url, loaded.handle, transfer=Transfer(body, read_ahead_bytes=1 << 18)
            )
            rows = rows_of(backend, Selection(range(256), range(256)))
            got = [next(rows)["n"]]
        finally:
            process.kill()
        with pytest.raises(PageCut) as caught:
            for row in rows:
                got.append(row["n"])
    assert got == list(range(len(got)))
    assert len(got) < 256
    assert f"after {len(got)}" in caught.value.message
    with pytest.raises(ServerUnreachable):
        next(rows_of(backend, Selection(range(256), range(256))))


SERVING = """
import sys
from pathlib import Path
from fdss.config import ServerConfig
from fdss.serving import Server

server = Server(ServerConfig(port=0, no_auth=True, local={"large": Path(sys.argv[1])}))
print(server.url, flush=True)
server.run()
"""


def existing_client(url: str, token: str, path: str, position: int, seed: int | None) -> list[Row]:
    """Read a dataset as existing Forgather clients do: one stream, no headers of ours."""
    bearer = {"Authorization": f"Bearer {token}"}

    def ask(target: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {**bearer, **({"Content-Type": "application/json"} if data else {})}
        return urllib.request.urlopen(
            urllib.request.Request(url + target, data=data, headers=headers), timeout=60
        )

    def unpacked(value: dict[str, Any]) -> Any:
        packed = value.get("__bytes_b64__")
        return base64.b64decode(packed) if len(value) == 1 and packed is not None else value

    with ask("/v1/load", {"path": path, "split": "train", "num_proc": None}) as answer:
        handle = json.load(answer)["handle"]
    with ask(f"/v1/datasets/{handle}/length") as answer:
        length = json.load(answer)["length"]
    query = f"position={position}" + ("" if seed is None else f"&seed={seed}")
    with ask(f"/v1/datasets/{handle}/iter?{query}") as answer:
        rows = [json.loads(line, object_hook=unpacked) for line in answer if line.strip()]
    assert len(rows) == length - position
    return rows


@pytest.mark.parametrize("seed", [None, 7])
def test_existing_clients_read_the_same_rows(
    server: Server, local: Backend, seed: int | None
) -> None:
    """A client that knows position and seed alone gets every row, in the order of the seed."""
    got = existing_client(server.url, str(server.token), "local/kinds", 5, seed)
    expected = list(rows_of(local, Selection(range(ROWS), range(5, ROWS), seed=seed)))
    for name in ("n", "text, and more", "raw", "kind", "parts"):
        assert [row[name] for row in got] == [row[name] for row in expected]


def test_remote_load_imports_no_server_and_no_datasets(
    sample_folder: Path, run_python: RunPython
) -> None:
    """A training process that reads plain columns from a server never imports ``datasets``."""
    with Server(ServerConfig(port=0, local={"sample": sample_folder})) as running:
        ended = run_python("-c", READING, running.url, str(running.token))
    assert ended.stdout == "1000 []\n"


READING = """
import os, sys
os.environ["FORGATHER_DATASET_SERVER"], os.environ["FORGATHER_DATASET_SERVER_TOKEN"] = sys.argv[1:]
from fdss.client.loader import fast_load_iterable_dataset
from fdss.client.remote import RemoteBackend
from fdss.backend import Selection

before = set(sys.modules)
rows = list(fast_load_iterable_dataset("local/sample"))
print(len(rows), sorted({"datasets", "flask", "waitress", "pandas"} & sys.modules.keys()))
"""


ENDING = """
import sys
from fdss.arguments import LoadArguments
from fdss.client import ComposableIterableDataset, load_remote

rows = iter(ComposableIterableDataset(load_remote(sys.argv[1], LoadArguments("local/large"))))
next(rows)
if sys.argv[2:]:
    raise SystemExit(7)
"""


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("body", ["arrow", "ndjson"])
def test_pages_share_connections(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, body: str, seed: int | None
) -> None:
    """However many pages an iteration reads, it makes two connections at most."""
    file = tmp_path / "texts.arrow"
    table = pa.table({"n": range(5000), "text": ["x" * 1000] * 5000})
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=50)
    transfer = Transfer(body, compression=None, read_ahead_bytes=1 << 17)
    with Server(ServerConfig(port=0, no_auth=True, local={"texts": file})) as running:
        loaded = load_remote(running.url, LoadArguments("local/texts"))
        remote = RemoteBackend(running.url, loaded.handle, transfer=transfer)
        with caplog.at_level(logging.DEBUG, "urllib3.connectionpool"):
            every = range(len(remote))
            rows = list(rows_of(remote, Selection(every, every, seed)))
    said = [record.getMessage() for record in caplog.records if record.name.startswith("urllib3")]
    assert sorted(row["n"] for row in rows) == list(every)
    assert len([line for line in said if "/iter?" in line]) > 20
    assert 1 <= len([line for line in said if line.startswith("Starting new")]) <= 2


def test_pages_of_small_batches_are_small(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What tells where values are counts: rows of two a batch come in small pages."""
    file = tmp_path / "small.arrow"
    table = pa.table({"n": range(16_000)})
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    with Server(ServerConfig(port=0, no_auth=True, local={"small": file})) as running:
        remote = load_remote(running.url, LoadArguments("local/small"))
        with caplog.at_level(logging.DEBUG, "urllib3.connectionpool"):
            every = range(len(remote))
            assert [row["n"] for row in rows_of(remote, Selection(every, every))] == list(every)
    limits = [int(limit) for limit in re.findall(r"limit=(\d+)", caplog.text)]
    assert limits[0] == 256
    assert limits[1] <= (1 << 20) * len(table) // file.stat().st_size * 1.2


@pytest.mark.parametrize("code", [0, 7])
def test_a_program_that_ends_while_it_reads_ends_well(
    tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]], code: int
) -> None:
    """A reading thread does not outlive the interpreter, however the program ends."""
    saved = tmp_path / "large.arrow"
    table = pa.table({"n": range(200_000), "text": ["x" * 1000] * 200_000})
    with pa.OSFile(str(saved), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)
    with Server(ServerConfig(port=0, no_auth=True, local={"large": saved})) as running:
        for _ in range(4):
            ended = run_python("-c", ENDING, running.url, *["end"] * bool(code), check=False)

            assert (ended.returncode, ended.stderr) == (code, "")

"""What a client can make a server open, run or call: watched from outside, in a real process."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import fdss
from fdss import places, tokens

OBSERVED = Path(__file__).parents[1] / "observed.py"
ROOT = Path(fdss.__file__).parents[1]
TIMEOUT_S = 60
TOKEN = "test-token"
SECRET = "the-secret-text"

# What a library may look at wherever it runs: nothing of it is anybody's data.
SYSTEM = ("/dev/null", "/dev/urandom", "/proc", "/usr", "/lib", "/etc/localtime", "/sys")

#: What older versions of huggingface_hub make in a temporary folder, to see whether links work.
PROBES = {"probe-link", "probe-source"}

IN_OPEN, IN_ACCESS, IN_NONBLOCK = 0x20, 0x01, 0x800


@contextmanager
def _opens_of(folder: Path) -> Iterator[list[str]]:
    """Yield a list that names, after the block, what was opened of a folder, by anybody.

    Files that Arrow opens are no event of Python.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(IN_NONBLOCK)
    found: list[str] = []
    try:
        for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            assert libc.inotify_add_watch(watch, os.fsencode(place), IN_OPEN | IN_ACCESS) > 0
        yield found
        with open(watch, "rb", buffering=0, closefd=False) as events:
            content = events.read(1 << 20) or b""
        at = 0
        while at < len(content):
            length = struct.unpack_from("iIII", content, at)[3]
            found.append(content[at + 16 : at + 16 + length].rstrip(b"\0").decode() or ".")
            at += 16 + length
    finally:
        os.close(watch)


class _Observed:
    """A server that is watched, with what it has done since it was ready."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        token_file = folder / "token"
        tokens.keep(token_file, TOKEN)
        self._record = folder / "record"
        temporary = folder / "temporary"
        temporary.mkdir()
        self.roots = [
            *(
                str(Path(place).resolve())
                for place in (sys.prefix, sys.base_prefix, ROOT, OBSERVED.parent)
            ),
            *(str(place) for place in (folder / "home", folder / "served", temporary, token_file)),
            *SYSTEM,
        ]
        self.process = subprocess.Popen(
            [
                *(sys.executable, str(OBSERVED), str(self._record), "start", "-p", "0"),
                *("--auth-token-file", str(token_file), *arguments),
            ],
            cwd=folder,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
            stderr=subprocess.PIPE,
        )
        assert self.process.stderr is not None
        words = "dataset_server URL: "
        url = next(line for line in self.process.stderr if line.startswith(words))
        self._address = str(urlsplit(url[len(words) :].strip()).netloc)
        # A full pipe would stop it.
        self._reader = threading.Thread(target=self.process.stderr.read)
        self._reader.start()
        self._begun = len(self._record.read_bytes())

    def load(self, body: Any) -> tuple[int, str]:
        """Return status and text of the answer to a load."""
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        try:
            connection.request("POST", "/v1/load", json.dumps(body).encode(), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def end(self) -> None:
        """Stop it and wait until it has ended."""
        self.process.terminate()
        self._reader.join(TIMEOUT_S)
        self.process.wait(TIMEOUT_S)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def events(self) -> list[tuple[str, list[str]]]:
        """Return what it did."""
        lines = self._record.read_bytes()[self._begun :].splitlines()
        return [(event, arguments) for event, arguments in map(json.loads, lines)]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return a folder that nobody may reach, with a file of every format in it."""
    folder = tmp_path / "secret"
    (folder / "below").mkdir(parents=True)
    for name in ("rows.json", "rows.txt", "rows.csv", "below/rows.json", "README.md"):
        (folder / name).write_text(f'{{"text": "{SECRET}"}}\n')
    return folder


@pytest.fixture
def observed(tmp_path: Path, home: Path, secret: Path) -> Iterator[_Observed]:
    """Yield a server with default flags of a local dataset, and of one that is in the Hub's cache.

    What the test gives it to read lies in ``served`` and in ``home``.
    """
    served = tmp_path / "served"
    (served / "data").mkdir(parents=True)
    (served / "data" / "rows.json").write_text('{"text": "open"}\n')
    (places.hub_cache() / "datasets--some--cached" / "snapshots").mkdir(parents=True)
    server = _Observed(tmp_path, "--local", f"rows={served}")
    try:
        yield server
    finally:
        server.end()


def _ways_to(folder: Path) -> Iterator[str]:
    """Yield spellings of a folder's file, some of which lead there in one library or another."""
    file = f"{folder}/rows.json"
    up = f"../{folder.name}/rows.json"
    yield from (file, str(folder), f"{folder}/**", f"{folder}/*.json", f"//{file}", f" {file}")
    yield from (up, f"data/../{up}", f"data/../../{folder.name}/*", "..", "**/../..", "./../*")
    yield from (f"[.][.]/{folder.name}/rows.json", f"{{..}}/{folder.name}/rows.json")
    yield from (f"%2e%2e/{folder.name}/rows.json", f"..%2f{folder.name}%2frows.json")
    yield from (f"\uff0e\uff0e/{folder.name}/rows.json", f"\u2024\u2024\u2215{folder.name}")
    yield from (f"file://{file}", f"file:{file}", f"local://{file}", f"FILE://{file}")
    yield from (f"simplecache::file://{file}", f"filecache::{file}", f"blockcache::file://{file}")
    yield from (f"zip://rows.json::{file}", f"tar://rows.json::{file}", f"dir::file://{folder}")
    yield from (f"reference://::{file}", f"cached::{file}", f"~/../{folder.name}/rows.json")
    yield from ("~root/.profile", "$HOME/../secret/rows.json", "${HOME}/x", "%HOME%/x")


ADDRESSES = [
    f"{scheme}://192.0.2.1/rows.json"
    for scheme in ("http", "https", "ftp", "s3", "gs", "abfs", "hdfs", "sftp", "ssh", "smb")
] + [
    "hf://datasets/squad/plain_text/train.parquet",
    "github://someone:rows@main/rows.json",
    "memory://rows.json",
    "data:text/plain,rows",
    "zip://rows.json::http://192.0.2.1/rows.zip",
    "//192.0.2.1/share/rows.json",
    "\\\\192.0.2.1\\share\\rows.json",
]


def _bodies(secret: Path) -> Iterator[dict[str, Any]]:
    """Yield loads that try every field on every kind of dataset."""
    for way in (*_ways_to(secret), *ADDRESSES):
        yield {"path": way}
        for builder in ("json", "text", "Text", "parquet", "imagefolder", "webdataset"):
            yield {"path": builder, "data_files": way}
        for path in ("local/rows", "some/cached"):
            yield {"path": path, "data_files": way}
            yield {"path": path, "data_files": ["data/rows.json", way]}
            yield {"path": path, "data_files": {"train": way}}
            yield {"path": path, "data_files": {way: "data/rows.json"}}
            for field in ("name", "revision", "split"):
                yield {"path": path, field: way}
            others = ("cache_dir", "data_dir", "index_dir", "features", "storage_options", "token")
            yield {"path": path, **dict.fromkeys(others, way), "trust_remote_code": True}
    for field in ("num_proc", "force_reindex", "streaming", "trust_remote_code"):
        yield {"path": "local/rows", field: 64}
        yield {"path": "some/cached", field: True}


def _is_below(path: str, roots: list[str]) -> bool:
    real = os.path.realpath(path)
    return any(real == root or real.startswith(root.rstrip("/") + "/") for root in roots)


@pytest.mark.only_on("linux")
def test_no_load_reaches_beyond_what_is_served(observed: _Observed, secret: Path) -> None:
    """Whatever a load says: nothing is opened but code, caches and what is served; nobody is
    called; nothing is run and nothing is unpickled."""
    with _opens_of(secret) as opened:
        answers = [observed.load(body) for body in _bodies(secret)]
    events = observed.events()

    assert opened == []
    assert {status for status, _ in answers} <= {200, 400, 403, 404}
    assert not any(SECRET in text for _, text in answers)
    paths = {arguments[0] for event, arguments in events if event in ("open", "os.scandir")}
    assert len(paths) > 20
    others = {arguments[0] for event, arguments in events if event.startswith(("os.", "glob."))}
    beyond = [path for path in (paths | others) - PROBES if not _is_a_number(path)]
    assert [path for path in sorted(beyond) if not _is_below(path, observed.roots)] == []
    assert [event for event in events if event[0].startswith(("socket.", "subprocess."))] == []
    assert [event for event in events if event[0] in ("os.fork", "pickle.find_class")] == []


def _is_a_number(path: str) -> bool:
    # A file that is open already.
    return path.isdecimal()


@pytest.mark.only_on("linux")
def test_the_watch_sees_what_is_opened(secret: Path) -> None:
    """A file that is opened is seen, so that none being seen means something."""
    with _opens_of(secret) as opened:
        (secret / "below" / "rows.json").read_bytes()

    assert "rows.json" in opened

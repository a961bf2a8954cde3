"""Answers tell nothing of what is there and may not be had."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fdss import places
from fdss.app import create_app
from fdss.arguments import LoadArguments
from fdss.catalog import Catalog
from fdss.config import ServerConfig

ROUNDS = 400
# Of 400 pairs: one in a million of 400 fair coins falls further from the middle.
FAIREST = 250

_WATCHED = ("open", "os.listdir", "os.scandir", "glob.glob", "socket.connect")
_seen: list[list[str]] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen and event in _WATCHED:
        _seen[-1].append(f"{event} {arguments[0]}")


@contextmanager
def _watched() -> Iterator[list[str]]:
    """Yield a list of what is opened and listed within the block."""
    if _hook not in _hooked:
        # A hook cannot be taken off again.
        sys.addaudithook(_hook)
        _hooked.append(_hook)
    _seen.append([])
    try:
        yield _seen[-1]
    finally:
        _seen.pop()


_hooked: list[Callable[..., None]] = []

Pair = tuple[dict[str, Any], dict[str, Any]]


def _client(config: ServerConfig, *, token: str | None = "test-token") -> FlaskClient:
    client = create_app(config, Catalog(config)).test_client()
    if token is not None:
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def _load(client: FlaskClient, body: dict[str, Any]) -> TestResponse:
    return client.post("/v1/load", json=body)


def _told(response: TestResponse, body: dict[str, Any]) -> tuple[int, str, list[tuple[str, str]]]:
    """Return an answer without what the client itself has said, and without its length."""
    text = response.get_data(as_text=True)
    for said in _texts(body):
        text = text.replace(json.dumps(repr(said))[1:-1], "…").replace(said, "…")
    headers = [(name, value) for name, value in response.headers if name != "Content-Length"]
    return response.status_code, text, headers


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sorted((text for one in inner for text in _texts(one)), key=len, reverse=True)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with files, in which the server runs; beside it is none called ``gone``."""
    folder = tmp_path / "there"
    (folder / "below").mkdir(parents=True)
    (folder / "rows.json").write_text('{"a": 1}\n')
    (folder / "below" / "rows.json").write_text('{"a": 1}\n')
    monkeypatch.chdir(folder)
    return folder


def _pairs(there: Path) -> list[Pair]:
    """Return loads of what is there beside loads of what is not, none of which is allowed."""
    gone = there.with_name("gone!")
    named = {"path": "local/rows"}
    return [
        ({"path": str(there)}, {"path": str(gone)}),
        ({"path": f"{there}/rows.json"}, {"path": f"{gone}/rows.json"}),
        ({"path": "~"}, {"path": "~nobody-of-that-name"}),
        ({**named, "data_files": f"{there}/rows.json"}, {**named, "data_files": f"{gone}/a.json"}),
        ({**named, "data_files": "../there/*"}, {**named, "data_files": "../gone/*"}),
        (
            {"path": "json", "data_files": f"{there}/rows.json"},
            {"path": "json", "data_files": "/x"},
        ),
        ({"path": "json"}, {"path": "cad"}),
        ({"path": "below"}, {"path": "gone"}),
        ({"path": "there/below"}, {"path": "there/gone"}),
        ({"path": "some/cached", "revision": "no"}, {"path": "some/absent", "revision": "no"}),
    ]


@pytest.mark.parametrize("number", range(10))
def test_what_is_there_and_what_is_not_are_answered_alike(
    config: ServerConfig, there: Path, number: int
) -> None:
    """Status, headers and body are the same but for what the client said itself."""
    client = _client(config)
    pair = _pairs(there)[number]
    answers = [_told(_load(client, body), body) for body in pair]

    assert answers[0] == answers[1]
    assert answers[0][0] in (403, 404)


@pytest.mark.parametrize("number", range(9))
def test_nothing_is_opened_to_refuse_a_load(config: ServerConfig, there: Path, number: int) -> None:
    """No file and no folder is opened for what is not allowed or not cached, but the cache's."""
    client = _client(config)
    pair = _pairs(there)[number]
    for body in pair:
        _load(client, body)
    with _watched() as seen:
        for body in pair:
            _load(client, body)

    cache = str(places.datasets_cache().parent)
    assert [event for event in seen if cache not in event] == []


def test_the_watch_sees_a_load_that_is_allowed(config: ServerConfig, there: Path) -> None:
    """A load that reads is seen to read, so that none being seen means something."""
    client = _client(replace(config, local={"rows": there / "below"}))
    with _watched() as seen:
        assert _load(client, {"path": "local/rows"}).status_code == 200

    assert any("rows.json" in event for event in seen)


def test_hub_datasets_are_refused_alike_without_the_hub(config: ServerConfig) -> None:
    """With --no-hf nothing tells what is in the cache, neither a load nor the list."""
    (places.datasets_cache() / "some___cached" / "default").mkdir(parents=True)
    client = _client(replace(config, no_hf=True))
    bodies = [{"path": "some/cached"}, {"path": "some/absent"}]
    with _watched() as seen:
        answers = [_told(_load(client, body), body) for body in bodies]

    assert answers[0] == answers[1]
    assert (answers[0][0], seen) == (403, [])
    assert client.get("/v1/cache/hf").get_json()["datasets"] == []


def test_a_handle_of_before_is_unknown_once_it_is_not_allowed(
    config: ServerConfig, there: Path, tmp_path: Path, table_backend: Callable[..., Any]
) -> None:
    """Who computes the handle of a path does not learn whether an earlier run has served it."""
    file = tmp_path / "state" / "8766.handles.json"
    generous = replace(config, allow_paths=True, local={"rows": there, "secret": there})
    before = Catalog(generous, file=file, opener=lambda granted, arguments: table_backend())
    kept = [before.load(LoadArguments(path)).handle for path in (str(there), "local/secret")]
    client = create_app(config, Catalog(config, file=file)).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = "Bearer test-token"
    unknown = hashlib.sha256(b"unknown").hexdigest()[:16]
    for path in ("", "/length", "/iter"):
        answers = [
            _told(client.get(f"/v1/datasets/{handle}{path}"), {"handle": handle})
            for handle in (*kept, unknown)
        ]
        assert answers[0] == answers[1] == answers[2]
        assert answers[0][0] == 404


@pytest.mark.parametrize("token", [None, "wrong", "t" * 10_000, "test-toke", "test-tokenn"])
def test_without_the_token_nothing_is_told(
    config: ServerConfig, there: Path, token: str | None
) -> None:
    """Every path, known or not, and every load, allowed or not, is the same 401."""
    client = _client(config, token=token)
    handle = LoadArguments("local/rows").handle
    answers = [
        *(_told(client.get(path), {}) for path in ("/v1/datasets", "/v1/local", "/nowhere", "/")),
        *(_told(client.get(f"/v1/datasets/{one}/iter"), {}) for one in (handle, "0" * 16)),
        *(_told(_load(client, {"path": path}), {}) for path in ("local/rows", str(there), "a/b")),
    ]

    assert [answer for answer in answers if answer != answers[0]] == []
    assert answers[0][0] == 401


@pytest.mark.parametrize("number", [0, 3, 4, 5, 7])
def test_the_time_of_an_answer_tells_nothing(
    config: ServerConfig, there: Path, number: int
) -> None:
    """Of many pairs of answers, neither kind is the faster one markedly more often."""
    client = _client(config)
    bodies = _pairs(there)[number]
    taken_s = np.empty((ROUNDS, 2))
    for turn in range(ROUNDS):
        # What comes first is not always the same.
        for one in ((0, 1), (1, 0))[turn % 2]:
            begun_s = time.perf_counter()
            _load(client, bodies[one])
            taken_s[turn, one] = time.perf_counter() - begun_s
    faster = int(np.count_nonzero(taken_s[:, 0] < taken_s[:, 1]))
    medians_s = np.median(taken_s, axis=0)

    is_even = ROUNDS - FAIREST <= faster <= FAIREST
    assert is_even or abs(medians_s[0] - medians_s[1]) < 0.1 * medians_s.max()


def test_a_right_guess_of_a_path_comes_back_as_it_was_sent(tmp_path: Path) -> None:
    """Paths that the server reads from are echoed like any other, so a guess learns nothing."""
    served = tmp_path / "served"
    served.mkdir()
    client = _client(ServerConfig(auth_token="test-token", local={"rows": served}))
    for guess in (str(served), str(tmp_path / "guess"), str(Path.home() / "x"), "/etc/passwd"):
        answer = _load(client, {"path": guess})
        assert guess in answer.get_json()["error"]
        for field in ("name", "revision", "split"):
            told = _load(client, {"path": "local/rows", field: guess}).get_json()["error"]
            assert "local/rows'" not in told.replace(guess, "") and "~" not in told
        unknown = client.get(f"/v1/datasets{guess}").get_json()["error"]
        assert guess in unknown

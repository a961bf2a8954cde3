"""Whether a server says that it is ready, and why not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from certified import Certified
from clusters import eventually
from open_files import open_files
from scraping import scraped, settled

from fdss import checks, places, readiness
from fdss.config import ServerConfig
from fdss.readiness import FAILED, UNANSWERED, UNSTARTED, Readiness
from fdss.serving import Server

CHECKS = {"running", "index_folder", "open_files", "catalog", "preload"}


def _look(server: Server, **options: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}
    return requests.get(f"{server.url}/v1/ready", headers=headers, timeout=60, **options)


@pytest.fixture
def server(config: ServerConfig, backend: Any) -> Server:
    """Return a server that does not answer yet."""
    return Server(replace(config, port=0), opener=lambda granted, arguments: backend)


def test_a_sound_server_is_ready(server: Server) -> None:
    """All checks are told, and the metric says the same."""
    with server:
        answer = _look(server)

        assert answer.status_code == 200
        sound = {"ok": True, "reason": ""}
        assert answer.json() == {"ready": True, "checks": dict.fromkeys(CHECKS, sound)}
        assert scraped(server.url, server.token).sum("fdss_ready") == 1


def test_a_server_that_is_not_ready_says_why(server: Server, tmp_path: Path) -> None:
    """A reason makes it 503 with Retry-After, in the shape of every error and with all checks."""
    reasons: list[str | None] = ["it is early", None]
    server.readiness.register("registered", lambda: reasons[0])
    with server:
        answer = _look(server)

        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "2"
        told = answer.json()
        assert told["code"] == "not-ready"
        assert told["error"] == "Not ready: registered: it is early."
        assert told["checks"].pop("registered") == {"ok": False, "reason": "it is early"}
        assert all(check["ok"] for check in told["checks"].values())
        settled(
            lambda: scraped(server.url, server.token),
            (0, "fdss_ready", {}),
            (1, "fdss_refusals_total", {"code": "not-ready"}),
        )
        reasons.pop(0)
        eventually(lambda: _look(server).status_code == 200)


def test_an_index_folder_that_cannot_be_written_is_a_reason(server: Server) -> None:
    """The reason is told without the path."""
    folder = places.index_folder()
    for child in folder.iterdir() if folder.exists() else ():
        child.unlink()
    if folder.exists():
        folder.rmdir()
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("no folder")
    with server:
        answer = _look(server)

    assert answer.status_code == 503
    assert not answer.json()["checks"]["index_folder"]["ok"]
    assert str(folder) not in answer.text
    assert str(folder.parent.name) not in answer.json()["checks"]["index_folder"]["reason"]


def test_an_expired_certificate_is_a_reason(
    config: ServerConfig, backend: Any, tmp_path: Path
) -> None:
    """It is found out while the server runs, and so is the one that takes its place."""
    tls = Certified(tmp_path)
    identity = tls.identity()
    secure = replace(config, port=0, tls_cert=identity.cert, tls_key=identity.key)
    with Server(secure, opener=lambda granted, arguments: backend) as server:
        assert _look(server, verify=str(tls.ca)).status_code == 200
        tls.identity(days=0)
        eventually(lambda: server.readiness.look()["certificate"] is not None)
        assert server.readiness.look()["certificate"] == "the certificate has expired"
        tls.identity()
        eventually(lambda: server.readiness.look()["certificate"] is None)


@pytest.mark.only_on("linux")
def test_few_free_files_are_a_reason() -> None:
    """A process that is about to run out of files says so before it does."""
    assert checks.open_files_trouble() is None
    with open_files(checks.FREE_FILES):
        reason = checks.open_files_trouble()

    assert reason is not None
    assert reason.endswith(f"files can still be opened, and {checks.FREE_FILES} should be")


def test_a_server_that_stops_is_not_ready(server: Server) -> None:
    """From the moment it is told to stop it should be sent nothing more."""
    before = server.readiness.look()["running"]
    server.close()
    eventually(lambda: server.readiness.look()["running"] is not None)

    assert before is None
    assert server.readiness.look()["running"] == "the server is stopping"


def test_a_catalog_that_is_held_up_is_a_reason(server: Server) -> None:
    """A server whose catalog does not answer can open nothing, and still says so."""
    with server:
        assert _look(server).status_code == 200
        with server.catalog._lock:
            eventually(lambda: _look(server).status_code == 503)
            answer = _look(server)
        eventually(lambda: _look(server).status_code == 200)

    assert answer.json()["checks"]["catalog"] == {"ok": False, "reason": "the catalog is held up"}


def test_a_check_that_hangs_or_fails_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """It is a reason of its own, others are told, and only one thread waits for it."""
    monkeypatch.setattr(readiness, "PATIENCE_S", 0.2)
    monkeypatch.setattr(readiness, "KEPT_S", 0.0)
    raised: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    freed, begun = threading.Event(), []

    def hang() -> str | None:
        begun.append(threading.current_thread())
        freed.wait(60)
        return None

    def fail() -> str | None:
        raise KeyError("of the check")

    found = Readiness()
    for name, check in (("slow", hang), ("broken", fail), ("sound", lambda: None)):
        found.register(name, check)

    expected = {"slow": UNANSWERED, "broken": FAILED, "sound": None}
    # On a slow machine the others do not always answer within so little, either.
    eventually(lambda: found.look() == expected)
    assert [found.look()["slow"] for _ in range(3)] == [UNANSWERED] * 3
    assert len(begun) == 1
    eventually(lambda: raised)
    freed.set()
    begun[0].join()
    eventually(lambda: found.look()["slow"] is None)
    # What the last of them raises belongs to this test, too.
    for thread in threading.enumerate():
        if thread.name.startswith("fdss-check-"):
            thread.join()


def test_whoever_asks_about_a_check_that_hangs_already_is_answered_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only those wait who ask at first: many probes of a hung disk hold up no thread for long."""
    monkeypatch.setattr(readiness, "PATIENCE_S", 1.0)
    freed = threading.Event()
    found = Readiness()
    found.register("slow", lambda: None if freed.wait(60) else "it was not freed")
    assert found.look() == {"slow": UNANSWERED}

    begun_s = time.monotonic()
    assert [found.look() for _ in range(20)] == [{"slow": UNANSWERED}] * 20
    # Half of what they would take if each of them waited.
    assert time.monotonic() - begun_s < 10.0
    freed.set()
    eventually(found.is_ready)


def test_a_check_that_no_thread_can_run_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine without a thread to spare is not ready, and ready once it has one."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(readiness, "KEPT_S", 0.0)
    found = Readiness()
    found.register("sound", lambda: None)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        assert found.look() == {"sound": UNSTARTED}

    assert found.look() == {"sound": None}


def test_what_is_found_is_told_again_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks often does not make the checks run as often."""
    runs: list[int] = []

    def check() -> str | None:
        runs.append(1)
        return None

    monkeypatch.setattr(readiness, "KEPT_S", 60.0)
    found = Readiness()
    found.register("counted", check)

    assert all(found.is_ready() for _ in range(5))
    assert len(runs) == 1


def test_readiness_is_behind_the_gate(
    server: Server, assert_error_shape: Callable[..., None]
) -> None:
    """Who has no token learns nothing of the machine."""
    with server:
        answer = requests.get(f"{server.url}/v1/ready", timeout=60)

    assert answer.status_code == 401
    assert "checks" not in answer.json()

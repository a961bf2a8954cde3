"""Routers, dataset servers, scripted peers and a Redis, all of them real and on free ports."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import Redis
from ports import free_port
from starting import peer as peer, route as route, serve as serve

from fdss.router import proxy, redis_members, turns


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a router wait for servers and for Redis as long as a busy machine makes it wait."""
    for name in ("MEMORY_TIMEOUT_S", "LOOKUP_TIMEOUT_S", "ROWS_TIMEOUT_S", "LOAD_TIMEOUT_S"):
        monkeypatch.setattr(proxy, name, 600.0)
    monkeypatch.setattr(turns, "TURN_TIMEOUT_S", 600.0)
    monkeypatch.setattr(redis_members, "TIMEOUT_S", 60.0)


@pytest.fixture
def other_folder(tmp_path: Path) -> Path:
    """Return a folder with as many rows and the same columns as the sample, one value changed."""
    from datasets import Dataset

    folder = tmp_path / "other"
    Dataset.from_dict({"x": list(range(1, 101))}).save_to_disk(str(folder))
    return folder


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    """Return a folder with a hundred rows."""
    from datasets import Dataset

    folder = tmp_path / "small"
    Dataset.from_dict({"x": list(range(100))}).save_to_disk(str(folder))
    return folder


@pytest.fixture
def redis_server() -> Iterator[Redis]:
    """Start a Redis on a free port."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    running = Redis(free_port())
    try:
        running.start()
        yield running
    finally:
        running.kill()

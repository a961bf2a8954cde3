"""Routers, dataset servers, scripted peers and a Redis, all of them real and on free ports."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from clusters import FAST, Client, MakePeer, Peer, Redis, Route, Serve, handler_of, register
from ports import free_port

from fdss.config import ServerConfig
from fdss.router.config import RouterConfig
from fdss.router.serving import RouterServer
from fdss.router.watching import Rhythm
from fdss.serving import Server


@pytest.fixture
def serve(home: Path) -> Iterator[Serve]:
    """Return a call that starts a dataset server with named locals, added to the registry."""
    with contextlib.ExitStack() as stack:

        def start(registered: bool = True, **local: Path) -> Server:
            server = stack.enter_context(Server(ServerConfig(port=0, local=local)))
            if registered:
                register(server.url, server.token)
            return server

        yield start


@pytest.fixture
def route(home: Path) -> Iterator[Route]:
    """Return a call that starts a router with quick loops."""
    with contextlib.ExitStack() as stack:

        def start(no_auth: bool = False, rhythm: Rhythm = FAST, **own: Any) -> Client:
            config = RouterConfig(ServerConfig(port=0, no_auth=no_auth), **own)
            return Client(stack.enter_context(RouterServer(config, rhythm)))

        yield start


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
def peer(home: Path) -> Iterator[MakePeer]:
    """Return a call that starts a scripted dataset server, added to the registry."""
    with contextlib.ExitStack() as stack:

        def start(**offer: Any) -> Peer:
            scripted = Peer()
            scripted.offers(**offer)
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(scripted))
            server.daemon_threads = False
            stack.callback(server.server_close)
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            for gate in (scripted.silent, scripted.loads):
                stack.callback(gate.set)
                gate.set()
            scripted.url = f"http://127.0.0.1:{server.server_port}"
            register(scripted.url)
            return scripted

        yield start


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

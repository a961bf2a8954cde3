"""Fixtures that start what a cluster is made of: routers, dataset servers, scripted peers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from clusters import FAST, Client, MakePeer, Peer, Route, Serve, handler_of, register

from fdss.config import ServerConfig
from fdss.router.config import RouterConfig
from fdss.router.serving import RouterServer
from fdss.router.watching import Rhythm
from fdss.serving import Server


@pytest.fixture
def route(home: Path) -> Iterator[Route]:
    """Return a call that starts a router with quick loops."""
    with contextlib.ExitStack() as stack:

        def start(no_auth: bool = False, rhythm: Rhythm = FAST, **own: Any) -> Client:
            config = RouterConfig(ServerConfig(port=0, no_auth=no_auth), **own)
            return Client(stack.enter_context(RouterServer(config, rhythm)))

        yield start


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
def peer(home: Path) -> Iterator[MakePeer]:
    """Return a call that starts a scripted dataset server, added to the registry."""
    with contextlib.ExitStack() as stack:

        def start(label: str = "", **offer: Any) -> Peer:
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
            register(scripted.url, label=label)
            return scripted

        yield start

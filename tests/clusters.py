"""What tests of clusters share: clients of a router, scripted dataset servers, a Redis."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import redis
import requests
from requests.adapters import HTTPAdapter

from fdss.router.membership import Member
from fdss.router.names import registry_file
from fdss.router.registry import Registry
from fdss.router.serving import RouterServer
from fdss.router.watching import Rhythm
from fdss.serving import Server
from fdss.wire.names import (
    DATASETS_PATH,
    HEALTH_PATH,
    HUB_CACHE_PATH,
    LOAD_PATH,
    LOCAL_PATH,
    ROUTER_RESOLVE_PATH,
)

#: A server that takes long is no worse for it: on a busy machine all of them do.
FAST = Rhythm(
    health_s=0.2,
    health_timeout_s=60.0,
    retry_s=0.1,
    refresh_s=0.3,
    cold_refresh_s=0.2,
    refresh_timeout_s=60.0,
)
#: The same, but who does not answer soon is down.
HASTY = replace(FAST, health_timeout_s=3.0)


def eventually(check: Callable[[], object], within_s: float = 60.0) -> None:
    """Return once a check holds; fail if it does not in time."""
    tick = threading.Event()
    deadline_s = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        tick.wait(0.01)


@dataclass(frozen=True)
class Client:
    """Asks a router as clients do."""

    router: RouterServer
    address: str = "127.0.0.1"

    def get(self, path: str, /, **parameters: str) -> requests.Response:
        """Return the answer to a question with the router's token."""
        with requests.Session() as session:
            session.mount("http://", _FromAddress(self.address))
            return session.get(
                self.router.url + path, params=parameters, headers=self._headers(), timeout=60
            )

    def post(
        self, path: str, body: dict[str, Any] | None = None, /, **parameters: str
    ) -> requests.Response:
        """Return the answer to a command, and its JSON body, with the router's token."""
        return requests.post(
            self.router.url + path,
            params=parameters,
            json=body,
            headers=self._headers(),
            timeout=60,
        )

    def delete(self, path: str) -> requests.Response:
        """Return the answer to the command to remove something, with the router's token."""
        return requests.delete(self.router.url + path, headers=self._headers(), timeout=60)

    def resolve(self, path: str, /, **parameters: str) -> requests.Response:
        """Return the answer to the question for a server."""
        return self.get(ROUTER_RESOLVE_PATH, **{"path": path, **parameters})

    def chosen(self, path: str, /, **parameters: str) -> str:
        """Return the URL of the server that is chosen, once one is."""
        answers: list[requests.Response] = []

        def is_chosen() -> bool:
            answers.append(self.resolve(path, **parameters))
            return answers[-1].status_code == 200

        eventually(is_chosen)
        return str(answers[-1].json()["base_url"])

    def knows(self, healthy: int) -> bool:
        """Return whether the router knows that many healthy servers, and what they offer."""
        servers = self.router.router.server_list()["servers"]
        ready = [s for s in servers if s["healthy"] and s["last_dataset_refresh"]]
        return len(ready) == healthy and self.router.router.knowledge.is_warm

    def _headers(self) -> dict[str, str]:
        token = self.router.token
        return {"Authorization": f"Bearer {token}"} if token else {}


class _FromAddress(HTTPAdapter):
    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *sizes: Any, **options: Any) -> None:
        super().init_poolmanager(*sizes, source_address=(self._address, 0), **options)


Serve = Callable[..., Server]
Route = Callable[..., Client]
MakePeer = Callable[..., "Peer"]


def register(url: str, token: str | None = None, label: str = "") -> str:
    """Add a server to the registry and return its id."""
    return Registry(registry_file()).add(Member(url, token or "", label)).member.server_id


@dataclass
class Peer:
    """A dataset server whose answers a test writes; a number stands for a bare status."""

    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    silent: threading.Event = field(default_factory=threading.Event)
    loads: threading.Event = field(default_factory=threading.Event)

    def offers(
        self, *, cached: tuple[str, ...] = (), downloads: bool = False, **load: float
    ) -> None:
        """Tell a policy, cached Hub datasets, and how busy it is."""
        policy = {"hf_cache_enabled": True, "allow_paths": False, "allow_downloads": downloads}
        self.answers[HEALTH_PATH] = {"status": "ok", "policy": policy, "load": load}
        configs = [{"config": "default", "version": "0.0.0", "splits": []}]
        told = [{"repo": repo, "configs": configs} for repo in cached]
        self.answers[HUB_CACHE_PATH] = {"datasets": told}
        self.answers[LOCAL_PATH] = {"local": []}
        self.answers[DATASETS_PATH] = {"handles": []}
        self.answers[LOAD_PATH] = {"fingerprint": "f" * 64}


def handler_of(peer: Peer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # Cleared, it keeps everybody waiting.
            peer.silent.wait()
            peer.asked.append(self.path)
            if self.path == LOAD_PATH:
                peer.loads.wait()
            answer = peer.answers.get(self.path, 404)
            body = b"{}" if isinstance(answer, int) else json.dumps(answer).encode()
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with contextlib.suppress(OSError):
                self.send_response(answer if isinstance(answer, int) else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@dataclass
class Redis:
    """A Redis of a test's own, without persistence."""

    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return its URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--save", "", "--bind", "127.0.0.1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with redis.Redis.from_url(self.url) as client:
            eventually(lambda: self._answers(client))

    def kill(self) -> None:
        """Kill it; everything in it is lost."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self, client: redis.Redis) -> bool:
        assert self.process is not None and self.process.poll() is None, "Redis ended"
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

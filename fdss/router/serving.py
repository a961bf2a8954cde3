"""A running router: bound, watching over its servers, answering until it is told to stop."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from types import TracebackType
from typing import Any

from waitress import wasyncore

from fdss import web
from fdss.expiry import Expiry
from fdss.listener import Limits, Listener
from fdss.signals import RELOADING, STOPPING, on_signals
from fdss.tls.context import Certificates
from fdss.wire.names import ROUTER_RESOLVE_PATH

from .app import create_router_app
from .collecting import Trust
from .config import RouterConfig
from .entrance import open_entrance
from .membership import Membership
from .metrics import vitals_of
from .names import INVENTORY_PATH, MDNS, REFRESH_PATH, REGISTRY, SERVERS_PATH, registry_file
from .redis_members import RedisMembership
from .registry import Registry, RegistryMembership
from .router import Router
from .turns import TURNS
from .watching import Rhythm

ANSWERING_THREADS = 4
#: Threads of the other pages and of questions to servers, which may take only some of them.
OTHER_THREADS = TURNS + 4
#: What needs no answer of a server, and so never waits behind what does.
FROM_MEMORY = re.compile(
    "|".join(
        (
            *map(re.escape, (ROUTER_RESOLVE_PATH, INVENTORY_PATH, SERVERS_PATH, REFRESH_PATH)),
            web.FROM_MEMORY,
        )
    )
)
DRAIN_TICK_S = 0.1

logger = logging.getLogger(__name__)


class RouterServer:
    """A router on its port, from construction to ``close``.

    ``with RouterServer(config) as server`` answers in a thread of its own; ``run`` answers in the
    calling one.

    Attributes:
        router: What it knows.
        url: Address for clients on this machine, without a slash at the end.
        token: What clients must send; None without authentication.
        banner: Lines that tell the operator how clients get in.
    """

    def __init__(self, config: RouterConfig, rhythm: Rhythm | None = None) -> None:
        """Bind, settle the token, and get ready to answer.

        Raises:
            SettingError: The port, the token or the membership cannot be had.
        """
        entrance = open_entrance(config.entrance)
        self.url, self.token, self.banner = entrance.url, entrance.token, entrance.banner
        self._drain_s = entrance.config.drain_timeout
        self._stopping = threading.Event()
        try:
            self.router = Router(
                memberships_of(config),
                Trust(config.servers_token, config.entrance.insecure),
                rhythm,
                is_guarded=self.token is not None,
            )
            self._certificates = Certificates(entrance.identity) if entrance.identity else None
            expiry = Expiry(entrance.identity.cert) if entrance.identity else None
            app = create_router_app(self.router, self.token, expiry)
            vitals = vitals_of(app)
            vitals.readiness.register("running", self._stopping_reason)
            self._listener = Listener(
                app,
                entrance.socket,
                Limits(
                    row_threads=ANSWERING_THREADS,
                    row_paths=FROM_MEMORY,
                    load_threads=OTHER_THREADS,
                    idle_s=entrance.config.idle_timeout,
                    request_s=entrance.config.request_timeout,
                ),
                certificates=self._certificates,
                meter=vitals.meter,
            )
        except BaseException:
            entrance.socket.close()
            raise
        self._waking = threading.RLock()
        self._is_over = False
        self._thread: threading.Thread | None = None

    def run(self, drain_s: float | None = None) -> None:
        """Answer until ``stop`` is called, then let what is under way end.

        Args:
            drain_s: Most seconds for that; None as configured.
        """
        channels: dict[int, Any] = self._listener._map
        self.router.start()
        if self._certificates is not None:
            self._certificates.watch()
        try:
            while not self._stopping.is_set():
                _turn(channels, self._listener.patience_s)
            self._listener.refuse_more()
            deadline_s = time.monotonic() + (self._drain_s if drain_s is None else drain_s)
            while self._is_busy() and time.monotonic() < deadline_s:
                _turn(channels, DRAIN_TICK_S)
        finally:
            self._stopping.set()
            if self._certificates is not None:
                self._certificates.stop()
            for channel in list(self._listener.active_channels.values()):
                channel.handle_close()
            # Before the trigger, which its threads pull.
            self._listener.task_dispatcher.shutdown()
            with self._waking:
                self._is_over = True
            wasyncore.close_all(channels)
            self.router.close()

    def stop(self) -> None:
        """Make ``run`` return; may be called from any thread and from a signal handler."""
        self._stopping.set()
        # A trigger that is closed may have the number of another file.
        with self._waking:
            if not self._is_over:
                self._listener.trigger.pull_trigger()

    def close(self) -> None:
        """Stop at once and wait until everything is released."""
        self.stop()
        if self._thread is not None:
            self._thread.join()
        elif not self._is_over:
            self.run(drain_s=0)

    def __enter__(self) -> RouterServer:
        self._thread = threading.Thread(
            target=self.run, kwargs={"drain_s": 0}, name="fdss-router", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _stopping_reason(self) -> str | None:
        return "the router is stopping" if self._stopping.is_set() else None

    def _is_busy(self) -> bool:
        return any(
            channel.requests or channel.total_outbufs_len
            for channel in self._listener.active_channels.values()
        )


def memberships_of(config: RouterConfig) -> list[Membership]:
    """Return what says who belongs to a router's cluster: the registry, and what is configured.

    Raises:
        SettingError: The network does not let mDNS be used.
    """
    registry = RegistryMembership(Registry(registry_file()))
    if config.membership == REGISTRY:
        return [registry]
    if config.membership == MDNS:
        from .mdns import MdnsMembership

        return [registry, MdnsMembership(config.cluster)]
    return [registry, RedisMembership(config.membership, config.cluster)]


def serve_router(config: RouterConfig) -> None:
    """Route in the foreground until SIGINT or SIGTERM, then return; SIGHUP asks everybody again.

    Raises:
        SettingError: The port, the token or the membership cannot be had.
    """
    server = RouterServer(config)
    # Before the banner: whoever reads it may send a signal at once.
    on_signals({**dict.fromkeys(STOPPING, server.stop), RELOADING: server.router.refresh})
    for line in server.banner:
        print(line, file=sys.stderr, flush=True)
    server.run()
    logger.info("stopped")


def _turn(channels: dict[int, Any], timeout_s: float) -> None:
    wasyncore.loop(timeout=timeout_s, use_poll=True, map=channels, count=1)

"""A running server: bound, authenticated, answering until it is told to stop."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from types import TracebackType
from typing import Any

from waitress import wasyncore

from fdss.announced import Announced
from fdss.app import create_app
from fdss.catalog import Catalog
from fdss.checks import Vital, register_checks
from fdss.claims import handles_file
from fdss.config import ServerConfig
from fdss.descriptors import connections_of, raise_limit
from fdss.entrance import Entrance, open_entrance
from fdss.expiry import Expiry
from fdss.listener import Limits, Listener
from fdss.openers import Opener
from fdss.parsing import RequestLimits
from fdss.preloading import Preloading
from fdss.reloading import Reader, Reloader
from fdss.shares import Shares
from fdss.signals import RELOADING, STOPPING, on_hangup, on_signals
from fdss.state import State
from fdss.tls.context import Certificates
from fdss.tuning import tune_process

DRAIN_TICK_S = 0.1

logger = logging.getLogger(__name__)


class Server:
    """A dataset server on its port, from construction to ``close``.

    ``with Server(config) as server`` answers in a thread of its own; ``run`` answers in the
    calling one.

    Attributes:
        config: The configuration, with the real port and the token.
        url: Address for clients on this machine, without a trailing slash.
        token: What clients must send; None without authentication.
        banner: Lines that tell the operator how clients get in.
        catalog: The datasets that are open.
        readiness: Whether requests should be sent here.
        preloading: Opens those that the settings name, once the server answers.
    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        opener: Opener | None = None,
        entrance: Entrance | None = None,
        shares: Shares | None = None,
    ) -> None:
        """Bind, settle the token, and get ready to answer.

        Args:
            opener: What opens a dataset; None for storage.
            entrance: What other processes answer on, too; None for an entrance of its own.
            shares: The connections of those processes.

        Raises:
            SettingError: The certificate, the port or the token cannot be had.
        """
        entrance = entrance or open_entrance(config)
        self.config, self.banner, self.url = entrance.config, entrance.banner, entrance.url
        self.token = self.config.auth_token
        expiry = Expiry(entrance.identity.cert) if entrance.identity else None
        self._state = State.of(shares, expiry)
        self.readiness = self._state.readiness
        self._stopping = threading.Event()
        self.preloading = Preloading(lambda: self.catalog)
        try:
            self.catalog = Catalog(
                self.config,
                file=handles_file(self.config.host, self.config.port),
                run=entrance.run if shares else None,
                opener=opener,
                meter=self._state.meter,
            )
            self._certificates = Certificates(entrance.identity) if entrance.identity else None
            self._listener = Listener(
                create_app(self.config, self.catalog, self._state),
                entrance.socket,
                self._limits(),
                shares,
                self._certificates,
                self._state.meter,
            )
        except BaseException:
            entrance.socket.close()
            raise
        self._in_a_hurry = threading.Event()
        # A signal handler may come upon its own thread here.
        self._waking = threading.RLock()
        self._is_over = False
        self._register_checks(expiry)
        self._calls: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None

    def run(self, drain_s: float | None = None) -> None:
        """Answer until ``stop`` is called, then let what is under way end.

        Args:
            drain_s: Most seconds for that; what is not done by then is cut. None as configured.
        """
        channels: dict[int, Any] = self._listener._map
        if self._certificates is not None:
            self._certificates.watch()
        if not self._stopping.is_set():
            self.preloading.begin(self.config)
        try:
            while not self._stopping.is_set():
                _turn(channels, self._listener.patience_s)
                while self._calls:
                    self._calls.popleft()()
            self._listener.refuse_more()
            left_s = self.config.drain_timeout if drain_s is None else drain_s
            deadline = time.monotonic() + left_s
            while self._is_busy() and time.monotonic() < deadline and not self._in_a_hurry.is_set():
                _turn(channels, DRAIN_TICK_S)
        finally:
            self._stopping.set()
            if self._certificates is not None:
                self._certificates.stop()
            self.preloading.stop()
            # This wakes the threads that wait for their client, and tells them it is gone.
            for channel in list(self._listener.active_channels.values()):
                channel.handle_close()
            # Before the trigger, which they pull.
            self._listener.task_dispatcher.shutdown()
            with self._waking:
                self._is_over = True
            wasyncore.close_all(channels)

    def stop(self) -> None:
        """Make ``run`` return; may be called from any thread and from a signal handler.

        Called again, it cuts what is still under way.
        """
        if self._stopping.is_set():
            self._in_a_hurry.set()
        self.drain()

    def drain(self) -> None:
        """Make ``run`` return once what is under way has ended; again, it does nothing."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._wake()

    def call(self, function: Callable[[], None]) -> None:
        """Let ``run`` call a function soon; may be called from a signal handler."""
        self._calls.append(function)
        self._wake()

    def apply(self, config: ServerConfig) -> None:
        """Answer with other settings from now on; responses under way end with the former.

        Args:
            config: One that ``Reloader`` returned.
        """
        self.config, self.token = config, config.auth_token
        self.catalog = self.catalog.under(config)
        self._listener.application = create_app(config, self.catalog, self._state)
        self._listener.take_limits(self._limits())
        self.preloading.begin(config)
        if self._certificates is not None:
            self._certificates.ask()
        logging.getLogger().setLevel(config.log_level)
        logger.info("the new settings are in force")

    def close(self) -> None:
        """Stop at once and wait until everything is released."""
        self.stop()
        if self._thread is None:
            self.run(drain_s=0)
        else:
            self._thread.join()

    def __enter__(self) -> Server:
        self._thread = threading.Thread(
            target=self.run, kwargs={"drain_s": 0}, name="fdss-server", daemon=True
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

    def _wake(self) -> None:
        # A trigger that is closed may have the number of another file.
        with self._waking:
            if not self._is_over:
                self._listener.trigger.pull_trigger()

    def _limits(self) -> Limits:
        return Limits(
            row_threads=self.config.row_threads,
            max_body_bytes=self.config.max_body_bytes,
            max_loads=self.config.max_loads,
            requests=RequestLimits(
                self.config.max_url_bytes, self.config.max_headers, self.config.max_header_bytes
            ),
            stall_s=self.config.stall_timeout,
            idle_s=self.config.idle_timeout,
            request_s=self.config.request_timeout,
            connections=connections_of(self.config.max_connections),
            connections_per_client=self.config.max_connections_per_client,
        )

    def _register_checks(self, expiry: Expiry | None) -> None:
        register_checks(
            self.readiness,
            Vital(
                is_stopping=self._stopping.is_set,
                catalog=lambda: self.catalog.trouble(),
                preloading=lambda: self.preloading.reason,
                expiry=expiry,
            ),
        )

    def _is_busy(self) -> bool:
        return any(
            channel.requests or channel.total_outbufs_len
            for channel in self._listener.active_channels.values()
        )


def serve(config: ServerConfig, read: Reader) -> None:
    """Serve in the foreground until SIGINT or SIGTERM, then return; SIGHUP reads settings again.

    Args:
        read: Reads flags and file again.

    Raises:
        SettingError: The certificate, the port or the token cannot be had.
    """
    raise_limit()
    tune_process()
    server = Server(config)
    reloader = Reloader(config, server.config, read)
    announced = Announced(server.config, server.url)

    def reload() -> None:
        fresh = reloader.reloaded()
        if fresh is not None:
            server.apply(fresh)
            announced.tell(fresh)

    # Before the banner: whoever reads it may send a signal at once.
    hang_up = on_hangup(lambda: server.call(reload), server.stop)
    on_signals({**dict.fromkeys(STOPPING, server.stop), RELOADING: hang_up})
    for line in server.banner:
        print(line, file=sys.stderr, flush=True)
    with closing(announced):
        server.run()
    logger.info("stopped")


def _turn(channels: dict[int, Any], timeout_s: float) -> None:
    wasyncore.loop(timeout=timeout_s, use_poll=True, map=channels, count=1)

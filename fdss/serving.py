"""A running server: bound, authenticated, answering until it is told to stop."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import FrameType, TracebackType
from typing import Any

from waitress import wasyncore

from fdss import places
from fdss.app import MAX_BODY_BYTES, create_app
from fdss.authentication import settle
from fdss.banner import banner
from fdss.catalog import Catalog, Opener
from fdss.config import ServerConfig
from fdss.hosts import url_of
from fdss.listening import bind
from fdss.refusals import RefusingListener

DRAIN_S = 5.0
LOOP_TIMEOUT_S = 1.0
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
    """

    def __init__(self, config: ServerConfig, *, opener: Opener | None = None) -> None:
        """Bind, settle the token, and get ready to answer.

        Args:
            opener: What opens a dataset; None for storage.

        Raises:
            SettingError: The port or the token cannot be had.
        """
        self._socket = bind(config.host, config.port)
        try:
            port: int = self._socket.getsockname()[1]
            credential = settle(config, port)
            self.token = credential.token
            self.config = replace(
                config, port=port, auth_token=self.token, auth_token_file=None, regen_token=False
            )
            self.banner = banner(credential, url_of(config.host, port), quiet=config.quiet_tokens)
            self.url = url_of(_reachable(config.host), port)
            self.catalog = Catalog(self.config, file=places.handles_file(port), opener=opener)
            self._listener = RefusingListener(
                create_app(self.config, self.catalog),
                self._socket,
                row_threads=config.threads,
                max_body_bytes=MAX_BODY_BYTES,
            )
        except BaseException:
            self._socket.close()
            raise
        self._stopping = threading.Event()
        self._in_a_hurry = threading.Event()
        self._thread: threading.Thread | None = None

    def run(self, drain_s: float = DRAIN_S) -> None:
        """Answer until ``stop`` is called, then let what is under way end.

        Args:
            drain_s: Most seconds for that; what is not done by then is cut.
        """
        channels: dict[int, Any] = self._listener._map
        try:
            while not self._stopping.is_set():
                _turn(channels)
            self._refuse_more()
            deadline = time.monotonic() + drain_s
            while self._is_busy() and time.monotonic() < deadline and not self._in_a_hurry.is_set():
                _turn(channels, timeout_s=DRAIN_TICK_S)
        finally:
            self._stopping.set()
            # This wakes the threads that wait for their client, and tells them it is gone.
            for channel in list(self._listener.active_channels.values()):
                channel.handle_close()
            wasyncore.close_all(channels)
            self._listener.task_dispatcher.shutdown()

    def stop(self) -> None:
        """Make ``run`` return; may be called from any thread and from a signal handler.

        Called again, it cuts what is still under way.
        """
        if self._stopping.is_set():
            # The trigger may be closed by now, and its number another file's.
            self._in_a_hurry.set()
            return
        self._stopping.set()
        self._listener.trigger.pull_trigger()

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

    def _refuse_more(self) -> None:
        self._listener.accepting = False
        self._listener.del_channel()
        self._socket.close()

    def _is_busy(self) -> bool:
        return any(
            channel.requests or channel.total_outbufs_len
            for channel in self._listener.active_channels.values()
        )


def serve(config: ServerConfig) -> None:
    """Serve in the foreground until SIGINT or SIGTERM, then return.

    Raises:
        SettingError: The port or the token cannot be had.
    """
    server = Server(config)
    # Before the banner: whoever reads it may send a signal at once.
    _on_signals(server.stop)
    for line in server.banner:
        print(line, file=sys.stderr, flush=True)
    server.run()
    logger.info("stopped")


def _on_signals(stop: Callable[[], None]) -> None:
    def handler(number: int, frame: FrameType | None) -> None:
        stop()

    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), handler)


def _turn(channels: dict[int, Any], timeout_s: float = LOOP_TIMEOUT_S) -> None:
    wasyncore.loop(timeout=timeout_s, use_poll=True, map=channels, count=1)


def _reachable(host: str) -> str:
    """Return the address at which a server that listens on a host answers this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}.get(host, host)

"""The open datasets of a server: handle to backend."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdss.arguments import LoadArguments
from fdss.config import ServerConfig
from fdss.errors import FdssError, Forbidden, UnknownHandle, UnknownLocal
from fdss.handles import MAX_ARGUMENT_BYTES, HandlesFile, argument_bytes
from fdss.metrics.server import ServerMeter
from fdss.openers import Opener, ServedBackend, storage_opener
from fdss.policy import Grant, Source, grant
from fdss.recent import Recent

#: How long the catalog may be held by others before it counts as held up.
LOCK_PATIENCE_S = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One open dataset.

    Attributes:
        arguments: What the client asked for; never a path of this machine it did not name.
        source: Which rule of the policy allowed it.
    """

    arguments: LoadArguments
    source: Source
    backend: ServedBackend

    @property
    def handle(self) -> str:
        """Return the handle clients name it by."""
        return self.arguments.handle

    def as_listed(self) -> dict[str, Any]:
        """Return its line in the list of handles; one whose rows are gone has no fingerprint."""
        line = self._line()
        with suppress(FdssError):
            if not self.backend.is_stale():
                line["fingerprint"] = self.backend.fingerprint
        return line

    def as_json(self) -> dict[str, Any]:
        """Return everything a client may know about it."""
        return {
            **self._line(),
            "column_names": self.backend.column_names,
            "fingerprint": self.backend.fingerprint,
            "features": self.backend.features,
        }

    def _line(self) -> dict[str, Any]:
        return {
            "handle": self.handle,
            "length": len(self.backend),
            "source": self.source,
            "load_args": self.arguments.as_json(),
        }


class Catalog:
    """Every dataset the server has open, each opened once, however many ask at a time.

    As many as were used last stay open, and as many handles are known: one that was closed, or is
    of an earlier run, opens on its next use, under the policy of this run. So does one whose files
    changed.
    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        file: Path | None = None,
        run: str | None = None,
        opener: Opener | None = None,
        meter: ServerMeter | None = None,
    ) -> None:
        """Start empty.

        Args:
            file: Where handles are kept over a restart; None forgets them.
            run: Name of the server if other processes belong to it; what they open is listed.
            opener: What opens a dataset; None for storage.
            meter: What counts loads and indexes; None for one of its own.
        """
        self._meter = meter or ServerMeter.of()
        self._config = config
        self._file = file
        self._run = run
        self._given_opener = opener
        self._kept = HandlesFile(file, run, config.max_handles) if file else None
        self._opener = opener or storage_opener(config, self._meter)
        self._lock = threading.Lock()
        self._is_replaced = False
        self._entries: Recent[Entry] = Recent(config.max_open, MAX_ARGUMENT_BYTES)
        # Also without a file a handle outlives its dataset's being closed.
        self._known: Recent[LoadArguments] = Recent(config.max_handles, MAX_ARGUMENT_BYTES)
        self._opening: dict[str, Future[Entry]] = {}

    def load(self, arguments: LoadArguments) -> Entry:
        """Return the dataset these arguments name, opened now if it is not open.

        Raises:
            FdssError: The policy or storage refuses it; all that waited get the same error.
        """
        return self._fresh(arguments, at_once=True)

    def get(self, handle: str) -> Entry:
        """Return the dataset of a handle, of this run or an earlier one.

        Raises:
            UnknownHandle: No load made that handle, or only one that is not allowed any more:
                else anybody could ask what an earlier run has served.
            FdssError: It can no longer be opened.
        """
        entry = self._entries.get(handle)
        arguments = entry.arguments if entry else self._known_arguments(handle)
        if arguments is None or (entry is None and not self._is_allowed(arguments)):
            raise UnknownHandle(f"Unknown handle: {handle[:64]}")
        return self._fresh(arguments, at_once=False)

    def entries(self) -> list[Entry]:
        """Return the datasets that the server has open now, by handle.

        Only what another process of this server has opened is opened for it.
        """
        for handle in self._opened_elsewhere():
            with suppress(FdssError):
                self.get(handle)
        return [entry for _, entry in sorted(self._entries.items())]

    def trouble(self) -> str | None:
        """Return why the catalog cannot answer; None if it can."""
        if not self._lock.acquire(timeout=LOCK_PATIENCE_S):
            return "the catalog is held up"
        self._lock.release()
        try:
            if self._kept is not None:
                self._kept.opened()
        except OSError as error:
            return f"the handles of this server cannot be read: {error.strerror or 'it failed'}"
        return None

    def under(self, config: ServerConfig) -> Catalog:
        """Return a catalog with another policy, in which stays open what both policies allow."""
        other = Catalog(
            config,
            file=self._file,
            run=self._run,
            opener=self._given_opener,
            meter=self._meter,
        )
        with self._lock:
            # What is being opened here is counted by nobody: it ends with its last request.
            self._is_replaced = True
        self._meter.holds(0)
        for handle, arguments in self._known.items():
            other._known.put(handle, arguments, argument_bytes(arguments))
        for _, entry in self._entries.items():
            with suppress(FdssError):
                if grant(entry.arguments, config) == grant(entry.arguments, self._config):
                    other._note(entry)
        return other

    def _fresh(self, arguments: LoadArguments, *, at_once: bool) -> Entry:
        entry = self._entries.get(arguments.handle)
        if entry is not None and not entry.backend.is_stale(at_once=at_once):
            return entry
        return self._opened_once(arguments, entry)

    def _opened_elsewhere(self) -> list[str]:
        if self._kept is None or self._run is None:
            return []
        try:
            opened = self._kept.opened()[-self._config.max_open :]
            return [handle for handle in opened if handle not in self._entries]
        except OSError as error:
            logger.error("handles of other processes cannot be read: %s", error)
            return []

    def _is_allowed(self, arguments: LoadArguments) -> bool:
        try:
            grant(arguments, self._config)
        except (Forbidden, UnknownLocal):
            return False
        return True

    def _known_arguments(self, handle: str) -> LoadArguments | None:
        known = self._known.get(handle)
        if known is not None or self._kept is None:
            return known
        try:
            return self._kept.arguments_of(handle)
        except OSError as error:
            logger.error("handles of earlier runs cannot be read: %s", error)
            return None

    def _opened_once(self, arguments: LoadArguments, seen: Entry | None) -> Entry:
        handle = arguments.handle
        with self._lock:
            now = self._entries.get(handle)
            if now is not None and now is not seen:
                return now
            waiting = self._opening.get(handle)
            if waiting is None:
                mine = self._opening[handle] = Future[Entry]()
        if waiting is not None:
            return waiting.result()
        return self._open(arguments, mine)

    def _open(self, arguments: LoadArguments, future: Future[Entry]) -> Entry:
        try:
            granted = grant(arguments, self._config)
            entry = Entry(arguments, granted.source, self._opened(granted, arguments))
            # Before anybody is told of the handle, who may ask another process for it.
            self._keep(arguments)
        except BaseException as error:
            with self._lock:
                del self._opening[arguments.handle]
            future.set_exception(error)
            raise
        with self._lock:
            self._note(entry)
            del self._opening[arguments.handle]
        future.set_result(entry)
        return entry

    def _opened(self, granted: Grant, arguments: LoadArguments) -> ServedBackend:
        begun_s = time.perf_counter()
        is_open = False
        try:
            backend = self._opener(granted, arguments)
            is_open = True
        finally:
            self._meter.loaded(time.perf_counter() - begun_s, is_open=is_open)
        return backend

    def _note(self, entry: Entry) -> None:
        size_bytes = argument_bytes(entry.arguments)
        self._entries.put(entry.handle, entry, size_bytes)
        if not self._is_replaced:
            self._meter.holds(len(self._entries))
        self._known.put(entry.handle, entry.arguments, size_bytes)

    def _keep(self, arguments: LoadArguments) -> None:
        if self._kept is None:
            return
        try:
            self._kept.add(arguments)
        except OSError as error:
            logger.error("handle %s is not kept over a restart: %s", arguments.handle, error)

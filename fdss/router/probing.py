"""Servers are asked to load a dataset, to learn whose rows are the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

from fdss.arguments import LoadArguments
from fdss.wire.names import LOAD_PATH

from .asking import Asker, AskFailed
from .knowledge import Knowledge, Probe, Server
from .membership import Member

#: A first load may have to index terabytes; nobody but the one thread waits that long.
LOAD_TIMEOUT_S = 600.0
MOST_UNDER_WAY = 64
#: Of one server, so that one that is slow leaves room for the others.
MOST_OF_ONE = 4
#: How long an answer stands, by what it was.
FRESH_S = 60.0
REFUSED_S = 30.0
FAILED_S = 3.0
MOST_PROBES = 4096

Key = tuple[str, str]


class Prober:
    """Asks servers for the fingerprint of a dataset, each question in a thread of its own."""

    def __init__(self, knowledge: Knowledge, on_news: Callable[[], None]) -> None:
        """Take where answers are kept.

        Args:
            on_news: Called when a server has told its content.
        """
        self._knowledge = knowledge
        self._on_news = on_news
        self._changed = threading.Condition()
        self._under_way: dict[Key, float] = {}
        self._is_closed = False

    def ask(self, servers: Iterable[Server], arguments: LoadArguments) -> None:
        """Ask each server that has not said lately, and is not being asked."""
        now_s = self._knowledge.now_s()
        for server in servers:
            if not is_current(server.probes.get(arguments.handle), now_s):
                self._ask(server.member, arguments)

    def pending_s(self, server_id: str, handle: str) -> float | None:
        """Return for how many seconds a server has been asked; None if it is not being asked."""
        with self._changed:
            begun_s = self._under_way.get((server_id, handle))
        return None if begun_s is None else self._knowledge.now_s() - begun_s

    def wait(self, server_ids: Iterable[str], handle: str, timeout_s: float) -> None:
        """Wait until none of the servers is being asked, or the time is over."""
        keys = {(server_id, handle) for server_id in server_ids}
        with self._changed:
            self._changed.wait_for(lambda: not keys & self._under_way.keys(), timeout_s)

    def close(self) -> None:
        """Ask no more; nobody waits for what is under way."""
        with self._changed:
            self._is_closed = True
            self._under_way.clear()
            self._changed.notify_all()

    def _ask(self, member: Member, arguments: LoadArguments) -> None:
        key = member.server_id, arguments.handle
        with self._changed:
            of_this = sum(server_id == member.server_id for server_id, _ in self._under_way)
            is_full = len(self._under_way) >= MOST_UNDER_WAY or of_this >= MOST_OF_ONE
            if self._is_closed or is_full or key in self._under_way:
                return
            self._under_way[key] = self._knowledge.now_s()
        threading.Thread(
            target=self._run, args=(member, arguments), name="fdss-probe", daemon=True
        ).start()

    def _run(self, member: Member, arguments: LoadArguments) -> None:
        asker = Asker(member)
        try:
            fingerprint, is_refused = _loaded(asker, arguments)
            probe = Probe(fingerprint, is_refused, self._knowledge.now_s())
            self._knowledge.change(
                member.server_id, lambda server: _with(server, arguments.handle, probe)
            )
        finally:
            asker.close()
            with self._changed:
                self._under_way.pop((member.server_id, arguments.handle), None)
                self._changed.notify_all()
        self._on_news()


def is_current(probe: Probe | None, now_s: float) -> bool:
    """Return whether an answer still stands."""
    if probe is None:
        return False
    if probe.fingerprint is not None:
        return now_s - probe.at_s < FRESH_S
    return now_s - probe.at_s < (REFUSED_S if probe.is_refused else FAILED_S)


def _loaded(asker: Asker, arguments: LoadArguments) -> tuple[str | None, bool]:
    try:
        answer = asker.post(LOAD_PATH, arguments.as_json(), LOAD_TIMEOUT_S)
    except AskFailed as error:
        return None, error.is_refusal
    fingerprint = answer.get("fingerprint")
    return (fingerprint if isinstance(fingerprint, str) else None), False


def _with(server: Server, handle: str, probe: Probe) -> Server:
    kept = dict(server.probes)
    kept.pop(handle, None)
    if len(kept) >= MOST_PROBES:
        del kept[next(iter(kept))]
    return replace(server, probes={**kept, handle: probe})

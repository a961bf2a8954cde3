"""Which server a client reads a dataset from, or why none."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence

from fdss.errors import FdssError, NobodyServes, Unavailable

from .balance import Balance
from .candidates import DOWNLOADING, Question, awaited, contents_of, ranked
from .knowledge import Knowledge, Probe, Server
from .probing import Prober, is_current

WARMING_UP_S = 5
DOWN_S = 2
PENDING_S = 1
#: How long an answer waits for servers that are asked for their content, and how many do so.
WAIT_S = 2.0
MOST_WAITING = 2
#: After this time a server that still loads is left out of the choice.
PATIENCE_S = 10.0


class Resolver:
    """Answers clients from what is known."""

    def __init__(self, knowledge: Knowledge, prober: Prober, balance: Balance) -> None:
        self._knowledge = knowledge
        self._prober = prober
        self._balance = balance
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)

    def resolve(self, question: Question) -> Server:
        """Return the server to read from.

        Raises:
            Unavailable: It is not known yet, or whoever has the dataset is down.
            NobodyServes: No server has the dataset or may get it, up or down.
        """
        if not self._knowledge.is_warm:
            raise _unavailable(
                "Dataset-server inventory is still warming up; retry shortly.",
                WARMING_UP_S,
                hint="fdss cluster servers shows which servers the router knows",
            )
        lists = ranked(self._knowledge.servers(), question)
        for rank, servers in enumerate(lists):
            left = [server for server in servers if server.server_id not in question.excluded]
            if rank == DOWNLOADING:
                left = self._downloading(left, question)
            found = self._of_one_content(left, question) if left else []
            if found:
                return self._balance.choose(found)
        raise self._nobody(question, [server for servers in lists for server in servers])

    def _of_one_content(self, servers: list[Server], question: Question) -> list[Server]:
        """Return those of the servers that have the same rows: the job's, else most servers'.

        Raises:
            Unavailable: Some are still being asked.
        """
        if question.fingerprint is None and len(servers) == 1:
            return servers
        known = self._asked(servers, question)
        if question.fingerprint is not None:
            return [s for s in servers if self._has(known, s, question)]
        contents = Counter(known[s.server_id] for s in servers if known.get(s.server_id))
        if not contents:
            if not all(self._has_answered(s, question) for s in servers):
                raise _being_asked(question)
            return [s for s in servers if not self._has_refused(s, question)] or servers
        # Those that are down or have left count, too: no failure must change the choice.
        everywhere = Counter(
            found
            for server in [*self._knowledge.servers(), *self._knowledge.departed()]
            if (found := server.fingerprint_of(question.arguments.handle))
        )
        wanted = min(contents, key=lambda content: (-everywhere[content], content))
        return [server for server in servers if known.get(server.server_id) == wanted]

    def _downloading(self, servers: list[Server], question: Question) -> list[Server]:
        """Return the one that is to download a dataset: asking them all would make all do it."""
        handle = question.arguments.handle
        if question.fingerprint is None:
            known = [s for s in servers if s.fingerprint_of(handle)]
            return [self._balance.choose(known or servers)] if servers else []
        told = [s for s in servers if s.fingerprint_of(handle) or self._has_refused(s, question)]
        return [*told, *[server for server in servers if server not in told][:1]]

    def _asked(self, servers: Sequence[Server], question: Question) -> dict[str, str]:
        """Return the content of each server that tells it, having asked those who did not yet.

        Raises:
            Unavailable: Some are still being asked, and it makes a difference.
        """
        handle = question.arguments.handle
        unknown = [s for s in servers if s.fingerprint_of(handle) is None]
        self._prober.ask(servers if question.fingerprint else unknown, question.arguments)
        pinned = [s for s in servers if self._has({}, s, question)]
        if not pinned:
            self._wait([s.server_id for s in unknown if self._is_pending(s, handle)], handle)
        fresh = [self._knowledge.get(server.server_id) or server for server in servers]
        known = {s.server_id: found for s in fresh if (found := s.fingerprint_of(handle))}
        is_settled = bool(pinned) or question.fingerprint in known.values()
        if not is_settled and any(self._is_pending(server, handle) for server in unknown):
            raise _being_asked(question)
        return known

    def _wait(self, server_ids: Sequence[str], handle: str) -> None:
        # Threads that wait must leave some for those who need not.
        if server_ids and self._waiting.acquire(blocking=False):
            try:
                self._prober.wait(server_ids, handle, WAIT_S)
            finally:
                self._waiting.release()

    def _is_pending(self, server: Server, handle: str) -> bool:
        pending_s = self._prober.pending_s(server.server_id, handle)
        return pending_s is not None and pending_s < PATIENCE_S

    def _has(self, known: dict[str, str], server: Server, question: Question) -> bool:
        """Return whether a server has the content of the job, under whatever handle."""
        if question.fingerprint is None:
            return False
        handle = question.arguments.handle
        told = known.get(server.server_id) or server.fingerprint_of(handle)
        return told == question.fingerprint or question.fingerprint in contents_of(
            server, question.arguments
        )

    def _has_answered(self, server: Server, question: Question) -> bool:
        """Return whether a server that was asked has answered, whatever it was."""
        return self._current_probe(server, question) is not None

    def _has_refused(self, server: Server, question: Question) -> bool:
        probe = self._current_probe(server, question)
        return probe is not None and probe.is_refused

    def _current_probe(self, server: Server, question: Question) -> Probe | None:
        current = self._knowledge.get(server.server_id) or server
        probe = current.probes.get(question.arguments.handle)
        return probe if is_current(probe, self._knowledge.now_s()) else None

    def _nobody(self, question: Question, able: Sequence[Server]) -> FdssError:
        named = repr(question.arguments.path)
        if question.fingerprint is not None:
            named = f"{named} with content {question.fingerprint[:12]}…"
        servers = self._knowledge.servers()
        excluded = [server for server in able if server.server_id in question.excluded]
        if excluded:
            return _unavailable(
                f"Every server that can serve {named} has just failed this client: "
                f"{_urls(excluded)}.",
                DOWN_S,
            )
        if self._has_failed_loads(able, question):
            return _unavailable(f"No server could load {named} just now.", DOWN_S)
        if not servers or self._knowledge.collect_error:
            why = self._knowledge.collect_error or "the cluster has no servers"
            return _unavailable(f"No dataset_server can serve {named} now: {why}.", WARMING_UP_S)
        away = awaited(self._knowledge, question)
        if away or not any(server.is_healthy for server in servers):
            return _unavailable(
                f"No healthy dataset_server can serve {named}; "
                f"down or silent now: {_urls(away or servers)}{_reason(away)}.",
                DOWN_S,
            )
        return NobodyServes(
            f"No healthy dataset_server can serve {named} in the current cluster."
            + _far_words(servers, question)
        )

    def _has_failed_loads(self, able: Sequence[Server], question: Question) -> bool:
        """Return whether a server that has the dataset failed on the way to tell its content."""
        handle = question.arguments.handle
        return any(
            server.fingerprint_of(handle) is None and not self._has_refused(server, question)
            for server in (self._knowledge.get(found.server_id) or found for found in able)
        )


def _far_words(servers: Iterable[Server], question: Question) -> str:
    if question.is_near or not any(server.member.is_loopback for server in servers):
        return ""
    return " Servers on loopback addresses are for clients on the router's own machine only."


def _urls(servers: Sequence[Server]) -> str:
    shown = ", ".join(server.member.base_url for server in servers[:5])
    return shown if len(servers) <= 5 else f"{shown} and {len(servers) - 5} more"


def _reason(servers: Sequence[Server]) -> str:
    errors = (server.health.last_error or server.refresh.last_error for server in servers)
    return next((f" ({error})" for error in errors if error), "")


def _being_asked(question: Question) -> Unavailable:
    path = question.arguments.path
    return _unavailable(f"Servers are being asked for the content of {path!r}.", PENDING_S)


def _unavailable(message: str, retry_after_s: int, hint: str = "") -> Unavailable:
    error = Unavailable(message, hint=hint)
    error.retry_after_s = retry_after_s
    return error

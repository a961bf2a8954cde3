"""What servers and routers count alike: requests, refusals, connections, who fails to get in."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import fdss
from fdss.errors import FdssError, error_kinds
from fdss.expiry import Expiry

from .board import Board
from .exposition import Lookup
from .families import OTHER, Family, Kind

METHODS = ("GET", "HEAD", "POST", "DELETE", OTHER)
STATUSES = (
    *("200", "204", "302", "303", "304", "400", "401", "403", "404", "405", "410"),
    *("412", "413", "414", "415", "431", "500", "502", "503", OTHER),
)
#: The endpoint of a request that names none, or is no request.
NO_ENDPOINT = OTHER

ANSWER_S = (0.001, 0.005, 0.025, 0.1, 0.5, 2.0, 10.0, 60.0)

#: Why a TLS handshake failed.
PLAIN_HTTP, BROKEN, LATE = "plain-http", "broken", "late"
#: What a request that was to be refused had in place of the token.
NO_TOKEN, WRONG_TOKEN = "missing", "wrong"


@dataclass(frozen=True)
class Answer:
    """A response that is over.

    Attributes:
        endpoint: Template of its path, or ``NO_ENDPOINT``.
        code: Of the error that it told; empty if it told none.
        ready_s: Seconds until its head could be sent.
        seconds: Until its last byte was handed over, or it was given up.
        sent_bytes: Of its body.
        media_type: Without parameters.
    """

    endpoint: str
    method: str
    status: int
    code: str
    ready_s: float
    seconds: float
    sent_bytes: int
    media_type: str


def families_of(
    prefix: str, endpoints: Iterable[str], codes: Iterable[str] = ()
) -> tuple[Family, ...]:
    """Return the metrics that servers and routers share.

    Args:
        prefix: What their names begin with.
        endpoints: Templates of the paths that are answered.
        codes: Those of answers that are no errors of ours.
    """
    return (
        *_of_requests(prefix, tuple(sorted(set(endpoints))), codes),
        *_of_connections(prefix),
        *_of_the_process(prefix),
    )


def _of_requests(
    prefix: str, endpoints: tuple[str, ...], codes: Iterable[str]
) -> tuple[Family, ...]:
    named = (*endpoints, NO_ENDPOINT)
    travelling = (kind.code for kind in error_kinds().values() if kind.travels)
    return (
        Family(
            f"{prefix}_requests_total",
            Kind.COUNTER,
            "Requests that were answered, whole or not, by endpoint, method and status.",
            {
                "endpoint": named,
                "method": METHODS,
                "status": STATUSES,
            },
            is_sparse=True,
        ),
        Family(
            f"{prefix}_answer_seconds",
            Kind.HISTOGRAM,
            "Seconds from a request to the head of its answer, by endpoint.",
            {"endpoint": named},
            ANSWER_S,
            is_sparse=True,
        ),
        Family(
            f"{prefix}_sent_bytes_total",
            Kind.COUNTER,
            "Bytes of bodies that were handed to the network, by endpoint.",
            {"endpoint": named},
            is_sparse=True,
        ),
        Family(
            f"{prefix}_refusals_total",
            Kind.COUNTER,
            "Requests that were answered with an error, by its code.",
            {"code": (*sorted([*travelling, *codes]), OTHER)},
        ),
    )


def _of_connections(prefix: str) -> tuple[Family, ...]:
    return (
        Family(
            f"{prefix}_failed_authentications_total",
            Kind.COUNTER,
            "Requests without the token, or with a wrong one.",
            {"token": (NO_TOKEN, WRONG_TOKEN)},
        ),
        Family(
            f"{prefix}_failed_handshakes_total",
            Kind.COUNTER,
            "Connections that ended before their TLS handshake was over, by reason.",
            {"reason": (PLAIN_HTTP, BROKEN, LATE)},
        ),
        Family(
            f"{prefix}_stalled_clients_total",
            Kind.COUNTER,
            "Clients that were cut off because they took none of their bytes.",
        ),
        Family(
            f"{prefix}_connections",
            Kind.GAUGE,
            "Connections that are open.",
        ),
        Family(
            f"{prefix}_stalled_connections",
            Kind.GAUGE,
            "Connections whose clients are owed bytes and took none for a while.",
        ),
    )


def _of_the_process(prefix: str) -> tuple[Family, ...]:
    return (
        Family(
            f"{prefix}_certificate_expiry_timestamp_seconds",
            Kind.LIVE,
            "When the certificate expires, in seconds since the epoch; only with TLS.",
        ),
        Family(
            f"{prefix}_start_timestamp_seconds",
            Kind.LIVE,
            "When counting began, in seconds since the epoch.",
        ),
        Family(
            f"{prefix}_build_info",
            Kind.LIVE,
            "Always 1; the labels tell the version.",
            {"version": (), "python": ()},
        ),
    )


def lookups_of(prefix: str, board: Board, expiry: Expiry | None) -> dict[str, Lookup]:
    """Return what tells those of ``families_of`` that are looked up."""
    build: Mapping[tuple[str, ...], float] = {(fdss.__version__, platform.python_version()): 1.0}
    return {
        f"{prefix}_certificate_expiry_timestamp_seconds": lambda: expiry.at_s() if expiry else None,
        f"{prefix}_start_timestamp_seconds": lambda: board.begun_at_s,
        f"{prefix}_build_info": lambda: build,
    }


class Meter:
    """Counts on a board what servers and routers have in common."""

    def __init__(self, board: Board, prefix: str) -> None:
        self.board = board
        self._prefix = prefix

    def answered(self, answer: Answer) -> None:
        """Count a response that is over."""
        count = self.board.count
        count(f"{self._prefix}_requests_total", answer.endpoint, answer.method, str(answer.status))
        count(f"{self._prefix}_sent_bytes_total", answer.endpoint, amount=answer.sent_bytes)
        self.board.observe(f"{self._prefix}_answer_seconds", answer.ready_s, answer.endpoint)
        if answer.code:
            count(f"{self._prefix}_refusals_total", answer.code)

    def refused(self, error: FdssError, method: str) -> None:
        """Count a request that was refused before anybody looked at its path."""
        self.board.count(f"{self._prefix}_requests_total", NO_ENDPOINT, method, str(error.status))
        self.board.count(f"{self._prefix}_refusals_total", error.code)

    def failed_authentication(self, *, has_token: bool) -> None:
        """Count a request that did not get in, with a wrong token or none."""
        token = WRONG_TOKEN if has_token else NO_TOKEN
        self.board.count(f"{self._prefix}_failed_authentications_total", token)

    def failed_handshake(self, reason: str) -> None:
        """Count a connection that never got to speak under TLS."""
        self.board.count(f"{self._prefix}_failed_handshakes_total", reason)

    def stalled(self) -> None:
        """Count a client that is cut off because it takes nothing."""
        self.board.count(f"{self._prefix}_stalled_clients_total")

    def connected(self, connections: int, stalled: int) -> None:
        """Say how many connections this process has, and how many of them stand still."""
        self.board.set(f"{self._prefix}_connections", connections)
        self.board.set(f"{self._prefix}_stalled_connections", stalled)

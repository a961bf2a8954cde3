"""What a router counts and looks after: its requests, its cluster, whether it is ready."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flask import Flask

from fdss.expiry import Expiry
from fdss.metrics.board import Board
from fdss.metrics.counting import install_counting, template_of
from fdss.metrics.exposition import Lookup
from fdss.metrics.families import OTHER, Family, Kind
from fdss.metrics.meter import Answer, Meter, families_of, lookups_of
from fdss.readiness import Readiness
from fdss.views.metrics import metrics_blueprint
from fdss.views.ready import ready_blueprint
from fdss.wire.names import METRICS_PATH, READY_PATH, ROUTER_RESOLVE_PATH

from .answers import BAD_GATEWAY
from .knowledge import Knowledge, Server, Tally
from .offers import Load
from .router import Router

PREFIX = "fdss_router"
_EXTENSION = "fdss_router_vitals"

#: What became of a client's question for a server; in place of the code of an error.
RESOLVED = "resolved"
OUTCOMES = (RESOLVED, "nobody-serves", "unavailable", "bad-parameter", OTHER)
HEALTHY, UNHEALTHY, UNKNOWN, DEPARTED = "healthy", "unhealthy", "unknown", "departed"

RESOLVES = "fdss_router_resolves_total"
PROXIED = "fdss_router_proxied_bytes_total"
SERVERS = "fdss_router_servers"
SUSPECTED = "fdss_router_suspected_servers"
CONFLICTS = "fdss_router_conflicts"
HEALTH_AGE = "fdss_router_oldest_health_seconds"
OFFER_AGE = "fdss_router_oldest_offer_seconds"
MEMBERSHIP_AGE = "fdss_router_membership_age_seconds"
MEMBERSHIP = "fdss_router_membership_reachable"
STREAMS = "fdss_router_cluster_streams_in_flight"
RATE = "fdss_router_cluster_sent_bytes_per_second"
READY = "fdss_router_ready"

FAMILIES = (
    Family(
        RESOLVES,
        Kind.COUNTER,
        "Questions of clients for a server, by what became of them.",
        {"outcome": OUTCOMES},
    ),
    Family(PROXIED, Kind.COUNTER, "Bytes of answers that were asked of servers for others."),
    Family(
        SERVERS,
        Kind.LIVE,
        "Servers of the cluster, by health; departed ones left lately and may come back.",
        {"health": (HEALTHY, UNHEALTHY, UNKNOWN, DEPARTED)},
    ),
    Family(
        SUSPECTED,
        Kind.LIVE,
        "Servers that come last for a while: clients complained of them, or they were down.",
    ),
    Family(CONFLICTS, Kind.LIVE, "Names under which servers serve different rows."),
    Family(HEALTH_AGE, Kind.LIVE, "Seconds since the longest unseen server was seen healthy."),
    Family(OFFER_AGE, Kind.LIVE, "Seconds since what is known longest of a server's datasets."),
    Family(MEMBERSHIP_AGE, Kind.LIVE, "Seconds since it was last known who belongs."),
    Family(MEMBERSHIP, Kind.LIVE, "1 if it is known who belongs to the cluster, 0 if it is not."),
    Family(STREAMS, Kind.LIVE, "Streams of rows under way at all healthy servers."),
    Family(RATE, Kind.LIVE, "Bytes a second that all healthy servers sent lately."),
    Family(READY, Kind.LIVE, "1 if the router is ready, 0 if it is not."),
)


class RouterMeter(Meter):
    """Counts on a board what a router does."""

    @classmethod
    def of(cls, endpoints: Iterable[str]) -> RouterMeter:
        """Return a meter that has counted nothing yet.

        Args:
            endpoints: Templates of the paths that are answered.
        """
        return cls(Board.of((*families_of(PREFIX, endpoints, [BAD_GATEWAY]), *FAMILIES)), PREFIX)

    def answered(self, answer: Answer) -> None:
        """Count a response that is over."""
        super().answered(answer)
        if answer.endpoint == ROUTER_RESOLVE_PATH and answer.status != 401:
            self.board.count(RESOLVES, answer.code or RESOLVED)

    def proxied(self, size_bytes: int) -> None:
        """Count an answer that was asked of a server for somebody else."""
        self.board.count(PROXIED, amount=size_bytes)


@dataclass(frozen=True)
class Vitals:
    """What a router that runs counts with, and what says whether it is ready."""

    meter: RouterMeter
    readiness: Readiness = field(default_factory=Readiness)


def install_vitals(app: Flask, router: Router, expiry: Expiry | None) -> None:
    """Count the responses of a router's application, and add GET /metrics and GET /v1/ready.

    To be called when all other endpoints are there, which are counted by their templates.

    Args:
        expiry: When the router's certificate expires; None without TLS.
    """
    rules = [template_of(rule.rule) for rule in app.url_map.iter_rules()]
    vitals = Vitals(RouterMeter.of([*rules, METRICS_PATH, READY_PATH]))
    install_counting(app, vitals.meter)
    router.proxy.note_bytes = vitals.meter.proxied
    if expiry is not None:
        vitals.readiness.register("certificate", expiry.trouble)
    vitals.readiness.register("warm", lambda: _coldness(router.knowledge))
    vitals.readiness.register("membership", lambda: _membership_trouble(router.knowledge))
    lookups = {
        **lookups_of(PREFIX, vitals.meter.board, expiry),
        **_cluster_lookups(router),
        READY: lambda: float(vitals.readiness.is_ready()),
    }
    app.register_blueprint(metrics_blueprint(vitals.meter.board, lookups))
    app.register_blueprint(ready_blueprint(vitals.readiness))
    app.extensions[_EXTENSION] = vitals


def vitals_of(app: Flask) -> Vitals:
    """Return what the application of a router counts with, and what says whether it is ready."""
    found: Vitals = app.extensions[_EXTENSION]
    return found


def _coldness(knowledge: Knowledge) -> str | None:
    # Without a server there is nobody to wait for, and it takes a router to be given the first.
    has_nobody = knowledge.collected_at_s is not None and not knowledge.servers()
    return None if knowledge.is_warm or has_nobody else "no server has told what it offers yet"


def _membership_trouble(knowledge: Knowledge) -> str | None:
    if knowledge.collect_error is not None:
        # Without its words: they may name a file or a URL.
        return "who belongs to the cluster cannot be found out now"
    return None if knowledge.collected_at_s else "who belongs to the cluster is not known yet"


def _cluster_lookups(router: Router) -> dict[str, Lookup]:
    knowledge = router.knowledge
    return {
        SERVERS: lambda: _by_health(knowledge),
        SUSPECTED: lambda: sum(
            server.suspected_until_s > knowledge.now_s() for server in knowledge.servers()
        ),
        CONFLICTS: lambda: router.conflicts,
        HEALTH_AGE: lambda: _oldest_s(server.health for server in knowledge.servers()),
        OFFER_AGE: lambda: _oldest_s(server.refresh for server in knowledge.servers()),
        MEMBERSHIP_AGE: lambda: _age_s(knowledge.collected_at_s),
        MEMBERSHIP: lambda: float(_membership_trouble(knowledge) is None),
        STREAMS: lambda: sum(load.streams for load in _loads(knowledge)),
        RATE: lambda: sum(load.bytes_per_s for load in _loads(knowledge)),
    }


def _by_health(knowledge: Knowledge) -> Mapping[tuple[str, ...], float]:
    counts = Counter(map(_health, knowledge.servers()))
    counts[DEPARTED] = len(knowledge.departed())
    return {(health,): counts[health] for health in (HEALTHY, UNHEALTHY, UNKNOWN, DEPARTED)}


def _health(server: Server) -> str:
    if server.is_healthy is None:
        return UNKNOWN
    return HEALTHY if server.is_healthy else UNHEALTHY


def _loads(knowledge: Knowledge) -> list[Load]:
    return [
        server.load
        for server in knowledge.servers()
        if server.is_healthy and server.load is not None
    ]


def _oldest_s(tallies: Iterable[Tally]) -> float | None:
    """Return the age of the oldest good answer; None if there was none at all."""
    good = [tally.last_good_at_s for tally in tallies if tally.last_good_at_s is not None]
    return _age_s(min(good, default=None))


def _age_s(at_s: float | None) -> float | None:
    return None if at_s is None else max(0.0, time.time() - at_s)

"""What a server counts and looks after, whatever settings it answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fdss.expiry import Expiry
from fdss.metrics import server
from fdss.metrics.exposition import Lookup
from fdss.metrics.meter import lookups_of
from fdss.metrics.server import ServerMeter
from fdss.readiness import Readiness
from fdss.shares import Shares
from fdss.traffic import Traffic


@dataclass(frozen=True)
class State:
    """The state of one process of a server; settings that are read again leave it as it is.

    Attributes:
        traffic: Streams under way, of all workers.
        meter: What was counted, by all workers.
        readiness: Whether requests should be sent to this process.
        expiry: When its certificate expires; None without TLS.
    """

    traffic: Traffic = field(default_factory=Traffic.of)
    meter: ServerMeter = field(default_factory=ServerMeter.of)
    readiness: Readiness = field(default_factory=Readiness)
    expiry: Expiry | None = None

    @classmethod
    def of(cls, shares: Shares | None, expiry: Expiry | None) -> State:
        """Return the state of a process that begins, whatever one before it has left.

        Args:
            shares: Those of its server's processes; None if it is alone.
        """
        if shares is None:
            state = cls(expiry=expiry)
        else:
            shares.bury()
            state = cls(shares.traffic, shares.meter, expiry=expiry)
        state.meter.begin()
        return state

    def lookups(self) -> Mapping[str, Lookup]:
        """Return what tells the metrics that are looked up."""
        return {
            **lookups_of(server.PREFIX, self.meter.board, self.expiry),
            server.STREAMING: lambda: sum(self.traffic.streams),
            server.READY: lambda: float(self.readiness.is_ready()),
        }

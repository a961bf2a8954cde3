"""GET /metrics: what was counted, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response

from fdss.metrics.board import Board
from fdss.metrics.exposition import Lookup, text_of
from fdss.wire.names import METRICS, METRICS_PATH


def metrics_blueprint(board: Board, lookups: Mapping[str, Lookup]) -> Blueprint:
    """Return GET /metrics; any process of a server answers for all of them.

    Args:
        lookups: What tells the gauges that are looked up.
    """
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get(METRICS_PATH)
    def tell_metrics() -> Response:
        return Response(text_of(board, lookups), content_type=METRICS)

    return blueprint

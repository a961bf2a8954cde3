"""Names that both ends of the wire use: paths, headers, parameters, media types."""

from __future__ import annotations

API_VERSION = "1.0.0"
SERVICE = "forgather-dataset-server"
REALM = "forgather-dataset"
ORDER_VERSION = "v1"

HEALTH_PATH = "/v1/health"
AUTH_STATUS_PATH = "/v1/auth/status"
DATASETS_PATH = "/v1/datasets"
LOAD_PATH = "/v1/load"
HUB_CACHE_PATH = "/v1/cache/hf"
LOCAL_PATH = "/v1/local"
OPENAPI_PATH = "/v1/openapi.json"
READY_PATH = "/v1/ready"
METRICS_PATH = "/metrics"

# Of the cluster router.
ROUTER_RESOLVE_PATH = "/api/cluster/dataset_router/resolve"
ROUTER_PORT = 8765

NDJSON = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"
#: Of metrics, in the text format of Prometheus.
METRICS = "text/plain; version=0.0.4; charset=utf-8"

ROWS_HEADER = "FDSS-Rows"
POSITION_HEADER = "FDSS-Position"
LENGTH_HEADER = "FDSS-Length"
ORDER_HEADER = "FDSS-Order"
TYPES_HEADER = "FDSS-Types"

#: Of every answer: no browser guesses what it is, and nobody between keeps rows.
GUARD_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}

PLAIN = "plain"
TAGGED = "tagged"
ARROW_TYPES = "arrow"

MAX_COUNT = (1 << 63) - 1


def handle_path(handle: str) -> str:
    """Return the path of one handle's metadata."""
    return f"{DATASETS_PATH}/{handle}"


def length_path(handle: str) -> str:
    """Return the path that tells a handle's row count."""
    return f"{DATASETS_PATH}/{handle}/length"


def iter_path(handle: str) -> str:
    """Return the path that streams a handle's rows."""
    return f"{DATASETS_PATH}/{handle}/iter"

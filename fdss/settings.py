"""The one table of the server's settings: flags, keys of the file, types, defaults, help.

The command line, the configuration file and the documentation are all made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8766
DEFAULT_STALL_S = 120
DEFAULT_IDLE_S = 120
DEFAULT_REQUEST_S = 30
DEFAULT_DRAIN_S = 5
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
MAX_PORT = 65_535
MAX_THREADS = 256
MAX_WORKERS = 64
MAX_TIMEOUT_S = 86_400


@dataclass(frozen=True)
class Setting:
    """One setting of the server.

    Attributes:
        key: Name in the configuration file and in ``ServerConfig``.
        kind: ``str``, ``int``, ``bool`` (a flag without a value), ``dict`` (NAME=PATH) or
            ``tuple`` (texts; a flag that is given for each, a list in the file).
        default: Value when neither flag nor file gives one.
        help: What it does, one sentence.
        short: One-letter flag, or empty.
        metavar: What stands for the value in the help.
        choices: The only values, or empty for any.
        bounds: Smallest and largest value of an integer.
    """

    key: str
    kind: type
    default: Any
    help: str
    short: str = ""
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    bounds: tuple[int, int] | None = None

    @property
    def flag(self) -> str:
        """Return the long flag of the command line."""
        return "--" + self.key.replace("_", "-")

    @property
    def flags(self) -> tuple[str, ...]:
        """Return every flag, the long one first."""
        return (self.flag, self.short) if self.short else (self.flag,)


def _limit(key: str, default: int | None, bounds: tuple[int, int], help_: str) -> Setting:
    return Setting(key, int, default, help_, metavar="NUMBER", bounds=bounds)


LIMITS = (
    _limit(
        "max_connections",
        None,
        (1, 1 << 16),
        "Connections of each worker; without it as many as its open files allow, at most 4000.",
    ),
    _limit(
        "max_connections_per_client",
        2000,
        (1, 1 << 16),
        "Connections of each worker with one address, or with one /64 network of IPv6.",
    ),
    _limit("max_streams", 2000, (1, 1 << 16), "Streams of rows that each worker sends at a time."),
    _limit(
        "max_streams_per_client",
        1024,
        (1, 1 << 16),
        "Streams of rows that each worker sends to one address at a time.",
    ),
    _limit(
        "max_loads",
        512,
        (1, 1 << 16),
        "Loads and listings that each worker lets wait for a thread.",
    ),
    _limit("max_url_bytes", 1 << 18, (256, 1 << 20), "Longest URL of a request."),
    _limit("max_headers", 100, (10, 1000), "Most header lines of a request."),
    _limit(
        "max_header_bytes",
        (1 << 18) + (1 << 16),
        (1024, 1 << 21),
        "Largest head of a request, its URL included.",
    ),
    _limit("max_body_bytes", 1 << 18, (1024, 1 << 26), "Largest body of a request."),
    _limit("max_json_depth", 16, (2, 1000), "Deepest nesting of a JSON body."),
    _limit("max_json_items", 10_000, (10, 1 << 20), "Most values and keys of a JSON body."),
    _limit("max_columns", 4096, (1, 1 << 20), "Most columns that a request of rows may name."),
    _limit(
        "max_handles",
        4096,
        (1, 1 << 20),
        "Handles that are known, over restarts too; those not used for longest are forgotten.",
    ),
    _limit(
        "max_open",
        1024,
        (1, 1 << 20),
        "Datasets that each worker keeps open; those not used for longest open when asked for.",
    ),
    _limit(
        "max_copies",
        16,
        (2, 1 << 16),
        "Copies of one folder that are prepared and kept, each of other data_files.",
    ),
)

SETTINGS = (
    Setting("host", str, DEFAULT_HOST, "Address to listen on.", short="-H", metavar="ADDRESS"),
    Setting(
        "port",
        int,
        DEFAULT_PORT,
        "Port to listen on; 0 takes any free one.",
        short="-p",
        bounds=(0, MAX_PORT),
    ),
    Setting(
        "log_level",
        str,
        "INFO",
        "Least serious messages that are logged.",
        short="-l",
        choices=LOG_LEVELS,
    ),
    Setting(
        "auth_token",
        str,
        None,
        "Token that clients must send; other local users see it in the process list.",
        metavar="TOKEN",
    ),
    Setting(
        "auth_token_file",
        str,
        None,
        "File with the token that clients must send, mode 0600.",
        metavar="FILE",
    ),
    Setting("no_auth", bool, False, "Serve everybody who can reach the port, without a token."),
    Setting("regen_token", bool, False, "Replace the kept token of this port by a fresh one."),
    Setting("quiet_tokens", bool, False, "Do not print the token at start."),
    Setting("no_hf", bool, False, "Serve no Hub datasets, only the named local ones."),
    Setting("allow_paths", bool, False, "Let clients load by absolute path and by file format."),
    Setting("allow_downloads", bool, False, "Download Hub datasets that are not cached."),
    Setting("show_paths", bool, False, "Tell clients where the served datasets lie."),
    Setting(
        "follow_links",
        bool,
        False,
        "Serve named folders in which links lead to files elsewhere, and those files with them.",
    ),
    Setting(
        "local",
        dict,
        {},
        "Serve a dataset on this machine as local/NAME; repeatable.",
        metavar="NAME=PATH",
    ),
    Setting(
        "preload",
        tuple,
        (),
        "Open every split of a dataset at start, by its PATH or PATH=CONFIG, or of all named local "
        "ones by the word all; repeatable.",
        metavar="PATH",
    ),
    Setting(
        "cluster",
        str,
        None,
        "Announce the server to the routers of the cluster of this name.",
        metavar="NAME",
    ),
    Setting(
        "membership",
        str,
        None,
        "Where it is announced: mdns (this subnet), or the URL of a Redis; without it mdns.",
        metavar="KIND",
    ),
    Setting("insecure", bool, False, "Listen beyond this machine without TLS."),
    Setting("tls", bool, False, "Speak HTTPS, whether or not the TLS folder says it is enabled."),
    Setting("no_tls", bool, False, "Speak plain HTTP even where TLS is enabled."),
    Setting(
        "tls_cert",
        str,
        None,
        "PEM file of the certificate to show, with its chain, in place of the TLS folder's.",
        metavar="FILE",
    ),
    Setting("tls_key", str, None, "PEM file of that certificate's private key.", metavar="FILE"),
    Setting(
        "tls_client_ca",
        str,
        None,
        "PEM file of authorities; clients must show a certificate of one, and the token too.",
        metavar="FILE",
    ),
    Setting(
        "workers",
        int,
        1,
        "Processes that answer on the port; more than 1 on Linux only.",
        bounds=(1, MAX_WORKERS),
    ),
    Setting(
        "threads",
        int,
        None,
        "Threads of each worker that make rows; without it two more than cores, at most 8.",
        bounds=(1, MAX_THREADS),
    ),
    Setting(
        "stall_timeout",
        int,
        DEFAULT_STALL_S,
        "Seconds after which a client that takes none of its bytes is cut off.",
        metavar="SECONDS",
        bounds=(1, MAX_TIMEOUT_S),
    ),
    Setting(
        "idle_timeout",
        int,
        DEFAULT_IDLE_S,
        "Seconds after which a connection without a request is closed.",
        metavar="SECONDS",
        bounds=(1, MAX_TIMEOUT_S),
    ),
    Setting(
        "request_timeout",
        int,
        DEFAULT_REQUEST_S,
        "Seconds that a request has to arrive in whole, after which its connection is closed.",
        metavar="SECONDS",
        bounds=(1, MAX_TIMEOUT_S),
    ),
    Setting(
        "drain_timeout",
        int,
        DEFAULT_DRAIN_S,
        "Seconds that responses under way have to end when the server is stopped.",
        metavar="SECONDS",
        bounds=(0, MAX_TIMEOUT_S),
    ),
    *LIMITS,
)

BY_KEY = {setting.key: setting for setting in SETTINGS}

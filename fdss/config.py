"""What one server was started with."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from fdss import tokens
from fdss.errors import SettingError
from fdss.router.names import MDNS, check_cluster, check_membership, shown_url
from fdss.settings import (
    BY_KEY,
    DEFAULT_DRAIN_S,
    DEFAULT_HOST,
    DEFAULT_IDLE_S,
    DEFAULT_PORT,
    DEFAULT_REQUEST_S,
    DEFAULT_STALL_S,
)

# Responses take turns, so threads wait for nothing but processor and disk. Measured on 2 cores
# with 1, 8 and 64 streams: 4 to 16 give the same rows a second, and 16 a health check four times
# as slow as 4.
SPARE_THREADS = 2
MOST_DEFAULT_THREADS = 8


def _default(key: str) -> int:
    default: int = BY_KEY[key].default
    return default


@dataclass(frozen=True)
class ServerConfig:
    """The settings of one server, checked; ``fdss.settings`` says what each one does.

    Attributes:
        auth_token: Token that clients must send. A server that runs always has one, unless
            ``no_auth``.
        local: Absolute path of each named local dataset.
        threads: Threads that make rows; None for ``row_threads``.

    Raises:
        SettingError: A value is out of range, or two of them contradict each other.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    log_level: str = "INFO"
    auth_token: str | None = field(default=None, repr=False)
    auth_token_file: Path | None = None
    no_auth: bool = False
    regen_token: bool = False
    quiet_tokens: bool = False
    no_hf: bool = False
    allow_paths: bool = False
    allow_downloads: bool = False
    show_paths: bool = False
    follow_links: bool = False
    local: Mapping[str, Path] = field(default_factory=dict)
    preload: tuple[str, ...] = ()
    cluster: str | None = None
    membership: str | None = field(default=None, repr=False)
    insecure: bool = False
    tls: bool = False
    no_tls: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    workers: int = 1
    threads: int | None = None
    stall_timeout: int = DEFAULT_STALL_S
    idle_timeout: int = DEFAULT_IDLE_S
    request_timeout: int = DEFAULT_REQUEST_S
    drain_timeout: int = DEFAULT_DRAIN_S
    max_connections: int | None = None
    max_connections_per_client: int = _default("max_connections_per_client")
    max_streams: int = _default("max_streams")
    max_streams_per_client: int = _default("max_streams_per_client")
    max_loads: int = _default("max_loads")
    max_url_bytes: int = _default("max_url_bytes")
    max_headers: int = _default("max_headers")
    max_header_bytes: int = _default("max_header_bytes")
    max_body_bytes: int = _default("max_body_bytes")
    max_json_depth: int = _default("max_json_depth")
    max_json_items: int = _default("max_json_items")
    max_columns: int = _default("max_columns")
    max_handles: int = _default("max_handles")
    max_open: int = _default("max_open")
    max_copies: int = _default("max_copies")

    def __post_init__(self) -> None:
        _check_values(self)
        _check_auth(self)
        _check_host(self)
        _check_tls(self)
        _check_workers(self)
        _check_cluster(self)
        for name, path in self.local.items():
            _check_local(name, path)
        if not all(text.strip() for text in self.preload):
            raise SettingError("Setting 'preload' names datasets; one of them is empty.")

    @property
    def row_threads(self) -> int:
        """Return the threads of a process that make rows, 1 or more."""
        return self.threads or min(MOST_DEFAULT_THREADS, _cores() + SPARE_THREADS)

    @property
    def announced_in(self) -> str:
        """Return where a server of a cluster is announced."""
        return self.membership or MDNS

    def as_lines(self) -> list[str]:
        """Return one ``key: value`` line a setting, the token's value left out."""
        shown = {field_.name: getattr(self, field_.name) for field_ in fields(self)}
        shown["auth_token"] = "(set)" if self.auth_token else None
        shown["threads"] = self.row_threads
        shown["membership"] = None if self.membership is None else shown_url(self.membership)
        shown["local"] = ", ".join(f"{name}={path}" for name, path in sorted(self.local.items()))
        shown["preload"] = ", ".join(self.preload)
        return [f"{key}: {'' if value is None else value}".rstrip() for key, value in shown.items()]


def parse_local(text: str) -> tuple[str, Path]:
    """Return the name and absolute path in ``NAME=PATH``; ``~`` is the home folder.

    Raises:
        SettingError: There is no ``=``, or nothing before or after it.
    """
    name, separator, path = text.partition("=")
    if not separator or not name.strip() or not path.strip():
        raise SettingError(f"Setting 'local' takes NAME=PATH, found {text!r}.")
    return name.strip(), absolute(path.strip())


def absolute(path: str) -> Path:
    """Return a path with the home folder filled in, made absolute; links stay as they are.

    Raises:
        SettingError: The home folder of ``~name`` is not known.
    """
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise SettingError(f"The home folder in {path!r} is not known.") from error


def _check_values(config: ServerConfig) -> None:
    for key, setting in BY_KEY.items():
        value: Any = getattr(config, key)
        if setting.choices and value not in setting.choices:
            raise SettingError(
                f"Setting {key!r} is one of {', '.join(setting.choices)}; found {value!r}."
            )
        if value is None or setting.bounds is None:
            continue
        if not setting.bounds[0] <= value <= setting.bounds[1]:
            raise SettingError(
                f"Setting {key!r} is {setting.bounds[0]} to {setting.bounds[1]}; found {value!r}."
            )


def _check_auth(config: ServerConfig) -> None:
    given = [key for key in ("auth_token", "auth_token_file", "no_auth") if getattr(config, key)]
    if config.regen_token:
        given.append("regen_token")
    if len(given) > 1:
        raise SettingError(
            f"Settings {' and '.join(repr(key) for key in given)} contradict each other.",
            hint="give at most one of them",
        )
    if config.auth_token is not None and not tokens.is_sendable(config.auth_token):
        raise SettingError(
            "Setting 'auth_token' must be visible ASCII characters without spaces, 1 or more."
        )


def _check_host(config: ServerConfig) -> None:
    if not config.host.strip():
        raise SettingError("Setting 'host' is empty.", hint="127.0.0.1 is this machine only")


def _check_tls(config: ServerConfig) -> None:
    if (config.tls_cert is None) != (config.tls_key is None):
        raise SettingError(
            "Settings 'tls_cert' and 'tls_key' belong together; only one of them is given."
        )
    asking = [key for key in ("tls", "tls_cert", "tls_client_ca") if getattr(config, key)]
    if config.no_tls and asking:
        raise SettingError(
            f"Settings 'no_tls' and {' and '.join(map(repr, asking))} contradict each other.",
            hint="give at most one of them",
        )


def _check_workers(config: ServerConfig) -> None:
    if config.workers > 1 and not sys.platform.startswith("linux"):
        raise SettingError(
            f"Setting 'workers' is {config.workers}; more than 1 works on Linux only.",
            hint="leave it out, or start several servers on ports of their own",
        )


def _check_cluster(config: ServerConfig) -> None:
    if config.cluster is None:
        if config.membership is not None:
            raise SettingError(
                "Setting 'membership' says where a server of a cluster is announced, and there is "
                "no cluster.",
                hint="name it with --cluster",
            )
        return
    check_cluster(config.cluster)
    check_membership(config.announced_in, (MDNS,))


def _cores() -> int:
    """Return the cores this process may use."""
    if sys.platform.startswith("linux"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_local(name: str, path: Path) -> None:
    if not name or name != name.strip() or not name.isprintable():
        raise SettingError(f"Local dataset name {name!r} is empty or has odd characters.")
    if "/" in name or "\\" in name:
        raise SettingError(f"Local dataset name {name!r} must not contain a slash.")
    if not path.exists():
        raise SettingError(f"Local dataset {name!r}: there is nothing at {str(path)!r}.")

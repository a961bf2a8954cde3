"""What one router was started with: its section of a YAML file, and the checked result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdss import tokens
from fdss.config import ServerConfig, absolute
from fdss.config_file import ROUTER_SECTION
from fdss.errors import SettingError
from fdss.files import read_regular

from .names import (
    DEFAULT_CLUSTER,
    DEFAULT_PORT,
    MDNS,
    REGISTRY,
    check_cluster,
    check_membership,
    default_config_file,
    shown_url,
)
from .redis_members import connect
from .settings import BY_KEY

MAX_BYTES = 1 << 20

_OWN_KEYS = ("membership", "cluster", "servers_token_file")
_PATH_KEYS = ("auth_token_file", "tls_cert", "tls_key", "tls_client_ca", "servers_token_file")
_TYPE_NAMES = {str: "a string", int: "an integer", bool: "true or false"}


@dataclass(frozen=True)
class RouterConfig:
    """The settings of one router, checked; ``fdss.router.settings`` says what each one does.

    Attributes:
        entrance: Where it listens, its token and its certificate: what every server has.
        membership: ``registry``, ``mdns`` or the URL of a Redis.
        servers_token: Token of the servers that no membership gives one for.

    Raises:
        SettingError: A value is none of those that are allowed.
    """

    entrance: ServerConfig = field(default_factory=lambda: ServerConfig(port=DEFAULT_PORT))
    membership: str = REGISTRY
    cluster: str = DEFAULT_CLUSTER
    servers_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_cluster(self.cluster)
        check_membership(self.membership, (REGISTRY, MDNS))
        if self.membership not in (REGISTRY, MDNS):
            connect(self.membership).close()

    def as_lines(self) -> list[str]:
        """Return one ``key: value`` line a setting, without a token or password."""
        entrance = dict(line.split(":", 1) for line in self.entrance.as_lines())
        shown = {key: entrance.get(key, "").strip() for key in BY_KEY if key not in _OWN_KEYS}
        shown["membership"] = shown_url(self.membership)
        shown["cluster"] = self.cluster
        shown["servers_token_file"] = "(set)" if self.servers_token else ""
        return [f"{key}: {value}".rstrip() for key, value in shown.items()]


def config_of(values: dict[str, Any]) -> RouterConfig:
    """Return the configuration that a value for each key makes.

    Raises:
        SettingError: A value is out of range, or two of them contradict each other.
    """
    settled: dict[str, Any] = {
        key: absolute(value) if key in _PATH_KEYS and value is not None else value
        for key, value in values.items()
    }
    file = settled.pop("servers_token_file", None)
    own: dict[str, Any] = {
        key: settled.pop(key) for key in ("membership", "cluster") if key in settled
    }
    token = None if file is None else tokens.read_private(file)
    return RouterConfig(ServerConfig(**settled), servers_token=token, **own)


@dataclass(frozen=True)
class RouterFile:
    """What the router's section of a configuration file says.

    Attributes:
        path: The file; None when there is none.
    """

    path: Path | None = None
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def log_line(self) -> str:
        """Return the line that tells which file was used."""
        if self.path is None:
            return "no config file (CLI flags + built-in defaults only)"
        return f"loaded section {ROUTER_SECTION!r} of config: {self.path}"


def read_router_file(named: str | None) -> RouterFile:
    """Return what the named file says, or the default file when none is named.

    Other sections of the file are others' affair.

    Raises:
        SettingError: The named file is missing, or its section is not what it should be.
    """
    from fdss.config_text import parse_mapping

    path = absolute(named) if named else default_config_file()
    try:
        text = read_regular(path, MAX_BYTES).data.decode("utf-8")
    except FileNotFoundError as error:
        if named is None:
            return RouterFile()
        raise SettingError(f"Config file {named!r} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"Config file {str(path)!r} cannot be read: {error}.") from error
    try:
        section = parse_mapping(text).get(ROUTER_SECTION)
        return RouterFile(path, _checked(section.content if section else None))
    except SettingError as error:
        message = f"Config file {str(path)!r}: {error.message}"
        raise SettingError(message, hint=error.hint) from error


def _checked(section: Any) -> dict[str, Any]:
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise SettingError(f"Section {ROUTER_SECTION!r} must be a mapping of keys to values.")
    values: dict[str, Any] = {}
    for spelled, value in section.items():
        key = spelled.replace("-", "_")
        if key not in BY_KEY:
            raise SettingError(
                f"Unknown key {spelled[:80]!r} in section {ROUTER_SECTION!r}.",
                hint=f"known keys are {', '.join(BY_KEY)}",
            )
        kind = BY_KEY[key].kind
        if value is None:
            continue
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            raise SettingError(
                f"Key {key!r} in section {ROUTER_SECTION!r} must be {_TYPE_NAMES[kind]}."
            )
        values[key] = value
    return values

"""The TLS folder: where its files lie, and what its config.yaml says."""

from __future__ import annotations

import copy
import os
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdss import places
from fdss.errors import SettingError
from fdss.files import make_private, read_regular, write_whole

MAX_CONFIG_BYTES = 65_536
MAX_DAYS = 36_500
MAX_PATH_BYTES = 1024
# Of each part of a path: file systems take 255, and a file that is being written has more.
MAX_PART_BYTES = 200

# Held by commands that change the folder.
LOCK = ".lock"

_PATHS = {
    "ca_cert": "ca/ca.crt",
    "ca_key": "ca/ca.key",
    "ca_serial": "ca/ca.srl",
    "server_cert": "server.crt",
    "server_key": "server.key",
    "ca_bundle": "ca-bundle.crt",
    "trusted_dir": "trusted",
}
_DAYS = {"validity_days": 825, "ca_validity_days": 3650}
_SWITCHES = {"enabled": False, "auto_on_non_loopback": True, "verify_hostname": False}


@dataclass(frozen=True)
class TlsConfig:
    """What config.yaml of the TLS folder says; keys that FDSS does not know are kept.

    Attributes:
        enabled: Whether servers of this machine speak HTTPS without being told to.
        auto_on_non_loopback: Kept for Forgather; has no effect here.
        verify_hostname: Kept for Forgather; FDSS always verifies names.
        hostnames: Names that the certificate carries beside those of this machine.
        ips: Addresses that the certificate carries beside those of this machine.
        validity_days: Days that a fresh server certificate is valid, 1 to 36500.
        ca_validity_days: Days that a fresh certificate authority is valid, 1 to 36500.
        paths: Where each file lies, as it is spelled in the file; relative to the TLS folder.
        written: The file's whole mapping as it was read.
    """

    enabled: bool = False
    auto_on_non_loopback: bool = True
    verify_hostname: bool = False
    hostnames: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    validity_days: int = _DAYS["validity_days"]
    ca_validity_days: int = _DAYS["ca_validity_days"]
    paths: Mapping[str, str] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)


class TlsFolder:
    """The files of the TLS folder, as its config.yaml places them.

    A change of config.yaml is seen by the next ``TlsFolder``.

    Attributes:
        root: The folder; it need not exist.
        config: What config.yaml says; the defaults where there is none.

    Raises:
        SettingError: config.yaml cannot be read, or is not what it should be.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = places.tls_folder() if root is None else root
        self.config = _read(self.config_file)

    @property
    def config_file(self) -> Path:
        """Return the folder's YAML file, mode 0600."""
        return self.root / "config.yaml"

    @property
    def ca_cert(self) -> Path:
        """Return the certificate of the authority that signs for this machine."""
        return self._path("ca_cert")

    @property
    def ca_key(self) -> Path:
        """Return the authority's private key, mode 0600; machines that do not sign have none."""
        return self._path("ca_key")

    @property
    def ca_serial(self) -> Path:
        """Return the file with the serial number that was given last."""
        return self._path("ca_serial")

    @property
    def server_cert(self) -> Path:
        """Return the certificate that servers of this machine show, with its chain."""
        return self._path("server_cert")

    @property
    def server_key(self) -> Path:
        """Return the private key of the server certificate, mode 0600."""
        return self._path("server_key")

    @property
    def trusted(self) -> Path:
        """Return the folder of imported authorities, one NAME.crt each."""
        return self._path("trusted_dir")

    @property
    def bundle(self) -> Path:
        """Return the file of all authorities that are trusted: the own one and the imported."""
        return self._path("ca_bundle")

    @property
    def scheme(self) -> str:
        """Return how servers of this machine speak unless they are told otherwise: http or https.

        Also with a certificate whose time is over: behind http there would be nobody.

        Raises:
            SettingError: config.yaml is not what it should be.
        """
        is_provided = self.server_cert.is_file() and self.server_key.is_file()
        return "https" if is_provided and self.config.enabled else "http"

    def save(self, config: TlsConfig) -> None:
        """Write config.yaml, mode 0600, with every key it had.

        Raises:
            OSError: The folder cannot be written.
        """
        import yaml

        make_private(self.root)
        text = yaml.safe_dump(self._mapping(config), sort_keys=False, allow_unicode=True)
        write_whole(self.config_file, [text.encode()], durable=True)
        self.config = _read(self.config_file)

    def _path(self, key: str) -> Path:
        spelled = self.config.paths.get(key, _PATHS[key])
        # Unlike Path.expanduser it leaves the home of an unknown user as it is spelled.
        return self.root / os.path.expanduser(spelled)

    def _mapping(self, config: TlsConfig) -> dict[str, Any]:
        """Return what the file is to say: Forgather wants all of its keys, and paths absolute."""
        san = config.written.get("san")
        return {
            **copy.deepcopy(dict(config.written)),
            **{key: getattr(config, key) for key in (*_SWITCHES, *_DAYS)},
            **{key: config.paths.get(key, str(self._path(key))) for key in _PATHS},
            "san": {
                **(san if isinstance(san, dict) else {}),
                "hostnames": list(config.hostnames),
                "ips": list(config.ips),
            },
        }


def _read(file: Path) -> TlsConfig:
    try:
        content = read_regular(file, MAX_CONFIG_BYTES).data
    except FileNotFoundError:
        return TlsConfig()
    except OSError as error:
        raise SettingError(
            f"TLS configuration {str(file)!r} cannot be read: {error.strerror}."
        ) from error
    return _Reader(file, _mapping_of(content, file)).config()


def _mapping_of(content: bytes, file: Path) -> dict[str, Any]:
    # Here, so that a client without such a file does not wait for its import.
    import yaml

    try:
        body = yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise SettingError(
            f"TLS configuration {str(file)!r} is not YAML: {reason}.",
            hint="mend the file, or remove it and run fdss tls init",
        ) from error
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise SettingError(
            f"TLS configuration {str(file)!r} must be a mapping of keys to values.",
            hint="mend the file, or remove it and run fdss tls init",
        )
    return body


class _Reader:
    """Checks the values of one file; a value that is null counts as not given."""

    def __init__(self, file: Path, body: dict[str, Any]) -> None:
        self._file = file
        self._body = body

    def config(self) -> TlsConfig:
        san = self._value(self._body, "san", {}, "a mapping", lambda v: isinstance(v, dict))
        return TlsConfig(
            **{key: self._switch(key, default) for key, default in _SWITCHES.items()},
            **{key: self._days(key, default) for key, default in _DAYS.items()},
            hostnames=self._names(san, "hostnames"),
            ips=self._names(san, "ips"),
            paths=self._paths(),
            written=self._body,
        )

    def _switch(self, key: str, default: bool) -> Any:
        return self._value(self._body, key, default, "true or false", lambda v: isinstance(v, bool))

    def _days(self, key: str, default: int) -> Any:
        def fits(value: Any) -> bool:
            return type(value) is int and 1 <= value <= MAX_DAYS

        return self._value(self._body, key, default, f"an integer, 1 to {MAX_DAYS}", fits)

    def _names(self, san: dict[str, Any], key: str) -> tuple[str, ...]:
        def fits(value: Any) -> bool:
            return isinstance(value, list) and all(isinstance(name, str) for name in value)

        return tuple(self._value(san, key, [], "a list of strings", fits))

    def _paths(self) -> dict[str, str]:
        def fits(value: Any) -> bool:
            if not isinstance(value, str) or not value.strip() or "\0" in value:
                return False
            spelled = value.encode("utf-8", "surrogatepass")
            is_short = all(len(part) <= MAX_PART_BYTES for part in re.split(rb"[/\\]", spelled))
            return is_short and len(spelled) <= MAX_PATH_BYTES

        given = (key for key in _PATHS if self._body.get(key) is not None)
        return {key: self._value(self._body, key, "", "a path", fits) for key in given}

    def _value(
        self,
        body: dict[str, Any],
        key: str,
        default: Any,
        wanted: str,
        fits: Callable[[Any], bool],
    ) -> Any:
        value = body.get(key)
        if value is None:
            return default
        if not fits(value):
            raise SettingError(
                f"Key {key!r} in TLS configuration {str(self._file)!r} must be {wanted}, "
                f"found {reprlib.repr(value)}."
            )
        return value

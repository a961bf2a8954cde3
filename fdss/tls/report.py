"""What ``fdss tls status`` tells of the TLS folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509

from fdss.errors import SettingError

from .certificates import (
    fingerprint,
    is_over,
    is_pair,
    is_signed_by,
    names_of,
    not_after,
    read_certificates,
    read_key,
    title,
)
from .folder import TlsFolder
from .names import Names, lacking, local_names
from .state import TlsState, state_of, warnings_of

Json = dict[str, Any]

_OTHERS = 0o077


@dataclass(frozen=True)
class Report:
    """The TLS folder as it was at one moment.

    Attributes:
        document: What ``--json`` prints; the names of its keys stay.
        warnings: What should be done, most pressing first.
    """

    document: Json
    warnings: list[str]


def report_on(folder: TlsFolder, now: datetime | None = None) -> Report:
    """Return what there is to say about a TLS folder.

    Raises:
        SettingError: A certificate in it cannot be read.
    """
    return _Inspection(folder, now or datetime.now(timezone.utc)).report()


class _Inspection:
    def __init__(self, folder: TlsFolder, now: datetime) -> None:
        self._folder = folder
        self._now = now
        self._state = state_of(folder, now)
        self._server = _first(folder.server_cert)
        self._authority = _first(folder.ca_cert)

    def report(self) -> Report:
        warnings = list(self._warnings())
        document: Json = {
            "folder": str(self._folder.root),
            "state": self._state.value,
            "enabled": self._folder.config.enabled,
            "server": self._server and self._described(self._server),
            "authority": self._authority and self._described(self._authority),
            "can_sign": self._folder.ca_key.exists(),
            "trusted": list(self._trusted()),
            "files": list(self._files()),
            "warnings": warnings,
        }
        if self._server is not None:
            hosts, ips = names_of(self._server)
            pairing = {"key_matches": self._key_problem() is None}
            document["server"].update(hostnames=hosts, ips=ips, **pairing)
        return Report(document, warnings)

    def _described(self, certificate: x509.Certificate) -> Json:
        left = not_after(certificate) - self._now
        return {
            "subject": title(certificate.subject),
            "issuer": title(certificate.issuer),
            "not_before": certificate.not_valid_before_utc.isoformat(),
            "not_after": not_after(certificate).isoformat(),
            "days_left": left // timedelta(days=1),
            "sha256": fingerprint(certificate),
        }

    def _trusted(self) -> Iterator[Json]:
        for path in sorted(self._folder.trusted.glob("*.crt")):
            for certificate in read_certificates(path):
                yield {"name": path.stem, **self._described(certificate)}

    def _files(self) -> Iterator[Json]:
        folder = self._folder
        paths = (folder.config_file, folder.ca_cert, folder.ca_key, folder.server_cert)
        for path in (folder.root, *paths, folder.server_key, folder.bundle):
            if path.exists():
                mode = f"{stat.S_IMODE(path.stat().st_mode):04o}" if os.name == "posix" else None
                yield {"path": str(path), "mode": mode}

    def _warnings(self) -> Iterator[str]:
        yield from self._file_warnings()
        yield from self._time_warnings()
        if self._state is TlsState.DISABLED:
            yield "TLS is provisioned and not enabled; run: fdss tls enable"
        if self._server is not None:
            yield from self._name_warnings(self._server)
        yield from self._bundle_warnings()

    def _file_warnings(self) -> Iterator[str]:
        problem = self._key_problem()
        if self._server is not None and problem:
            yield problem
        for path in (self._folder.server_key, self._folder.ca_key, self._folder.config_file):
            if _is_exposed(path):
                yield f"other users of this machine can read {path}; run: chmod 600 {path}"
        if _is_exposed(self._folder.root):
            yield f"other users of this machine can look into {self._folder.root}; run: " + (
                f"chmod 700 {self._folder.root}"
            )

    def _key_problem(self) -> str | None:
        """Return what is wrong with the key of the server certificate, if there is one."""
        folder = self._folder
        if self._server is None:
            return None
        if not folder.server_key.exists():
            return f"the server certificate has no key: {folder.server_key} is missing"
        try:
            key = read_key(folder.server_key)
        except SettingError as error:
            return error.message
        if is_pair(self._server, key):
            return None
        return f"{folder.server_key} is not the key of {folder.server_cert}; run: fdss tls init"

    def _time_warnings(self) -> Iterator[str]:
        for found, name, cure in (
            (self._server, "the server certificate", "fdss tls renew"),
            (self._authority, "the authority", "fdss tls renew --ca"),
        ):
            if found is not None:
                cure = f"run: {cure}" if self._can_renew() else "get a fresh one: fdss tls install"
                yield from warnings_of(name, not_after(found) - self._now, cure)
        for found in (self._server, self._authority):
            if found is not None and found.not_valid_before_utc > self._now:
                yield f"{title(found.subject)} is not valid before {found.not_valid_before_utc}"
        for path in sorted(self._folder.trusted.glob("*.crt")):
            if all(is_over(found, self._now) for found in read_certificates(path)):
                name = path.stem
                yield f"the imported authority {name} expired; run: fdss tls forget-ca {name}"

    def _name_warnings(self, server: x509.Certificate) -> Iterator[str]:
        hosts, ips = names_of(server)
        missing = lacking(Names(tuple(map(str.lower, hosts)), tuple(ips)), local_names())
        if not len(missing):
            return
        cure = "run: fdss tls renew"
        if not self._can_renew():
            cure = "clients must use another name or address"
        yield f"the certificate lacks {', '.join(missing.hosts + missing.ips)}; {cure}"

    def _can_renew(self) -> bool:
        """Return whether the server certificate is from an authority whose key is here."""
        if self._server is None or self._authority is None or not self._folder.ca_key.exists():
            return False
        return is_signed_by(self._server, self._authority)

    def _bundle_warnings(self) -> Iterator[str]:
        bundle = self._folder.bundle
        if self._authority is None:
            return
        if not bundle.exists() or self._authority not in read_certificates(bundle):
            yield (
                f"clients on this machine do not trust the authority: {bundle} lacks it; "
                "run: fdss tls enable"
            )


def _first(path: Path) -> x509.Certificate | None:
    return read_certificates(path)[0] if path.exists() else None


def _is_exposed(path: Path) -> bool:
    return os.name == "posix" and path.exists() and bool(path.stat().st_mode & _OTHERS)

"""Whether a server speaks TLS: what settings and TLS folder say, and what a network demands."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from fdss import tokens
from fdss.config import ServerConfig
from fdss.errors import SettingError
from fdss.hosts import is_loopback
from fdss.tls.context import Identity, server_context
from fdss.tls.folder import TlsFolder
from fdss.tls.state import TlsState, expiry_warnings, state_of, time_left, warnings_of

_IN_THE_CLEAR = (
    "!! --insecure: other machines are let in without TLS — "
    "tokens and rows cross the network in the clear"
)
_OTHERWISE = "keep the default host and forward the port over SSH, or accept the risk: --insecure"
#: What helps with a certificate that was named, which this machine's authority may not have made.
_OWN_CURE = "replace the file, and the server takes it up"
_HINTS = {
    TlsState.MISSING: "run fdss tls init",
    TlsState.DISABLED: "run fdss tls enable",
    TlsState.EXPIRED: "run fdss tls renew",
}
_FINDINGS = {
    TlsState.MISSING: "there is no TLS certificate",
    TlsState.DISABLED: "TLS is provisioned but disabled",
    TlsState.EXPIRED: "the TLS certificate has expired",
}


@dataclass(frozen=True)
class Protection:
    """How a server's connections are protected.

    Attributes:
        identity: What it proves itself with; None for plain HTTP.
        ca: Certificate of this machine's own authority, if clients need it; None if they do not.
        warnings: What the operator has to know, in lines.
    """

    identity: Identity | None = None
    ca: Path | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def scheme(self) -> str:
        """Return the scheme of the server's URL."""
        return "http" if self.identity is None else "https"


def settle_protection(config: ServerConfig) -> Protection:
    """Return how the server of a configuration protects its connections; nothing is bound.

    Raises:
        SettingError: TLS is asked for and cannot be had, or the host needs it and there is none.
    """
    if config.tls_cert is not None and config.tls_key is not None:
        protection = _protected(config, config.tls_cert, config.tls_key, cure=_OWN_CURE)
        if time_left(config.tls_cert) <= timedelta(0) and not config.insecure:
            _check_local(config, f"{str(config.tls_cert)!r} has expired", "replace the file")
        return protection
    if config.no_tls:
        return _plain(config, "--no-tls turns TLS off", "leave out --no-tls")
    folder = TlsFolder()
    state = _state(folder, config)
    if state is TlsState.MISSING and (config.tls or folder.config.enabled):
        wanted = "asked for" if config.tls else "enabled"
        away = "" if config.tls else "; --no-tls serves without"
        raise SettingError(
            f"TLS is {wanted}, and there is no certificate with its key in {str(folder.root)!r}.",
            hint=f"run fdss tls init, or name a pair with --tls-cert and --tls-key{away}",
        )
    if state in (TlsState.MISSING, TlsState.DISABLED):
        return _plain(config, _FINDINGS[state], _HINTS[state])
    if state is TlsState.EXPIRED and not config.insecure:
        _check_local(config, _FINDINGS[state], _HINTS[state])
    return _protected(config, folder.server_cert, folder.server_key, _own_ca(folder))


def _state(folder: TlsFolder, config: ServerConfig) -> TlsState:
    state = state_of(folder)
    if not config.tls or state is not TlsState.DISABLED:
        return state
    # Asked for by name, what is disabled counts as enabled.
    is_over = time_left(folder.server_cert) <= timedelta(0)
    return TlsState.EXPIRED if is_over else TlsState.READY


def _protected(
    config: ServerConfig, cert: Path, key: Path, ca: Path | None = None, cure: str | None = None
) -> Protection:
    identity = Identity(cert, key, config.tls_client_ca)
    server_context(identity)
    told = expiry_warnings(cert) if cure is None else warnings_of(str(cert), time_left(cert), cure)
    warnings = [f"!! TLS: {line}" for line in told]
    if tokens.is_exposed(key):
        warnings.append(f"!! TLS: other users may read or change the private key {key}")
    return Protection(identity, ca, warnings)


def _plain(config: ServerConfig, finding: str, hint: str) -> Protection:
    if config.tls_client_ca is not None:
        raise SettingError(
            f"Setting 'tls_client_ca' asks clients for a certificate, but {finding}.", hint=hint
        )
    if is_loopback(config.host):
        return Protection()
    if not config.insecure:
        _check_local(config, finding, hint)
    return Protection(warnings=[_IN_THE_CLEAR])


def _check_local(config: ServerConfig, finding: str, hint: str) -> None:
    if not is_loopback(config.host):
        raise SettingError(
            f"Host {config.host!r} can be reached from other machines, and {finding}: "
            "tokens and rows need TLS on a network.",
            hint=f"{hint}, {_OTHERWISE}",
        )


def _own_ca(folder: TlsFolder) -> Path | None:
    """Return the own authority's certificate if it signed the server's."""
    # Here, so that a server without TLS does not wait for its import.
    from fdss.tls.certificates import is_signed_by, read_certificates

    if not folder.ca_cert.is_file():
        return None
    [leaf, *_], [ca, *_] = (read_certificates(p) for p in (folder.server_cert, folder.ca_cert))
    return folder.ca_cert if is_signed_by(leaf, ca) else None

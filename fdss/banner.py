"""What a starting server tells its operator on stderr."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from fdss.authentication import Credential, Origin
from fdss.config import ServerConfig
from fdss.policy import LOCAL_PREFIX

#: Named datasets that one line tells.
MAX_NAMES = 8

_NO_AUTH = (
    "!! dataset_server is running with --no-auth — "
    "any host that can reach the bind port can query datasets"
)
_REGENERATED = (
    "!! --regen-token: replacing the persisted per-port token. Existing peers will need to re-pull."
)


@dataclass(frozen=True)
class Reach:
    """Where a server is.

    Attributes:
        url: Its address, without a trailing slash.
        local_url: One that works on this machine.
        ca: Certificate of the authority that clients have to be told of; None if of none.
        remote_url: One for other machines, where ``url`` is an address of none; or None.
    """

    url: str
    local_url: str
    ca: Path | None = None
    remote_url: str | None = None


def banner(credential: Credential, reach: Reach, config: ServerConfig) -> list[str]:
    """Return the lines: how clients authenticate, what is served, and where the server is.

    A token that the operator supplied is not shown; the operator has it.

    Args:
        config: Says whether the token's value is left out, and what is served.
    """
    lines = [*_auth_lines(credential, reach, config.quiet_tokens), _served_line(config)]
    if reach.remote_url is not None:
        lines.append(f"from other machines: {reach.remote_url}/")
    return [*lines, f"dataset_server URL: {reach.url}/"]


def _served_line(config: ServerConfig) -> str:
    names = [f"{LOCAL_PREFIX}{name}" for name in sorted(config.local)]
    shown = ", ".join(names[:MAX_NAMES])
    if len(names) > MAX_NAMES:
        shown += f" and {len(names) - MAX_NAMES:,} more"
    parts = [shown] if names else []
    if not config.no_hf:
        parts.append("datasets of the HuggingFace cache")
        if config.allow_downloads:
            parts.append("datasets of the Hub")
    if config.allow_paths:
        parts.append("paths of this machine")
    if not parts:
        return "serves: nothing; --local NAME=PATH names a dataset"
    is_all = config.no_hf and not config.allow_paths
    return f"serves: {'nothing but ' if is_all else ''}{'; '.join(parts)}"


def _auth_lines(credential: Credential, reach: Reach, quiet: bool) -> list[str]:
    if credential.origin is Origin.NONE:
        return [_NO_AUTH]
    lines = [_REGENERATED] if credential.origin is Origin.REGENERATED else []
    shown = credential.origin is not Origin.GIVEN and not quiet
    if shown:
        lines.append(f"dataset_server auth token: {credential.token}")
    lines.append("clients must send 'Authorization: Bearer <token>'")
    if shown:
        trust = "" if reach.ca is None else f"--cacert {shlex.quote(str(reach.ca))} "
        lines.append(
            f'curl {trust}-H "Authorization: Bearer {credential.token}" '
            f"{reach.local_url}/v1/datasets"
        )
    if credential.origin is Origin.REUSED:
        lines.append(f"reusing persisted token at: {credential.file}")
    elif credential.file is not None:
        lines.append(f"persisted token file: {credential.file}")
    return lines

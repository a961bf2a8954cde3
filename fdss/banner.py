"""What a starting server tells its operator on stderr."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from fdss.authentication import Credential, Origin

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
    """

    url: str
    local_url: str
    ca: Path | None = None


def banner(credential: Credential, reach: Reach, *, quiet: bool) -> list[str]:
    """Return the lines: how clients authenticate, and where the server is.

    A token that the operator supplied is not shown; the operator has it.

    Args:
        quiet: Leave out the token's value.
    """
    return [*_auth_lines(credential, reach, quiet), f"dataset_server URL: {reach.url}/"]


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

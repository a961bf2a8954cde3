"""What a starting server tells its operator on stderr."""

from __future__ import annotations

from fdss.authentication import Credential, Origin

_NO_AUTH = (
    "!! dataset_server is running with --no-auth — "
    "any host that can reach the bind port can query datasets"
)
_REGENERATED = (
    "!! --regen-token: replacing the persisted per-port token. Existing peers will need to re-pull."
)


def banner(credential: Credential, url: str, *, quiet: bool) -> list[str]:
    """Return the lines: how clients authenticate, and where the server is.

    A token that the operator supplied is not shown; the operator has it.

    Args:
        url: Address of the server, without a trailing slash.
        quiet: Leave out the token's value.
    """
    return [*_auth_lines(credential, url, quiet), f"dataset_server URL: {url}/"]


def _auth_lines(credential: Credential, url: str, quiet: bool) -> list[str]:
    if credential.origin is Origin.NONE:
        return [_NO_AUTH]
    lines = [_REGENERATED] if credential.origin is Origin.REGENERATED else []
    shown = credential.origin is not Origin.GIVEN and not quiet
    if shown:
        lines.append(f"dataset_server auth token: {credential.token}")
    lines.append("clients must send 'Authorization: Bearer <token>'")
    if shown:
        lines.append(f'curl -H "Authorization: Bearer {credential.token}" {url}/v1/datasets')
    if credential.origin is Origin.REUSED:
        lines.append(f"reusing persisted token at: {credential.file}")
    elif credential.file is not None:
        lines.append(f"persisted token file: {credential.file}")
    return lines

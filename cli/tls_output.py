"""The text that ``fdss tls`` prints for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from cryptography import x509

from fdss.tls.certificates import fingerprint, names_of, not_after, title
from fdss.tls.provisioning import Issued
from fdss.tls.report import Report

from .output import printable

Json = dict[str, Any]

_STATES = {
    "missing": "missing: no server certificate with its key; fdss tls init makes them",
    "disabled": "disabled: servers speak HTTP unless they are told otherwise",
    "expired": "expired: no client accepts the server certificate any more",
    "ready": "ready: servers speak HTTPS",
}


def report_lines(report: Report) -> Iterator[str]:
    """Yield the lines for people; text that stands in certificates cannot steer the terminal."""
    document = report.document
    yield f"state:  {_STATES[document['state']]}"
    yield printable(f"folder: {document['folder']}")
    if document["server"]:
        yield "server certificate:"
        yield from map(printable, _server_lines(document["server"]))
    if document["authority"]:
        yield "authority:"
        yield from map(printable, _authority_lines(document))
    if document["trusted"]:
        yield "imported authorities:"
        yield from map(printable, _trusted_lines(document["trusted"]))
    if document["files"]:
        yield "files:"
        for file in document["files"]:
            yield printable(f"  {file['mode'] or ''} {file['path']}")
    for warning in report.warnings:
        yield printable(f"!! {warning}")


def warn(text: str) -> None:
    """Print a warning on standard error."""
    click.echo(f"!! {printable(text)}", err=True)


def warn_all(texts: list[str]) -> None:
    """Print warnings on standard error, in their order."""
    for text in texts:
        warn(text)


def issued_lines(issued: Issued, how: str) -> list[str]:
    """Return the lines about a certificate that was issued.

    Args:
        how: What became of the authority: ``made``, ``kept``, ``renewed``.
    """
    return [
        "issued a certificate",
        *certificate_lines(issued.certificate),
        f"{how} the authority",
        *certificate_lines(issued.authority, is_authority=True),
    ]


def certificate_lines(certificate: x509.Certificate, *, is_authority: bool = False) -> list[str]:
    """Return the lines about a certificate; an authority shows its fingerprint."""
    hosts, ips = names_of(certificate)
    lines = [
        printable(f"  subject:   {title(certificate.subject)}"),
        f"  until:     {not_after(certificate):%Y-%m-%d}",
    ]
    if is_authority:
        return [*lines, f"  SHA-256:   {fingerprint(certificate)}"]
    names = [("names", hosts), ("addresses", ips)]
    return lines + [
        printable(f"  {word + ':':10} {', '.join(found) or '(none)'}") for word, found in names
    ]


def _server_lines(server: Json) -> Iterator[str]:
    yield f"  subject:   {server['subject']}"
    yield f"  issuer:    {server['issuer']}"
    yield f"  names:     {', '.join(server['hostnames']) or '(none)'}"
    yield f"  addresses: {', '.join(server['ips']) or '(none)'}"
    yield f"  valid:     {_time(server)}"
    yield f"  key:       {'matches' if server['key_matches'] else 'DOES NOT MATCH'}"


def _authority_lines(document: Json) -> Iterator[str]:
    authority = document["authority"]
    yield f"  subject:   {authority['subject']}"
    yield f"  SHA-256:   {authority['sha256']}"
    yield f"  valid:     {_time(authority)}"
    yield f"  key:       {'on this machine' if document['can_sign'] else 'not on this machine'}"


def _trusted_lines(trusted: list[Json]) -> Iterator[str]:
    for entry in trusted:
        yield f"  {entry['name']}: {entry['subject']}"
        yield f"    SHA-256: {entry['sha256']}"
        yield f"    valid:   {_time(entry)}"


def _time(certificate: Json) -> str:
    begin, end = certificate["not_before"][:10], certificate["not_after"][:10]
    left = certificate["days_left"]
    return f"{begin} to {end} ({'over' if left < 0 else f'{left} days left'})"

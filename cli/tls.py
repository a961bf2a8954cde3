"""``fdss tls``: the certificates of this machine, and the authorities its clients trust."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from fdss import places
from fdss.errors import FdssError, SettingError
from fdss.files import write_whole
from fdss.tls import importing, provisioning
from fdss.tls.certificates import fingerprint, names_of, not_after, pem_of, read_certificates, title
from fdss.tls.cleaning import clean as clean_folder
from fdss.tls.folder import TlsFolder
from fdss.tls.names import checked_names
from fdss.tls.provisioning import changing
from fdss.tls.report import report_on
from fdss.tls.staging import PUBLIC
from fdss.tls.state import expiry_warnings

from .output import print_json, print_lines, printable
from .tls_output import certificate_lines, issued_lines, report_lines, warn, warn_all

Command = TypeVar("Command", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path)

_REPLACED = (
    "the authority was replaced: no client accepts this server, nor any certificate that the old "
    "authority signed, before it has imported the new one; mint those certificates anew"
)


class TlsGroup(click.Group):
    """A group whose commands tell of files that cannot be written as of any other mistake."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            SettingError: A file cannot be written, or what the command was given is wrong.
        """
        try:
            return super().invoke(ctx)
        except (FdssError, BrokenPipeError):
            raise
        except OSError as error:
            # The file itself has a name of the moment.
            place = str(Path(error.filename).parent) if error.filename else "the folder"
            raise SettingError(f"A file in {place!r} cannot be used: {error.strerror}.") from error


@click.group(cls=TlsGroup)
def tls() -> None:
    """Make certificates for HTTPS, and say which authorities clients trust.

    Everything lies in one folder: $FORGATHER_TLS_DIR, else ~/.config/forgather/tls.
    """


def _named(host_flag: str, ip_flag: str, whose: str) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        host = click.option(
            host_flag,
            "hosts",
            multiple=True,
            metavar="NAME",
            help=f"Another name of {whose}; repeatable.",
        )
        ip = click.option(
            ip_flag,
            "ips",
            multiple=True,
            metavar="ADDRESS",
            help=f"Another address of {whose}; repeatable.",
        )
        return host(ip(command))

    return decorate


_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_YES = click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")


@tls.command()
@_named("--hostname", "--ip", "this machine")
@click.option("--ca-name", metavar="NAME", help="Name of a fresh authority.")
@click.option(
    "--force",
    is_flag=True,
    help="Replace the authority; what the old one signed is not accepted any more.",
)
def init(hosts: tuple[str, ...], ips: tuple[str, ...], ca_name: str | None, force: bool) -> None:
    """Make authority and certificate, and enable TLS.

    An authority that is there is kept; the certificate of this machine is always issued anew.
    """
    given = checked_names(hosts, ips)
    with changing(places.tls_folder(), makes=True) as folder:
        had_authority = folder.ca_cert.exists()
        issued = provisioning.init(folder, given, ca_name=ca_name, force=force)
    print_lines(issued_lines(issued, "made" if issued.is_fresh_authority else "kept"))
    if ca_name and not issued.is_fresh_authority:
        warn("the authority keeps its name; --ca-name counts for a fresh one (--force)")
    if had_authority and issued.is_fresh_authority:
        warn(_REPLACED)
    print_lines(
        [
            "TLS is enabled: servers that are started from now on speak HTTPS.",
            "for a client on another machine: fdss tls export-ca -o ca.crt here, "
            "fdss tls import-ca ca.crt there",
        ]
    )


@tls.command()
@_AS_JSON
def status(as_json: bool) -> None:
    """Show certificates, their time, and what to do."""
    report = report_on(TlsFolder(places.tls_folder()))
    if as_json:
        print_json(report.document)
    else:
        print_lines(report_lines(report))


@tls.command()
@click.option("--server", is_flag=True, help="Renew the server certificate; it always is.")
@click.option("--ca", "with_authority", is_flag=True, help="Renew the authority's, too.")
@_named("--add-hostname", "--add-ip", "this machine")
@_YES
def renew(
    server: bool, with_authority: bool, hosts: tuple[str, ...], ips: tuple[str, ...], is_sure: bool
) -> None:
    """Issue the server certificate anew.

    Running servers take it up by themselves.
    """
    added = checked_names(hosts, ips)
    folder = TlsFolder(places.tls_folder())
    if with_authority:
        _ask_for_authority(folder, is_sure)
    with changing(places.tls_folder()) as folder:
        issued = provisioning.renew(folder, added, with_authority=with_authority)
    print_lines(issued_lines(issued, "renewed" if with_authority else "kept"))
    if with_authority:
        warn("every client has to import the renewed authority: fdss tls export-ca -o ca.crt")


def _ask_for_authority(folder: TlsFolder, is_sure: bool) -> None:
    found = provisioning.own_authority(folder).certificate
    click.echo(
        f"Every client has to import the renewed authority before {not_after(found):%Y-%m-%d}, "
        "when the present one ends.",
        err=True,
    )
    if not is_sure and click.prompt("Type yes to renew it", err=True, default="no") != "yes":
        raise click.Abort


@tls.command()
@click.option("--cert", type=_FILE, required=True, help="Certificate and its chain, PEM.")
@click.option("--key", type=_FILE, required=True, help="Private key of the certificate, PEM.")
@click.option("--ca", type=_FILE, help="Authority that signed it, PEM.")
def install(cert: Path, key: Path, ca: Path | None) -> None:
    """Use a certificate from elsewhere, and enable TLS."""
    with changing(places.tls_folder(), makes=True) as folder:
        found = importing.install(folder, cert, key, ca)
    print_lines(["installed the server certificate", *certificate_lines(found)])
    warn_all(expiry_warnings(folder.server_cert))
    if not any(names_of(found)):
        warn("the certificate carries no name (subjectAltName), so no client accepts it")
    print_lines(["TLS is enabled: servers that are started from now on speak HTTPS."])


@tls.command(name="export-ca")
@click.option(
    "-o",
    "--output",
    default="-",
    metavar="FILE",
    help="Where to write it; - is standard output.  [default: -]",
)
def export_ca(output: str) -> None:
    """Write the authority's certificate for clients.

    It is no secret.
    """
    folder = TlsFolder(places.tls_folder())
    if not folder.ca_cert.exists():
        provisioning.own_authority(folder)
    found = read_certificates(folder.ca_cert)
    if output == "-":
        click.echo(pem_of(found).decode("ascii"), nl=False)
    else:
        write_whole(Path(output), [pem_of(found)])
        Path(output).chmod(PUBLIC)
    told = f"{title(found[0].subject)}  SHA-256 {fingerprint(found[0])}"
    click.echo(printable(told), err=True)


@tls.command(name="import-ca")
@click.argument("path", type=_FILE)
@click.option("--name", metavar="NAME", help="What to keep it as.  [default: from its subject]")
def import_ca(path: Path, name: str | None) -> None:
    """Trust the authority in the file PATH.

    Clients of this user accept every certificate that it signed.
    """
    with changing(places.tls_folder(), makes=True) as folder:
        found = importing.import_authority(folder, path, name)
    lines = certificate_lines(found.certificate, is_authority=True)
    told = "trusted before" if found.was_known else "trusted from now on"
    print_lines([f"{told}: {printable(str(found.path))}", *lines])
    print_lines(["compare the SHA-256 with what fdss tls status shows on the other machine"])


@tls.command(name="forget-ca")
@click.argument("name")
def forget_ca(name: str) -> None:
    """Trust the imported authority NAME no longer."""
    with changing(places.tls_folder()) as folder:
        path = importing.forget_authority(folder, name)
    print_lines([f"trusted no longer: {printable(str(path))}"])


@tls.command()
@click.option("-o", "--output", type=_FILE, required=True, help="Folder to make.")
@_named("--hostname", "--ip", "the other machine")
def mint(output: Path, hosts: tuple[str, ...], ips: tuple[str, ...]) -> None:
    """Make a certificate for another machine.

    The folder gets server.crt, server.key and ca.crt, which fdss tls install takes there.
    """
    given = checked_names(hosts, ips)
    with changing(places.tls_folder()) as folder:
        issued = provisioning.mint(folder, output, given)
    print_lines(issued_lines(issued, "signed by"))
    if not len(given):
        warn("it carries loopback names only; --hostname and --ip name the other machine")
    print_lines(
        [
            f"carry {printable(str(output))} there over a safe way, then in it: "
            "fdss tls install --cert server.crt --key server.key --ca ca.crt"
        ]
    )


@tls.command()
def enable() -> None:
    """Let the servers of this machine speak HTTPS."""
    with changing(places.tls_folder()) as folder:
        provisioning.set_enabled(folder, True)
    warn_all(expiry_warnings(folder.server_cert))
    print_lines(["TLS is enabled: servers that are started from now on speak HTTPS."])


@tls.command()
def disable() -> None:
    """Let the servers of this machine speak HTTP.

    The certificates stay.
    """
    with changing(places.tls_folder()) as folder:
        provisioning.set_enabled(folder, False)
    print_lines(
        ["TLS is disabled: servers that are started from now on speak HTTP, on loopback only."]
    )


@tls.command()
@_YES
def clean(is_sure: bool) -> None:
    """Remove certificates, keys and configuration.

    The authority and the imported ones go, too.
    """
    root = places.tls_folder()
    if not is_sure:
        raise SettingError(
            f"Everything in {str(root)!r} would be removed, the authority's key included, "
            "and nothing was.",
            hint="fdss tls clean --yes",
        )
    removed = clean_folder(TlsFolder(root))
    print_lines([f"removed {printable(str(path))}" for path in removed] or ["nothing to remove"])

"""``fdss router``: route clients to dataset servers, and list the servers by hand."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fdss import tokens
from fdss.bundles import SCHEME, parse_bundle
from fdss.errors import FdssError, SettingError
from fdss.protection import settle_protection
from fdss.router.asking import token_of
from fdss.router.config import RouterConfig, RouterFile, config_of, read_router_file
from fdss.router.membership import Member, checked_base_url
from fdss.router.names import REGISTRY, registry_file
from fdss.router.registrations import shown
from fdss.router.registry import Entry, Registry
from fdss.router.settings import ROUTER_SETTINGS
from fdss.settings import Setting

from .given import STDIN, given_token, line_of_stdin
from .output import print_json, print_lines, printable, table

AUTH_KEYS = ("auth_token", "auth_token_file", "no_auth")

logger = logging.getLogger("fdss.router.start")


@click.group()
def router() -> None:
    """Send clients to the dataset servers of a cluster, and say which those are."""


def _read_config(ctx: click.Context, parameter: click.Parameter, named: str | None) -> RouterFile:
    """Read the file before the other options, and let it stand in for those not given."""
    try:
        file = read_router_file(named)
    except SettingError as error:
        raise _usage(ctx, error) from error
    ctx.default_map = {**(ctx.default_map or {}), **file.values}
    return file


def _usage(ctx: click.Context, error: FdssError) -> click.UsageError:
    hint = f"\nhint: {error.hint}" if error.hint else ""
    return click.UsageError(error.message + hint, ctx)


def _option(setting: Setting) -> click.Option:
    names = [*setting.flags, setting.key]
    if setting.kind is bool:
        return click.Option(names, is_flag=True, default=False, help=setting.help)
    kind: Any = setting.kind
    if setting.choices:
        kind = click.Choice(setting.choices, case_sensitive=False)
    if setting.bounds:
        kind = click.IntRange(*setting.bounds)
    return click.Option(
        names,
        type=kind,
        default=setting.default,
        show_default=setting.default is not None,
        help=setting.help,
        metavar=setting.metavar,
    )


@click.pass_context
def _start(ctx: click.Context, /, config: RouterFile, **values: Any) -> None:
    """Route clients to dataset servers until it is interrupted.

    A flag wins over the section 'router' of the configuration file, the section over the default.
    """
    # Flags that say how clients authenticate replace what the file says of it, all of it.
    if any(ctx.get_parameter_source(key) is ParameterSource.COMMANDLINE for key in AUTH_KEYS):
        for key in AUTH_KEYS:
            if ctx.get_parameter_source(key) is ParameterSource.DEFAULT_MAP:
                values[key] = None if key != "no_auth" else False
    try:
        settled = config_of(values)
        # Before the log speaks of a start: what is wrong with TLS is wrong usage.
        settle_protection(settled.entrance)
    except SettingError as error:
        raise _usage(ctx, error) from error
    _run(settled, config)


def _run(config: RouterConfig, file: RouterFile) -> None:
    from fdss.logs import configure_logs
    from fdss.router.serving import serve_router

    configure_logs(config.entrance.log_level)
    logger.info("%s", file.log_line)
    logger.info("effective configuration: %s", "; ".join(config.as_lines()))
    if file.path is not None and "auth_token" in file.values and tokens.is_exposed(file.path):
        logger.warning("config file %s holds a token and may be used by other users", file.path)
    serve_router(config)


router.add_command(
    click.Command(
        "start",
        callback=_start,
        params=[
            click.Option(
                ["--config"],
                is_eager=True,
                callback=_read_config,
                metavar="FILE",
                help="YAML file with a section 'router' of any of these settings.",
            ),
            *(_option(setting) for setting in ROUTER_SETTINGS),
        ],
        help=_start.__doc__,
        short_help="Route clients to dataset servers.",
    )
)


@router.command()
@click.argument("server", metavar="URL|BUNDLE|-")
@click.option("--label", default="", help="What the server is called.  [default: its URL]")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="File with the server's token, - for standard input; needless for a server of this "
    "machine, whose token file is found.",
)
@click.option("--no-verify-tls", is_flag=True, help="Do not check the server's certificate.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def add(
    server: str, label: str, token_file: Path | None, no_verify_tls: bool, as_json: bool
) -> None:
    """Add a dataset server to the registry, or replace the one with that URL.

    It is named by its URL, or by the bundle that fdss bundle prints, which has its token in it;
    with - the URL or the bundle is read from standard input, past the history of the shell.
    """
    base_url, token = _named(server, token_file)
    member = Member(base_url, token, label or base_url, not no_verify_tls, REGISTRY)
    if token and not member.is_private:
        click.echo(
            f"warning: whoever is between this machine and {base_url} can read the token", err=True
        )
    _show(_registry(lambda registry: registry.add(member)), "added", as_json)


def _named(server: str, token_file: Path | None) -> tuple[str, str]:
    """Return the URL and the token of a server that a URL or a bundle names."""
    is_read = server == STDIN
    if is_read and str(token_file) == STDIN:
        raise SettingError("Standard input brings the server or its token, not both.")
    text = line_of_stdin("URL or bundle") if is_read else server.strip()
    if not text.startswith(f"{SCHEME}:"):
        return checked_base_url(text), given_token(token_file)
    bundle = parse_bundle(text)
    if bundle.token and token_file is not None:
        raise SettingError("A bundle has its token in it, so --token-file adds nothing.")
    if bundle.token and not is_read:
        click.echo(
            "warning: the token in the bundle is now in the history of the shell; "
            "fdss router add - reads a bundle from standard input",
            err=True,
        )
    return checked_base_url(bundle.url), bundle.token or given_token(token_file)


@router.command()
@click.argument("server")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def remove(server: str, as_json: bool) -> None:
    """Remove a dataset server from the registry, by id, label or URL."""
    _show(_registry(lambda registry: registry.remove(server)), "removed", as_json)


@router.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_entries(as_json: bool) -> None:
    """List the dataset servers in the registry; tokens are not shown."""
    entries = _registry(lambda registry: registry.entries())
    if as_json:
        print_json({"servers": [shown(entry) for entry in entries]})
    elif entries:
        rows = [tuple(printable(cell) for cell in _cells(entry)) for entry in entries]
        print_lines(table(("ID", "SERVER_ID", "URL", "LABEL", "TOKEN", "TLS"), rows))
    else:
        print_lines(["(no servers registered; add one with: fdss router add URL)"])


def _registry(use: Any) -> Any:
    try:
        return use(Registry(registry_file()))
    except OSError as error:
        raise SettingError(f"The registry cannot be used: {error}.") from error


def _show(entry: Entry, done: str, as_json: bool) -> None:
    if as_json:
        print_json({done: shown(entry)})
    else:
        print_lines([printable(f"{done} {entry.id}  {entry.member.base_url}")])


def _cells(entry: Entry) -> tuple[str, ...]:
    member = entry.member
    verified = "verified" if member.verify_tls else "NOT VERIFIED"
    return (
        entry.id,
        member.server_id,
        member.base_url,
        member.label,
        "(set)" if member.auth_token else "(kept here)" if token_of(member) else "-",
        verified if member.base_url.startswith("https:") else "-",
    )

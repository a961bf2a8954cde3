"""``fdss start``: flags and configuration file in, a running server out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fdss import tokens
from fdss.config import ServerConfig, absolute, parse_local
from fdss.config_file import ConfigFile, read_config_file
from fdss.errors import SettingError
from fdss.protection import settle_protection
from fdss.settings import SETTINGS, Setting

_ARGUMENTS = "fdss.arguments"

AUTH_KEYS = ("auth_token", "auth_token_file", "no_auth")
TLS_KEYS = ("tls", "tls_cert", "tls_key", "tls_client_ca")

logger = logging.getLogger("fdss.start")


def _read_config(ctx: click.Context, parameter: click.Parameter, named: str | None) -> ConfigFile:
    """Read the file before the other options, and let it stand in for those not given."""
    try:
        file = read_config_file(named)
    except SettingError as error:
        raise _usage(ctx, error) from error
    ctx.default_map = {**(ctx.default_map or {}), **file.values}
    return file


def _read_local(
    ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, Path]:
    try:
        return dict(parse_local(text) for text in given)
    except SettingError as error:
        raise _usage(ctx, error) from error


def _usage(ctx: click.Context, error: SettingError) -> click.UsageError:
    hint = f"\nhint: {error.hint}" if error.hint else ""
    return click.UsageError(error.message + hint, ctx)


def _option(setting: Setting) -> click.Option:
    names = [*setting.flags, setting.key]
    common: dict[str, Any] = {"help": setting.help, "metavar": setting.metavar}
    if setting.kind is bool:
        return click.Option(names, is_flag=True, default=False, help=setting.help)
    if setting.kind is dict:
        return click.Option(names, multiple=True, callback=_read_local, **common)
    if setting.kind is tuple:
        return click.Option(names, multiple=True, **common)
    kind: Any = setting.kind
    if setting.choices:
        kind = click.Choice(setting.choices, case_sensitive=False)
    if setting.bounds:
        kind = click.IntRange(*setting.bounds)
    shown = setting.default is not None
    return click.Option(names, type=kind, default=setting.default, show_default=shown, **common)


_CONFIG = click.Option(
    ["--config"],
    is_eager=True,
    callback=_read_config,
    metavar="FILE",
    help="YAML file with any of these settings; the default one is read when there is one.",
)


@click.pass_context
def _start(ctx: click.Context, /, config: ConfigFile, **values: Any) -> None:
    """Serve the datasets of this machine until it is interrupted.

    A flag wins over the configuration file, the file over the default.
    """
    try:
        settled = _settled(ctx, config, values)
        # Before the log speaks of a start: what is wrong with TLS is wrong usage.
        settle_protection(settled)
    except SettingError as error:
        raise _usage(ctx, error) from error
    _run(settled, config, lambda: _read_again(ctx.meta[_ARGUMENTS]))


def _settled(ctx: click.Context, file: ConfigFile, values: dict[str, Any]) -> ServerConfig:
    # Flags that say how clients authenticate replace what the file says of it, all of it.
    if any(ctx.get_parameter_source(key) is ParameterSource.COMMANDLINE for key in AUTH_KEYS):
        for key in AUTH_KEYS:
            if ctx.get_parameter_source(key) is ParameterSource.DEFAULT_MAP:
                values[key] = None if key != "no_auth" else False
    _let_flags_decide_on_tls(ctx, values)
    for key in ("auth_token_file", "tls_cert", "tls_key", "tls_client_ca"):
        values[key] = None if values[key] is None else absolute(values[key])
    values["local"] = {**file.local, **values["local"]}
    return ServerConfig(**values)


def _let_flags_decide_on_tls(ctx: click.Context, values: dict[str, Any]) -> None:
    """Drop what the file says of TLS where a flag says the opposite."""

    def is_from(key: str, source: ParameterSource) -> bool:
        return ctx.get_parameter_source(key) is source

    if is_from("no_tls", ParameterSource.COMMANDLINE):
        for key in TLS_KEYS:
            if is_from(key, ParameterSource.DEFAULT_MAP):
                values[key] = None if key != "tls" else False
    elif any(is_from(key, ParameterSource.COMMANDLINE) for key in TLS_KEYS):
        values["no_tls"] = False


def _read_again(arguments: list[str]) -> ServerConfig:
    """Return what the same command would start with now.

    Raises:
        SettingError: The file, or what it says together with the flags, is wrong.
    """
    try:
        with start.make_context("start", list(arguments)) as ctx:
            values = dict(ctx.params)
            file: ConfigFile = values.pop("config")
            settled = _settled(ctx, file, values)
    except click.ClickException as error:
        raise SettingError(error.format_message()) from error
    logger.info("%s", file.log_line)
    return settled


def _run(config: ServerConfig, file: ConfigFile, read: Callable[[], ServerConfig]) -> None:
    from fdss.logs import configure_logs
    from fdss.offline import switch_offline, switch_quiet

    configure_logs(config.log_level)
    logger.info("%s", file.log_line)
    logger.info("effective configuration: %s", "; ".join(config.as_lines()))
    if file.path is not None and "auth_token" in file.values and tokens.is_exposed(file.path):
        logger.warning("config file %s holds a token and may be used by other users", file.path)
    switch_quiet()
    if not config.allow_downloads:
        switch_offline()
    # Only now: what it imports reads the switches.
    if config.workers > 1:
        from fdss.supervisor import supervise

        supervise(config, read)
    else:
        from fdss.serving import serve

        serve(config, read)


class _Start(click.Command):
    """A command that remembers its arguments, to be read once more."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


start = _Start(
    "start",
    callback=_start,
    params=[_CONFIG, *(_option(setting) for setting in SETTINGS)],
    help=_start.__doc__,
    short_help="Serve the datasets of this machine.",
)

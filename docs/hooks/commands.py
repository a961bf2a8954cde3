"""Write every command of ``fdss`` with its flags into the page of the command line."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import click

from fdss.cli.main import fdss

PLACE = "<!-- commands -->"


def on_page_markdown(markdown: str, **event: Any) -> str:
    """Return a page with the commands in their place."""
    if PLACE not in markdown:
        return markdown
    return markdown.replace(PLACE, "\n".join(_lines(click.Context(fdss, info_name="fdss"))))


def _lines(ctx: click.Context) -> Iterator[str]:
    """Yield what is to be said of a command, and of those in it."""
    command = ctx.command
    if ctx.parent is not None:
        yield f"\n## {ctx.command_path}\n"
        yield f"{inspect.cleandoc(command.help or '')}\n"
        yield f"```text\n{' '.join([ctx.command_path, *command.collect_usage_pieces(ctx)])}\n```\n"
        yield from _table(ctx)
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            inner = command.get_command(ctx, name)
            assert inner is not None
            yield from _lines(click.Context(inner, info_name=name, parent=ctx))


def _table(ctx: click.Context) -> Iterator[str]:
    records = [option.get_help_record(ctx) for option in ctx.command.get_params(ctx)]
    told = [record for record in records if record is not None]
    if told:
        yield "| flag | what it does |\n|---|---|"
        for flags, help_text in told:
            words = " ".join(help_text.split()).replace("|", "\\|").replace("<", "&lt;")
            # In code neither needs to be escaped.
            yield f"| `{flags}` | {words} |"

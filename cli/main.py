"""The ``fdss`` command: one group whose commands are imported when they are used."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from fdss import __version__
from fdss.errors import FdssError

# Name: module, function, line in the help.
LAZY = {
    "start": ("fdss.cli.start", "start", "Serve the datasets of this machine."),
    "status": ("fdss.cli.diagnose", "status", "Show health, authentication and policy."),
    "list": ("fdss.cli.diagnose", "list_handles", "List the handles a server has loaded."),
    "cache": ("fdss.cli.diagnose", "cache", "List the Hub datasets a server has cached."),
    "local": ("fdss.cli.diagnose", "local", "List the named local datasets of a server."),
    "head": ("fdss.cli.head", "head", "Print the first rows of a dataset."),
    "bench": ("fdss.cli.bench", "bench", "Measure what a link gives, and say what to set."),
    "index": ("fdss.cli.index", "index", "Prepare datasets and their indexes ahead."),
    "router": ("fdss.cli.router", "router", "Send clients to the servers of a cluster."),
    "bundle": ("fdss.cli.bundle", "bundle", "Print a server's address and token as one line."),
    "cluster": ("fdss.cli.cluster", "cluster", "Ask a router about its cluster."),
    "tls": ("fdss.cli.tls", "tls", "Make certificates, and say which to trust."),
    "demo": ("fdss.cli.demo", "demo", "Serve and read a small dataset, to try it out."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the table."""
        return list(LAZY)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, importing it; None if there is no such command."""
        if cmd_name not in LAZY:
            return None
        module, function, _ = LAZY[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in LAZY.items()])

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command; an FdssError is one line and a hint on stderr, and exit code 1."""
        try:
            return super().main(*args, **extra)
        except FdssError as error:
            click.echo(f"error: {error.message}", err=True)
            if error.hint:
                click.echo(f"hint: {error.hint}", err=True)
            sys.exit(1)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fdss")
def fdss() -> None:
    """Serve Hugging Face datasets of one machine to every training process that needs them."""


def main() -> None:
    """Run the ``fdss`` command with the arguments of this process."""
    fdss(prog_name="fdss")

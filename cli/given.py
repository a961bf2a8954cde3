"""Secrets that a person hands to a command past the shell, which would keep them in its history."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fdss import tokens
from fdss.errors import SettingError

#: What stands for standard input.
STDIN = "-"


def given_token(file: Path | None) -> str:
    """Return the token in a file, or that standard input brings; empty without a file.

    Raises:
        SettingError: There is none in it, or other users may use the file.
    """
    if file is None:
        return ""
    token = line_of_stdin("Token") if str(file) == STDIN else tokens.read_private(file)
    if not tokens.is_sendable(token):
        raise SettingError("The token must be one line of visible ASCII characters.")
    return token


def line_of_stdin(what: str) -> str:
    """Return the first line of standard input; a person is asked for it and does not see it.

    Raises:
        SettingError: There is nothing in it.
    """
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, err=True)).strip()
    line = sys.stdin.readline().strip()
    if not line:
        raise SettingError(
            f"{what} was to be read, and nothing came on standard input.",
            hint="if a command before a pipe has failed, see its error above",
        )
    return line

"""Command that measures what a link to a server gives, and says what to set."""

from __future__ import annotations

import functools
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import click

from fdss.arguments import LoadArguments
from fdss.backend import MAX_SEED
from fdss.client.remote import load_remote
from fdss.errors import BadParameter, FdssError

from .bench_output import Measured, document, lines
from .bench_rounds import Rounds, kinds
from .bench_runs import AUTO, ROWS, Client, Dataset, Key
from .bench_setup import measured_setup, round_trips
from .output import print_json, print_lines, printable
from .target import Target, server_options

DEFAULT_SECONDS = 15
MAX_SECONDS = 3600
# Of the whole time, for connections and for round trips.
_SETUP_SHARE, _TRIPS_SHARE = 0.1, 0.2
INTERRUPTED = 130


def _url_and_path(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes ``--server`` the arguments [URL] PATH, which mean the same."""

    @functools.wraps(command)
    def with_url(places: tuple[str, ...], given_url: str | None, **others: Any) -> None:
        if len(places) > 2:
            raise click.UsageError("Give a URL and a PATH, or a PATH alone.")
        if len(places) == 2 and given_url is not None:
            raise click.UsageError("The server is named twice: as URL and by --server.")
        if len(places) == 1 and "://" in places[0]:
            raise click.UsageError("Name a PATH after the URL: local/NAME or a Hub id.")
        url = places[0] if len(places) == 2 else given_url
        command(given_url=url, path=places[-1], **others)

    return with_url


@click.command()
@click.argument("places", nargs=-1, required=True, metavar="[URL] PATH")
@click.option("--name", metavar="CONFIG", help="Configuration of the dataset.")
@click.option("--split", metavar="SPLIT", help="Split, also sliced: train[10%:20%].")
@click.option("--revision", metavar="REVISION", help="Branch, tag or commit.")
@click.option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    help="Seed of the shuffled order.",
)
@click.option(
    "--seconds",
    type=click.IntRange(1, MAX_SECONDS),
    default=DEFAULT_SECONDS,
    show_default=True,
    help="Time for all of it; the load of the dataset comes on top.",
)
@_url_and_path
@server_options
def bench(target: Target, as_json: bool, path: str, **given: Any) -> None:
    """Measure what the link to a server gives for PATH, what limits it, and what to set.

    PATH is what a job loads: a Hub id, local/NAME, or an absolute path on the server. Rows are
    read as a job reads them, and also drained without being decoded, in turns.
    """
    if target.is_unverified:
        raise BadParameter(
            f"--insecure leaves {target.url} unverified, and a job does not read rows from there.",
            hint="fdss tls import-ca FILE makes this machine trust the server's authority",
        )
    seconds, seed = given.pop("seconds"), given.pop("seed")
    arguments = LoadArguments.from_json({"path": path, **given})
    click.echo(
        f"reading {printable(path)} of {target.url} for about {seconds} s;"
        " Ctrl-C tells what was measured by then",
        err=True,
    )
    measured = Measured()
    error: FdssError | None = None
    try:
        _measure(measured, target, arguments, seconds, seed)
    except KeyboardInterrupt:
        measured.is_interrupted = True
    except FdssError as failure:
        error = failure
    _tell_progress("")
    if error is not None:
        raise error
    _print(measured, target, arguments, as_json)
    if measured.is_interrupted:
        sys.exit(INTERRUPTED)


def _measure(
    measured: Measured, target: Target, arguments: LoadArguments, seconds: float, seed: int
) -> None:
    _tell_progress("loading the dataset")
    begun_s = time.perf_counter()
    backend = load_remote(target.url, arguments, token=target.token)
    measured.load_s, measured.rows = time.perf_counter() - begun_s, len(backend)
    if not measured.rows:
        raise BadParameter(f"{arguments.path!r} has no rows that could be read.")
    now_s = time.monotonic()
    with closing(target.session()) as session:
        _tell_progress("connections")
        measured.setup = measured_setup(target.url, now_s + seconds * _SETUP_SHARE)
        _tell_progress("round trips")
        measured.trips_s = round_trips(session, now_s + seconds * _TRIPS_SHARE)
        trip_s = statistics.median(measured.trips_s)
        dataset = Dataset(backend, session, target.token, seed, trip_s)
        reads = {key: dataset.read(key) for key in kinds(trip_s)}
        automatic = reads[Key(AUTO, reads=ROWS)]
        measured.automatic = automatic if isinstance(automatic, Client) else None
        measured.rounds = Rounds(reads, trip_s, _tell_progress)
        measured.rounds.go(now_s + seconds)


def _tell_progress(text: str) -> None:
    """Show what is going on, in a line of the terminal that is overwritten."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[2K{text}", err=True, nl=False)


def _print(measured: Measured, target: Target, arguments: LoadArguments, as_json: bool) -> None:
    if as_json:
        print_json(document(measured, target.url, arguments))
    else:
        print_lines(lines(measured, target.url, arguments))

"""Command that shows the first rows of a dataset on a server."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import click
import requests

from fdss.arguments import LoadArguments
from fdss.backend import MAX_SEED, MAX_WINDOW_ROWS, WINDOW_ROWS
from fdss.client.connections import Hold
from fdss.client.session import ServerSession
from fdss.errors import PageCut
from fdss.wire.names import LOAD_PATH, MAX_COUNT, NDJSON, PLAIN, ROWS_HEADER, iter_path
from fdss.wire.plain import BYTES_TAG

from .output import count, print_json, print_lines, printable, size
from .target import Target, server_options

LOAD_TIMEOUT_S = 300.0
MAX_CELL_CHARACTERS = 400
MAX_ROWS = 100_000
SHOWN_BYTES = 8


Json = dict[str, Any]


@click.command()
@click.argument("path")
@click.option(
    "-n",
    "--rows",
    type=click.IntRange(0, MAX_ROWS),
    default=3,
    show_default=True,
    metavar="N",
    help="Rows to show.",
)
@click.option("--name", metavar="CONFIG", help="Configuration of the dataset.")
@click.option("--split", metavar="SPLIT", help="Split, also sliced: train[10%:20%].")
@click.option("--revision", metavar="REVISION", help="Branch, tag or commit.")
@click.option(
    "--data-files", metavar="PATTERN", multiple=True, help="Files of the dataset; repeatable."
)
@click.option("--seed", type=click.IntRange(0, MAX_SEED), help="Shuffle, with this seed.")
@click.option(
    "--window",
    type=click.IntRange(0, MAX_WINDOW_ROWS),
    default=WINDOW_ROWS,
    show_default=True,
    help="Window of the shuffle, as shuffle(buffer_size=) has it.",
)
@click.option(
    "--position",
    type=click.IntRange(0, MAX_COUNT),
    default=0,
    show_default=True,
    help="Where to begin, in the order of the seed.",
)
@server_options
def head(target: Target, as_json: bool, rows: int, **arguments: Any) -> None:
    """Show the first rows of PATH: a Hub id, local/NAME, or an absolute path on the server."""
    window = arguments.pop("window")
    wanted = {"position": arguments.pop("position"), "limit": rows, "seed": arguments.pop("seed")}
    if wanted["seed"] is not None:
        wanted["window"] = window
    arguments["data_files"] = list(arguments["data_files"]) or None
    load = LoadArguments.from_json(arguments)
    with contextlib.closing(target.session()) as session:
        dataset = session.post_json(LOAD_PATH, load.as_json(), timeout_s=LOAD_TIMEOUT_S)
        found = _rows(session, dataset["handle"], wanted)
    if as_json:
        print_json({**dataset, **wanted, "rows": found})
    else:
        print_lines(_head_lines(load, dataset, wanted["position"], found))


def _rows(session: ServerSession, handle: str, wanted: Json) -> list[Json]:
    parameters = {name: value for name, value in wanted.items() if value is not None}
    parameters["types"] = PLAIN
    path, accept = iter_path(handle), {"Accept": NDJSON}
    with session.stream(path, parameters, headers=accept, hold=Hold()) as response:
        try:
            lines = [line for line in response.content.split(b"\n") if line]
        except requests.RequestException as exc:
            raise PageCut(f"The rows of {handle} broke off in the middle.") from exc
        announced = int(response.headers.get(ROWS_HEADER, len(lines)))
    if len(lines) != announced:
        raise PageCut(f"{announced:,} rows of {handle} were announced, {len(lines):,} came.")
    return [json.loads(line) for line in lines]


def _head_lines(
    load: LoadArguments, dataset: Json, position: int, rows: list[Json]
) -> Iterator[str]:
    named = " ".join(filter(None, (load.path, load.name, load.split)))
    yield printable(f"{named}: {count(dataset['length'])} rows, handle {dataset['handle']}")
    for number, row in enumerate(rows, position):
        yield ""
        yield f"position {number:,}"
        width = max(map(len, map(printable, row)), default=0)
        for column, value in row.items():
            first, *others = _cell(value).split("\n")
            yield f"  {printable(column):{width}}  {printable(first)}".rstrip()
            yield from (f"  {'':{width}}  {printable(line)}".rstrip() for line in others)
    if not rows:
        yield "(no rows there)"


def _cell(value: Any) -> str:
    """Return a value as people read it: text as it is, bytes by their size, the rest as JSON."""
    value = _without_bytes(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    rest = len(text) - MAX_CELL_CHARACTERS
    return text if rest <= 0 else f"{text[:MAX_CELL_CHARACTERS]}… ({rest:,} more characters)"


def _without_bytes(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_bytes(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if list(value) == [BYTES_TAG] and isinstance(value[BYTES_TAG], str):
        return _bytes_words(value[BYTES_TAG])
    return {name: _without_bytes(entry) for name, entry in value.items()}


def _bytes_words(encoded: str) -> str:
    try:
        content = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return encoded
    more = "…" if len(content) > SHOWN_BYTES else ""
    return f"<{size(len(content))}: {content[:SHOWN_BYTES].hex(' ')}{more}>"

"""Command that shows the whole way of a row: dataset, server, training loop, resumed run."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from fdss import tokens
from fdss.client.loader import SERVER_VARIABLE
from fdss.errors import FdssError

from .child import ChildServer, child_server
from .output import print_lines

DEFAULT_ROWS = 20_000
MAX_ROWS = 10_000_000
SEED = 7
LOADER_WORKERS = 2
BATCH_ROWS = 64

_SENTENCE = "the quick brown fox jumps over a lazy dog while seven wizards mix jade liquor"


@click.command()
@click.option(
    "--rows",
    type=click.IntRange(10, MAX_ROWS),
    default=DEFAULT_ROWS,
    show_default=True,
    help="Rows of the dataset that is made.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=0,
    show_default=True,
    help="Port of the server; 0 takes any free one.",
)
@click.option("--keep", is_flag=True, help="Leave the server running until Ctrl-C.")
def demo(rows: int, port: int, keep: bool) -> None:
    """Make a dataset, serve it, train on it, stop in the middle and resume.

    Everything lives in a temporary folder and is removed at the end.
    """
    with tempfile.TemporaryDirectory(prefix="fdss-demo-") as folder:
        saved, token_file = Path(folder) / "dataset", Path(folder) / "demo.token"
        _say("dataset", f"{rows:,} rows, saved with Dataset.save_to_disk in {saved}")
        _save_dataset(saved, rows)
        tokens.keep(token_file, tokens.mint())
        with child_server(Path(folder), {"demo": saved}, token_file, port) as server:
            _say("server", f"{server.url}, started with: fdss start --local demo={saved}")
            with _environment(server.url, tokens.read_private(token_file)):
                _show(rows)
            if keep:
                _keep(server, token_file)
    if not keep:
        print_lines(_next_steps())


def _show(rows: int) -> None:
    """Train, stop, resume and compare, through the server that the environment names.

    Raises:
        FdssError: A row is missing, comes twice, or comes elsewhere in the resumed run.
    """
    began_s = time.perf_counter()
    dataset = _pipeline()
    _say("load", f'fast_load_iterable_dataset("local/demo"): {_taken(began_s)}')

    began_s = time.perf_counter()
    whole = [row["id"] for row in dataset]
    _say("train", f"shuffled and mapped: {rows:,} rows in {_speed(rows, began_s)}")
    _check_complete("The training run", whole, rows)

    stop = rows * 2 // 5 + 1
    first, state = _first_rows(stop)
    resumed = _pipeline()
    resumed.load_state_dict(state)
    if first + [row["id"] for row in resumed] != whole:
        raise FdssError(f"The run resumed at row {stop:,} gave other rows than the first run.")
    _say("resume", f"stopped after {stop:,} rows, state of {len(json.dumps(state)):,} bytes;")
    _say("", "a new dataset object went on: every row exactly once, same order")
    _show_loader(rows)


def _show_loader(rows: int) -> None:
    if importlib.util.find_spec("torch") is None:
        _say("torch", "not installed here; a DataLoader takes the dataset as it is")
        return
    from torch.utils.data import DataLoader

    began_s = time.perf_counter()
    loader = DataLoader(_pipeline(), batch_size=BATCH_ROWS, num_workers=LOADER_WORKERS)
    found = [number for batch in loader for number in batch["id"].tolist()]
    _say("torch", f"DataLoader, {LOADER_WORKERS} workers: {rows:,} rows in {_speed(rows, began_s)}")
    _check_complete("The DataLoader", found, rows)


def _pipeline() -> Any:
    from fdss.client.loader import fast_load_iterable_dataset

    dataset = fast_load_iterable_dataset("local/demo", split="train")
    return dataset.shuffle(seed=SEED).map(_with_length)


def _with_length(row: dict[str, Any]) -> dict[str, Any]:
    return {"characters": len(row["text"])}


def _first_rows(stop: int) -> tuple[list[int], dict[str, Any]]:
    """Return the ids of the first rows of a run, and its state there after a trip through JSON."""
    iterator = iter(_pipeline())
    first = [next(iterator)["id"] for _ in range(stop)]
    state: dict[str, Any] = json.loads(json.dumps(iterator.state_dict()))
    iterator.close()
    return first, state


def _check_complete(who: str, found: list[int], rows: int) -> None:
    if sorted(found) != list(range(rows)):
        raise FdssError(
            f"{who} gave {len(found):,} rows, {len(set(found)):,} of them different,"
            f" of a dataset of {rows:,}."
        )


def _save_dataset(folder: Path, rows: int) -> None:
    import datasets

    datasets.disable_progress_bars()
    made = datasets.Dataset.from_dict(
        {
            "id": range(rows),
            "text": [_sentence(row) for row in range(rows)],
            "label": [row % 5 for row in range(rows)],
            "score": [row / rows for row in range(rows)],
        }
    )
    made.save_to_disk(str(folder))


def _sentence(row: int) -> str:
    words = _SENTENCE.split()
    step = 1 + row % 7
    return " ".join(words[(row * 31 + place * step) % len(words)] for place in range(8 + row % 25))


@contextmanager
def _environment(url: str, token: str) -> Iterator[None]:
    """Set what a training job would be started with, and set it back."""
    names = {SERVER_VARIABLE: url, tokens.TOKEN_VARIABLE: token}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _keep(server: ChildServer, token_file: Path) -> None:
    try:
        print_lines(_keep_lines(server.url, token_file))
        sys.stdout.flush()
        server.wait()
    except KeyboardInterrupt:
        print_lines(["", "stopped; everything is removed"])


def _keep_lines(url: str, token_file: Path) -> Iterator[str]:
    yield ""
    yield "The server keeps running. In another terminal:"
    if os.name == "nt":
        yield f'  $env:{SERVER_VARIABLE} = "{url}"'
        yield f'  $env:{tokens.TOKEN_VARIABLE} = Get-Content "{token_file}"'
    else:
        yield f"  export {SERVER_VARIABLE}={url}"
        yield f'  export {tokens.TOKEN_VARIABLE}="$(cat {token_file})"'
    yield "  fdss status"
    yield "  fdss head local/demo -n 3"
    yield "Ctrl-C here stops it and removes everything."


def _next_steps() -> Iterator[str]:
    yield ""
    yield "All of it worked, and everything is removed again. Next, with a dataset of your own:"
    yield "  fdss start --local NAME=PATH"
    yield "and in another terminal, before you start your training:"
    setting = "$env:{} = '{}'" if os.name == "nt" else "export {}={}"
    yield "  " + setting.format(SERVER_VARIABLE, "http://127.0.0.1:8766")
    yield "  fdss head local/NAME"


def _say(step: str, text: str) -> None:
    print_lines([f"{step:<8} {text}"])


def _taken(began_s: float) -> str:
    return f"{time.perf_counter() - began_s:.2f} s"


def _speed(rows: int, began_s: float) -> str:
    taken_s = max(time.perf_counter() - began_s, 1e-9)
    return f"{taken_s:.2f} s, {rows / taken_s:,.0f} rows/s"

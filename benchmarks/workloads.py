"""The datasets that are read: made once, kept in a folder, the same on every machine."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

# Of how the rows are made: folders of another one are made anew.
GENERATION = 2
SEED = 20
BATCH_ROWS = 1000
TEXT_WORDS = 400
ASCII_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
LETTERS = f"{ASCII_LETTERS}äß"
TOKENS = 2048
VOCABULARY = 32_000
WIDE_COLUMNS = 200
IMAGE_BYTES = 50_000

Row = dict[str, Any]
Columns = dict[str, pa.Array]
MakeColumns = Callable[[np.random.Generator, range], Columns]


@dataclass(frozen=True)
class Workload:
    """One dataset, as ``save_to_disk`` writes it."""

    name: str
    folder: Path
    rows: int
    data_bytes: int

    @property
    def row_bytes(self) -> float:
        """Return the bytes of a row in its file."""
        return self.data_bytes / self.rows


class Workloads:
    """The datasets in a folder, each made when it is first asked for.

    Args:
        folder: Where they are kept; those of another size lie beside them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, kind: str, rows: int, batch_rows: int = BATCH_ROWS) -> Workload:
        """Return the dataset of one kind: text, ascii, tokens, wide, images or tiny.

        Args:
            batch_rows: Rows in a record batch.
        """
        name = f"{kind}-{rows}-{batch_rows}-{GENERATION}"
        folder = self.folder / name
        if not (folder / "dataset_info.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _write(folder, KINDS[kind], rows, batch_rows)
        return _described(kind, folder, rows)

    def repeated(self, one: Workload, times: int) -> Workload:
        """Return a dataset whose files are ``times`` names of the one file of another."""
        folder = one.folder.with_name(f"{one.folder.name}-x{times}")
        if not folder.exists():
            shutil.copytree(one.folder, folder, ignore=shutil.ignore_patterns("*.arrow"))
            state = json.loads((folder / "state.json").read_text("utf-8"))
            [data] = state["_data_files"]
            files = [f"data-{number:05}-of-{times:05}.arrow" for number in range(times)]
            for file in files:
                (folder / file).hardlink_to(one.folder / data["filename"])
            state["_data_files"] = [{"filename": file} for file in files]
            (folder / "state.json").write_text(json.dumps(state), "utf-8")
        return _described(one.name, folder, one.rows * times)


def check_of(number: int, text: str) -> int:
    """Return what the ``check`` column of a text row holds: row number and text, hashed."""
    return zlib.crc32(text.encode(), number)


def _described(kind: str, folder: Path, rows: int) -> Workload:
    size = sum(file.stat().st_size for file in folder.glob("*.arrow"))
    return Workload(kind, folder, rows, size)


def _write(folder: Path, make: MakeColumns, rows: int, batch_rows: int) -> None:
    """Write what ``save_to_disk`` writes, with batches of the size that is wanted."""
    from datasets import Dataset

    random = np.random.default_rng(SEED)
    parts = [range(begin, min(begin + batch_rows, rows)) for begin in range(0, rows, batch_rows)]
    Dataset(pa.table(make(random, range(1)))).save_to_disk(str(folder))
    [data] = folder.glob("*.arrow")
    with pa.memory_map(str(data)) as stream:
        schema = pa.ipc.open_stream(stream).schema
    # Its presence says that the folder is complete.
    info = folder / "dataset_info.json"
    info.rename(info.with_suffix(".later"))
    with pa.ipc.new_stream(str(data.with_suffix(".new")), schema) as writer:
        for part in parts:
            columns = make(random, part)
            writer.write_batch(pa.record_batch(list(columns.values()), schema=schema))
    data.with_suffix(".new").replace(data)
    info.with_suffix(".later").rename(info)


def _text(random: np.random.Generator, part: range, letters: str = LETTERS) -> Columns:
    texts = [_sentence(random, letters) for _ in part]
    return {
        "id": pa.array(part, pa.int64()),
        "text": pa.array(texts, pa.string()),
        "score": pa.array(random.random(len(part)), pa.float64()),
        "check": pa.array(map(check_of, part, texts), pa.int64()),
    }


def _sentence(random: np.random.Generator, letters: str) -> str:
    lengths = int(random.integers(TEXT_WORDS // 2, TEXT_WORDS * 3 // 2))
    words = _words(letters)
    chosen = random.zipf(1.2, lengths) % len(words)
    return " ".join(map(words.__getitem__, chosen.tolist()))


@cache
def _words(letters: str) -> list[str]:
    random = np.random.default_rng(SEED)
    alphabet = np.array(list(letters))
    # Letters as uneven as in a language, short words first.
    weights = 1 / np.arange(1, len(alphabet) + 1) ** 0.8
    weights /= weights.sum()
    return [
        "".join(
            random.choice(alphabet, int(2 + random.poisson(1 + min(number, 4000) / 900)), p=weights)
        )
        for number in range(8000)
    ]


def _tokens(random: np.random.Generator, part: range) -> Columns:
    values = random.integers(0, VOCABULARY, len(part) * TOKENS, dtype=np.int32)
    offsets = np.arange(len(part) + 1, dtype=np.int32) * TOKENS
    return {"input_ids": pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))}


def _wide(random: np.random.Generator, part: range) -> Columns:
    return {f"column_{n:03}": pa.array(random.random(len(part))) for n in range(WIDE_COLUMNS)}


def _images(random: np.random.Generator, part: range) -> Columns:
    return {
        "image": pa.array([random.bytes(IMAGE_BYTES) for _ in part], pa.binary()),
        "label": pa.array(part, pa.int64()),
    }


def _tiny(random: np.random.Generator, part: range) -> Columns:
    return {"id": pa.array(part, pa.int64())}


KINDS: dict[str, MakeColumns] = {
    "text": _text,
    "ascii": partial(_text, letters=ASCII_LETTERS),
    "tokens": _tokens,
    "wide": _wide,
    "images": _images,
    "tiny": _tiny,
}

"""Files that were made to do harm are refused in words, or read; the process lives either way."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fdss.backend import Selection
from fdss.errors import DatasetDamaged
from fdss.storage import ArrowBackend
from fdss.storage.limits import MAX_FIELDS, MAX_METADATA_BYTES

Open = Callable[..., ArrowBackend]
Run = Callable[..., subprocess.CompletedProcess[str]]

MUTANTS = 60

# What the child does: it reads each file in every way, and says what came of it.
READ = """
import sys
from pathlib import Path
from fdss.arguments import LoadArguments
from fdss.backend import Selection
from fdss.errors import FdssError
from fdss.storage import Folder, OpenOptions, open_dataset
from fdss.wire.arrow import ArrowEncoding
from fdss.wire.lines import NdjsonEncoding

here = Path.cwd()

def read(path):
    options = OpenOptions(here / "indexes", here / "none", here / "none")
    backend = open_dataset(Folder(path), LoadArguments("local/x"), options)
    every = range(len(backend))
    some = every[:500]
    yield lambda: backend.features
    for order in ({}, {"seed": 3, "window": 1000}, {"columns": tuple(backend.column_names[:1])}):
        selection = Selection(every, some, **order)
        yield lambda: [batch.to_pylist() for batch in backend.batches(selection)]
        for encoding in (NdjsonEncoding("tagged"), ArrowEncoding(), ArrowEncoding("lz4")):
            yield lambda: [bytes(c) for c in encoding.encode(backend, selection).read()]

for path in sorted(Path(sys.argv[1]).glob("*.arrow")):
    told = "read"
    try:
        for step in read(path):
            try:
                step()
            except FdssError:
                told = "refused"
    except FdssError:
        told = "refused"
    print(told)
"""


def mixed() -> pa.RecordBatch:
    """Return a batch of many types."""
    rows = range(40)
    return pa.record_batch(
        {
            "text": pa.array([f"row {number}" if number % 5 else None for number in rows]),
            "lists": pa.array([["x"] * (number % 3) for number in rows]),
            "inner": pa.array([{"n": n, "raw": b"\xff" * (n % 5)} for n in rows]),
            "pairs": pa.array([[n, n] for n in rows], pa.list_(pa.int32(), 2)),
            "truths": pa.array([n % 2 == 0 for n in rows]),
            "nothing": pa.nulls(40),
            "words": pa.array(["a", "b"] * 20).dictionary_encode(),
        }
    )


@pytest.mark.parametrize("kind", ["plain", "zstd", "dictionary"])
def test_mutants(tmp_path: Path, write: Callable[..., Path], run_python: Run, kind: str) -> None:
    """Of some dozen files with wrong numbers in them each is read, or refused."""
    batch = mixed() if kind == "dictionary" else mixed().drop_columns(["words"])
    content = write("whole/data.arrow", [batch] * 2, compression="zstd" if kind == "zstd" else None)
    whole = content.read_bytes()
    chance = random.Random(kind)
    (tmp_path / "mutants").mkdir()
    for number in range(MUTANTS):
        mutant = bytearray(whole)
        for _ in range(chance.choice([1, 1, 4])):
            width = chance.choice([1, 4, 8])
            at = chance.randrange(len(whole) // width) * width
            odd = chance.choice([0, 1, -1, 1 << 62, 1 << 31, 1 << 20, 127, 255])
            mutant[at : at + width] = (odd % (1 << 8 * width)).to_bytes(width, "little")
        (tmp_path / "mutants" / f"{number:03}.arrow").write_bytes(mutant)
    answers = run_python("-c", READ, str(tmp_path / "mutants")).stdout.splitlines()
    assert len(answers) == MUTANTS and set(answers) == {"read", "refused"}


def test_too_many_columns(write: Callable[..., Path], open_at: Open) -> None:
    """A schema of more columns than are sane is damage."""
    names = [str(number) for number in range(MAX_FIELDS + 1)]
    batch = pa.RecordBatch.from_arrays([pa.nulls(1)] * len(names), names)
    with pytest.raises(DatasetDamaged):
        open_at(write("x.arrow", [batch]))


def test_too_much_metadata(write: Callable[..., Path], open_at: Open) -> None:
    """A schema with megabytes of metadata is damage."""
    batch = pa.record_batch({"n": [1]}).replace_schema_metadata({"x": "y" * MAX_METADATA_BYTES})
    with pytest.raises(DatasetDamaged, match="bytes of metadata"):
        open_at(write("x.arrow", [batch]))


def test_a_bomb(write: Callable[..., Path], open_at: Open) -> None:
    """A buffer that tells to be of 2**60 bytes when it is not compressed is damage."""
    path = write("x.arrow", [{"n": np.arange(10_000)}], compression="zstd")
    content = path.read_bytes()
    told = (80_000).to_bytes(8, "little")
    assert content.count(told) >= 1
    path.write_bytes(content.replace(told, (1 << 60).to_bytes(8, "little")))
    with pytest.raises(DatasetDamaged):
        backend = open_at(path)
        list(backend.batches(Selection(range(len(backend)), range(len(backend)))))

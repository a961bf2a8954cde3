"""Damaged files end in an error that says so, never in another one or in the end of the process."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fdss.errors import DatasetDamaged
from fdss.storage import ArrowBackend

Open = Callable[..., ArrowBackend]
Run = Callable[..., subprocess.CompletedProcess[str]]

# What the child does: one answer a line for each damaged copy of a dataset.
FUZZ = """
import random, shutil, sys
from pathlib import Path
from fdss.arguments import LoadArguments
from fdss.backend import Selection
from fdss.errors import ContentChanged, DatasetDamaged, DatasetNotFound, FdssError, SplitNotFound
from fdss.storage import Folder, OpenOptions, describe_folder, open_dataset
from fdss.wire.ndjson import encode_batch

home = Path.cwd() / "fuzz"
rounds = int(sys.argv[2])
chance = random.Random(2026)
kinds = (DatasetDamaged, ContentChanged, DatasetNotFound, SplitNotFound)

def read(folder, number):
    options = OpenOptions(home / f"index-{number}", home / "none", home / "none")
    backend = open_dataset(Folder(folder), LoadArguments("local/x"), options)
    every = range(len(backend))
    backend.features, backend.fingerprint
    for seed in (None, 3):
        for batch in backend.batches(Selection(every, every, seed)):
            encode_batch(batch, "plain")
            batch.to_pylist()

for number in range(rounds):
    folder = home / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sys.argv[1], folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    is_json = number % 3 == 0
    target = chance.choice([path for path in files if (path.suffix == ".json") == is_json])
    content = bytearray(target.read_bytes())
    # Half of the flips are within the schema, the HF features and the first offsets.
    reach = min(len(content), 2048) if number % 2 else len(content)
    for _ in range(chance.choice([1, 1, 2, 8])):
        content[chance.randrange(reach)] = chance.choice([0, 127, 128, 255, chance.randrange(256)])
    target.write_bytes(content)
    describe_folder(folder, home / f"index-{number}")
    try:
        read(folder, number)
        print("read")
    except kinds as error:
        told = f"{error.message} {error.hint}"
        print("path" if str(home) in told or "/" in told else "refused")
    except FdssError as error:
        print("other", number, target.name, repr(error))
    except Exception as error:
        print("other", number, target.name, repr(error)[:200])
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Save a small dictionary of texts, lists and labels, in several batches."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

    features = Features(
        {
            "text": Value("string"),
            "tags": List(Value("string")),
            "label": ClassLabel(names=["no", "yes"]),
            "inner": {"n": Value("int32"), "raw": Value("binary")},
        }
    )
    rows = {
        "text": [f"row {n} " * (n % 7) for n in range(60)],
        "tags": [[f"tag {n}"] * (n % 3) for n in range(60)],
        "label": [n % 2 for n in range(60)],
        "inner": [{"n": n, "raw": b"\xff" * (n % 5)} for n in range(60)],
    }
    dataset = Dataset.from_dict(rows, features=features)
    splits = {"train": dataset, "test": dataset.select(range(20))}
    DatasetDict(splits).save_to_disk(str(tmp_path / "small"), num_shards={"train": 2, "test": 1})
    return tmp_path / "small"


def test_flipped_bytes(small: Path, run_python: Run) -> None:
    """Of 150 damaged copies every one is read, or refused in words that tell no folder."""
    done = run_python("-c", FUZZ, str(small), "150", check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answers = done.stdout.splitlines()
    assert [answer for answer in answers if answer not in ("read", "refused")] == []
    assert len(answers) == 150 and answers.count("refused") > 50


def text_of_wrong_offset(row: int, rows: int = 1000) -> pa.RecordBatch:
    """Return texts, the place of one of which is outside of the file."""
    text = pa.array([f"row {number}" for number in range(rows)])
    offsets = bytearray(text.buffers()[1].to_pybytes())
    offsets[4 * row : 4 * row + 4] = (1 << 30).to_bytes(4, "little")
    bad = pa.StringArray.from_buffers(rows, pa.py_buffer(bytes(offsets)), text.buffers()[2])
    return pa.record_batch({"n": pa.array(range(rows)), "text": bad})


READ = """
import sys
from pathlib import Path
from fdss.arguments import LoadArguments
from fdss.backend import Selection
from fdss.errors import DatasetDamaged
from fdss.storage import Folder, OpenOptions, open_dataset
here = Path.cwd()
options = OpenOptions(here / "index", here / "none", here / "none")
backend = open_dataset(Folder(Path(sys.argv[1])), LoadArguments("local/x"), options)
every = range(len(backend))
for seed in (None, 1):
    try:
        for batch in backend.batches(Selection(every, every, seed)):
            batch.to_pylist()
    except DatasetDamaged as error:
        print(error.message)
"""


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_wrong_offset(
    write: Callable[..., Path], run_python: Run, compression: str | None
) -> None:
    """A batch whose offsets lead out of the file is refused, and does not end the process."""
    path = write("bad.arrow", [text_of_wrong_offset(500)], compression=compression)
    told = run_python("-c", READ, str(path)).stdout.splitlines()
    assert told == ["Record batch 0 of 'bad.arrow' is damaged."] * 2


def test_a_wrong_number_of_a_dictionary(write: Callable[..., Path], run_python: Run) -> None:
    """A row that names a value its dictionary does not have is refused."""
    numbers = pa.array([0, 1 << 20, 1], pa.int32())
    words = pa.DictionaryArray.from_arrays(numbers, pa.array(["a", "b"]), safe=False)
    path = write("bad.arrow", [pa.record_batch({"word": words})])
    done = run_python("-c", READ, str(path), check=False)
    assert done.returncode == 1 and "DatasetDamaged" in done.stderr


def test_only_what_is_asked_for_is_looked_at(
    write: Callable[..., Path], open_at: Open, read: Callable[..., list[dict[str, Any]]]
) -> None:
    """A damaged column does not stand in the way of the others."""
    backend = open_at(write("bad.arrow", [text_of_wrong_offset(500)]))
    assert len(read(backend, columns=("n",))) == 1000
    with pytest.raises(DatasetDamaged):
        read(backend, columns=("text",))
    with pytest.raises(DatasetDamaged):
        read(backend)


@pytest.mark.parametrize("features", ["[" * 200_000, "[]", '{"info": {"features": {"n": 7}}}'])
def test_damaged_features(tmp_path: Path, open_at: Open, features: str) -> None:
    """Features in a schema that are none are damage, named by the base name of the file."""
    batch = pa.record_batch({"n": [1]}).replace_schema_metadata({"huggingface": features})
    with pa.ipc.new_stream(str(tmp_path / "x.arrow"), batch.schema) as writer:
        writer.write_batch(batch)
    with pytest.raises(DatasetDamaged, match=r"^The schema of 'x.arrow' is damaged"):
        open_at(tmp_path / "x.arrow")


@pytest.mark.parametrize("name", ["dataset_dict.json", "train/state.json"])
@pytest.mark.parametrize("content", [b"[" * 200_000, b"\xff", b'{"splits": ["a\\u0000"]}'])
def test_damaged_json(small: Path, open_at: Open, name: str, content: bytes) -> None:
    """JSON files that hold nonsense are damage, and no folder is told."""
    (small / name).write_bytes(content)
    with pytest.raises(DatasetDamaged) as damaged:
        open_at(small)
    assert str(small) not in damaged.value.message

"""Datasets that tests look at on the pages of a router: conversations, pictures, hostile cells."""

from __future__ import annotations

import datetime as dt
import io
import random
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from datasets import Audio, ClassLabel, Dataset, DatasetDict, Features, Image, List, Value
from PIL import Image as Pillow
from samples import SAMPLES, sound

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</td></table><h1>gone</h1>",
    "\u202egnp.exe",
    "a\x00b\x1b[31mred\x07",
    "{{ 7*7 }}{% raw %}",
    "javascript:alert(1)",
    "line one\nline two",
    "'\"><svg onload=alert(1)>",
    "&lt;b&gt;",
    "x" * 1_000_000,
)
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
TEXT = (
    "the quick brown fox jumps over a lazy dog while seven wizards brew potent elixirs under "
    "pale moonlight and nobody writes any of it down"
)
WORDS = TEXT.split()


def save(dataset: Dataset | DatasetDict, folder: Path) -> Path:
    """Save a dataset in a folder, and return the folder."""
    dataset.save_to_disk(str(folder))
    return folder


def conversations(rows: int = 2_000) -> DatasetDict:
    """Return conversations with labels, scores, tokens and times, in three splits."""
    splits = {"train": rows, "validation": rows // 8, "test": rows // 10}
    return DatasetDict(
        {name: _said(count, seed) for seed, (name, count) in enumerate(splits.items())}
    )


def pictures(rows: int = 30) -> Dataset:
    """Return images of every format that is shown, sounds, and rows of several images."""
    encoded = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    return Dataset.from_dict(
        {
            "image": [
                {"bytes": drawn(row, FORMATS[row % 5]), "path": f"/srv/secret/photo-{row:03}"}
                for row in range(rows)
            ],
            "kind": [row % 3 for row in range(rows)],
            "caption": [_words(random.Random(row), 9) for row in range(rows)],
            "sound": pa.array(
                [{"bytes": sound(), "path": f"/srv/secret/tone-{row}"} for row in range(rows)],
                encoded,
            ),
            "views": [
                [{"bytes": drawn(row + at, "PNG", 60, 45), "path": None} for at in range(row % 4)]
                for row in range(rows)
            ],
        },
        features=Features(
            {
                "image": Image(decode=False),
                "kind": ClassLabel(names=["rings", "waves", "dunes"]),
                "caption": Value("string"),
                "sound": Audio(decode=False),
                "views": List(Image(decode=False)),
            }
        ),
    )


def hostile() -> Dataset:
    """Return cells and names of columns that would do harm if they were anything but text."""
    svg = {"bytes": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "path": None}
    return Dataset.from_dict(
        {
            "<b>name</b>": list(HOSTILE),
            "\u202ename": [text[:50][::-1] for text in HOSTILE],
            "picture": [svg] * len(HOSTILE),
            "nested": [[{"<i>key</i>": text[:1000]}] for text in HOSTILE],
        },
        features=Features(
            {
                "<b>name</b>": Value("string"),
                "\u202ename": Value("string"),
                "picture": Image(decode=False),
                "nested": List({"<i>key</i>": Value("string")}),
            }
        ),
    )


def everything() -> Dataset:
    """Return a dataset with a column of every kind of feature."""
    found = {
        name: sample.dataset() for name, sample in SAMPLES.items() if len(sample.features) == 1
    }
    columns = [
        dataset.select(range(3)).rename_column(dataset.column_names[0], name)
        for name, dataset in found.items()
        if len(dataset) >= 3
    ]
    return datasets.concatenate_datasets(columns, axis=1)


def drawn(seed: int, file_format: str, width: int = 160, height: int = 120) -> bytes:
    """Return an encoded image: rings of light in two colours."""
    y, x = np.mgrid[0:height, 0:width]
    colors = np.random.default_rng(seed).integers(40, 255, (2, 3))
    rings = 40 * np.sin(((x - width / 2) ** 2 + (y - height / 2) ** 2) / (600 + 200 * (seed % 5)))
    layers = [
        (colors[0, layer] * x / width + colors[1, layer] * y / height) / 2 + rings + 40
        for layer in range(3)
    ]
    pixels = np.clip(np.stack(layers, axis=-1), 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Pillow.fromarray(pixels).save(out, format=file_format)
    return out.getvalue()


def _said(rows: int, seed: int) -> Dataset:
    chance = random.Random(seed)
    return Dataset.from_list(
        [_conversation(chance, row) for row in range(rows)],
        features=Features(
            {
                "id": Value("int64"),
                "prompt": Value("string"),
                "label": ClassLabel(names=["neutral", "positive", "negative"]),
                "score": Value("float32"),
                "messages": List({"role": Value("string"), "content": Value("string")}),
                "input_ids": List(Value("int32")),
                "created": Value("timestamp[s]"),
            }
        ),
    )


def _conversation(chance: random.Random, row: int) -> dict[str, Any]:
    said = [
        {"role": role, "content": _words(chance, chance.randint(4, 40))}
        for role in ("user", "assistant") * chance.randint(1, 2)
    ]
    return {
        "id": row,
        "prompt": _words(chance, chance.randint(3, 70)),
        "label": chance.choice([0, 0, 0, 1, 2]),
        "score": None if chance.random() < 0.05 else chance.gauss(0.6, 0.2),
        "messages": said,
        "input_ids": [chance.randint(0, 50_000) for _ in range(chance.randint(5, 200))],
        "created": dt.datetime(2024, 1, 1) + dt.timedelta(hours=13 * row),
    }


def _words(chance: random.Random, count: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(count)).capitalize() + "."

"""Small datasets, one for every kind of feature, with nulls and edges in each.

Every test that carries rows somewhere compares what arrives with what ``datasets`` itself gives
for the same sample: ``same(arrived, list(sample.dataset()))``.
"""

from __future__ import annotations

import datetime as dt
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from datasets import (
    Array2D,
    Array3D,
    Array4D,
    Array5D,
    Audio,
    ClassLabel,
    Dataset,
    Features,
    Image,
    LargeList,
    List,
    Sequence,
    Translation,
    TranslationVariableLanguages,
    Value,
)
from PIL import Image as Pillow

from fdss.rows import storage_type

Cells = Any


@dataclass(frozen=True)
class Sample:
    """A few rows and their features; the columns are made when the dataset is."""

    features: Features
    columns: Callable[[], dict[str, Cells]]

    def dataset(self) -> Dataset:
        """Return the rows as a dataset in memory."""
        return Dataset.from_dict(self.columns(), features=self.features)

    def stored(self) -> pa.RecordBatch:
        """Return the rows as storage keeps them: one batch, no extension types, HF metadata."""
        return stored_batch(self.dataset())


def stored_batch(dataset: Dataset) -> pa.RecordBatch:
    """Return a dataset's rows as one batch of storage types with the HF features beside it."""
    table = dataset.data.table.combine_chunks()
    arrays = [column.combine_chunks().cast(storage_type(column.type)) for column in table.columns]
    fields = [
        pa.field(name, array.type) for name, array in zip(table.column_names, arrays, strict=True)
    ]
    schema = pa.schema(fields, metadata=dataset.features.arrow_schema.metadata)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def same(left: Any, right: Any) -> bool:
    """Tell whether two values are equal, of equal types all the way down; NaN equals NaN."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return (
            left == right
            and math.copysign(1, left) == math.copysign(1, right)
            or (math.isnan(left) and math.isnan(right))
        )
    if isinstance(left, Pillow.Image):
        return (left.mode, left.size, left.tobytes()) == (right.mode, right.size, right.tobytes())
    if isinstance(left, dt.datetime):
        return left == right and str(left.tzinfo) == str(right.tzinfo) and left.fold == right.fold
    return bool(left == right)


def _value(dtype: str, *cells: Any) -> Sample:
    return Sample(Features({"v": Value(dtype)}), lambda: {"v": [*cells, None, cells[0]]})


def _integer(dtype: str) -> Sample:
    bounds = np.iinfo(dtype)
    cells = [int(bounds.min), int(bounds.max), 0, None, 1]
    return Sample(Features({"v": Value(dtype)}), lambda: {"v": pa.array(cells, dtype)})


def _float(dtype: str) -> Sample:
    bounds = np.finfo(dtype)
    numbers = (0.1, -0.0, 1e-7, 12345.678, float(bounds.max), float(bounds.smallest_subnormal))
    typed = [float(np.dtype(dtype).type(number)) for number in numbers]
    return _value(dtype, *typed, math.nan, math.inf, -math.inf, 1.0)


TEXTS = (
    "plain",
    "",
    "grüße 漢字 🙂",
    'quotes " \\ / {"__bytes_b64__":"eA=="}',
    "ends \n \r\n \u0085 \u2028 \u2029 \x0b \x0c \x1c \x00 \x7f",
)
BYTES = (b"", b"\x00\xff\n", "grüße".encode(), bytes(range(256)))
INSTANTS = {
    "s": (0, 1_700_000_000, -1, -62_135_596_800, 253_402_300_799),
    "ms": (0, 1_700_000_000_123, -1, 951_782_400_000),
    "us": (0, 1_700_000_000_123_456, -1, 253_402_300_799_999_999),
    "ns": (0, 1_700_000_000_123_456_789, -1, 1_700_000_000_000_000_000, 1_000),
}
ZONES = ("UTC", "Europe/Paris", "America/New_York", "+05:30")


def _ticks(dtype: str, arrow: pa.DataType, *ticks: int) -> Sample:
    """Return a sample whose cells are given as integers, so that no digit is lost on the way."""
    bits = pa.int32() if arrow.bit_width == 32 else pa.int64()

    def columns() -> dict[str, Cells]:
        return {"v": pa.array([*ticks, None, ticks[0]], bits).cast(arrow)}

    return Sample(Features({"v": Value(dtype)}), columns)


def _temporal() -> dict[str, Sample]:
    samples = {
        "date32": _ticks("date32", pa.date32(), 0, 19_000, -1, -719_162, 2_932_896),
        "date64": _ticks("date64", pa.date64(), 0, 19_000 * 86_400_000, -86_400_000),
        "time32[s]": _ticks("time32[s]", pa.time32("s"), 0, 86_399, 3_600),
        "time32[ms]": _ticks("time32[ms]", pa.time32("ms"), 0, 86_399_999, 1),
        "time64[us]": _ticks("time64[us]", pa.time64("us"), 0, 86_399_999_999, 1),
        "time64[ns]": _ticks("time64[ns]", pa.time64("ns"), 0, 86_399_999_999_999, 1_000, 1),
    }
    for unit, instants in INSTANTS.items():
        samples[f"duration[{unit}]"] = _ticks(
            f"duration[{unit}]", pa.duration(unit), 0, 1, -1, 1_234_567_891
        )
        samples[f"timestamp[{unit}]"] = _ticks(f"timestamp[{unit}]", pa.timestamp(unit), *instants)
        for zone in ZONES:
            dtype = f"timestamp[{unit}, tz={zone}]"
            samples[dtype] = _ticks(dtype, pa.timestamp(unit, zone), *instants[:2], 1_729_990_800)
    return samples


def _scalars() -> dict[str, Sample]:
    integers = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    return {
        "bool": _value("bool", True, False),
        "null": Sample(Features({"v": Value("null")}), lambda: {"v": [None, None]}),
        **{dtype: _integer(dtype) for dtype in integers},
        **{dtype: _float(dtype) for dtype in ("float16", "float32", "float64")},
        **{dtype: _value(dtype, *TEXTS) for dtype in ("string", "large_string")},
        **{dtype: _value(dtype, *BYTES) for dtype in ("binary", "large_binary")},
        "decimal128": _value("decimal128(10, 2)", Decimal("1.10"), Decimal("-99999999.99")),
        "decimal128 wide": _value("decimal128(38, 10)", Decimal("1E-10"), Decimal("0E-10")),
        "decimal128 negative scale": _value("decimal128(5, -3)", Decimal("12E+3")),
        "decimal256": _value("decimal256(76, 5)", Decimal("9" * 71 + ".00001"), Decimal("-1.5")),
    }


def _one(feature: Any, *cells: Any) -> Sample:
    return Sample(Features({"v": feature}), lambda: {"v": list(cells)})


def _lists() -> dict[str, Sample]:
    numbers = list(range(40))
    fractions = [number / 7 for number in numbers]
    struct = {"role": Value("string"), "at": Value("timestamp[us]")}
    said = {"role": "user", "at": dt.datetime(2024, 2, 29, 1, 2, 3)}
    return {
        "list int": _one(List(Value("int32")), [1, 2], [], None, [3, None], [4]),
        "list int long": _one(List(Value("int32")), numbers, numbers[::-1], [7], None, []),
        "list int long null": _one(List(Value("int64")), numbers, [*numbers, None]),
        "list uint64": Sample(
            Features({"v": List(Value("uint64"))}),
            lambda: {"v": pa.array([[2**64 - 1] * 20, [0], None], pa.list_(pa.uint64()))},
        ),
        "list float": _one(List(Value("float32")), fractions, [0.1, -0.0], [], None),
        "list float special": _one(
            List(Value("float64")), [*fractions, math.nan, math.inf, -math.inf], fractions, []
        ),
        "list float tiny": _one(List(Value("float32")), [*fractions, 1e-9], fractions, [1e30] * 20),
        "list float16": _one(List(Value("float16")), [0.5] * 20, [math.inf], None),
        "list bool": _one(List(Value("bool")), [True, None], [False] * 20, None),
        "list string": _one(List(Value("string")), list(TEXTS), [], None, [None, ""]),
        "list binary": _one(List(Value("binary")), list(BYTES), [None], None),
        "list fixed": _one(List(Value("int64"), length=2), [1, 2], None, [3, None], [5, 6]),
        "list fixed long": _one(List(Value("float32"), length=40), fractions, None, fractions),
        "list list": _one(List(List(Value("int16"))), [[1], [], None], None, [], [numbers] * 3),
        "list struct": _one(List(struct), [said, {"role": None, "at": None}], [], None),
        "large list": _one(LargeList(Value("int32")), [1], None, [], numbers),
        "large list struct": _one(LargeList(struct), [said], None, []),
        "sequence": _one(Sequence(Value("int32")), [1], [], None),
        "sequence of struct": _one(
            Sequence(struct), {"role": ["a", "b"], "at": [None, None]}, {"role": [], "at": []}
        ),
        "list null": _one(List(Value("null")), [None, None], [], None),
    }


def _structs() -> dict[str, Sample]:
    nested = {"a": Value("int32"), "b": {"c": List(Value("float64")), "d": Value("binary")}}
    tags = {
        name: {tag: Value("string")}
        for name, tag in (
            ("bytes", "__bytes_b64__"),
            ("date", "__date__"),
            ("map", "__map__"),
            ("escape", "__escaped__"),
            ("unknown", "__other__"),
        )
    }
    return {
        "struct": _one(
            nested, {"a": 1, "b": {"c": [1.5, math.nan], "d": b"x"}}, None, {"a": None, "b": None}
        ),
        "struct of list": _one({"ids": List(Value("int64"))}, {"ids": [1]}, {"ids": []}, None),
        "genuine dicts like tags": Sample(
            Features({**tags, "twice": {"__escaped__": {"__date__": Value("date32")}}}),
            lambda: {
                **{name: [{tag: "hello"} for tag in tags[name]] + [None] for name in tags},
                "twice": [{"__escaped__": {"__date__": dt.date(2024, 1, 1)}}, None],
            },
        ),
        "names": Sample(
            Features(
                {
                    "größe": Value("int32"),
                    'with "quotes" \\ and ,': Value("string"),
                    "": Value("string"),
                    "__index_level_0__": Value("int64"),
                    "line \u2028 end": Value("string"),
                    "_type": Value("string"),
                }
            ),
            lambda: {
                "größe": [1, None],
                'with "quotes" \\ and ,': ["a", None],
                "": ["b", None],
                "__index_level_0__": [0, None],
                "line \u2028 end": ["c", None],
                "_type": ["d", None],
            },
        ),
        "one column like a tag": Sample(
            Features({"__bytes_b64__": Value("string")}), lambda: {"__bytes_b64__": ["no", None]}
        ),
    }


def _labels() -> dict[str, Sample]:
    languages = ["de", "en"]
    return {
        "class label": _one(ClassLabel(names=["no", "yes"]), 0, 1, -1, None),
        "translation": _one(
            Translation(languages), {"de": "Größe", "en": "size"}, {"de": None, "en": "x"}
        ),
        "translation variable": _one(
            TranslationVariableLanguages(languages),
            {"language": ["de", "en"], "translation": ["eins", "one"]},
            {"language": [], "translation": []},
        ),
    }


def _array(kind: Any, *shape: int, dtype: str = "int32") -> Sample:
    count = math.prod(shape)
    cell = np.arange(count, dtype=dtype).reshape(shape)
    return _one(kind(shape=shape, dtype=dtype), cell, None, cell + 1)


def _arrays() -> dict[str, Sample]:
    fractions = (np.arange(6, dtype="float32") / 7).reshape(2, 3)
    with_nan = fractions.astype("float64")
    with_nan[0, 1] = math.nan
    big = np.full((2, 2), 2**53 + 1)
    return {
        "array2d": _array(Array2D, 2, 3),
        "array3d": _array(Array3D, 2, 3, 2),
        "array4d": _array(Array4D, 1, 2, 3, 2),
        "array5d": _array(Array5D, 1, 2, 1, 3, 2),
        "array2d long": _array(Array2D, 2, 40),
        "array2d float32": _one(Array2D(shape=(2, 3), dtype="float32"), fractions, None),
        "array2d float64": _one(Array2D(shape=(2, 3), dtype="float64"), with_nan, None),
        "array2d bool": _one(Array2D(shape=(1, 2), dtype="bool"), [[True, False]], None),
        "array2d int64": _one(Array2D(shape=(2, 2), dtype="int64"), big, None, big),
        "array2d dynamic": _one(
            Array2D(shape=(None, 2), dtype="int32"), [[1, 2]], None, [[1, 2], [3, 4]], [[5, 6]]
        ),
        "array3d dynamic": _one(
            Array3D(shape=(None, 1, 2), dtype="float32"), [[[0.5, 2]]], [[[1, 2]], [[3, 4]]]
        ),
        "list of array2d": _one(
            List(Array2D(shape=(1, 2), dtype="int32")), [[[1, 2]], [[3, 4]]], [], None
        ),
    }


def picture(mode: str, file_format: str, seed: int = 0) -> bytes:
    """Return an encoded image of 5 x 4 pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 5, len(mode)), dtype=np.uint8)
    image = Pillow.fromarray(pixels.squeeze())
    out = io.BytesIO()
    image.save(out, format=file_format)
    return out.getvalue()


def sound() -> bytes:
    """Return an encoded sound: a tenth of a second of WAV."""
    import soundfile

    out = io.BytesIO()
    wave = np.sin(np.arange(800) / 5)
    soundfile.write(out, wave, 8000, format="WAV")
    return out.getvalue()


def _encoded(data: bytes, path: str | None = None) -> dict[str, Any]:
    return {"bytes": data, "path": path}


def _media() -> dict[str, Sample]:
    rgb, gray = picture("RGB", "PNG"), picture("L", "PNG", seed=1)
    jpeg = picture("RGB", "JPEG", seed=2)

    def audio() -> dict[str, Cells]:
        cells = [_encoded(sound(), "tone.wav"), None]
        return {"v": pa.array(cells, pa.struct({"bytes": pa.binary(), "path": pa.string()}))}

    return {
        "image": _one(Image(), _encoded(rgb), None, _encoded(gray, "b.png"), _encoded(jpeg)),
        "image undecoded": _one(Image(decode=False), _encoded(rgb, "a.png"), None),
        "list image": _one(List(Image()), [_encoded(rgb), _encoded(gray)], [], None),
        "struct image": _one(
            {"image": Image(), "caption": Value("string")},
            {"image": _encoded(rgb), "caption": "ä"},
            {"image": None, "caption": None},
        ),
        "audio undecoded": Sample(Features({"v": Audio(decode=False)}), audio),
        "image among others": Sample(
            Features({"id": Value("int32"), "image": Image(), "when": Value("date32")}),
            lambda: {
                "id": [1, 2],
                "image": [_encoded(rgb), None],
                "when": [dt.date(2024, 2, 29), None],
            },
        ),
    }


def _young() -> dict[str, Sample]:
    """Return what the oldest supported ``datasets`` does not know: it came with ``Json``."""
    if not hasattr(datasets, "Json"):
        return {}
    json = datasets.Json()
    return {
        "json": _one(json, {"a": [1, 2.5, None]}, [1], "text", None, 7, {"__date__": 1}),
        "list json": _one(List(json), [{"a": 1}, "x"], [], None),
        "struct json": _one({"j": json, "n": Value("int8")}, {"j": {"k": [1]}, "n": 1}, None),
        "string_view": _value("string_view", *TEXTS),
        "binary_view": _value("binary_view", *BYTES),
        "fixed_size_binary": _value("fixed_size_binary[3]", b"abc", b"\x00\xff\n"),
    }


SAMPLES: dict[str, Sample] = {
    **_scalars(),
    **_temporal(),
    **_lists(),
    **_structs(),
    **_labels(),
    **_arrays(),
    **_media(),
    **_young(),
}

"""Media files travel within the rows that name them, and nobody's else do."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fdss.arguments import LoadArguments
from fdss.backend import Selection
from fdss.errors import ContentChanged, DatasetDamaged, FdssError, Forbidden, UncarriableValue
from fdss.storage import ArrowBackend, Named, OpenOptions, media, open_dataset
from fdss.storage.ranges import FileRange
from fdss.storage.roots import MediaRoots
from fdss.wire.arrow import ArrowEncoding
from fdss.wire.lines import NdjsonEncoding

Open = Callable[..., ArrowBackend]
Read = Callable[..., list[dict[str, Any]]]

IMAGES = 12
STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})
IMAGE = {"_type": "Image", "decode": False}


def picture(number: int) -> bytes:
    """Return a small PNG, different for each number."""
    from PIL import Image

    sink = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), number, np.uint8)).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of images in two classes, with a caption each."""
    folder = tmp_path / "pictures"
    lines = []
    for number in range(IMAGES):
        name = f"{'ab'[number % 2]}/{number:02d}.png"
        (folder / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "train" / name).write_bytes(picture(number))
        lines.append(json.dumps({"file_name": name, "caption": f"no. {number}"}))
    (folder / "train" / "metadata.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture
def saved_as(tmp_path: Path) -> Callable[..., Path]:
    """Return a call that keeps rows as an Arrow stream, told to have some features."""

    def saved(
        rows: list[dict[str, Any]], types: dict[str, pa.DataType], features: dict[str, Any]
    ) -> Path:
        information = json.dumps({"info": {"features": features}})
        schema = pa.schema(list(types.items()), {"huggingface": information})
        path = tmp_path / "it" / "rows.arrow"
        path.parent.mkdir(exist_ok=True)
        with pa.ipc.new_stream(str(path), schema) as writer:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))
        return path.parent

    return saved


def selection_of(backend: ArrowBackend, **of: Any) -> Selection:
    """Return a selection of every row."""
    return Selection(range(len(backend)), range(len(backend)), **of)


def bodies(backend: ArrowBackend) -> list[bytes]:
    """Return all rows as every encoding writes them, in stored and in another order."""
    encodings: list[Any] = [
        NdjsonEncoding("plain"),
        NdjsonEncoding("tagged"),
        ArrowEncoding(),
        ArrowEncoding("zstd"),
    ]
    return [
        b"".join(encoding.encode(backend, selection_of(backend, seed=seed)).chunks)
        for encoding in encodings
        for seed in (None, 3)
    ]


def decoded(backend: ArrowBackend) -> list[pa.RecordBatch]:
    """Return the record batches of an Arrow body."""
    chunks = ArrowEncoding().encode(backend, selection_of(backend)).read()
    body = b"".join(part for part in chunks if isinstance(part, bytes | memoryview))
    with pa.ipc.open_stream(body) as reader:
        return list(reader)


@pytest.mark.parametrize("seed", [None, 4])
def test_image_folder(pictures: Path, open_at: Open, read: Read, seed: int | None) -> None:
    """Rows of a folder of images decode to the pixels and columns that datasets gives."""
    from datasets import load_dataset

    expected = load_dataset(str(pictures), split="train")
    backend = open_at(pictures)
    found = read(backend, seed=seed)
    by_caption = {row["caption"]: row for row in expected}
    assert sorted(by_caption) == sorted(row["caption"] for row in found)
    for row in found:
        its_own = by_caption[row["caption"]]
        assert list(row) == list(its_own)
        assert np.array_equal(np.asarray(row["image"]), np.asarray(its_own["image"]))


def test_no_folder_is_told(pictures: Path, open_at: Open, tmp_path: Path) -> None:
    """No encoding of such rows tells where the files lie; all carry their bytes."""
    backend = open_at(pictures)
    for body in bodies(backend):
        assert str(tmp_path).encode() not in body
        assert b"pictures" not in body
    images = [value for batch in decoded(backend) for value in batch["image"].to_pylist()]
    assert {value["path"] for value in images} == {f"{number:02d}.png" for number in range(IMAGES)}
    assert all(value["bytes"] == picture(int(value["path"][:2])) for value in images)


def test_same_fingerprint(pictures: Path, open_at: Open, tmp_path: Path) -> None:
    """A replica that holds the files has the fingerprint of one that names them."""
    from datasets import load_dataset

    dataset = load_dataset(str(pictures), split="train")
    dataset.save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "elsewhere").mkdir()
    pictures.rename(tmp_path / "elsewhere" / "moved")
    named = open_at(tmp_path / "elsewhere" / "moved")
    held = open_at(tmp_path / "saved")
    assert named.fingerprint == held.fingerprint
    assert pickle.loads(pickle.dumps(named)).fingerprint == held.fingerprint
    (tmp_path / "elsewhere" / "moved" / "train" / "a" / "00.png").write_bytes(picture(99))
    assert open_at(tmp_path / "elsewhere" / "moved").fingerprint != held.fingerprint


def test_audio_folder(tmp_path: Path, open_at: Open, read: Read) -> None:
    """Sounds travel as the bytes of their files."""
    import soundfile
    from datasets import Audio, Dataset

    folder = tmp_path / "sounds"
    folder.mkdir()
    for number in range(3):
        soundfile.write(folder / f"{number}.wav", np.full(80, number / 8), 8000)
    paths = [str(folder / f"{number}.wav") for number in range(3)]
    dataset = Dataset.from_dict({"audio": paths}).cast_column("audio", Audio(decode=False))
    with pa.ipc.new_stream(str(folder / "rows.arrow"), dataset.features.arrow_schema) as writer:
        writer.write_table(pa.table(dataset.data.table))
    found = read(open_at(folder, data_files="rows.arrow"))
    wanted = [(folder / f"{number}.wav").read_bytes() for number in range(3)]
    assert [row["audio"]["bytes"] for row in found] == wanted
    assert [row["audio"]["path"] for row in found] == ["0.wav", "1.wav", "2.wav"]


NESTED = {
    "list": (pa.list_(STRUCT), {"_type": "List", "feature": IMAGE}),
    "large": (pa.large_list(STRUCT), {"_type": "LargeList", "feature": IMAGE}),
    "fixed": (pa.list_(STRUCT, 2), {"_type": "List", "feature": IMAGE, "length": 2}),
    "fields": (pa.struct({"n": pa.int64(), "deep": pa.list_(pa.struct({"i": STRUCT}))}), None),
    "legacy": (
        pa.struct({"i": pa.list_(STRUCT)}),
        {"_type": "Sequence", "feature": {"i": IMAGE}},
    ),
}
DEEP = {
    "n": {"_type": "Value", "dtype": "int64"},
    "deep": {"_type": "List", "feature": {"i": IMAGE}},
}


def shaped(kind: str, values: list[Any]) -> Any:
    """Return two values as a column of some shape holds them."""
    if kind == "fields":
        return {"n": 1, "deep": [{"i": value} for value in values]}
    return {"i": values} if kind == "legacy" else values


@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize("seed", [None, 1])
def test_nested(
    kind: str, seed: int | None, saved_as: Callable[..., Path], open_at: Open, read: Read
) -> None:
    """Media are found in lists and structs, between nulls, bytes that are there, and others."""
    type_, feature = NESTED[kind]
    folder = saved_as([], {"n": pa.int64()}, {})
    expected, stored = [], []
    for n in range(20):
        path = folder / f"{n}.bin"
        path.write_bytes(picture(n))
        named = {"bytes": None, "path": str(path)}
        other = [None, {"bytes": b"x" * n, "path": None}, {"bytes": b"y", "path": "/a/b"}][n % 3]
        short = other and {**other, "path": other["path"] and "b"}
        values = [[named, other], [other, named]][n % 2]
        shortened = [{"bytes": picture(n), "path": f"{n}.bin"}, short][:: 1 if n % 2 == 0 else -1]
        stored.append({"n": n, "c": None if n % 5 == 4 else shaped(kind, values)})
        expected.append({"n": n, "c": None if n % 5 == 4 else shaped(kind, shortened)})
    types = {"n": pa.int64(), "c": type_}
    told = {"n": {"_type": "Value", "dtype": "int64"}, "c": feature or DEEP}
    backend = open_at(saved_as(stored, types, told))
    found = read(backend, seed=seed)
    assert sorted(found, key=lambda row: row["n"]) == expected
    assert read(backend, range(3, 17, 2)) == expected[3:17:2]
    for batch in backend.batches(selection_of(backend, seed=seed)):
        batch.validate(full=True)
    assert not any(str(folder).encode() in body for body in bodies(backend))


def test_list_of_images_in_datasets(pictures: Path, open_at: Open, read: Read) -> None:
    """Lists of images decode as in datasets."""
    from datasets import Dataset, Features, Image, List

    paths = sorted(map(str, (pictures / "train").rglob("*.png")))
    rows = {"pages": [paths[:3], [], paths[3:]]}
    dataset = Dataset.from_dict(rows, features=Features({"pages": List(Image())}))
    table = dataset.data.table
    with pa.ipc.new_stream(str(pictures / "rows.arrow"), table.schema) as writer:
        writer.write_table(table)
    found = read(open_at(pictures, data_files="rows.arrow"))
    pixels = [[np.asarray(page).tolist() for page in row["pages"]] for row in found]
    assert pixels == [[np.asarray(page).tolist() for page in row["pages"]] for row in dataset]


def test_batches_are_bounded(saved_as: Callable[..., Path], open_at: Open) -> None:
    """However small the rows on disk, a batch has about a mebibyte of files, or one row."""
    folder = saved_as([], {"n": pa.int64()}, {})
    sizes = [300_000] * 10 + [3_000_000] + [10] * 500
    rows = []
    for number, size in enumerate(sizes):
        (folder / f"{number}").write_bytes(b"x" * size)
        rows.append({"i": {"bytes": None, "path": str(folder / f"{number}")}})
    backend = open_at(saved_as(rows, {"i": STRUCT}, {"i": IMAGE}))
    batches = list(backend.batches(selection_of(backend)))
    assert [batch.num_rows for batch in batches] == [3, 3, 3, 1, 1, 500]
    assert sum(map(len, backend.chunks(selection_of(backend, seed=1)))) == len(sizes)


def test_a_row_too_large(
    saved_as: Callable[..., Path], open_at: Open, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row whose files exceed what Arrow can hold is refused before they are read."""
    folder = saved_as([], {"n": pa.int64()}, {})
    (folder / "x").write_bytes(b"x" * 100)
    folder = saved_as(
        [{"i": {"bytes": None, "path": str(folder / "x")}}], {"i": STRUCT}, {"i": IMAGE}
    )
    backend = open_at(folder)
    monkeypatch.setattr(media, "MAX_ROW_BYTES", 99)
    with pytest.raises(UncarriableValue, match="100 bytes"):
        read(backend)


def test_saved_rows_are_sent_as_they_stand(pictures: Path, open_at: Open, tmp_path: Path) -> None:
    """What save_to_disk wrote holds its files, and goes out as the bytes of its own."""
    from datasets import load_dataset

    load_dataset(str(pictures), split="train").save_to_disk(str(tmp_path / "saved"))
    backend = open_at(tmp_path / "saved")
    pieces = list(backend.pieces(selection_of(backend)))
    assert all(isinstance(piece, FileRange) for piece in pieces)
    [file] = (tmp_path / "saved").glob("*.arrow")
    sent = b"".join(
        bytes(part) for piece in pieces if isinstance(piece, FileRange) for part in piece.pieces()
    )
    assert sent in file.read_bytes()


ABSOLUTE = [
    "/home/someone/x.png",
    "C:\\Users\\someone\\x.png",
    "c:/Users/someone/x.png",
    "\\\\host\\share\\x.png",
    "file:///home/someone/x.png",
    "zip://in/x.png::/home/someone/all.zip",
    "/home/line\nbreak/x.png",
]


@pytest.mark.parametrize("path", ABSOLUTE)
def test_paths_are_shortened(path: str, saved_as: Callable[..., Path], open_at: Open) -> None:
    """Of an absolute path only the base name leaves storage, though its bytes are held."""
    rows = [{"i": {"bytes": b"1", "path": other}} for other in (path, "in/tar.png", None)]
    backend = open_at(saved_as([*rows, {"i": None}], {"i": STRUCT}, {"i": IMAGE}))
    [batch] = decoded(backend)
    values = batch["i"].to_pylist()
    assert [value and value["path"] for value in values] == ["x.png", "in/tar.png", None, None]
    assert [value and value["bytes"] for value in values] == [b"1", b"1", b"1", None]


def test_plain_columns_are_not_media(saved_as: Callable[..., Path], open_at: Open) -> None:
    """A struct of bytes and path that is no media feature is data, and stays as it is."""
    plain = {
        "bytes": {"_type": "Value", "dtype": "binary"},
        "path": {"_type": "Value", "dtype": "string"},
    }
    rows = [{"i": {"bytes": None, "path": "/etc/hostname"}}]
    for features in ({"i": plain}, {}):
        backend = open_at(saved_as(rows, {"i": STRUCT}, features))
        [piece] = backend.pieces(selection_of(backend))
        assert isinstance(piece, FileRange)
        assert decoded(backend)[0].to_pylist() == rows


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return a file that no dataset holds."""
    path = tmp_path / "private" / "id_rsa"
    path.parent.mkdir()
    path.write_text("the secret")
    return path


ATTACKS = [
    "{secret}",
    "{folder}/../private/id_rsa",
    "{folder}/no/../../private/id_rsa",
    "{folder}/./../private/id_rsa",
    "{folder}{secret}/../../../../../../../../../..{secret}",
    "{folder}-other/id_rsa",
    "/proc/self/environ",
    "~/id_rsa",
    "id_rsa",
    "../private/id_rsa",
    "file://{secret}",
    "//{secret}",
    "zip://id_rsa::{secret}",
    "https://example.org/dir/id_rsa?token=abc",
    "hf://datasets/org/name@main/dir/id_rsa",
    "\\\\host\\share\\id_rsa",
    "C:\\private\\id_rsa",
    "{secret}\0.png",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_foreign_files(
    attack: str, secret: Path, saved_as: Callable[..., Path], open_at: Open, tmp_path: Path
) -> None:
    """A row that names a file outside of the dataset is refused, whether or not it is there."""
    other = tmp_path / "it-other"
    other.mkdir()
    (other / "id_rsa").write_text("the secret")
    path = attack.format(secret=secret, folder=tmp_path / "it")
    rows = [{"i": {"bytes": None, "path": path}}]
    with pytest.raises(Forbidden, match="Column 'i' names file '") as refused:
        open_at(saved_as(rows, {"i": STRUCT}, {"i": IMAGE}))
    assert str(tmp_path) not in refused.value.message
    assert "token" not in refused.value.message
    assert "save_to_disk" in refused.value.hint


def test_foreign_file_behind_the_sampled_rows(
    secret: Path, saved_as: Callable[..., Path], open_at: Open, read: Read
) -> None:
    """A row that the fingerprint passes over is refused when it is read."""
    rows: list[dict[str, Any]] = [{"i": {"bytes": b"", "path": None}} for _ in range(1000)]
    rows[1]["i"] = {"bytes": None, "path": str(secret)}
    backend = open_at(saved_as(rows, {"i": STRUCT}, {"i": IMAGE}))
    assert len(read(backend, range(2, 1000))) == 998
    with pytest.raises(Forbidden, match="'id_rsa'"):
        read(backend)


@pytest.mark.only_on("linux", "darwin")
def test_links(secret: Path, saved_as: Callable[..., Path], open_at: Open, read: Read) -> None:
    """Links inside a folder that its owner serves are followed, as for every other file."""
    folder = saved_as([], {"n": pa.int64()}, {})
    (folder / "link.bin").symlink_to(secret)
    rows = [{"i": {"bytes": None, "path": str(folder / "link.bin")}}]
    saved_as(rows, {"i": STRUCT}, {"i": IMAGE})
    alias = folder.parent / "alias"
    alias.symlink_to(folder)
    for place in (folder, alias):
        assert read(open_at(place)) == [{"i": {"bytes": b"the secret", "path": "link.bin"}}]


@pytest.mark.parametrize("damage", ["missing", "folder", "unreadable", "fifo"])
@pytest.mark.only_on("linux", "darwin")
def test_missing_files(
    damage: str, saved_as: Callable[..., Path], open_at: Open, tmp_path: Path
) -> None:
    """A file of the dataset that cannot be read is told by its base name."""
    path = saved_as([], {"n": pa.int64()}, {}) / "x.png"
    if damage == "folder":
        path.mkdir()
    elif damage == "fifo" and sys.platform != "win32":
        os.mkfifo(path)
    elif damage == "unreadable":
        path.symlink_to(path)
    rows = [{"i": {"bytes": None, "path": str(path)}}]
    with pytest.raises(DatasetDamaged, match=r"'x.png', which column 'i' names") as damaged:
        open_at(saved_as(rows, {"i": STRUCT}, {"i": IMAGE}))
    assert str(tmp_path) not in damaged.value.message


@pytest.fixture
def hub(options: OpenOptions, secret: Path) -> Callable[..., ArrowBackend]:
    """Return a call that opens a dataset of the Hub whose only row names a file."""

    def opened(path: Path | str) -> ArrowBackend:
        folder = options.datasets_cache / "org___pics" / "default" / "0.0.0" / ("a" * 40)
        folder.mkdir(parents=True)
        info = {
            "splits": {"train": {"name": "train", "num_examples": 1, "dataset_name": "pics"}},
            "config_name": "default",
        }
        (folder / "dataset_info.json").write_text(json.dumps(info))
        information = json.dumps({"info": {"features": {"i": IMAGE}}})
        schema = pa.schema({"i": STRUCT}, {"huggingface": information})
        rows = [{"i": {"bytes": None, "path": str(path)}}]
        with pa.ipc.new_stream(str(folder / "pics-train.arrow"), schema) as writer:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))
        return open_dataset(Named("org/pics"), LoadArguments("org/pics"), options)

    return opened


@pytest.mark.only_on("linux", "darwin")
def test_hub_snapshots(hub: Callable[..., ArrowBackend], options: OpenOptions, read: Read) -> None:
    """Files of a snapshot, links to blobs, are read."""
    repository = options.hub_cache / "datasets--org--pics"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs" / "b10b").write_bytes(b"pixels")
    (snapshot / "0.png").symlink_to("../../blobs/b10b")
    assert read(hub(snapshot / "0.png")) == [{"i": {"bytes": b"pixels", "path": "0.png"}}]


def test_hub_downloads(hub: Callable[..., ArrowBackend], options: OpenOptions, read: Read) -> None:
    """What datasets extracted among its downloads is read."""
    path = options.datasets_cache / "downloads" / "extracted" / "abc" / "0.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"pixels")
    assert read(hub(path)) == [{"i": {"bytes": b"pixels", "path": "0.png"}}]


@pytest.mark.parametrize("place", ["other", "cache", "model", "link", "relative"])
@pytest.mark.only_on("linux", "darwin")
def test_hub_foreign(
    place: str, hub: Callable[..., ArrowBackend], options: OpenOptions, secret: Path
) -> None:
    """A dataset of the Hub reads no file of another dataset or model, nor through a link."""
    own = options.hub_cache / "datasets--org--pics" / "snapshots"
    path = {
        "other": options.hub_cache / "datasets--org--gated" / "id_rsa",
        "cache": options.datasets_cache / "json" / "id_rsa",
        "model": options.hub_cache / "models--org--pics" / "id_rsa",
        "link": own / "link" / "id_rsa",
        "relative": own / ".." / ".." / "id_rsa",
    }[place]
    own.mkdir(parents=True)
    if place == "link":
        (own / "link").symlink_to(secret.parent)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("the secret")
    with pytest.raises(Forbidden, match="'id_rsa'"):
        hub(path)


def test_builder(pictures: Path, options: OpenOptions, read: Read) -> None:
    """A packaged builder that is allowed reads the files it was given."""
    given = LoadArguments("imagefolder", data_files=str(pictures / "train" / "a" / "*.png"))
    allowed = OpenOptions(
        options.index_folder, options.datasets_cache, options.hub_cache, True, True
    )
    backend = open_dataset(Named("imagefolder"), given, allowed)
    images = [value for batch in decoded(backend) for value in batch["image"].to_pylist()]
    assert [value["path"] for value in images] == ["00.png", "02.png", "04.png"] + [
        "06.png",
        "08.png",
        "10.png",
    ]
    assert all(value["bytes"] == picture(int(value["path"][:2])) for value in images)


def test_single_arrow_file(pictures: Path, open_at: Open, saved_as: Callable[..., Path]) -> None:
    """An Arrow file that is served alone may not name its neighbours."""
    rows = [{"i": {"bytes": None, "path": str(pictures / "train" / "a" / "00.png")}}]
    folder = saved_as(rows, {"i": STRUCT}, {"i": IMAGE})
    with pytest.raises(FdssError, match=r"'00.png'"):
        open_at(folder / "rows.arrow")


def test_zipped_images(pictures: Path, open_at: Open, tmp_path: Path) -> None:
    """Images in an archive are carried or refused, and its folder is not told."""
    folder = tmp_path / "zipped"
    folder.mkdir()
    with zipfile.ZipFile(folder / "train.zip", "w") as archive:
        archive.write(pictures / "train" / "a" / "00.png", "00.png")
    with pytest.raises(Forbidden, match=r"'00.png'") as refused:
        open_at(folder)
    assert str(tmp_path) not in refused.value.message


def test_projection_reads_no_file(pictures: Path, open_at: Open, read: Read) -> None:
    """Columns without media are read though the files are gone."""
    backend = open_at(pictures)
    for path in (pictures / "train").rglob("*.png"):
        path.unlink()
    assert len(read(backend, columns=("caption",))) == IMAGES
    with pytest.raises(DatasetDamaged, match="is missing"):
        read(backend, columns=("image",))


@pytest.mark.parametrize("change", ["cut", "grown", "rewritten"])
def test_a_file_that_changes_while_it_is_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Half of a file, or half of each of two, is never what a row holds."""
    file = tmp_path / "a.png"
    file.write_bytes(b"x" * 1000)
    roots = MediaRoots.of([tmp_path])
    assert roots.read(str(file)) == b"x" * 1000
    looks = []
    look = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        found = look(descriptor)
        looks.append(found)
        # Opened as a regular file, and looked at before it is read.
        if len(looks) == 2:
            if change == "rewritten":
                os.utime(file, ns=(1, 1))
            else:
                os.truncate(file, 10 if change == "cut" else 2000)
        return found

    monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(ContentChanged, match="'a.png'"):
        roots.read(str(file))


@pytest.mark.only_on("linux", "darwin")
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    """What was a file when its size was asked for may be a pipe by then."""
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "a.png")

    with pytest.raises(OSError):
        MediaRoots.of([tmp_path]).read(str(tmp_path / "a.png"))

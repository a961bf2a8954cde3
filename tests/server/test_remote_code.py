"""Nothing that a dataset, a client or a server brings along is ever run."""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from flask.testing import FlaskClient

from fdss import places
from fdss.app import create_app
from fdss.catalog import Catalog
from fdss.config import ServerConfig
from fdss.policy import PACKAGED_BUILDERS

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("fdss", "client", "cli") for path in (ROOT / folder).rglob("*.py")]

FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "execfile"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "cPickle.loads", "_pickle.loads"),
    *("dill.load", "dill.loads", "cloudpickle.load", "cloudpickle.loads", "joblib.load"),
    *("marshal.load", "marshal.loads", "shelve.open", "torch.load", "pd.read_pickle"),
    *("np.load", "numpy.load", "pandas.read_pickle", "pickle_loads"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.FullLoader"),
    *("yaml.UnsafeLoader", "yaml.Loader", "os.system", "os.popen", "subprocess.getoutput"),
}
FORBIDDEN_WORDS = {"trust_remote_code", "allow_pickle", "shell"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}


def _name(node: ast.AST) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def _running_data(text: str) -> list[str]:
    """Return what a source calls, sets or imports that runs what it reads."""
    nodes = list(ast.walk(ast.parse(text)))
    modules = {
        name
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (*(alias.name for alias in node.names), getattr(node, "module", None))
    }
    words = {node.arg for node in nodes if isinstance(node, ast.keyword)}
    return [
        *sorted({_name(node) for node in nodes} & FORBIDDEN_CALLS),
        *sorted(word for word in words if word in FORBIDDEN_WORDS),
        *sorted(module for module in modules if module in FORBIDDEN_MODULES),
    ]


def test_the_source_has_no_call_that_runs_data() -> None:
    """Neither pickles nor code made of text, nor a loader of YAML that makes objects."""
    found = {str(p.relative_to(ROOT)): _running_data(p.read_text("utf-8")) for p in SOURCES}

    assert {path: calls for path, calls in found.items() if calls} == {}


def test_the_look_at_the_source_finds_calls() -> None:
    """What is forbidden is found, so that none being found means something."""
    found = _running_data("import pickle\nnp.load(x, allow_pickle=True)\npickle.loads(y)")

    assert found == ["np.load", "pickle.loads", "allow_pickle", "pickle"]
    assert len(SOURCES) > 50


@dataclass
class _Marking:
    """What writes a file when it is unpickled."""

    marker: str

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (self.marker,)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """Return a path that is there as soon as anything was run."""
    return tmp_path / "was-run"


@pytest.fixture
def payload(marker: Path) -> bytes:
    """Return a pickle that, when it is loaded, makes the marker."""
    return pickle.dumps(_Marking(str(marker)))


def test_the_pickle_makes_the_marker(payload: bytes, marker: Path) -> None:
    """Loading the pickle is seen, so that no marker means that nothing was loaded."""
    pickle.loads(payload)

    assert marker.exists()


def _client(**settings: Any) -> FlaskClient:
    config = ServerConfig(auth_token="test-token", **settings)
    client = create_app(config, Catalog(config)).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = "Bearer test-token"
    return client


def _touch(client: FlaskClient, path: str, **arguments: Any) -> int:
    """Load a dataset, read all of its rows in every form, and return the status of the load."""
    loaded = client.post("/v1/load", json={"path": path, **arguments})
    if loaded.status_code == 200:
        handle = loaded.get_json()["handle"]
        for accept in ("application/x-ndjson", "application/vnd.apache.arrow.stream"):
            client.get(f"/v1/datasets/{handle}/iter", headers={"Accept": accept}).close()
            tagged = f"/v1/datasets/{handle}/iter?types=tagged"
            client.get(tagged, headers={"Accept": accept}).close()
    client.get("/v1/local").close()
    return loaded.status_code


def _script(marker: Path) -> str:
    return f"import os\nos.mkdir({str(marker)!r})\n"


def test_a_script_beside_the_rows_is_not_run(tmp_path: Path, marker: Path) -> None:
    """Neither a loading script under any of its names, nor a module that Python would find."""
    folder = tmp_path / "scripted"
    folder.mkdir()
    for name in ("scripted", "dataset", "__init__", "json", "setup", "conftest", "sitecustomize"):
        (folder / f"{name}.py").write_text(_script(marker))
    (folder / "README.md").write_text("---\nbuilder_name: scripted\n---\n")
    (folder / "dataset_infos.json").write_text('{"default": {"builder_name": "scripted"}}')
    (folder / "rows.json").write_text('{"a": 1}\n')
    client = _client(local={"x": folder}, allow_paths=True)

    assert _touch(client, "local/x") == 404
    for path in (str(folder), str(folder / "scripted.py"), "scripted.py", "./scripted"):
        assert _touch(client, path, trust_remote_code=True) in (400, 404)
    (folder / "scripted.py").unlink()
    assert _touch(client, "local/x") == 200
    assert not marker.exists()


def test_a_cached_module_of_the_hub_is_not_run(home: Path, marker: Path) -> None:
    """A script that an old release of datasets has kept for a Hub id stays where it is."""
    for place in (
        home / ".cache/huggingface/modules/datasets_modules/datasets/some--scripted/0",
        places.hub_cache() / "datasets--some--scripted" / "snapshots" / "0",
    ):
        place.mkdir(parents=True)
        (place / "scripted.py").write_text(_script(marker))
    refs = places.hub_cache() / "datasets--some--scripted" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0")

    assert _touch(_client(), "some/scripted", trust_remote_code=True) == 404
    assert not marker.exists()


def _odd_files(payload: bytes) -> Iterator[tuple[str, bytes]]:
    array = io.BytesIO()
    np.save(array, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    yield "rows.pkl", payload
    yield "rows.pickle", payload
    yield "rows.pt", payload
    yield "rows.npy", array.getvalue().replace(pickle.dumps({"a": 1}), payload)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for end in ("pkl", "pickle", "pyd", "pth", "npy", "json"):
            content = payload if end != "json" else b"{}"
            info = tarfile.TarInfo(f"sample.{end}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    yield "rows.tar", archive.getvalue()


@pytest.mark.parametrize("number", range(5))
def test_pickles_among_the_files_are_not_loaded(
    tmp_path: Path, payload: bytes, marker: Path, number: int
) -> None:
    """Whatever a file of a dataset is called, no pickle in it is loaded."""
    name, content = list(_odd_files(payload))[number]
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / name).write_bytes(content)
    client = _client(local={"x": folder}, allow_paths=True)
    for arguments in ({}, {"data_files": name}, {"data_files": "*"}):
        _touch(client, "local/x", **arguments)
    for builder in ("pandas", "webdataset", "json", "generator", "spark", "sql", "cache"):
        _touch(client, builder, data_files=str(folder / name))

    assert not marker.exists()


def test_builders_that_run_things_are_always_refused(tmp_path: Path) -> None:
    """Also with --allow-paths, a builder that unpickles or calls databases is none."""
    client = _client(allow_paths=True)
    never = ("pandas", "generator", "spark", "sql", "cache", "Pandas")

    assert {_touch(client, builder, data_files=str(tmp_path)) for builder in never} == {403}
    assert {builder.lower() for builder in never} <= PACKAGED_BUILDERS


@pytest.mark.parametrize(
    "extension",
    ["arrow.py_extension_type", "datasets.features.features.Array2DExtensionType", "arrow.opaque"],
)
def test_extension_types_of_arrow_run_nothing(
    tmp_path: Path, payload: bytes, marker: Path, extension: str
) -> None:
    """A pickle in the metadata of a schema stays there, and the rows are served or refused."""
    metadata = {
        b"ARROW:extension:name": extension.encode(),
        b"ARROW:extension:metadata": payload,
    }
    field = pa.field("a", pa.list_(pa.list_(pa.int64())), metadata=metadata)
    told = {"pandas": payload, "huggingface": json.dumps({"info": {"features": {}}})}
    schema = pa.schema([field], metadata=told)
    table = pa.table({"a": pa.array([[[1]]], field.type)}).cast(schema)
    folder = tmp_path / "saved"
    folder.mkdir()
    with (
        pa.OSFile(str(folder / "data.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as out,
    ):
        out.write_table(table)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    (folder / "dataset_info.json").write_text("{}")

    assert _touch(_client(local={"x": folder}), "local/x") in (200, 500)
    assert not marker.exists()

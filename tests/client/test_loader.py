"""The one call: here, or at the server that the environment names."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import responses
from ports import deaf_port

from fdss.arguments import LoadArguments
from fdss.client import fast_load_iterable_dataset, local_load
from fdss.client.loader import SERVER_VARIABLE
from fdss.errors import BadParameter, ServerUnreachable, UnknownLocal

URL = "http://data.example:8766"
RunPython = Callable[..., subprocess.CompletedProcess[str]]


def sent_load(**arguments: Any) -> Any:
    """Return the body of the load request that a call sends."""
    told = {"handle": "abcd", "length": 3, "column_names": ["n"], "fingerprint": "f"}
    told["features"] = {"n": {"dtype": "int64", "_type": "Value"}}
    with responses.RequestsMock() as mock:
        mock.post(URL + "/v1/load", json=told)
        dataset = fast_load_iterable_dataset("local/x", **arguments)
        assert len(dataset) == 3
        return json.loads(mock.calls[0].request.body or b"")


@pytest.fixture
def at_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SERVER_VARIABLE, URL)


@pytest.mark.parametrize("server", [None, "", "  "])
def test_no_server_reads_the_folder_here(
    server: str | None,
    monkeypatch: pytest.MonkeyPatch,
    sample_folder: Path,
    sample_rows: list[dict[str, Any]],
) -> None:
    """Without the variable, or with an empty one, a folder is read on this machine."""
    if server is not None:
        monkeypatch.setenv(SERVER_VARIABLE, server)
    dataset = fast_load_iterable_dataset(str(sample_folder))
    assert list(dataset) == sample_rows
    assert list(fast_load_iterable_dataset(sample_folder, split="train[:5]")) == sample_rows[:5]


def test_local_load_takes_no_notice_of_the_server(
    at_server: None, sample_folder: Path, tmp_path: Path
) -> None:
    """A local load is one, whatever the environment says; its index goes where it is told."""
    backend = local_load(LoadArguments(str(sample_folder)), index_dir=tmp_path / "indexes")
    assert len(backend) == 1000
    assert any((tmp_path / "indexes").rglob("*"))


def test_load_sends_what_names_the_dataset(at_server: None, tmp_path: Path) -> None:
    """Split notation and patterns go to the server as they are; what is absent does not."""
    assert sent_load() == {"path": "local/x", "split": "train"}
    assert sent_load(
        name="en", split="train[:10%]+test", data_files={"train": (Path("a"), "b")}, revision="v1"
    ) == {
        "path": "local/x",
        "name": "en",
        "split": "train[:10%]+test",
        "data_files": {"train": ["a", "b"]},
        "revision": "v1",
    }


def test_what_a_server_is_not_told_is_named_in_a_warning(at_server: None) -> None:
    """Arguments without effect on a remote load are warned of, at the caller's line."""
    with pytest.warns(UserWarning, match="cache_dir, num_proc, streaming ignored") as warned:
        assert sent_load(cache_dir="x", num_proc=2, streaming=True, token=None).keys() == {
            "path",
            "split",
        }
    assert warned[0].filename == __file__


def test_what_changes_no_rows_is_ignored_here_with_a_warning(sample_folder: Path) -> None:
    """Arguments of load_dataset that change how it works are not needed."""
    with pytest.warns(UserWarning, match="keep_in_memory, streaming ignored") as warned:
        fast_load_iterable_dataset(sample_folder, streaming=True, keep_in_memory=True)
    assert warned[0].filename == __file__


def test_what_would_change_rows_is_refused_here(sample_folder: Path) -> None:
    """An argument that cannot be honoured is no silent default."""
    with pytest.raises(BadParameter, match="data_dir, delimiter"):
        fast_load_iterable_dataset(sample_folder, data_dir="x", delimiter=";", token=None)


def test_unreachable_server_names_the_url_and_the_command_that_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A load at a port where nobody listens says so at once."""
    with deaf_port() as port:
        url = f"http://127.0.0.1:{port}"
        monkeypatch.setenv(SERVER_VARIABLE, url)
        with pytest.raises(ServerUnreachable, match=f"dataset server at {url}") as caught:
            fast_load_iterable_dataset("local/x")
    assert "fdss status" in caught.value.hint


def test_named_local_without_a_server_says_what_is_missing() -> None:
    """``local/<name>`` is a name at a server, and is not looked for on the Hub."""
    with pytest.raises(UnknownLocal) as caught:
        fast_load_iterable_dataset("local/x")
    assert SERVER_VARIABLE in caught.value.hint


@pytest.mark.parametrize("arguments", [{"path": ""}, {"path": "x", "data_files": 3}])
def test_wrong_types_are_refused(arguments: dict[str, Any]) -> None:
    """What no dataset can be named by is refused before anything is looked for."""
    with pytest.raises(BadParameter):
        fast_load_iterable_dataset(**arguments)


def test_importing_the_client_costs_nothing(run_python: RunPython) -> None:
    """The package imports none of the libraries it may come to need, and lists its names."""
    ended = run_python("-c", IMPORTING)
    assert ended.stdout == "[]\nTrue\n"


IMPORTING = """
import sys
import fdss.client
heavy = {"datasets", "flask", "numpy", "pandas", "pyarrow", "requests", "torch", "waitress"}
print(sorted(heavy & sys.modules.keys()))
print(all(name in dir(fdss.client) for name in fdss.client.__all__))
"""


def test_every_name_of_the_client_is_there() -> None:
    """What the package lists can be imported from it, and nothing else."""
    import fdss.client

    for name in fdss.client.__all__:
        assert getattr(fdss.client, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        _ = fdss.client.nothing

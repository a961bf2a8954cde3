"""The first rows of a dataset, as people read them and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import responses
from command_line import Run
from datasets import Dataset

from fdss.config import ServerConfig
from fdss.serving import Server
from fdss.wire.names import LOAD_PATH, NDJSON, iter_path

URL = "http://fdss.example:8766"


def test_rows_are_blocks_of_columns(run_fdss: Run, home: Path, tmp_path: Path) -> None:
    """Each row is a block: its position, and a line for each column."""
    rows = [
        {"text": "first line\nsecond line", "n": 1, "data": b"\x89PNG\r\n\x1a\n" + b"\0" * 2000},
        {"text": "\x1b[31mred", "n": None, "data": b"short"},
    ]
    Dataset.from_list(rows).save_to_disk(str(tmp_path / "odd"))
    with Server(ServerConfig(port=0, local={"odd": tmp_path / "odd"})) as server:
        ended = run_fdss("head", "local/odd", "--server", server.url)
    first, *others = ended.out.splitlines()

    assert (ended.code, ended.err) == (0, "")
    assert first.startswith("local/odd train: 2 rows, handle ")
    assert others == [
        "",
        "position 0",
        "  text  first line",
        "        second line",
        "  n     1",
        "  data  <2.0 KB: 89 50 4e 47 0d 0a 1a 0a…>",
        "",
        "position 1",
        "  text  \\x1b[31mred",
        "  n     null",
        "  data  <5 B: 73 68 6f 72 74>",
    ]


def test_json_is_one_document(
    run_fdss: Run, server: Server, sample_rows: list[dict[str, Any]]
) -> None:
    """With --json there is one document: the dataset, what was asked, and the rows."""
    document = json.loads(run_fdss("head", "local/sample", "--server", server.url, "--json").out)

    assert document["rows"] == sample_rows[:3]
    assert document["length"] == 1000
    assert (document["position"], document["limit"], document["seed"]) == (0, 3, None)
    assert document["load_args"] == {"path": "local/sample", "split": "train"}


@pytest.mark.parametrize(("wanted", "expected"), [("0", 0), ("1", 1), ("1500", 1000)])
def test_number_of_rows(run_fdss: Run, server: Server, wanted: str, expected: int) -> None:
    """-n rows are shown, or as many as there are."""
    arguments = ("head", "local/sample", "--server", server.url, "--json", "-n", wanted)

    assert len(json.loads(run_fdss(*arguments).out)["rows"]) == expected


def test_nothing_to_show_is_said(run_fdss: Run, server: Server) -> None:
    """A position past the end shows no row, and says so."""
    ended = run_fdss("head", "local/sample", "--server", server.url, "--position", "5000")

    assert (ended.code, ended.out.splitlines()[-1]) == (0, "(no rows there)")


def test_seed_and_position_are_the_servers(run_fdss: Run, server: Server) -> None:
    """Rows of a seed from a position on are the rows that stand there in its order."""
    asked = ("head", "local/sample", "--server", server.url, "--json", "--seed", "7")
    whole = json.loads(run_fdss(*asked, "-n", "1000").out)["rows"]
    part = json.loads(run_fdss(*asked, "-n", "5", "--position", "600").out)["rows"]

    assert part == whole[600:605]
    assert [row["number"] for row in whole] != sorted(row["number"] for row in whole)


def test_split_notation_is_the_servers(run_fdss: Run, server: Server) -> None:
    """A sliced split shows the rows of the slice."""
    arguments = ("head", "local/sample", "--server", server.url, "--json", "--split", "train[10%:]")
    document = json.loads(run_fdss(*arguments).out)

    assert (document["length"], document["rows"][0]["number"]) == (900, 100)


def test_all_arguments_of_a_load_are_sent(run_fdss: Run) -> None:
    """Configuration, split, revision and files go into the load as they were given."""
    dataset: dict[str, Any] = {"handle": "0123456789abcdef", "length": 0}
    with responses.RequestsMock() as web:
        load = web.post(URL + LOAD_PATH, json=dataset)
        web.get(URL + iter_path(dataset["handle"]), body=b"", content_type=NDJSON)
        run_fdss(
            *("head", "org/name", "--server", URL, "--token", "t", "--name", "en"),
            *("--split", "test", "--revision", "v1", "--data-files", "a*", "--data-files", "b*"),
        )
        sent = json.loads(load.calls[0].request.body)

    assert sent == {
        "path": "org/name",
        "name": "en",
        "split": "test",
        "revision": "v1",
        "data_files": ["a*", "b*"],
    }


def test_fewer_rows_than_announced_is_an_error(run_fdss: Run) -> None:
    """A response with fewer rows than its header says is an error and not a short dataset."""
    dataset: dict[str, Any] = {"handle": "0123456789abcdef", "length": 5}
    with responses.RequestsMock() as web:
        web.post(URL + LOAD_PATH, json=dataset)
        rows = web.get(URL + iter_path(dataset["handle"]), body=b'{"a":1}\n', content_type=NDJSON)
        rows.headers = {"FDSS-Rows": "3"}
        ended = run_fdss("head", "local/x", "--server", URL)

    assert (ended.code, ended.out) == (1, "")
    assert "3 rows" in ended.err


def test_long_values_are_cut(run_fdss: Run, home: Path, tmp_path: Path) -> None:
    """A long text is shown by its beginning, and says how much more there is."""
    Dataset.from_list([{"text": "x" * 5000}]).save_to_disk(str(tmp_path / "long"))
    with Server(ServerConfig(port=0, local={"long": tmp_path / "long"})) as server:
        ended = run_fdss("head", "local/long", "--server", server.url)

    assert ended.out.splitlines()[-1].endswith("xxx… (4,600 more characters)")


def test_unknown_dataset_is_the_servers_message(run_fdss: Run, server: Server) -> None:
    """A typo is answered with the server's sentence and hint, and 1."""
    ended = run_fdss("head", "local/sampel", "--server", server.url)

    assert (ended.code, ended.out) == (1, "")
    assert "local/sampel" in ended.err
    assert "hint: " in ended.err


@pytest.mark.parametrize(
    "wrong",
    [[], ["x", "-n", "-1"], ["x", "-n", "many"], ["x", "--seed", "-1"], ["x", "--colour"]],
)
def test_malformed_command_lines_end_with_2(run_fdss: Run, wrong: list[str]) -> None:
    """A command line that makes no sense ends with 2, before anything is asked."""
    assert run_fdss("head", *wrong).code == 2

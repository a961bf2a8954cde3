"""``fdss index``: what the first load would prepare, prepared ahead."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pyarrow as pa
import pytest
from command_line import Run
from datasets import Dataset, DatasetDict
from terminals import fdss_in_terminal

from fdss import places
from fdss.arguments import LoadArguments
from fdss.client.loader import local_load
from fdss.config import ServerConfig
from fdss.config_file import read_config_file
from fdss.serving import Server

posix_only = pytest.mark.only_on("linux", "darwin")


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """Return a saved dataset of two splits."""
    folder = tmp_path / "splits"
    DatasetDict(
        {
            "train": Dataset.from_dict({"n": range(10)}),
            "validation": Dataset.from_dict({"n": range(4)}),
        }
    ).save_to_disk(str(folder))
    return folder


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Return a folder of a file that is no Arrow file."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "data.arrow").write_bytes(b"no arrow")
    return folder


@pytest.fixture
def many_batches(tmp_path: Path) -> Path:
    """Return a file that takes seconds to be indexed: of very many record batches."""
    file = tmp_path / "many.arrow"
    batch = pa.record_batch({"n": [1]})
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, batch.schema) as writer:
        for _ in range(200_000):
            writer.write_batch(batch)
    return file


def files() -> dict[str, int]:
    """Return every file of the index folder, with the time it was written."""
    found = places.index_folder().rglob("*")
    return {str(file): file.stat().st_mtime_ns for file in found if file.is_file()}


def test_every_split_is_prepared_once(run_fdss: Run, splits: Path) -> None:
    """Rows and batches are told; the second time all is already there, and nothing is written."""
    first = run_fdss("index", str(splits))
    kept = files()
    second = run_fdss("index", str(splits))

    assert (first.code, second.code) == (0, 0)
    assert [line.rpartition(" in ")[0] for line in first.out.splitlines()] == [
        f"{splits} train: 10 rows, 1 batches, prepared",
        f"{splits} validation: 4 rows, 1 batches, prepared",
    ]
    assert second.out.splitlines() == [
        f"{splits} train: 10 rows, 1 batches, already there",
        f"{splits} validation: 4 rows, 1 batches, already there",
    ]
    assert files() == kept
    assert (first.err, second.err) == ("", "")


def test_a_load_finds_what_was_prepared(run_fdss: Run, splits: Path, tmp_path: Path) -> None:
    """A local load and a server write nothing more, also of files that had to be converted."""
    rows = tmp_path / "rows"
    rows.mkdir()
    Dataset.from_dict({"n": range(7)}).to_json(str(rows / "train.jsonl"))
    assert run_fdss("index", str(splits), str(rows), "--num-proc", "1").code == 0
    kept = files()

    local_load(LoadArguments(str(splits), split="validation"))
    assert len(local_load(LoadArguments(str(rows)))) == 7
    config = ServerConfig(port=0, local={"rows": rows, "splits": splits}, preload=("all",))
    with Server(config) as server:
        assert server.preloading.wait(60)
        assert server.preloading.outcome.failed == ()

    prepared = {file for file in files() if file.endswith((".arrow", ".batches"))}
    assert prepared == {file for file in kept if file.endswith((".arrow", ".batches"))}
    assert all(files()[file] == kept[file] for file in prepared)


def test_one_split_may_be_named(run_fdss: Run, splits: Path) -> None:
    """Of split notation the splits are prepared that it names; one that is not there fails."""
    ended = run_fdss("index", str(splits), "--split", "validation[:50%]", "--json")
    failed = run_fdss("index", str(splits), "--split", "test")

    assert ended.code == 0
    [told] = json.loads(ended.out)["prepared"]
    assert (told["split"], told["rows"], told["was_there"]) == ("validation", 4, False)
    assert failed.code == 1
    assert "no split 'test'; found: train, validation" in failed.out


def test_a_failure_is_told_and_the_others_are_prepared(
    run_fdss: Run, broken: Path, splits: Path
) -> None:
    """The exit code is 1 if one dataset cannot be prepared; it stops no other one."""
    ended = run_fdss("index", str(broken), "no/such", "local/nobody", str(splits), "--json")
    told = json.loads(ended.out)["prepared"]

    assert ended.code == 1
    assert [(one["path"], one["split"]) for one in told] == [
        (str(broken), "train"),
        ("no/such", None),
        ("local/nobody", None),
        (str(splits), "train"),
        (str(splits), "validation"),
    ]
    assert [one["error"] is None for one in told] == [False, False, False, True, True]
    assert "'data.arrow' is no Arrow stream" in told[0]["error"]
    assert "downloads are off" in told[1]["error"]
    assert "give the folder: fdss index PATH, or name the configuration" in told[2]["error"]


def test_an_index_that_cannot_be_kept_is_a_failure(run_fdss: Run, splits: Path) -> None:
    """Nothing is prepared where nothing can be written."""
    places.index_folder().mkdir(parents=True)
    (places.index_folder() / "batches").write_text("in the way")
    ended = run_fdss("index", str(splits))

    assert ended.code == 1
    assert "FAILED: Its index cannot be kept" in ended.out


def test_all_prepares_the_locals_of_a_configuration(
    run_fdss: Run, splits: Path, broken: Path, tmp_path: Path
) -> None:
    """Named local datasets are prepared by the file's settings; one that is gone fails alone."""
    file = tmp_path / "server.yaml"
    file.write_text(f"port: 1\nlocal:\n  gone: {tmp_path}/gone\n  kept: {splits}\n")
    ended = run_fdss("index", "--config", str(file), "--all")
    one = run_fdss("index", "--config", str(file), "local/kept", "--split", "train")

    assert ended.code == 1
    assert "local/gone: FAILED: Local dataset 'gone': there is nothing at" in ended.out
    assert "local/kept validation: 4 rows" in ended.out
    assert (one.code, one.out) == (0, "local/kept train: 10 rows, 1 batches, already there\n")


def test_links_of_a_local_are_refused_as_the_server_refuses_them(
    run_fdss: Run, splits: Path, tmp_path: Path
) -> None:
    """What a server would not serve is not prepared for it either."""
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "data.arrow").symlink_to(next(splits.glob("train/*.arrow")))
    file = tmp_path / "server.yaml"
    file.write_text(f"local:\n  linked: {linked}\n")

    assert "FAILED" in run_fdss("index", "--config", str(file), "--all").out
    file.write_text(f"follow_links: true\nlocal:\n  linked: {linked}\n")
    assert run_fdss("index", "--config", str(file), "--all").code == 0
    assert read_config_file(str(file)).values["follow_links"]


def test_prepared_anew_when_that_is_asked_for(run_fdss: Run, splits: Path) -> None:
    """``--force-reindex`` writes the index again."""
    run_fdss("index", str(splits))
    kept = files()
    ended = run_fdss("index", str(splits), "--force-reindex")

    assert ended.code == 0
    assert "prepared in" in ended.out and "already there" not in ended.out
    assert files().keys() == kept.keys()
    assert all(files()[file] != kept[file] for file in kept)


def test_nothing_to_prepare_is_wrong_usage(run_fdss: Run) -> None:
    """No path, or --all without any named dataset, is told."""
    for arguments in ((), ("--all",)):
        ended = run_fdss("index", *arguments)
        assert ended.code == 2
        assert "There is nothing to prepare" in ended.err


@posix_only
@pytest.mark.long
def test_a_terminal_shows_bars(many_batches: Path) -> None:
    """On a terminal there is a bar of datasets, and one of bytes where a file takes long."""
    with fdss_in_terminal("index", str(many_batches), is_output_there=True) as terminal:
        code, _ = terminal.end()

    assert code == 0
    assert "0/1 [" in terminal.shown
    assert "200,000 rows, 200,000 batches, prepared in" in terminal.shown


@posix_only
@pytest.mark.long
def test_an_interruption_leaves_nothing_half_done(
    run_fdss: Run, many_batches: Path, splits: Path
) -> None:
    """Ctrl-C tells what is done; no file is left of what was begun, and a load makes it whole."""
    with fdss_in_terminal("index", str(splits), str(many_batches), "--json") as terminal:
        terminal.wait_for(r"many.arrow: +[1-9]\d?%")
        os.kill(terminal.process.pid, signal.SIGINT)
        code, output = terminal.end()
    told = json.loads(output)

    assert code == 130
    assert told["interrupted"]
    assert [one["split"] for one in told["prepared"]] == ["train", "validation"]
    assert {Path(file).suffix for file in files()} == {".batches"}
    assert len(files()) == 2
    assert len(local_load(LoadArguments(str(many_batches)))) == 200_000

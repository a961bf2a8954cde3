"""Preloading by several processes behind one port, as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import fdss
from fdss import places

TIMEOUT_S = 300.0


@pytest.mark.long
@pytest.mark.only_on("linux")
def test_every_worker_has_it_open_and_one_has_built_the_index(
    start_workers: Callable[..., list[str]], sample_folder: Path
) -> None:
    """Each worker tells that it has opened the dataset, and one index is there."""
    said = start_workers("--local", f"sample={sample_folder}", "--preload", "all")

    opened = [line for line in said if "preloaded local/sample, split train: 1,000 rows" in line]
    assert {line[line.index("[") : line.index("]") + 1] for line in opened} == {
        "[worker 0]",
        "[worker 1]",
    }
    assert len(list((places.index_folder() / "batches").glob("*.batches"))) == 1


@pytest.mark.long
@pytest.mark.only_on("linux")
def test_what_is_prepared_leaves_no_bars_in_the_log(
    start_workers: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log is lines; libraries draw progress for people who look at a terminal."""
    monkeypatch.delenv("HF_DATASETS_DISABLE_PROGRESS_BARS")
    folder = tmp_path / "lines"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"n": 1}\n{"n": 2}\n')
    said = start_workers("--local", f"lines={folder}", "--preload", "all")

    assert not any("examples" in line for line in said)


@pytest.fixture
def start_workers() -> Callable[..., list[str]]:
    """Return a call that runs a server of two workers until both have preloaded."""

    def start(*arguments: str) -> list[str]:
        said: list[str] = []
        with subprocess.Popen(
            [sys.executable, "-m", "fdss", "start", "--port", "0", "--workers", "2", *arguments],
            env={**os.environ, "PYTHONPATH": str(Path(fdss.__file__).parents[1])},
            stderr=subprocess.PIPE,
            encoding="utf-8",
        ) as process:
            assert process.stderr is not None
            watch = threading.Timer(TIMEOUT_S, process.kill)
            watch.start()
            ready = 0
            for line in process.stderr:
                said.append(line)
                if "preloaded 1 of 1 datasets" in line:
                    ready += 1
                    if ready == 2:
                        process.terminate()
            watch.cancel()
        assert process.returncode == 0
        return said

    return start

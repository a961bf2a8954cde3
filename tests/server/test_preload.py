"""What a server opens by itself at its start."""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from clusters import eventually
from datasets import Dataset, DatasetDict

from fdss import places
from fdss.arguments import LoadArguments
from fdss.catalog import Catalog
from fdss.client.session import ServerSession
from fdss.config import ServerConfig
from fdss.config_file import read_config_file
from fdss.errors import FdssError, SettingError
from fdss.locking import locked
from fdss.preloading import Preloading, wanted_datasets
from fdss.serving import Server
from fdss.wire.names import DATASETS_PATH, HEALTH_PATH

TIMEOUT_S = 60.0


@pytest.fixture
def folders(tmp_path: Path, sample_folder: Path) -> dict[str, Path]:
    """Return named datasets: one split, two splits, and one that cannot be read."""
    DatasetDict(
        {
            "train": Dataset.from_dict({"n": range(10)}),
            "validation": Dataset.from_dict({"n": range(4)}),
        }
    ).save_to_disk(str(tmp_path / "splits"))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "data.arrow").write_bytes(b"no arrow")
    return {"broken": broken, "sample": sample_folder, "splits": tmp_path / "splits"}


@pytest.fixture
def config(folders: dict[str, Path]) -> ServerConfig:
    """Return the settings of a server that opens all of them."""
    return ServerConfig(port=0, local=folders, preload=("all",))


def opened(server: Server) -> set[tuple[str, str]]:
    """Return what a client is told is open: paths and splits."""
    with closing(ServerSession(server.url, server.token)) as session:
        handles = session.get_json(DATASETS_PATH)["handles"]
    return {(one["load_args"]["path"], one["load_args"]["split"]) for one in handles}


def indexes() -> list[str]:
    """Return the names of the indexes that are kept."""
    return sorted(file.name for file in (places.index_folder() / "batches").glob("*.batches"))


def test_all_opens_every_split_of_every_local(
    config: ServerConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """What can be opened is open under the handles of loads; what cannot is told in the log."""
    caplog.set_level(logging.INFO, "fdss.preloading")
    with Server(config) as server:
        assert server.preloading.wait(TIMEOUT_S)
        found = opened(server)

    assert found == {
        ("local/sample", "train"),
        ("local/splits", "train"),
        ("local/splits", "validation"),
    }
    assert server.preloading.outcome.failed == ("local/broken",)
    assert len(indexes()) == 3
    told = "\n".join(caplog.messages)
    assert "preloaded local/splits, split validation: 4 rows" in told
    assert "preload of local/broken, split train failed: File 'data.arrow'" in told
    assert "preloaded 2 of 3 datasets" in told and "failed: local/broken" in told


def test_a_server_answers_before_it_has_opened_anything(config: ServerConfig, backend: Any) -> None:
    """Health is told while the first dataset is being opened; readiness says what it waits for."""
    begun, may_go_on = threading.Event(), threading.Event()

    def opener(granted: Any, arguments: LoadArguments) -> Any:
        begun.set()
        assert may_go_on.wait(TIMEOUT_S)
        return backend

    config = replace(config, preload=("local/sample",))
    with Server(config, opener=opener) as server:
        try:
            assert begun.wait(TIMEOUT_S)
            with closing(ServerSession(server.url, server.token)) as session:
                assert session.get_json(HEALTH_PATH)["status"] == "ok"
            assert not server.preloading.is_done
            assert server.preloading.reason == "0 of 1 datasets are preloaded"
            assert server.readiness.look()["preload"] == server.preloading.reason
        finally:
            may_go_on.set()
        assert server.preloading.wait(TIMEOUT_S)
        assert server.preloading.reason is None
        eventually(lambda: server.readiness.look()["preload"] is None)


def test_a_failure_of_any_kind_stops_neither_server_nor_the_others(
    config: ServerConfig, backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that nobody foresaw is logged with its place, and the next dataset is opened."""

    def opener(granted: Any, arguments: LoadArguments) -> Any:
        if arguments.path == "local/sample":
            raise ZeroDivisionError("unforeseen")
        return backend

    with Server(config, opener=opener) as server:
        assert server.preloading.wait(TIMEOUT_S)
        assert ("local/splits", "train") in opened(server)

    assert server.preloading.outcome.failed == ("local/sample",)
    assert "ZeroDivisionError: unforeseen" in caplog.text


def test_what_the_policy_refuses_is_told(
    config: ServerConfig, sample_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Preloading allows nothing that a client could not load, and the log says what helps."""
    wanted = (str(sample_folder), "local/nobody", "json", "name/of=config")
    with Server(replace(config, no_hf=True, preload=wanted)) as server:
        assert server.preloading.wait(TIMEOUT_S)
        assert opened(server) == set()

    assert server.preloading.outcome.failed == wanted
    assert "Unknown local dataset: 'local/nobody'" in caplog.text
    assert "start the server with --allow-paths" in caplog.text


def test_a_dataset_that_is_named_later_is_opened_then(
    config: ServerConfig, folders: dict[str, Path]
) -> None:
    """New settings open what they name; a server that was ready stays so."""
    former = replace(config, local={"sample": folders["sample"]})
    with Server(former) as server:
        assert server.preloading.wait(TIMEOUT_S)
        server.apply(replace(server.config, local=folders))
        assert server.preloading.is_done
        eventually(lambda: ("local/splits", "validation") in opened(server))


def test_a_server_that_is_stopped_opens_nothing_more(config: ServerConfig, backend: Any) -> None:
    """The datasets that are left are not begun."""
    begun, may_go_on, paths = threading.Event(), threading.Event(), []

    def opener(granted: Any, arguments: LoadArguments) -> Any:
        paths.append(arguments.path)
        begun.set()
        assert may_go_on.wait(TIMEOUT_S)
        return backend

    config = replace(config, preload=("local/sample", "local/splits"))
    with Server(config, opener=opener) as server:
        assert begun.wait(TIMEOUT_S)
        server.stop()
        eventually(server.preloading._stopping.is_set)
        may_go_on.set()

    assert paths == ["local/sample"]


def test_a_dataset_that_another_server_hangs_at_holds_up_no_other(
    config: ServerConfig, folders: dict[str, Path], backend: Any
) -> None:
    """Servers of one machine take turns at a dataset, not at all of them."""
    hanging, freed = threading.Event(), threading.Event()

    def hang(granted: Any, arguments: LoadArguments) -> Any:
        hanging.set()
        assert freed.wait(TIMEOUT_S)
        return backend

    named = replace(config, local={name: folders[name] for name in ("sample", "splits")})
    with (
        Server(replace(named, preload=("local/sample",)), opener=hang),
        Server(replace(named, preload=("local/splits",))) as sound,
    ):
        assert hanging.wait(TIMEOUT_S)
        assert sound.preloading.wait(TIMEOUT_S)
        assert sound.preloading.outcome.failed == ()
        freed.set()


def test_a_stop_is_no_failure(
    config: ServerConfig, folders: dict[str, Path], backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Splits that are left out because the server stops are not told as failed."""
    begun, freed = threading.Event(), threading.Event()

    def opener(granted: Any, arguments: LoadArguments) -> Any:
        begun.set()
        assert freed.wait(TIMEOUT_S)
        return backend

    caplog.set_level(logging.INFO, "fdss.preloading")
    with Server(replace(config, local={"splits": folders["splits"]}), opener=opener) as server:
        assert begun.wait(TIMEOUT_S)
        server.stop()
        eventually(server.preloading._stopping.is_set)
        freed.set()

    assert server.preloading.outcome.failed == ()
    assert not server.preloading.is_done
    assert "failed" not in caplog.text


def test_a_stop_does_not_wait_for_the_turn_of_another(config: ServerConfig, backend: Any) -> None:
    """While another process is at the dataset, the end of a server is none of its business."""
    asked = threading.Event()
    (wanted,) = wanted_datasets(replace(config, preload=("local/sample",)))
    places.index_folder().mkdir(parents=True, exist_ok=True)
    file = places.index_folder() / f".preload-{replace(wanted, split='train').handle}.lock"

    def opener(granted: Any, arguments: LoadArguments) -> Any:
        asked.set()
        return backend

    with locked(file), Server(replace(config, preload=("local/sample",)), opener=opener) as server:
        eventually(lambda: bool(server.preloading._threads))
        (thread,) = server.preloading._threads
        server.close()
        assert not thread.is_alive()

    assert not asked.is_set()
    assert server.preloading.outcome.failed == ()


def test_more_than_may_stay_open_is_warned_of(
    config: ServerConfig, folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Preloading that closes what it opened first says so, and what helps."""
    named = replace(config, local={"splits": folders["splits"]})
    for max_open in (1, 2):
        with Server(replace(named, max_open=max_open)) as server:
            assert server.preloading.wait(TIMEOUT_S)

    told = [message for message in caplog.messages if "max_open" in message]
    assert told == [
        "2 splits were preloaded and only the last 1 stay open; raise max_open, or preload less"
    ]


def test_the_seconds_of_a_line_have_the_preparing_in_them(
    config: ServerConfig, backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Splits of a dataset are known once it is prepared, which is the longest part."""
    caplog.set_level(logging.INFO, "fdss.preloading")

    def splits(config: ServerConfig, arguments: LoadArguments) -> list[str]:
        threading.Event().wait(0.2)
        return ["train"]

    wanted = replace(config, preload=("local/sample",))
    catalog = Catalog(wanted, opener=lambda granted, arguments: backend)
    preloading = Preloading(lambda: catalog, splits=splits)
    preloading.begin(wanted)
    assert preloading.wait(TIMEOUT_S)
    preloading.stop()

    (line,) = [message for message in caplog.messages if ", split train: " in message]
    assert float(line.split()[-2]) >= 0.2


def test_the_setting_names_paths_configurations_and_all(folders: dict[str, Path]) -> None:
    """Each dataset is opened once; a configuration follows a sign, but in paths of this machine."""
    preload = ("local/sample", "all", "name/of=config", "/data/a=b", "~/a=b")
    found = [
        (one.path, one.name)
        for one in wanted_datasets(ServerConfig(local=folders, preload=preload))
    ]

    assert found == [
        ("local/sample", None),
        ("local/broken", None),
        ("local/splits", None),
        ("name/of", "config"),
        ("/data/a=b", None),
        ("~/a=b", None),
    ]


def test_all_of_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A server without named datasets is ready at once, and warns that the word means nothing."""
    with Server(ServerConfig(port=0, preload=("all",))) as server:
        assert server.preloading.wait(TIMEOUT_S)

    assert "nothing is preloaded: there is no named local dataset" in caplog.messages


@pytest.mark.parametrize(
    ("given", "expected"), [("all", ("all",)), (["a/b", "local/c"], ("a/b", "local/c"))]
)
def test_the_file_takes_a_text_or_a_list(tmp_path: Path, given: Any, expected: Any) -> None:
    """A single dataset needs no list."""
    file = tmp_path / "server.yaml"
    file.write_text(yaml.safe_dump({"preload": given}))

    assert read_config_file(str(file)).values == {"preload": expected}


@pytest.mark.parametrize("given", [3, True, {"a": "b"}, [1], [["a"]]])
def test_the_file_takes_nothing_else(tmp_path: Path, given: Any) -> None:
    """A value of another type is refused by its line."""
    file = tmp_path / "server.yaml"
    file.write_text(yaml.safe_dump({"preload": given}))

    with pytest.raises(SettingError, match="'preload' in line 1 must be a list of strings"):
        read_config_file(str(file))


def test_an_empty_name_is_refused() -> None:
    """An empty text, as an unset variable of a shell gives, is no dataset."""
    with pytest.raises(FdssError, match="one of them is empty"):
        ServerConfig(preload=("local/a", " "))

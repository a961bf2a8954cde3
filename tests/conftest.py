"""What every test stands on: a home of its own, a clean environment, a small dataset."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import fdss

if TYPE_CHECKING:
    from datasets import Dataset

SAMPLE_ROWS = 1000

_CLEARED = ("FDSS_", "FORGATHER_", "HF_", "HUGGINGFACE_", "XDG_", "WIN_PD_OVERRIDE_")
_PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy"}
_AUTHORITIES = {"requests_ca_bundle", "ssl_cert_file", "ssl_cert_dir"}
_CI_VARIABLE = "FDSS_CI"

if importlib.util.find_spec("hypothesis") is not None:
    from hypothesis import HealthCheck, settings

    # The same examples in every run: what a run finds, the next one finds too.
    settings.register_profile(
        "same",
        deadline=None,
        derandomize=True,
        database=None,
        # How long examples take to be made says more of the machine than of them.
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.register_profile("random", deadline=None, print_blob=True)
    settings.load_profile("same")


def _home_variables(home: Path) -> dict[str, str]:
    """Return the variables that move everything a program keeps at home into ``home``."""
    return {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "APPDATA": str(home / "AppData" / "Roaming"),
        "LOCALAPPDATA": str(home / "AppData" / "Local"),
        "WIN_PD_OVERRIDE_APPDATA": str(home / "AppData" / "Roaming"),
        "WIN_PD_OVERRIDE_LOCAL_APPDATA": str(home / "AppData" / "Local"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "XDG_STATE_HOME": str(home / ".local" / "state"),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "HF_HOME": str(home / ".cache" / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }


def _is_cleared(variable: str) -> bool:
    return variable.startswith(_CLEARED) or variable.lower() in _PROXIES | _AUTHORITIES


def pytest_configure(config: pytest.Config) -> None:
    """Move home away before anything is imported: ``datasets`` reads it only once."""
    told = getattr(config, "workerinput", os.environ).get(_CI_VARIABLE, "")
    config.stash[_IN_CI] = told not in ("", "0")
    config.stash[_SESSION_HOME] = home = Path(tempfile.mkdtemp(prefix="fdss-tests-"))
    for variable in filter(_is_cleared, list(os.environ)):
        del os.environ[variable]
    os.environ.update(_home_variables(home))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell has what it runs in the background ignore it, and children inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let pytest-rerunfailures tell of each test at once: Nagle's algorithm takes 40 ms a test."""
    counts = getattr(getattr(session.config, "failures_db", None), "sock", None)
    if isinstance(counts, socket.socket):
        counts.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's home."""
    shutil.rmtree(config.stash[_SESSION_HOME], ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of pytest-xdist, whose environment is cleared already, what this one knows."""
    node.workerinput[_CI_VARIABLE] = "1" if node.config.stash[_IN_CI] else "0"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Give ``-n auto`` more processes than processors: many tests wait for other processes."""
    return 2 * (os.cpu_count() or 1)


_SESSION_HOME = pytest.StashKey[Path]()
_IN_CI = pytest.StashKey[bool]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run."""
    for mark in item.iter_markers("only_on"):
        if not sys.platform.startswith(mark.args):
            pytest.skip(f"only on {', '.join(mark.args)}")
    if item.get_closest_marker("torch") and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, report a skipped test as failed, unless this platform cannot run it."""
    report = yield
    expected = hasattr(report, "wasxfail") or item.get_closest_marker("only_on")
    if item.config.stash[_IN_CI] and report.skipped and not expected:
        report.outcome = "failed"
        report.longrepr = f"skipped, and nothing may be skipped here: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI, report a module that skips itself as failed."""
    report = yield
    if collector.config.stash[_IN_CI] and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, and nothing may be skipped here: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test an empty home and an environment without settings and proxies."""
    for variable in filter(_is_cleared, list(os.environ)):
        monkeypatch.delenv(variable)
    home = tmp_path / "home"
    home.mkdir()
    for variable, value in _home_variables(home).items():
        monkeypatch.setenv(variable, value)
    return home


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """Leave the level as it was: the settings of a server change it for the whole process."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a call that runs this Python elsewhere, with the fdss under test, to its end."""
    environment = {**os.environ, "PYTHONPATH": str(Path(fdss.__file__).parents[1])}

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            check=check,
            capture_output=True,
            cwd=tmp_path,
            encoding="utf-8",
            env={**environment, "PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            timeout=300,
        )

    return run


@pytest.fixture(scope="session")
def sample_rows() -> list[dict[str, Any]]:
    """Return the rows of the sample dataset: text (not all ASCII), numbers, a list, a None."""
    return [
        {
            "text": f"Row {row} says grüße \u2028 to row {(row * 7919) % SAMPLE_ROWS}.",
            "number": row,
            "score": row / 8,
            "tags": [f"tag-{row % 3}"] * (row % 4),
            "maybe": None if row % 5 == 0 else row % 5,
        }
        for row in range(SAMPLE_ROWS)
    ]


@pytest.fixture(scope="session")
def sample_dataset(sample_rows: list[dict[str, Any]]) -> Dataset:
    """Return the sample rows as a dataset in memory."""
    from datasets import Dataset

    return Dataset.from_list(sample_rows)


@pytest.fixture(scope="session")
def sample_folder(sample_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a ``save_to_disk`` folder of the sample rows in three files; never changed."""
    folder = tmp_path_factory.mktemp("sample") / "saved"
    sample_dataset.save_to_disk(str(folder), num_shards=3)
    return folder


@pytest.fixture
def own_sample_folder(sample_folder: Path, tmp_path: Path) -> Iterator[Path]:
    """Yield a copy of the sample folder that the test may change."""
    own = tmp_path / "own-sample"
    shutil.copytree(sample_folder, own)
    yield own

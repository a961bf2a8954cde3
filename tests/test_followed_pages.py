"""README and quick starts as a reader follows them: every block, in order, on machines of a kind.

All machines are this one, with a home each: the name of the data host and the ports are the only
words of a page that are changed, and FDSS is installed already.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from ports import free_port
from reading_along import Block, Machine, machines, read_along
from ssh import running_sshd

from fdss.order import Order

ROOT = Path(__file__).parents[1]

pytestmark = [pytest.mark.only_on("linux", "darwin"), pytest.mark.torch]

SERVER_FILE = ".config/forgather/dataset_server/config.yaml"
ROUTER_FILE = ".config/forgather/server/config.yaml"

Places = dict[str, Machine]


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    """Run a data host with an sshd, and two machines that know it as ``datahost``."""
    server, router, tunnel = (str(free_port()) for _ in range(3))
    home = tmp_path / "datahost"
    folder = tmp_path / "sshd"
    folder.mkdir()
    token_file = {"8766.token": f"{server}.token"}
    https = {
        "//datahost:8766": f"//localhost:{server}",
        "//datahost:8765": f"//localhost:{router}",
    }
    own = {
        "python -m pip install . && ": "",
        "//127.0.0.1:8766": f"//127.0.0.1:{server}",
        "//127.0.0.1:8765": f"//127.0.0.1:{router}",
        "--host datahost": "--host localhost",
    }
    data_host = Machine(home, {**own, **https, **token_file})
    _write(home / SERVER_FILE, f"port: {server}\n")
    _write(home / ROUTER_FILE, f"router:\n  port: {router}\n")
    workstation = Machine(
        tmp_path / "workstation",
        {
            "8766:127.0.0.1:8766": f"{tunnel}:127.0.0.1:{server}",
            "localhost:8766": f"localhost:{tunnel}",
            **token_file,
        },
    )
    node = Machine(tmp_path / "node", {**https, **token_file})
    with (
        tempfile.TemporaryDirectory(prefix="fdss-") as short,
        running_sshd(folder, home) as ssh,
        machines(the_data_host=data_host, the_workstation=workstation, every_node=node) as named,
    ):
        control = Path(short) / "control"
        workstation.install("ssh", ssh.client("datahost", control))
        node.install("ssh", ssh.client("datahost"))
        try:
            yield named
        finally:
            if control.exists():
                workstation.shell("ssh -O exit datahost")


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(text, "utf-8")


def _page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_readme(places: Places) -> None:
    """Rows come into a training loop through a tunnel, and into one that goes on."""
    printed = read_along(_page("README.md"), places)

    assert "every row exactly once" in printed[0]
    assert _has_three_stories(printed)
    told = places["the workstation"].run(Block("python", "print(first['text'], second['text'])"))
    first, second = Order(10_000, 7, window=1000).rows(np.arange(2))
    assert told.startswith(f"This is story {first}. This is story {second}.")
    page = requests.get(places["the data host"].changed("http://127.0.0.1:8765/"), timeout=30)
    assert page.ok and "<form" in page.text


def test_quick_start_of_a_workstation(places: Places) -> None:
    """A run through a tunnel goes on from its checkpoint."""
    printed = read_along(_page("docs/quickstart-workstation.md"), places)

    assert _has_three_stories(printed)
    assert re.findall(r"trained on (\d+) rows", printed[-1]) == ["10000", "400"]


def test_quick_start_of_several_machines(places: Places) -> None:
    """Ranks read over HTTPS, go on as more of them, and through a router as fewer."""
    printed = read_along(_page("docs/quickstart-training.md"), places)

    assert _has_three_stories(printed)
    assert "local/stories" in printed[-1]
    # 3,600 rows are left of the first epoch behind 100 steps of 64 rows.
    resumed = 100 + 38 + 105
    assert _steps(printed[-3]) == {*_ranks(2, 2 * 157), *_ranks(3, resumed)}
    # Behind 200 steps it has had 62 batches of 96 rows in its second epoch.
    assert _steps(printed[-1]) == {*_ranks(2, 200 + 64)}


def _has_three_stories(printed: list[str]) -> bool:
    return any(len(re.findall(r"This is story \d+\.", told)) == 3 for told in printed)


def _steps(told: str) -> set[tuple[int, ...]]:
    found = re.findall(r"rank (\d) of (\d) has made (\d+) steps", told)
    return {tuple(map(int, each)) for each in found}


def _ranks(count: int, steps: int) -> set[tuple[int, ...]]:
    return {(rank, count, steps) for rank in range(count)}

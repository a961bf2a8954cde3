"""The page of the cluster, also of a large one."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from functools import partial

import pytest
from clusters import MakePeer, eventually
from scenes import LOCALS, MB, cached, holds, is_busy, local
from visitors import Visitor, visitor

from fdss.router.knowledge import Server, Tally
from fdss.router.membership import Member
from fdss.router.offers import Load, Offer, Policy
from fdss.router.router import Router
from fdss.web.snapshots import Snapshot

SERVERS, DATASETS = 50, 2_000
#: As much as a page of a large cluster may weigh.
MAX_PAGE_BYTES = 100_000


@pytest.fixture(scope="module")
def large() -> Router:
    """Return a router that knows 50 servers with 2,000 datasets, three servers for each."""
    router = Router([])
    members = [
        Member(f"https://data-{at:02}.example:8766", "t", f"data-{at:02}") for at in range(SERVERS)
    ]
    router.knowledge.set_members(members)
    for at, member in enumerate(members):
        router.knowledge.change(member.server_id, partial(_known, at))
    return router


def _known(at: int, server: Server) -> Server:
    held = [
        n for n in range(DATASETS) if at in {n % SERVERS, n * 7 % SERVERS, (n * 3 + 1) % SERVERS}
    ]
    cache = [cached(f"org/dataset-{n:04}", {"train": n}, n * MB) for n in held if n % 2]
    folders = [local(f"folder-{n:04}", {"train": n}, n * MB) for n in held if n % 2 == 0]
    return replace(
        server,
        is_healthy=at % 10 != 0 or at == 0,
        latency_s=0.01,
        health=Tally().passed(time.time()),
        refresh=Tally().passed(time.time()),
        offer=Offer.from_answers({"local": folders}, {"datasets": cache}, {}),
        load=Load(2, 1.5 * MB),
        policy=Policy(hub=True),
    )


def _rows(html: str, caption: str) -> list[str]:
    table = html.partition(f"<caption>{caption}")[2].partition("</table>")[0]
    found = re.findall(r"<tr>(.*?)</tr>", table.partition("<tbody>")[2], re.DOTALL)
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", row)).strip() for row in found]


def test_the_cluster_is_shown_with_its_load(guest: Visitor, peer: MakePeer, router: Router) -> None:
    """Nodes, servers and datasets stand there with health, ages, streams and bytes a second."""
    first, second = peer("one"), peer("two")
    for busy in (first, second):
        is_busy(busy, 3, 2 * MB)
        holds(busy, locals_=LOCALS)
    eventually(lambda: [len(d["server_ids"]) for d in router.inventory()["datasets"]] == [2, 2])
    eventually(lambda: all(server["load"] for server in router.server_list()["servers"]))
    eventually(lambda: "4.0 MB/s" in guest.get("/cluster").text)
    page = guest.get("/cluster").text

    assert _rows(page, "Machines")[0].split() == ["127.0.0.1", "2", "of", "2", "6", "4.0", "MB/s"]
    assert [row.split()[0] for row in _rows(page, "Servers")] in (["one", "two"], ["two", "one"])
    assert all("3 2.0 MB/s" in row and "s ago" in row for row in _rows(page, "Servers"))
    assert [row.split()[:2] for row in _rows(page, "Datasets")] == [
        ["local/instruct-mix", "local"],
        ["local/stories", "local"],
    ]
    assert {"one", "two"} <= set(_rows(page, "Datasets")[0].split())


def test_a_conflict_is_told_with_its_servers(
    guest: Visitor, peer: MakePeer, router: Router
) -> None:
    """Two contents under one name are told with the servers that have each."""
    holds(peer("one"), locals_=[local("stories", {"train": 1}, 1, "a" * 16)])
    holds(peer("two"), locals_=[local("stories", {"train": 2}, 1, "b" * 16)])
    eventually(lambda: router.inventory()["conflicts"])
    eventually(lambda: "Different rows under one name" in guest.get("/cluster").text)
    page = guest.get("/cluster").text
    told = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.partition("Different rows")[2]))

    assert "local/stories" in told.partition("Jobs stay")[0]
    assert {"one", "two"} <= set(told.partition("Jobs stay")[0].split())
    assert '<span class="chip bad">conflict</span>' in page


@pytest.mark.parametrize(
    "path", ["/servers", "/cluster", "/cluster?sets.q=0042", "/cluster?sets.sort=-size", "/explore"]
)
def test_a_large_cluster_makes_small_pages(large: Router, path: str) -> None:
    """50 servers and 2,000 datasets make pages of less than 100 kB."""
    answer = visitor(large, token=None).get(path)

    assert answer.status_code == 200
    assert len(answer.data) < MAX_PAGE_BYTES


def test_every_dataset_of_a_large_cluster_can_be_found(large: Router) -> None:
    """Pages together show each dataset once, and a search finds any."""
    anybody = visitor(large, token=None)
    first = anybody.get("/cluster").text
    pages = int(re.findall(r'aria-label="Page (\d+) of datasets"', first)[-1])
    shown = [
        row.split()[0]
        for page in range(1, pages + 1)
        for row in _rows(anybody.get(f"/cluster?sets.page={page}").text, "Datasets")
    ]

    assert len(shown) == len(set(shown)) == DATASETS
    assert shown == sorted(shown)
    found = _rows(anybody.get("/cluster?sets.q=dataset-1999").text, "Datasets")
    assert [row.split()[0] for row in found] == ["org/dataset-1999"]
    assert _rows(anybody.get("/cluster?sets.page=999").text, "Datasets")[-1].startswith(shown[-1])


def test_links_lead_to_the_same_page_whatever_its_parameters(large: Router) -> None:
    """No parameter of an address turns a link of a table into one to another place."""
    guest = visitor(large)
    guest.log_in()
    told = "_external=1&_scheme=javascript&_anchor=x&_method=POST&endpoint=e&server_id=other"
    page = guest.get(f"/cluster?{told}")
    links = re.findall(r'<a class="(?:sort|page)"[^>]* href="([^"]*)"', page.text)

    assert page.status_code == 200 and len(links) > 10
    assert all(link.startswith("/cluster?_external=1&amp;_scheme=javascript&") for link in links)


def test_scripts_get_only_what_changes(large: Router) -> None:
    """What is asked for again and again is the part of the page that changes."""
    anybody = visitor(large, token=None)
    whole = anybody.get("/cluster").text
    part = anybody.get("/cluster", **{"FDSS-Script": "1"}).text

    assert "<html" in whole
    assert "<html" not in part
    assert '<nav aria-label="Sections"' not in part
    assert _rows(part, "Datasets") == _rows(whole, "Datasets")


def test_many_who_look_share_one_answer() -> None:
    """What is shown is made once a moment, and more seldom the longer it takes."""
    now_s = 0.0
    made = []

    def make() -> dict[str, int]:
        nonlocal now_s
        now_s += 2.0
        made.append(now_s)
        return {"made": len(made)}

    snapshot = Snapshot(make, clock=lambda: now_s)
    assert [snapshot.get()["made"] for _ in range(100)] == [1] * 100
    now_s = 2.0 + 8.0 - 0.1
    assert snapshot.get()["made"] == 1
    now_s = 2.0 + 8.0
    assert snapshot.get()["made"] == 2

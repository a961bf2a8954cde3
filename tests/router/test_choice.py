"""The choice itself, without a network: balance, suspicion, who may be sent where."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from fdss.arguments import LoadArguments
from fdss.errors import NobodyServes, Unavailable
from fdss.router.balance import Balance
from fdss.router.candidates import UNHEARD_S, Question
from fdss.router.knowledge import (
    DEPARTED_S,
    MOST_DEPARTED,
    SUSPECTED_S,
    WARM_PATIENCE_S,
    Knowledge,
    Server,
)
from fdss.router.membership import Member
from fdss.router.names import REGISTRY
from fdss.router.offers import Load, Offer, Policy
from fdss.router.probing import Prober
from fdss.router.resolving import Resolver

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "repo", "handle", "configs", "config", "splits", "local", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def _server(number: int, load: Load | None = None) -> Server:
    return Server(Member(f"http://host-{number}.example:1"), is_healthy=True, load=load)


def _balance(clock: Clock | None = None) -> Balance:
    return Balance(Knowledge(clock or Clock()), random.Random(7))


def test_clients_that_nothing_is_known_for_are_spread() -> None:
    """Without a word from the servers, each of five gets its fifth of clients within 10 %."""
    servers = [_server(number) for number in range(5)]
    balance = _balance()

    counts = Counter(balance.choose(servers).server_id for _ in range(500))

    assert set(counts) == {server.server_id for server in servers}
    assert all(90 <= count <= 110 for count in counts.values())


def test_first_client_goes_anywhere() -> None:
    """With nothing known at all, every server is as likely as another."""
    servers = [_server(number) for number in range(4)]
    seeds = range(400)

    counts = Counter(
        Balance(Knowledge(), random.Random(seed)).choose(servers).server_id for seed in seeds
    )

    assert all(70 <= counts[server.server_id] <= 130 for server in servers)


def test_less_of_streams_and_bytes_wins() -> None:
    """Streams and bytes a second count alike; clients just sent count as streams."""
    busy, idle = _server(0, Load(20, 2e8)), _server(1, Load(10, 1e8))
    balance = _balance()

    first = [balance.choose([busy, idle]).server_id for _ in range(5)]
    herd = Counter(balance.choose([busy, idle]).server_id for _ in range(100))

    assert first == [idle.server_id] * 5
    assert 0 < herd[busy.server_id] < herd[idle.server_id]


def test_what_was_sent_is_forgotten() -> None:
    """A server that got a herd is even with the others after a few minutes."""
    clock = Clock()
    balance = _balance(clock)
    for _ in range(64):
        balance.choose([_server(0)])
    assert {balance.choose([_server(0), _server(1)]).server_id for _ in range(20)} == {
        _server(1).server_id
    }

    clock.now_s += 600

    assert len({balance.choose([_server(0), _server(1)]).server_id for _ in range(20)}) == 2


def test_suspected_server_comes_last() -> None:
    """A server that failed two clients is chosen only if there is no other, for ten seconds."""
    clock = Clock()
    knowledge = Knowledge(clock)
    knowledge.set_members([_server(0).member, _server(1).member])
    balance = Balance(knowledge, random.Random(7))

    assert knowledge.complain(_server(0).server_id, "first")
    assert not knowledge.complain(_server(0).server_id, "first")
    assert not knowledge.complain("nobody", "first")
    assert len({balance.choose(knowledge.servers()).server_id for _ in range(20)}) == 2
    knowledge.complain(_server(0).server_id, "second")

    assert {balance.choose(knowledge.servers()).server_id for _ in range(20)} == {
        _server(1).server_id
    }
    failed = knowledge.get(_server(0).server_id)
    assert failed is not None
    assert balance.choose([failed]) == failed
    clock.now_s += SUSPECTED_S
    assert len({balance.choose(knowledge.servers()).server_id for _ in range(20)}) == 2


def test_router_waits_for_the_others_before_it_is_warm() -> None:
    """The first server that answers is not given to everybody before the others had a moment."""
    clock = Clock()
    knowledge = Knowledge(clock)
    knowledge.set_members([_server(0).member, _server(1).member])
    assert not knowledge.is_warm

    knowledge.change(_server(0).server_id, lambda server: replace(server, offer=Offer()))

    assert not knowledge.is_warm
    clock.now_s += WARM_PATIENCE_S
    assert knowledge.is_warm


def test_router_is_warm_once_all_have_answered() -> None:
    """When each server has told what it offers, or is down, nobody waits."""
    knowledge = Knowledge(Clock())
    knowledge.set_members([_server(0).member, _server(1).member])
    knowledge.change(_server(0).server_id, lambda server: replace(server, offer=Offer()))

    knowledge.change(_server(1).server_id, lambda server: replace(server, is_healthy=False))

    assert knowledge.is_warm


@pytest.mark.parametrize("is_near", [True, False])
def test_loopback_address_is_for_this_machine_only(is_near: bool) -> None:
    """A client on another machine is never sent to a loopback address, and told why."""
    member = Member("http://127.0.0.1:1")
    resolver = _resolver(replace(_server(0), member=member, offer=Offer(local={"local/s": {}})))
    question = Question(LoadArguments("local/s"), is_near=is_near)

    if is_near:
        assert resolver.resolve(question).member == member
    else:
        with pytest.raises(NobodyServes, match="loopback"):
            resolver.resolve(question)


def test_path_goes_to_servers_that_allow_paths() -> None:
    """An absolute path of any system, or a file format, goes where paths are allowed."""
    resolver = _resolver(
        replace(_server(0), offer=Offer(), policy=Policy(hub=True)),
        replace(_server(1), offer=Offer(), policy=Policy(hub=True, paths=True)),
    )

    for path in ("/data/x", "~/x", "C:\\x", "\\\\host\\share", "json"):
        found = resolver.resolve(Question(LoadArguments(path)))
        assert found.server_id == _server(1).server_id


def test_server_without_hub_is_sent_no_hub_id() -> None:
    """A server that has the Hub switched off is never a candidate for a Hub id."""
    resolver = _resolver(replace(_server(0), offer=Offer(), policy=Policy()))

    with pytest.raises(NobodyServes):
        resolver.resolve(Question(LoadArguments("some/dataset")))


def test_member_that_has_left_and_nobody_else_is_no_end() -> None:
    """A cluster that has become empty is no healthy one: 503."""
    knowledge, resolver = _parts(replace(_server(0), offer=Offer()))

    knowledge.set_members([])

    with pytest.raises(Unavailable, match="no servers"):
        resolver.resolve(Question(LoadArguments("local/s")))


def test_complaint_of_long_ago_counts_no_more() -> None:
    """A second client has to complain within ten seconds of the first."""
    clock = Clock()
    knowledge = Knowledge(clock)
    knowledge.set_members([_server(0).member])
    server_id = _server(0).server_id
    assert knowledge.complain(server_id, "first")
    clock.now_s += SUSPECTED_S

    assert knowledge.complain(server_id, "second")

    (known,) = knowledge.servers()
    assert (known.suspected_until_s, list(known.complaints)) == (0.0, ["second"])


@pytest.mark.parametrize("client", ["first", "second"])
def test_many_complaints_take_no_room(client: str) -> None:
    """However many clients complain of a server, the last two are remembered."""
    knowledge = Knowledge(Clock())
    knowledge.set_members([_server(0).member])
    for number in range(100):
        knowledge.complain(_server(0).server_id, f"client-{number}")

    knowledge.complain(_server(0).server_id, client)

    (known,) = knowledge.servers()
    assert list(known.complaints) == ["client-99", client]


def test_server_that_left_is_awaited_for_a_quarter_of_an_hour() -> None:
    """Who left had its names, not others: 503 for these, then 410; 410 at once for the rest."""
    clock = Clock()
    gone = replace(_server(0), offer=Offer(local={"local/s": {}}))
    stays = replace(_server(1), offer=Offer())
    knowledge, resolver = _parts(gone, stays, clock=clock)

    knowledge.set_members([stays.member])

    with pytest.raises(Unavailable, match="host-0"):
        resolver.resolve(Question(LoadArguments("local/s")))
    with pytest.raises(NobodyServes):
        resolver.resolve(Question(LoadArguments("local/typo")))
    clock.now_s += DEPARTED_S
    with pytest.raises(NobodyServes):
        resolver.resolve(Question(LoadArguments("local/s")))


def test_server_that_comes_back_is_checked_first() -> None:
    """Who comes back offers what it had, and is chosen once it is known to be healthy."""
    gone = replace(_server(0), offer=Offer(local={"local/s": {}}))
    knowledge, resolver = _parts(gone)
    knowledge.set_members([])
    knowledge.set_members([gone.member])

    with pytest.raises(Unavailable, match="host-0"):
        resolver.resolve(Question(LoadArguments("local/s")))
    knowledge.change(gone.server_id, lambda server: replace(server, is_healthy=True))

    assert resolver.resolve(Question(LoadArguments("local/s"))).member == gone.member
    assert knowledge.departed() == []


def test_server_that_an_operator_removed_is_not_awaited() -> None:
    """Who is taken out of the registry is forgotten: its names are a 410 at once."""
    member = replace(_server(0).member, source=REGISTRY)
    gone = replace(_server(0), member=member, offer=Offer(local={"local/s": {}}))
    stays = replace(_server(1), offer=Offer())
    knowledge, resolver = _parts(gone, stays)

    knowledge.set_members([stays.member])

    with pytest.raises(NobodyServes):
        resolver.resolve(Question(LoadArguments("local/s")))


def test_server_never_heard_is_awaited_for_ten_minutes() -> None:
    """A dead entry keeps names that nobody has waiting for ten minutes, and no longer."""
    clock = Clock()
    dead = replace(_server(0), is_healthy=False, since_s=clock.now_s)
    _, resolver = _parts(dead, replace(_server(1), offer=Offer()), clock=clock)
    question = Question(LoadArguments("local/s"))

    with pytest.raises(Unavailable, match="host-0"):
        resolver.resolve(question)
    clock.now_s += UNHEARD_S

    with pytest.raises(NobodyServes):
        resolver.resolve(question)


def test_servers_that_come_and_go_take_no_room() -> None:
    """Of servers that left, so many are remembered, those that left last."""
    knowledge = Knowledge(Clock())
    for number in range(MOST_DEPARTED + 10):
        member = _server(number).member
        knowledge.set_members([member])
        knowledge.change(
            member.server_id, lambda server: replace(server, is_healthy=True, offer=Offer())
        )
    knowledge.set_members([])

    left = {server.member.base_url for server in knowledge.departed()}

    assert len(left) == MOST_DEPARTED
    assert "http://host-9.example:1" not in left
    assert "http://host-10.example:1" in left


@given(JSON, JSON, JSON)
def test_offers_are_made_of_anything(local: object, cache: object, handles: object) -> None:
    """Whatever JSON a server answers, an offer is made of what can be understood."""
    offer = Offer.from_answers({"local": local}, {"datasets": cache}, {"handles": handles})

    offer.has_cached("a/b", "name", "train")
    for path in offer.local:
        offer.has_local_split(path, "train")
    assert Load.from_health({"load": local}) is None
    assert Policy.from_health({"policy": cache}) == Policy()


def _resolver(*servers: Server) -> Resolver:
    return _parts(*servers)[1]


def _parts(*servers: Server, clock: Clock | None = None) -> tuple[Knowledge, Resolver]:
    knowledge = Knowledge(clock or Clock())
    knowledge.set_members([server.member for server in servers])
    for server in servers:
        knowledge.change(server.server_id, lambda _, known=server: known)  # type: ignore[misc]
    prober = Prober(knowledge, lambda: None)
    return knowledge, Resolver(knowledge, prober, Balance(knowledge))

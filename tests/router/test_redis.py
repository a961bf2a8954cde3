"""Membership in a real Redis: servers write themselves, routers agree, a restart loses nobody."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from clusters import Redis, Route, Serve, eventually

from fdss.errors import SettingError
from fdss.router.announcing import Announcement, announce
from fdss.router.membership import Member
from fdss.router.names import SERVERS_PATH, shown_url
from fdss.router.redis_members import RedisMembership, index_key, server_key
from fdss.serving import Server

CLUSTER = "rack"

Announce = Callable[[Server], Announcement]


@pytest.fixture
def announced(redis_server: Redis) -> Iterator[Announce]:
    """Return a call that lets a server write itself into the Redis."""
    with contextlib.ExitStack() as stack:

        def write(server: Server) -> Announcement:
            member = Member(server.url, server.token or "", "one")
            return stack.enter_context(announce(redis_server.url, CLUSTER, member))

        yield write


def test_place_of_a_socket_is_in_the_log_alone(
    route: Route, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asks is told that Redis does not answer, but neither where nor with what password."""
    client = route(membership=f"unix://{tmp_path}/none.sock?password=secret")
    inventory = client.router.router.inventory
    eventually(lambda: inventory()["last_servers_collect_error"])

    assert inventory()["last_servers_collect_error"] == "Redis does not answer"
    assert "none.sock" in caplog.text and "secret" not in caplog.text


def test_two_routers_agree_at_their_next_look(
    redis_server: Redis, route: Route, serve: Serve, announced: Announce, small_folder: Path
) -> None:
    """Who comes and who goes is known to both routers of one Redis, which look twice a second."""
    own = {"membership": redis_server.url, "cluster": CLUSTER}
    routers = [route(**own), route(**own)]
    first, second = (serve(registered=False, s=small_folder) for _ in range(2))
    announced(first)

    def agree(*urls: str) -> bool:
        lists = [client.get(SERVERS_PATH).json()["servers"] for client in routers]
        return all({server["base_url"] for server in told} == set(urls) for told in lists)

    eventually(lambda: agree(first.url))
    eventually(lambda: all(client.knows(1) for client in routers))
    assert {client.chosen("local/s") for client in routers} == {first.url}

    leaving = announced(second)
    eventually(lambda: agree(first.url, second.url))

    leaving.close()
    eventually(lambda: agree(first.url))
    assert RedisMembership.every_s <= 0.5


def test_restart_of_redis_loses_no_server(
    redis_server: Redis, route: Route, serve: Serve, announced: Announce, small_folder: Path
) -> None:
    """While Redis is gone, and right after it comes back empty, clients are served."""
    server = serve(registered=False, s=small_folder)
    announced(server)
    client = route(membership=redis_server.url, cluster=CLUSTER)
    assert client.chosen("local/s") == server.url

    redis_server.kill()
    eventually(lambda: client.router.router.inventory()["last_servers_collect_error"])
    assert client.resolve("local/s").json()["base_url"] == server.url

    redis_server.start()
    eventually(lambda: not client.router.router.inventory()["last_servers_collect_error"])
    assert client.resolve("local/s").json()["base_url"] == server.url
    with redis.Redis.from_url(redis_server.url) as connection:
        eventually(lambda: connection.exists(server_key(CLUSTER, _id(server))))
    assert client.resolve("local/s").json()["base_url"] == server.url


def test_server_that_does_not_come_back_is_dropped_after_a_restart(redis_server: Redis) -> None:
    """Whoever has not written itself anew ten seconds after a restart belongs no more."""
    clock = [0.0]
    with contextlib.closing(
        RedisMembership(redis_server.url, CLUSTER, lambda: clock[0])
    ) as membership:
        member = Member("http://127.0.0.1:1", "secret", "one")
        with announce(redis_server.url, CLUSTER, member):
            eventually(lambda: len(membership.members()) == 1)
            redis_server.kill()
            with pytest.raises(OSError, match="does not answer"):
                membership.members()
        redis_server.start()

        clock[0] = 100.0
        assert len(membership.members()) == 1
        clock[0] = 109.9
        assert len(membership.members()) == 1
        clock[0] = 110.0
        assert membership.members() == []


def test_key_expires_by_itself(redis_server: Redis) -> None:
    """A server that dies is forgotten: its key has a time to live of ten seconds at most."""
    member = Member("http://127.0.0.1:1", "secret", "one")
    with redis.Redis.from_url(redis_server.url) as connection:
        with announce(redis_server.url, CLUSTER, member):
            eventually(lambda: connection.exists(server_key(CLUSTER, member.server_id)))
            left_ms = connection.pttl(server_key(CLUSTER, member.server_id))

            assert 0 < int(str(left_ms)) <= 10_000
        assert not connection.exists(server_key(CLUSTER, member.server_id))


def test_announcement_begins_before_redis_does(redis_server: Redis) -> None:
    """A server that starts while Redis is down is written as soon as it is up."""
    redis_server.kill()
    member = Member("http://127.0.0.1:1", "secret", "one")
    with (
        announce(redis_server.url, CLUSTER, member),
        contextlib.closing(RedisMembership(redis_server.url, CLUSTER)) as membership,
    ):
        redis_server.start()

        eventually(membership.members)
        (found,) = membership.members()
        assert (found.base_url, found.auth_token) == (member.base_url, member.auth_token)
        assert (found.label, found.source) == ("one", "redis")


def test_clusters_of_one_redis_know_nothing_of_each_other(redis_server: Redis) -> None:
    """A router sees the servers of its own cluster only."""
    member = Member("http://127.0.0.1:1", "secret", "one")
    with (
        announce(redis_server.url, CLUSTER, member),
        contextlib.closing(RedisMembership(redis_server.url, CLUSTER)) as own,
        contextlib.closing(RedisMembership(redis_server.url, "other")) as other,
    ):
        eventually(lambda: len(own.members()) == 1)

        assert other.members() == []


@pytest.mark.parametrize("value", ["", "3", "{", json.dumps({"base_url": "ftp://x"}), "[" * 9999])
def test_odd_keys_are_passed_over(redis_server: Redis, value: str) -> None:
    """What others have written under a server's key harms no router."""
    with redis.Redis.from_url(redis_server.url) as connection:
        connection.sadd(index_key(CLUSTER), "odd")
        connection.set(server_key(CLUSTER, "odd"), value)
    with contextlib.closing(RedisMembership(redis_server.url, CLUSTER)) as membership:
        assert membership.members() == []


def test_url_that_is_none_of_a_redis_is_refused() -> None:
    """A URL of another scheme is refused, and a password is never shown."""
    with pytest.raises(SettingError):
        RedisMembership("http://host", CLUSTER)
    assert shown_url("redis://:secret@host:6379/0") == "redis://host:6379/0"


def _id(server: Server) -> str:
    return Member(server.url).server_id

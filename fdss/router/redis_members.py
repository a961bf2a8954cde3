"""Membership in Redis: servers write keys that expire, and any number of routers reads them.

A server's key is ``fdss:<cluster>:server:<server id>`` and lives for 10 seconds; the set
``fdss:<cluster>:servers`` names the keys. Redis forgets everything when it restarts without
persistence, so a router keeps whom it knew until the servers have had time to write again.
"""

from __future__ import annotations

import errno
import json
import socket
import time
from collections.abc import Callable
from typing import cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fdss.errors import SettingError

from .membership import Member, member_from_json
from .names import shown_url

SOURCE = "redis"
TTL_S = 10
BEAT_S = 3.0
POLL_S = 0.3
TIMEOUT_S = 2.0
#: The set outlives every key in it, and vanishes with the cluster.
INDEX_TTL_S = 86_400

REDIS_ERRORS = (redis.RedisError, OSError)


class RedisMembership:
    """The servers that have written themselves into a Redis lately."""

    every_s = POLL_S

    def __init__(self, url: str, cluster: str, now_s: Callable[[], float] = time.monotonic) -> None:
        """Take the address; nothing is sent yet.

        Raises:
            SettingError: The URL is malformed.
        """
        self._client = connect(url)
        self._index = index_key(cluster)
        self._cluster = cluster
        self._now_s = now_s
        self._run = ""
        self._known: dict[str, Member] = {}
        self._keeps_until_s = 0.0

    def members(self) -> list[Member]:
        """Return the servers whose keys live, and after a restart of Redis those known before.

        Raises:
            OSError: Redis does not answer.
        """
        try:
            run = self._run_id()
            found = self._found()
        except REDIS_ERRORS as error:
            # What Redis says next may not be the whole truth.
            self._run = ""
            # Its own words may name a socket of this machine: they are for the log alone.
            raise OSError(errno.EIO, "Redis does not answer", str(error)) from error
        now_s = self._now_s()
        if run != self._run:
            self._run = run
            # At the first time nobody was known, so nobody can have been forgotten.
            self._keeps_until_s = now_s + TTL_S if self._known else now_s
        if now_s < self._keeps_until_s:
            found = {**self._known, **found}
        self._known = found
        return list(found.values())

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _run_id(self) -> str:
        return str(self._client.info("server").get("run_id", ""))

    def _found(self) -> dict[str, Member]:
        ids = sorted(cast("set[str]", self._client.smembers(self._index)))
        if not ids:
            return {}
        keys = [server_key(self._cluster, server_id) for server_id in ids]
        values = cast("list[str | None]", self._client.mget(keys))
        members = [_member(value) for value in values if value is not None]
        return {member.server_id: member for member in members if member is not None}


class RedisPresence:
    """What a server writes of itself into a Redis."""

    every_s = BEAT_S

    def __init__(self, url: str, cluster: str, member: Member) -> None:
        """Take the address; nothing is sent yet.

        Raises:
            SettingError: The URL is malformed.
        """
        self._client = connect(url)
        self._index = index_key(cluster)
        self._key = server_key(cluster, member.server_id)
        self._member = member

    def show(self) -> None:
        """Write the key once more.

        Raises:
            OSError: Redis does not answer.
        """
        member = self._member
        text = json.dumps(
            {
                "base_url": member.base_url,
                "auth_token": member.auth_token,
                "label": member.label,
                "verify_tls": member.verify_tls,
                "hostname": socket.gethostname(),
            }
        )
        try:
            with self._client.pipeline(transaction=True) as pipeline:
                pipeline.set(self._key, text, ex=TTL_S)
                pipeline.sadd(self._index, member.server_id)
                pipeline.expire(self._index, INDEX_TTL_S)
                pipeline.execute()
        except REDIS_ERRORS as error:
            raise OSError(f"Redis does not answer: {error}") from error

    def close(self) -> None:
        """Say goodbye, so that routers need not wait for the key to expire."""
        try:
            with self._client.pipeline(transaction=True) as pipeline:
                pipeline.delete(self._key)
                pipeline.srem(self._index, self._member.server_id)
                pipeline.execute()
        except REDIS_ERRORS:
            # The key expires by itself.
            pass
        finally:
            self._client.close()


def connect(url: str) -> redis.Redis:
    """Return a client of the Redis at a URL; it connects when it is used.

    Raises:
        SettingError: The URL is malformed.
    """
    try:
        return redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            # A connection that a restart of Redis has cut is noticed when it is used.
            retry=Retry(NoBackoff(), 1),
        )
    except (ValueError, redis.RedisError) as error:
        raise SettingError(
            f"{shown_url(url)!r} is not the URL of a Redis: {error}",
            hint="write redis://HOST:6379/0, or rediss:// for TLS",
        ) from error


def index_key(cluster: str) -> str:
    """Return the key of the set of a cluster's servers."""
    return f"fdss:{cluster}:servers"


def server_key(cluster: str, server_id: str) -> str:
    """Return the key under which a server tells about itself."""
    return f"fdss:{cluster}:server:{server_id}"


def _member(value: str) -> Member | None:
    try:
        body = json.loads(value)
        return member_from_json(body, SOURCE) if isinstance(body, dict) else None
    except (ValueError, RecursionError):
        # SettingError is one, too: what others write into Redis is not this router's to mend.
        return None

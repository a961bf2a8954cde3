"""TLS on both sides of a router: what it proves itself with, and which servers it believes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from certificates import Authority, Files, self_signed
from certified import Certified
from clusters import FAST, Client, eventually

from fdss.config import ServerConfig
from fdss.router.config import RouterConfig
from fdss.router.membership import Member
from fdss.router.names import SERVERS_PATH, registry_file
from fdss.router.registry import Registry
from fdss.router.serving import RouterServer
from fdss.serving import Server
from fdss.tls.folder import TlsFolder
from fdss.tls.trust import ROOTS_VARIABLE
from fdss.wire.names import HEALTH_PATH


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return a certificate authority that nobody trusts yet."""
    return Authority(tmp_path)


def _config(files: Files, **local: Path) -> ServerConfig:
    return ServerConfig(port=0, tls_cert=files.cert, tls_key=files.key, local=local)


@pytest.fixture
def secure(authority: Authority, small_folder: Path) -> Iterator[Server]:
    """Run a dataset server with a certificate of the authority."""
    with Server(_config(authority.sign(), s=small_folder)) as server:
        yield server


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    """Run a router without TLS of its own."""
    with RouterServer(RouterConfig(ServerConfig(port=0)), FAST) as router:
        yield Client(router)


def _register(server: Server, *, verify_tls: bool = True) -> None:
    member = Member(server.url, server.token or "", verify_tls=verify_tls)
    Registry(registry_file()).add(member)


def _error(client: Client) -> str:
    servers = client.get(SERVERS_PATH).json()["servers"]
    return str(servers[0]["last_health_error"]) if servers else ""


def test_server_of_a_trusted_authority_is_chosen(
    client: Client, authority: Authority, secure: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An https server whose authority this machine trusts is a server like others."""
    monkeypatch.setenv(ROOTS_VARIABLE, str(authority.files.cert))
    _register(secure)

    assert client.chosen("local/s") == secure.url
    assert secure.url.startswith("https:")


def test_server_of_an_unknown_authority_is_down(client: Client, secure: Server) -> None:
    """An https server that cannot be verified is sent nothing and never chosen."""
    _register(secure)

    eventually(lambda: "verify failed" in _error(client))

    assert client.resolve("local/s").status_code == 503


def test_authority_imported_later_is_trusted(
    client: Client, authority: Authority, secure: Server
) -> None:
    """An authority imported while the router runs lets its servers in without a restart."""
    _register(secure)
    eventually(lambda: "verify failed" in _error(client))
    bundle = TlsFolder().bundle
    bundle.parent.mkdir(parents=True, exist_ok=True)

    bundle.write_bytes(authority.files.cert.read_bytes())

    assert client.chosen("local/s") == secure.url


def test_unverified_server_is_chosen_only_where_that_is_said(
    client: Client, tmp_path: Path, small_folder: Path
) -> None:
    """A self-signed server works once its entry says that it is not verified."""
    with Server(_config(self_signed(tmp_path), s=small_folder)) as server:
        _register(server)
        eventually(lambda: "verify failed" in _error(client))

        _register(server, verify_tls=False)

        assert client.chosen("local/s") == server.url


def test_router_itself_speaks_tls(home: Path, tmp_path: Path) -> None:
    """With a certificate the router is reached over https, and over http no more."""
    certified = Certified(tmp_path)
    own = certified.identity()
    files = Files(own.cert, own.key)
    with (
        RouterServer(RouterConfig(_config(files)), FAST) as router,
        contextlib.closing(requests.Session()) as session,
    ):
        url = router.url + HEALTH_PATH
        answer = session.get(url, timeout=60, verify=str(certified.ca))
        plain = session.get(url.replace("https:", "http:"), timeout=60)

    assert router.url.startswith("https:")
    assert (answer.status_code, plain.status_code) == (200, 400)

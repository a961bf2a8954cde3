"""``fdss bundle`` and ``fdss router add`` pass a server on from one machine to another."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from certified import Certified
from clusters import eventually
from command_line import Run
from ports import free_port

from fdss.bundles import Bundle, parse_bundle
from fdss.config import ServerConfig
from fdss.router.config import RouterConfig
from fdss.router.names import registry_file
from fdss.router.serving import RouterServer
from fdss.serving import Server
from fdss.tls.names import LOOPBACK, Names, local_names

OUTER = [ip for ip in local_names().ips if not ip.startswith("127.") and ":" not in ip]

needs_network = pytest.mark.skipif(not OUTER, reason="this machine has no address but its own")


def _port(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


@pytest.fixture
def open_server(home: Path) -> Iterator[Server]:
    """Run a server that listens on all addresses."""
    with Server(ServerConfig(host="0.0.0.0", port=0, insecure=True)) as running:
        yield running


def test_bundle_of_a_server_of_this_machine(server: Server, run_fdss: Run) -> None:
    """Standard output has the line alone; that it is a credential is said beside it."""
    ended = run_fdss("bundle", server.url)

    assert ended.code == 0 and ended.out.count("\n") == 1
    assert parse_bundle(ended.out) == Bundle("127.0.0.1", _port(server), server.token or "")
    assert "credential" in ended.err and "only this machine" in ended.err
    assert str(server.token) not in ended.err


@needs_network
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_bundle_names_an_address_that_others_reach(
    open_server: Server, run_fdss: Run, host: str
) -> None:
    """For a server on all addresses it names one of this machine's, at which it answers."""
    told = parse_bundle(run_fdss("bundle", f"http://{host}:{_port(open_server)}").out)

    assert told.host in OUTER
    with socket.create_connection((told.host, told.port), timeout=60):
        assert told.token == open_server.token


@needs_network
def test_another_server_at_that_port_is_not_named(home: Path, run_fdss: Run) -> None:
    """Where another server answers on the outer address, the bundle names the one asked."""
    port = free_port()
    config = ServerConfig(host=OUTER[0], port=port, insecure=True, auth_token="other", no_hf=True)
    with Server(config), Server(ServerConfig(port=port, auth_token="own")):
        file = home / "token"
        file.write_text("own", "utf-8")
        file.chmod(0o600)
        ended = run_fdss("bundle", f"http://127.0.0.1:{port}", "--token-file", str(file))

    assert parse_bundle(ended.out) == Bundle("127.0.0.1", port, "own")


def test_host_is_what_a_person_says(server: Server, run_fdss: Run) -> None:
    """--host names the server as the other machine knows it."""
    told = parse_bundle(run_fdss("bundle", server.url, "--host", "[fd00::7]").out)
    refused = run_fdss("bundle", server.url, "--host", "no host")

    assert told.url == f"http://[fd00::7]:{_port(server)}"
    assert (refused.code, refused.out) == (1, "")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]"])
def test_host_that_leads_nowhere_is_refused(server: Server, run_fdss: Run, host: str) -> None:
    """What a server listens on is no address that anybody reaches it by."""
    ended = run_fdss("bundle", server.url, "--host", host)

    assert ended.code == 1 and ended.out == ""
    assert host.strip("[]") in ended.err and "without --host" in ended.err


def test_bundle_of_a_server_with_tls(home: Path, run_fdss: Run, tmp_path: Path) -> None:
    """The bundle says https, and a name or address that the certificate has."""
    certified = Certified(tmp_path)
    identity = certified.identity(names=LOOPBACK | Names(ips=tuple(OUTER)))
    trusted = home / ".config" / "forgather" / "tls" / "ca-bundle.crt"
    trusted.parent.mkdir(parents=True)
    trusted.write_bytes(certified.ca.read_bytes())
    config = ServerConfig(
        host="0.0.0.0", port=0, tls=True, tls_cert=identity.cert, tls_key=identity.key
    )
    with Server(config) as server:
        ended = run_fdss("bundle", f"https://127.0.0.1:{_port(server)}")
        told = parse_bundle(ended.out)
        assert run_fdss("router", "add", ended.out.strip()).code == 0

    assert told.scheme == "https" and told.host in (OUTER or ["127.0.0.1"])
    assert "http hides nothing" not in ended.err
    assert json.loads(registry_file().read_text("utf-8"))[0]["base_url"] == told.url


def test_server_without_a_token_has_an_empty_one(
    home: Path, run_fdss: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing secret is in the bundle of a server that lets everybody in."""
    monkeypatch.setenv("FORGATHER_DATASET_SERVER_TOKEN", "of-another-server")
    with Server(ServerConfig(port=0, no_auth=True)) as server:
        ended = run_fdss("bundle", server.url)

    assert parse_bundle(ended.out).token == ""
    assert "credential" not in ended.err


def test_wrong_token_makes_no_bundle(
    server: Server, run_fdss: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server does not take is not passed on."""
    monkeypatch.setenv("FORGATHER_DATASET_SERVER_TOKEN", "wrong")

    ended = run_fdss("bundle", server.url)

    assert (ended.code, ended.out) == (1, "")
    assert "--token-file" in ended.err


def test_what_is_no_dataset_server_has_no_bundle(home: Path, run_fdss: Run) -> None:
    """A router, a URL with a path and a port where nobody answers are told as such."""
    with RouterServer(RouterConfig(ServerConfig(port=0))) as router:
        routed = run_fdss("bundle", router.url)
        pathed = run_fdss("bundle", f"{router.url}/data")
    nobody = run_fdss("bundle", router.url)

    assert [ended.code for ended in (routed, pathed, nobody)] == [1, 1, 1]
    assert "is a router" in routed.err
    assert "path" in pathed.err
    assert "Could not reach" in nobody.err


def _reads(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_bundle_is_read_past_the_shell(
    home: Path, run_fdss: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With - the line comes from standard input, and the history of the shell has no token."""
    _reads(monkeypatch, "forgather-dataset://gpu7:8766/?token=s3cret&scheme=https\n")

    ended = run_fdss("router", "add", "-", "--label", "gpu7")

    (entry,) = json.loads(registry_file().read_text("utf-8"))
    assert (entry["base_url"], entry["auth_token"]) == ("https://gpu7:8766", "s3cret")
    assert (ended.code, ended.err) == (0, "")
    assert "s3cret" not in ended.out


def test_nothing_on_standard_input_is_told(
    home: Path, run_fdss: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command before the pipe that failed has said why; what it did not print is no URL."""
    _reads(monkeypatch, "")

    ended = run_fdss("router", "add", "-")

    assert (ended.code, ended.out) == (1, "")
    assert "nothing came on standard input" in ended.err
    assert "see its error above" in ended.err


def test_bundle_as_an_argument_is_warned_of(home: Path, run_fdss: Run) -> None:
    """It is taken, and the person is told where its token is now."""
    ended = run_fdss("router", "add", "forgather-dataset://gpu7:8766/?token=s3cret")

    assert ended.code == 0 and "history" in ended.err
    assert "s3cret" not in ended.out + ended.err


def test_bundle_of_a_server_leads_a_router_to_it(
    server: Server, run_fdss: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fdss bundle prints is what fdss router add takes, and the router reads the server."""
    _reads(monkeypatch, run_fdss("bundle", server.url).out)
    run_fdss("router", "add", "-")

    with RouterServer(RouterConfig(ServerConfig(port=0))) as router:
        eventually(lambda: router.router.server_list()["servers"])
        (told,) = router.router.server_list()["servers"]
        assert router.router.proxy.ask(told["server_id"], "local")["local"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["forgather-dataset://gpu7"], ""),
        (["forgather-dataset://gpu7:8766/?token=s3cret&token=s3cret"], ""),
        (["forgather-dataset:s3cret"], ""),
        (["-"], ""),
        (["-"], "nonsense\n"),
        (["-", "--token-file", "-"], "http://gpu7:8766\n"),
        (["-", "--token-file", "anything"], "forgather-dataset://gpu7:1/?token=s3cret\n"),
    ],
)
def test_what_names_no_server_is_refused(
    home: Path,
    run_fdss: Run,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    text: str,
) -> None:
    """The error is one line and a hint, has no token, and nothing is registered."""
    _reads(monkeypatch, text)

    ended = run_fdss("router", "add", *arguments)

    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: ") and "s3cret" not in ended.err
    assert not registry_file().exists()

"""The router's settings: its section of a file, what is refused, where its token lies."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import requests
from ports import free_port

from fdss import tokens
from fdss.config import ServerConfig
from fdss.errors import SettingError
from fdss.hosts import is_loopback
from fdss.places import router_token_file
from fdss.router.config import RouterConfig, config_of, read_router_file
from fdss.router.entrance import open_entrance
from fdss.router.names import default_config_file
from fdss.router.serving import RouterServer
from fdss.wire.names import AUTH_STATUS_PATH, HEALTH_PATH

SECRET = "redis-password"


def test_section_of_the_default_file_is_read(home: Path) -> None:
    """The file beside the token is read without being named; other sections are left alone."""
    default_config_file().parent.mkdir(parents=True)
    default_config_file().write_text(
        "router:\n  port: 9000\n  membership: mdns\n  no-auth: true\nother:\n  port: x\n", "utf-8"
    )

    read = read_router_file(None)

    assert read.values == {"port": 9000, "membership": "mdns", "no_auth": True}
    assert config_of(read.values).entrance == ServerConfig(port=9000, no_auth=True)


def test_without_a_file_the_defaults_hold(home: Path) -> None:
    """A router listens on port 8765 of this machine and follows the registry."""
    read = read_router_file(None)

    config = RouterConfig()
    assert (read.path, read.values) == (None, {})
    assert (config.entrance.host, config.entrance.port) == ("127.0.0.1", 8765)
    assert (config.membership, config.cluster) == ("registry", "default")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("router: 3", "mapping"),
        ("router:\n  prot: 1", "'prot'"),
        ("router:\n  port: '1'", "integer"),
        ("router:\n  no_auth: 1", "true or false"),
        ("router: [", "YAML"),
    ],
)
def test_wrong_section_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """An unknown key, a value of another type and text that is no YAML are named."""
    file = tmp_path / "config.yaml"
    file.write_text(text, "utf-8")

    with pytest.raises(SettingError, match=message) as refused:
        read_router_file(str(file))
    assert str(file) in str(refused.value)


def test_file_that_is_named_must_exist(tmp_path: Path) -> None:
    """A file that was named and is not there is an error."""
    with pytest.raises(SettingError, match="does not exist"):
        read_router_file(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    "values",
    [
        {"membership": "consul"},
        {"membership": "http://host"},
        {"membership": "redis://host:port"},
        {"cluster": "a b"},
        {"cluster": ""},
        {"cluster": "x" * 64},
        {"port": 70_000},
        {"no_auth": True, "auth_token": "t"},
        {"servers_token_file": "/nowhere/token"},
    ],
)
def test_wrong_value_is_refused(values: dict[str, object]) -> None:
    """A value that is none of those allowed is refused before anything is bound."""
    with pytest.raises(SettingError):
        config_of(dict(values))


def test_log_of_settings_has_no_secret(tmp_path: Path) -> None:
    """Neither tokens nor the password of Redis stand in the lines that are logged."""
    file = tmp_path / "servers.token"
    tokens.keep(file, "servers-secret")
    config = config_of(
        {
            "auth_token": "router-secret",
            "membership": f"redis://:{SECRET}@host:6379/0",
            "servers_token_file": str(file),
        }
    )

    shown = "; ".join(config.as_lines())

    assert "membership: redis://host:6379/0" in shown
    assert not [word for word in (SECRET, "router-secret", "servers-secret") if word in shown]


def test_token_is_kept_for_clients_of_this_machine(home: Path) -> None:
    """The first router mints the token and later ones use it; the file is private."""
    with RouterServer(RouterConfig(ServerConfig(port=0))) as first:
        minted = first.token
    with RouterServer(RouterConfig(ServerConfig(port=0))) as second:
        assert second.token == minted == tokens.read_private(router_token_file())
    with RouterServer(RouterConfig(ServerConfig(port=0, regen_token=True))) as third:
        assert third.token != minted


def test_routers_that_start_at_once_share_one_token(home: Path) -> None:
    """Eight routers that start together have one token, the one in the file."""
    found: list[str | None] = []

    def start() -> None:
        # Where the token is settled; whole applications are made one at a time in a process.
        entrance = open_entrance(ServerConfig(port=0))
        found.append(entrance.token)
        entrance.socket.close()

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [tokens.read_private(router_token_file())] * 8


def test_health_is_open(home: Path) -> None:
    """Whoever balances routers may ask for health without a token."""
    with RouterServer(RouterConfig(ServerConfig(port=0))) as router:
        health = requests.get(router.url + HEALTH_PATH, timeout=60).json()
        auth = requests.get(router.url + AUTH_STATUS_PATH, timeout=60).json()

    assert (health["status"], health["service"]) == ("ok", "fdss-router")
    assert auth == {"auth_required": True}


def test_other_machines_are_let_in_over_tls_only(home: Path) -> None:
    """A router on another host than this machine needs TLS, or to be told otherwise."""
    with pytest.raises(SettingError, match="TLS"):
        RouterServer(RouterConfig(ServerConfig(host="0.0.0.0", port=0)))
    with RouterServer(RouterConfig(ServerConfig(host="0.0.0.0", port=0, insecure=True))) as router:
        assert is_loopback(router.url.split("//")[1].split(":")[0])
        assert any("--insecure" in line for line in router.banner)


def test_port_that_is_taken_is_told(home: Path) -> None:
    """A second router on a port is refused, and leaves nothing open."""
    with RouterServer(RouterConfig(ServerConfig(port=0))) as router:
        port = int(router.url.rpartition(":")[2])
        with pytest.raises(SettingError, match="taken"):
            RouterServer(RouterConfig(ServerConfig(port=port)))


def test_router_that_never_ran_can_be_closed(home: Path) -> None:
    """Closing a router that was only made releases its port."""
    port = free_port()
    router = RouterServer(RouterConfig(ServerConfig(port=port)))

    router.close()

    RouterServer(RouterConfig(ServerConfig(port=port))).close()

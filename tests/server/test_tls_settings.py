"""Whether a server speaks TLS, with what, and what it tells its operator about that."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from certified import Certified, serial_of
from click.testing import CliRunner

import fdss.serving
from fdss.cli.main import fdss as fdss_command
from fdss.config import ServerConfig
from fdss.entrance import open_entrance
from fdss.errors import SettingError
from fdss.protection import settle_protection
from fdss.serving import Server
from fdss.tls.certificates import pem_of, pem_of_key
from fdss.tls.context import Certificates, Identity
from fdss.tls.folder import TlsFolder
from fdss.tls.names import LOOPBACK

OTHERS = "0.0.0.0"
TIMEOUT_S = 60


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    """Return an authority with a folder for what it signs."""
    folder = tmp_path / "certified"
    folder.mkdir()
    return Certified(folder)


@pytest.fixture
def provision(certified: Certified) -> Callable[..., TlsFolder]:
    """Return what fills the TLS folder."""

    def provision(*, enabled: bool = True, days: int = 30) -> TlsFolder:
        folder = TlsFolder()
        folder.save(replace(folder.config, enabled=enabled))
        certificate, key = certified.authority.issue(LOOPBACK, days, name="server")
        folder.ca_cert.parent.mkdir(exist_ok=True)
        folder.ca_cert.write_bytes(pem_of([certified.authority.certificate]))
        folder.server_cert.write_bytes(pem_of([certificate]))
        folder.server_key.touch(0o600)
        folder.server_key.write_bytes(pem_of_key(key))
        return folder

    return provision


def _refusal(**settings: Any) -> SettingError:
    with pytest.raises(SettingError) as found:
        settle_protection(ServerConfig(**settings))
    return found.value


def test_nothing_provisioned_is_plain_http_on_this_machine() -> None:
    """Without a TLS folder a server on loopback is what it has always been."""
    found = settle_protection(ServerConfig())

    assert (found.scheme, found.warnings) == ("http", [])


def test_enabled_is_https_on_loopback_too(provision: Callable[..., TlsFolder]) -> None:
    """With TLS enabled nobody has to ask for it, and --no-tls is the way out."""
    folder = provision()
    found = settle_protection(ServerConfig())

    assert found.identity == Identity(folder.server_cert, folder.server_key)
    assert (found.scheme, found.ca) == ("https", folder.ca_cert)
    assert found.warnings[0].startswith(f"!! TLS: {folder.server_cert} expires in 29 days")
    assert settle_protection(ServerConfig(no_tls=True)).scheme == "http"


def test_disabled_is_plain_unless_asked_for(provision: Callable[..., TlsFolder]) -> None:
    """What lies there disabled is used with --tls only."""
    provision(enabled=False, days=200)

    assert settle_protection(ServerConfig()).scheme == "http"
    assert settle_protection(ServerConfig(tls=True)).scheme == "https"
    assert settle_protection(ServerConfig(tls=True, host=OTHERS)).warnings == []


def test_a_network_needs_tls_and_the_message_fits(provision: Callable[..., TlsFolder]) -> None:
    """Never provisioned, disabled, expired or switched off: each is told what helps."""
    assert "fdss tls init" in _refusal(host=OTHERS).hint
    provision(enabled=False)
    assert "fdss tls enable" in _refusal(host=OTHERS).hint
    provision(days=0)
    assert "fdss tls renew" in _refusal(host=OTHERS).hint
    assert "fdss tls renew" in _refusal(host=OTHERS, tls=True).hint
    provision(enabled=False, days=0)
    assert "fdss tls renew" in _refusal(host=OTHERS, tls=True).hint
    provision()
    assert "--no-tls" in _refusal(host=OTHERS, no_tls=True).hint
    assert settle_protection(ServerConfig(host=OTHERS)).scheme == "https"


def test_an_expired_certificate_is_used_at_home_with_a_warning(
    provision: Callable[..., TlsFolder],
) -> None:
    """A server on loopback starts with it, and says that no client will like it."""
    provision(days=0)
    found = settle_protection(ServerConfig())

    assert found.scheme == "https"
    assert "expired" in found.warnings[0]
    assert "fdss tls renew" in found.warnings[0]


def test_an_expired_certificate_that_was_named_is_no_tls_for_a_network(
    certified: Certified,
) -> None:
    """A named certificate that has expired serves this machine with a warning, and no network."""
    own = certified.identity(days=0)
    files: dict[str, Any] = {"tls_cert": own.cert, "tls_key": own.key}

    assert "has expired" in _refusal(host="0.0.0.0", **files).message
    [warning] = settle_protection(ServerConfig(**files)).warnings
    assert "replace the file" in warning
    assert settle_protection(ServerConfig(host="0.0.0.0", insecure=True, **files)).warnings


def test_consent_lets_others_in_without_tls_and_warns() -> None:
    """--insecure does what it says, loudly, and on loopback means nothing."""
    [warning] = settle_protection(ServerConfig(host=OTHERS, insecure=True)).warnings

    assert warning.startswith("!! --insecure")
    assert settle_protection(ServerConfig(insecure=True)).warnings == []


def test_consent_does_not_switch_tls_off(provision: Callable[..., TlsFolder]) -> None:
    """--insecure beside a certificate is HTTPS all the same."""
    provision(days=200)
    found = settle_protection(ServerConfig(host=OTHERS, insecure=True))

    assert (found.scheme, found.warnings) == ("https", [])


def test_tls_from_nothing_is_refused() -> None:
    """--tls without a certificate names the folder that has none."""
    refusal = _refusal(tls=True)

    assert str(TlsFolder().root) in refusal.message
    assert "fdss tls init" in refusal.hint


@pytest.mark.parametrize("lost", ["server_cert", "server_key"])
@pytest.mark.parametrize("settings", [{}, {"insecure": True}, {"host": OTHERS}])
def test_enabled_without_its_files_is_never_plain_http(
    provision: Callable[..., TlsFolder], lost: str, settings: dict[str, Any]
) -> None:
    """Files that are gone do not switch off what config.yaml enables; --no-tls does."""
    folder = provision()
    getattr(folder, lost).unlink()
    refusal = _refusal(**settings)

    assert "TLS is enabled" in refusal.message
    assert "fdss tls init" in refusal.hint
    assert "--no-tls" in refusal.hint
    assert settle_protection(ServerConfig(no_tls=True)).scheme == "http"


@pytest.mark.parametrize(
    "settings",
    [
        {"tls": True, "no_tls": True},
        {"tls_cert": Path("c"), "tls_key": Path("k"), "no_tls": True},
        {"tls_client_ca": Path("c"), "no_tls": True},
        {"tls_cert": Path("c")},
        {"tls_key": Path("k")},
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any]) -> None:
    """Half a pair, and on and off at once, are no settings."""
    with pytest.raises(SettingError):
        ServerConfig(**settings)


def test_a_client_authority_needs_tls() -> None:
    """Asking clients for a certificate over plain HTTP is an error, not a silent nothing."""
    assert "tls_client_ca" in _refusal(tls_client_ca=Path("c")).message


def test_files_that_are_not_what_they_should_be_are_named(
    certified: Certified, tmp_path: Path
) -> None:
    """Missing, foreign, encrypted or no PEM at all: the message says which file, and what."""
    good, other = certified.identity("good"), certified.identity("other")
    text = tmp_path / "text"
    text.write_text("no certificate")
    locked = tmp_path / "locked.key"
    locked.write_bytes(_encrypted(good.key))

    def message(cert: Path, key: Path, client_ca: Path | None = None) -> str:
        return _refusal(tls_cert=cert, tls_key=key, tls_client_ca=client_ca).message

    assert "'nowhere' cannot be read" in message(Path("nowhere"), good.key)
    assert "'nowhere' cannot be read" in message(good.cert, Path("nowhere"))
    assert "is not that of the certificate" in message(good.cert, other.key)
    assert "no TLS certificate and private key" in message(text, good.key)
    assert "no TLS certificate and private key" in message(good.cert, text)
    assert "passphrase" in message(good.cert, locked)
    assert f"{str(text)!r} holds no TLS client CA" in message(good.cert, good.key, text)
    assert "cannot be read" in message(good.cert, good.key, tmp_path)


def _encrypted(key: Path) -> bytes:
    from cryptography.hazmat.primitives import serialization

    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    return loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


@pytest.mark.only_on("linux", "darwin")
def test_a_key_that_others_may_read_is_told(certified: Certified) -> None:
    """A private key with the wrong mode is used, and the operator warned."""
    identity = certified.identity(days=200)
    identity.key.chmod(0o640)
    found = settle_protection(ServerConfig(tls_cert=identity.cert, tls_key=identity.key))

    assert found.warnings == [
        f"!! TLS: other users may read or change the private key {identity.key}"
    ]


def test_nothing_is_bound_before_tls_is_settled() -> None:
    """A server that cannot have its certificate takes no port."""
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as taken,
        pytest.raises(SettingError, match="TLS is asked for"),
    ):
        open_entrance(ServerConfig(tls=True, port=taken.getsockname()[1]))


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", "127.0.0.1"), (OTHERS, "127.0.0.1")])
def test_the_banner_tells_how_to_get_in(
    provision: Callable[..., TlsFolder], host: str, local: str
) -> None:
    """URL and curl line say https, and the curl line names the authority."""
    folder = provision(days=200)
    entrance = open_entrance(ServerConfig(host=host, port=0))
    entrance.socket.close()
    port, token = entrance.config.port, entrance.config.auth_token

    assert f"dataset_server URL: https://{host}:{port}/" in entrance.banner
    assert (
        f'curl --cacert {folder.ca_cert} -H "Authorization: Bearer {token}" '
        f"https://{local}:{port}/v1/datasets"
    ) in entrance.banner
    assert entrance.url == f"https://{local}:{port}"


def test_a_certificate_of_somebody_else_needs_no_authority_of_ours(
    provision: Callable[..., TlsFolder], tmp_path: Path
) -> None:
    """The curl line names this machine's authority only if it has signed the certificate."""
    folder = provision(days=200)
    stranger = Certified(tmp_path).identity(days=200)
    folder.server_cert.write_bytes(stranger.cert.read_bytes())
    folder.server_key.write_bytes(stranger.key.read_bytes())

    assert settle_protection(ServerConfig()).ca is None


class TestCommandLine:
    """``fdss start`` with flags and a file."""

    @pytest.fixture
    def started(self, monkeypatch: pytest.MonkeyPatch) -> list[ServerConfig]:
        """Return what it would serve with, once it has been run."""
        found: list[ServerConfig] = []
        monkeypatch.setattr(fdss.serving, "serve", lambda config, read: found.append(config))
        return found

    def test_a_flag_turns_off_what_the_file_turns_on(
        self, started: list[ServerConfig], certified: Certified, tmp_path: Path
    ) -> None:
        """--no-tls replaces all that the file says of TLS; --tls the file's no_tls."""
        identity = certified.identity()
        on, off = tmp_path / "on.yaml", tmp_path / "off.yaml"
        on.write_text(f"tls_cert: {identity.cert}\ntls_key: {identity.key}\n")
        off.write_text("no_tls: true\n")
        pair = ["--tls-cert", str(identity.cert), "--tls-key", str(identity.key)]
        for arguments in (
            ["--config", str(on)],
            ["--config", str(on), "--no-tls"],
            ["--config", str(off)],
            ["--config", str(off), *pair],
        ):
            result = CliRunner().invoke(fdss_command, ["start", *arguments])
            assert result.exit_code == 0, result.output

        assert [(one.no_tls, one.tls_cert) for one in started] == [
            (False, identity.cert),
            (True, None),
            (True, None),
            (False, identity.cert),
        ]

    def test_what_is_wrong_with_tls_is_wrong_usage(self, started: list[ServerConfig]) -> None:
        """Exit code 2 with message and hint, before anything starts."""
        result = CliRunner().invoke(fdss_command, ["start", "--tls"])

        assert (result.exit_code, started) == (2, [])
        assert "fdss tls init" in result.output


class TestRenewal:
    """A certificate that is replaced on disk."""

    def _serial(self, certificates: Certificates, certified: Certified) -> str:
        """Return the number of the certificate that a new connection is shown."""
        one, other = socket.socketpair()
        with closing(one), certificates.wrap(other) as server:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = certified.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                client.do_handshake()
            one.sendall(outgoing.read())
            with pytest.raises(ssl.SSLWantReadError):
                server.do_handshake()
            incoming.write(one.recv(1 << 16))
            client.do_handshake()
            return serial_of(client)

    def test_a_fresh_pair_is_taken(self, certified: Certified) -> None:
        """New connections get the new certificate after the next look."""
        certificates = Certificates(certified.identity())
        before = self._serial(certificates, certified)
        certified.identity()
        certificates.look()

        assert self._serial(certificates, certified) != before

    def test_what_has_not_changed_is_not_read(self, certified: Certified) -> None:
        """A look at the same files makes no new context, and so keeps sessions."""
        certificates = Certificates(certified.identity())
        context = certificates._context
        certificates.look()

        assert certificates._context is context

    @pytest.mark.parametrize("broken", ["cert", "key", "both", "missing"])
    def test_a_broken_pair_is_told_once_and_not_used(
        self, certified: Certified, caplog: pytest.LogCaptureFixture, broken: str
    ) -> None:
        """The former certificate stays, one line is logged, and a sound pair ends it."""
        identity = certified.identity()
        certificates = Certificates(identity)
        before = self._serial(certificates, certified)
        if broken == "missing":
            identity.cert.unlink()
        if broken in ("cert", "both"):
            identity.cert.write_text("broken")
        if broken in ("key", "both"):
            identity.key.write_text("broken")
        for _ in range(5):
            certificates.look()
        [line] = [record for record in caplog.records if record.levelno == logging.ERROR]
        kept = self._serial(certificates, certified)
        certified.identity()
        certificates.look()

        assert "the former certificate stays" in line.getMessage()
        assert kept == before
        assert self._serial(certificates, certified) != before

    def test_a_pair_that_is_replaced_in_two_steps_is_no_news(
        self, certified: Certified, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A look between the two says nothing."""
        identity, fresh = certified.identity(), certified.identity("fresh")
        certificates = Certificates(identity)
        identity.key.write_bytes(fresh.key.read_bytes())
        certificates.look()
        identity.cert.write_bytes(fresh.cert.read_bytes())
        certificates.look()

        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []

    def test_a_server_shows_it_without_a_restart(
        self, config: ServerConfig, certified: Certified
    ) -> None:
        """Within a few looks new connections get it, and those that exist live on."""
        identity = certified.identity()
        settings = replace(config, port=0, tls_cert=identity.cert, tls_key=identity.key)
        with Server(settings) as server, closing(_connection(server, certified)) as old:
            before = serial_of(old.sock)
            certified.identity()
            deadline = time.monotonic() + TIMEOUT_S
            while time.monotonic() < deadline:
                with closing(_connection(server, certified)) as fresh:
                    if serial_of(fresh.sock) != before:
                        break
            else:
                pytest.fail("the old certificate is still shown")
            old.request("GET", "/v1/health")
            assert old.getresponse().status == 200


def _connection(server: Server, certified: Certified) -> HTTPSConnection:
    port = server.config.port
    connection = HTTPSConnection("localhost", port, timeout=TIMEOUT_S, context=certified.client())
    connection.request("GET", "/v1/health")
    assert connection.getresponse().read()
    return connection

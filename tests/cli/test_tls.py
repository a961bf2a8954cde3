"""``fdss tls``, and what ``fdss status`` tells of an https server."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Run
from foreign_certificates import make_foreign

from fdss.cli.peer import peer_of
from fdss.cli.target import Target
from fdss.config import ServerConfig
from fdss.serving import Server
from fdss.tls.certificates import fingerprint, names_of, read_certificates
from fdss.tls.folder import TlsFolder

COMMANDS = (
    *(
        "clean",
        "disable",
        "enable",
        "export-ca",
        "forget-ca",
        "import-ca",
        "init",
        "install",
        "mint",
    ),
    *("renew", "status"),
)


@pytest.fixture
def folder(run_fdss: Run) -> TlsFolder:
    """Return the TLS folder after ``fdss tls init``."""
    assert run_fdss("tls", "init").code == 0
    return TlsFolder()


@pytest.fixture
def secured(folder: TlsFolder, sample_folder: Path) -> Iterator[Server]:
    """Run a server that speaks HTTPS because the TLS folder is enabled."""
    with Server(ServerConfig(port=0, local={"sample": sample_folder})) as running:
        assert running.url.startswith("https:")
        yield running


def test_help_names_every_command(run_fdss: Run) -> None:
    """``fdss tls --help`` lists the commands, each with a whole line."""
    ended = run_fdss("tls", "--help")

    assert ended.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in ended.out
    assert "..." not in ended.out.partition("Commands:")[2]


def test_init_twice(run_fdss: Run) -> None:
    """Init makes everything, and a second one keeps the authority and adds names."""
    first = run_fdss("tls", "init", "--ca-name", "Our data")
    [authority] = read_certificates(TlsFolder().ca_cert)
    again = run_fdss(
        *["tls", "init", "--hostname", "data.lab", "--ip", "10.0.0.7", "--ca-name", "Other"]
    )
    [server] = read_certificates(TlsFolder().server_cert)
    hosts, ips = names_of(server)

    assert (first.code, again.code) == (0, 0)
    assert "made the authority\n  subject:   CN=Our data\n" in first.out
    assert "kept the authority\n  subject:   CN=Our data\n" in again.out
    assert fingerprint(authority) in first.out
    assert fingerprint(authority) in again.out
    assert "data.lab" in hosts
    assert "10.0.0.7" in ips
    assert first.err == ""
    assert "--ca-name counts for a fresh one" in again.err


def test_force_says_what_it_undoes(run_fdss: Run, folder: TlsFolder) -> None:
    """With --force the authority is another, and the consequence is told."""
    before = read_certificates(folder.ca_cert)
    ended = run_fdss("tls", "init", "--force")

    assert ended.code == 0
    assert read_certificates(folder.ca_cert) != before
    assert "mint those certificates anew" in ended.err


def test_renewing_an_authority_asks(
    run_fdss: Run, folder: TlsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``renew --ca`` goes on after ``yes`` only; ``--yes`` answers beforehand."""
    [before] = read_certificates(folder.ca_cert)
    for answer in ("no\n", "y\n", "\n", ""):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert run_fdss("tls", "renew", "--ca").code == 1
        assert read_certificates(folder.ca_cert) == [before]
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert run_fdss("tls", "renew", "--ca").code == 0
    [after] = read_certificates(folder.ca_cert)
    assert after != before
    ended = run_fdss("tls", "renew", "--ca", "--yes")

    assert ended.code == 0
    assert "renewed the authority" in ended.out
    assert "every client has to import" in ended.err


def test_renew_adds_names(run_fdss: Run, folder: TlsFolder) -> None:
    """Renewing takes further names, which are kept."""
    ended = run_fdss(
        *["tls", "renew", "--server", "--add-hostname", "two.lab", "--add-ip", "10.0.0.8"]
    )

    assert ended.code == 0
    assert (TlsFolder().config.hostnames, TlsFolder().config.ips) == (("two.lab",), ("10.0.0.8",))


def test_the_way_of_an_authority_to_a_client(
    run_fdss: Run, folder: TlsFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What export-ca writes, to a file or standard output, import-ca takes on another machine."""
    file = tmp_path / "ca.crt"
    exported = run_fdss("tls", "export-ca", "-o", str(file))
    printed = run_fdss("tls", "export-ca")
    [authority] = read_certificates(folder.ca_cert)
    monkeypatch.setenv("FORGATHER_TLS_DIR", str(tmp_path / "client"))
    imported = run_fdss("tls", "import-ca", str(file))
    again = run_fdss("tls", "import-ca", str(file))

    assert printed.out == file.read_text("ascii") == folder.ca_cert.read_text("ascii")
    assert exported.out == ""
    assert fingerprint(authority) in exported.err
    assert fingerprint(authority) in imported.out
    assert imported.out.startswith("trusted from now on")
    assert again.out.startswith("trusted before")
    assert read_certificates(TlsFolder().bundle) == [authority]


def test_a_certificate_for_another_machine(
    run_fdss: Run, folder: TlsFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What mint makes, install takes; without names it is told that only loopback ones are in."""
    out = tmp_path / "out"
    minted = run_fdss("tls", "mint", "-o", str(out), "--hostname", "gpu.lab")
    bare = run_fdss("tls", "mint", "-o", str(tmp_path / "bare"))
    monkeypatch.setenv("FORGATHER_TLS_DIR", str(tmp_path / "gpu"))
    files = [f"{flag}={out / name}" for flag, name in _FILES.items()]
    installed = run_fdss("tls", "install", *files)

    assert (minted.code, bare.code, installed.code) == (0, 0, 0)
    assert "loopback names only" in bare.err
    assert "gpu.lab" in installed.out
    assert TlsFolder().config.enabled
    assert run_fdss("tls", "renew").code == 1


def test_forgetting_turns_an_import_round(run_fdss: Run, home: Path, tmp_path: Path) -> None:
    """A forgotten authority is in no bundle; on a client that trusted no other there is none."""
    for name in ("one", "two"):
        path, _ = make_foreign(name, is_authority=True).write(tmp_path, name)
        assert run_fdss("tls", "import-ca", str(path)).code == 0
    wrong = run_fdss("tls", "forget-ca", "../one")
    first = run_fdss("tls", "forget-ca", "one")
    [left] = read_certificates(TlsFolder().bundle)
    second = run_fdss("tls", "forget-ca", "two")

    assert (wrong.code, first.code, second.code) == (1, 0, 0)
    assert "hint: imported are one, two" in wrong.err
    assert left.subject.rfc4514_string() == "CN=two"
    assert list(TlsFolder().root.rglob("*.crt")) == []
    assert run_fdss("tls", "forget-ca", "two").code == 1


_FILES = {"--cert": "server.crt", "--key": "server.key", "--ca": "ca.crt"}


def test_install_warns_of_what_will_not_do(run_fdss: Run, home: Path, tmp_path: Path) -> None:
    """A certificate that ends soon is installed with a warning."""
    cert, key = make_foreign("soon", days=9).write(tmp_path, "soon")
    ended = run_fdss("tls", "install", "--cert", str(cert), "--key", str(key))

    assert ended.code == 0
    assert "expires in 8 days" in ended.err


def test_enable_and_disable(run_fdss: Run, folder: TlsFolder) -> None:
    """Disabling and enabling turn a switch in config.yaml, and can be repeated."""
    for command, expected in (("disable", False), ("disable", False), ("enable", True)):
        assert run_fdss("tls", command).code == 0
        assert TlsFolder().config.enabled is expected


def test_clean_asks_for_a_word(run_fdss: Run, folder: TlsFolder) -> None:
    """Clean removes nothing without --yes, everything with it, and can be repeated."""
    refused = run_fdss("tls", "clean")
    assert refused.code == 1
    assert "hint: fdss tls clean --yes" in refused.err
    assert folder.ca_key.exists()
    assert run_fdss("tls", "clean", "--yes").code == 0
    assert not folder.root.exists()

    assert run_fdss("tls", "clean", "--yes").out == "nothing to remove\n"


def test_status_for_people(run_fdss: Run, folder: TlsFolder) -> None:
    """Status shows state, certificates, fingerprint and files; warnings stand last."""
    folder.server_key.chmod(0o600)
    folder.bundle.unlink()
    ended = run_fdss("tls", "status")
    [authority] = read_certificates(folder.ca_cert)

    assert ended.code == 0
    assert ended.out.startswith("state:  ready")
    assert fingerprint(authority) in ended.out
    assert "(824 days left)" in ended.out
    assert ended.out.splitlines()[-1].startswith("!! clients on this machine do not trust")


def test_status_as_json(run_fdss: Run, folder: TlsFolder) -> None:
    """With --json status is one document; without a folder, too."""
    document = json.loads(run_fdss("tls", "status", "--json").out)
    run_fdss("tls", "clean", "--yes")
    empty = json.loads(run_fdss("tls", "status", "--json").out)

    assert (document["state"], document["warnings"]) == ("ready", [])
    assert (empty["state"], empty["server"], set(empty)) == ("missing", None, set(document))


def test_certificates_cannot_steer_the_terminal(run_fdss: Run, home: Path, tmp_path: Path) -> None:
    """A subject with control characters is shown with escapes."""
    path, _ = make_foreign("a\x1b[31m\u202eb", is_authority=True).write(tmp_path, "ca")
    shown = run_fdss("tls", "import-ca", str(path)).out + run_fdss("tls", "status").out

    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[31m" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["init", "--hostname", "a b"],
        ["init", "--ip", "x"],
        ["init", "--ca-name", ""],
        ["renew"],
        ["renew", "--ca", "--yes"],
        ["export-ca"],
        ["import-ca", "nothing"],
        ["import-ca", "."],
        ["install", "--cert", "a", "--key", "b"],
        ["mint", "-o", "out"],
        ["enable"],
        ["clean"],
    ],
    ids=" ".join,
)
def test_wrong_input_is_one_line_and_no_traceback(
    run_fdss: Run, home: Path, arguments: list[str]
) -> None:
    """Whatever is wrong ends with 1, an error line on standard error, and no files."""
    ended = run_fdss("tls", *arguments)

    assert ended.code == 1
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert not list(TlsFolder().root.glob("[!.]*"))


@pytest.mark.parametrize("command", [["init"], ["status"], ["enable"], ["renew"], ["export-ca"]])
def test_a_configuration_that_is_no_yaml_is_told(
    run_fdss: Run, folder: TlsFolder, command: list[str]
) -> None:
    """Every command says which file is wrong, and leaves it."""
    folder.config_file.write_text("{[", "utf-8")
    ended = run_fdss("tls", *command)

    assert ended.code == 1
    assert str(folder.config_file) in ended.err
    assert folder.config_file.read_text("utf-8") == "{["


def test_a_folder_that_cannot_be_made_is_told(
    run_fdss: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the TLS folder cannot be, the place is named."""
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("FORGATHER_TLS_DIR", str(tmp_path / "file" / "tls"))
    ended = run_fdss("tls", "init")

    assert ended.code == 1
    assert "cannot be used" in ended.err
    assert "file" in ended.err


def test_usage_mistakes_end_with_2(run_fdss: Run, home: Path) -> None:
    """A command without what it needs, or that is none, is a mistake of the command line."""
    for arguments in (["install"], ["import-ca"], ["mint"], ["frobnicate"]):
        assert run_fdss("tls", *arguments).code == 2


def test_status_shows_the_certificate_of_a_server(run_fdss: Run, secured: Server) -> None:
    """``fdss status`` tells of an https server how long its certificate is valid."""
    ended = run_fdss("status", "--server", secured.url)
    document = json.loads(run_fdss("status", "--server", secured.url, "--json").out)
    [shown] = read_certificates(TlsFolder().server_cert)

    assert ended.code == 0
    assert "\ntls:     verified, certificate until " in ended.out
    assert "(824 days left)" in ended.out
    assert "!!" not in ended.out
    assert document["tls"]["verified"]
    assert document["tls"]["days_left"] == 824
    assert document["tls"]["sha256"] == fingerprint(shown)


def test_status_says_when_nothing_was_verified(run_fdss: Run, secured: Server) -> None:
    """With --insecure the certificate is shown as not verified."""
    ended = run_fdss("status", "--server", secured.url, "--insecure")

    assert ended.code == 0
    assert "tls:     NOT verified (--insecure), certificate until " in ended.out


def test_status_warns_of_a_certificate_that_ends(
    run_fdss: Run, home: Path, sample_folder: Path
) -> None:
    """Under 30 days ``fdss status`` warns, and says who can help."""
    root = TlsFolder().root
    root.mkdir(parents=True)
    (root / "config.yaml").write_text("validity_days: 9", "utf-8")
    run_fdss("tls", "init")
    with Server(ServerConfig(port=0)) as running:
        ended = run_fdss("status", "--server", running.url)

    assert ended.code == 0
    assert ended.out.splitlines()[-1] == (
        "!! the server's certificate expires in 8 days; on its machine: fdss tls renew"
    )


def test_a_server_behind_a_proxy_shows_no_certificate() -> None:
    """Where no connection leads to the server itself, only that it was verified is told."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{taken.getsockname()[1]}"
        peer = peer_of(Target(url, None, is_unverified=False))

    assert (peer.line(), peer.as_json(), peer.warnings()) == ("verified", {"verified": True}, [])

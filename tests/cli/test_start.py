"""``fdss start``: flags, configuration file, and which of them wins."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from ports import free_port

import fdss
import fdss.serving
from fdss import places, tokens
from fdss.banner import MAX_NAMES
from fdss.cli.main import LAZY, fdss as fdss_command
from fdss.config import ServerConfig
from fdss.entrance import open_entrance
from fdss.settings import SETTINGS

TIMEOUT_S = 60


class Started:
    """Runs ``fdss start`` up to the point where it would serve.

    Attributes:
        config: What it would serve with; None if it did not come so far.
        read: Reads it again.
    """

    read: Callable[[], ServerConfig]

    def __init__(self) -> None:
        self.config: ServerConfig | None = None

    def __call__(self, *arguments: str) -> Result:
        """Run the command with some arguments."""
        self.config = None
        return CliRunner().invoke(fdss_command, ["start", *arguments])

    def serve(self, config: ServerConfig, read: Callable[[], ServerConfig]) -> None:
        """Keep the configuration instead of serving."""
        self.config = config
        self.read = read


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Return a call of ``fdss start`` that stops short of serving."""
    started = Started()
    monkeypatch.setattr(fdss.serving, "serve", started.serve)
    return started


@pytest.fixture
def config_file(tmp_path: Path) -> Callable[[str], str]:
    """Return what writes a configuration file and returns its name."""

    def write(text: str) -> str:
        path = tmp_path / "server.yaml"
        path.write_text(text, "utf-8")
        return str(path)

    return write


def _settings(config: ServerConfig | None, *keys: str) -> list[Any]:
    assert config is not None
    return [getattr(config, key) for key in keys]


def test_without_anything_the_defaults_are_safe(start: Started) -> None:
    """Loopback, port 8766, a token, no paths, no downloads."""
    result = start()

    assert result.exit_code == 0, result.output
    assert start.config == ServerConfig()
    assert _settings(start.config, "host", "port", "no_auth", "allow_paths", "allow_downloads") == [
        "127.0.0.1",
        8766,
        False,
        False,
        False,
    ]


def test_every_setting_is_a_flag_a_key_and_a_field() -> None:
    """One table makes them all; only --config and --help are flags alone."""
    command = fdss_command.get_command(click.Context(fdss_command), "start")
    assert command is not None
    keys = {setting.key for setting in SETTINGS}

    assert {parameter.name for parameter in command.params} == keys | {"config"}
    assert set(ServerConfig.__dataclass_fields__) == keys
    defaults = ServerConfig()
    assert {s.key: s.default for s in SETTINGS} == {key: getattr(defaults, key) for key in keys}


def test_every_flag_reaches_the_configuration(start: Started, tmp_path: Path) -> None:
    """Long and short flags set what they name."""
    result = start(
        *("-H", "0.0.0.0", "-p", "0", "-l", "debug", "--insecure", "--threads", "4"),
        *("--regen-token", "--quiet-tokens", "--no-hf", "--allow-paths", "--allow-downloads"),
        *("--show-paths", "--local", f"a={tmp_path}", "--local", f"b = {tmp_path}/.=x"),
    )
    assert result.exit_code == 2
    (tmp_path / ".=x").touch()
    result = start(
        "-p", "0", "-l", "debug", "--local", f"a={tmp_path}", "--local", f"b={tmp_path}/.=x"
    )

    assert result.exit_code == 0, result.output
    assert _settings(start.config, "port", "log_level", "local") == [
        0,
        "DEBUG",
        {"a": tmp_path, "b": tmp_path / ".=x"},
    ]


def test_the_file_stands_in_for_flags_that_are_not_given(
    start: Started, config_file: Callable[[str], str], tmp_path: Path
) -> None:
    """Flag over file over default, also when the flag says what the default says."""
    file = config_file("port: 9000\nlog-level: warning\nthreads: 3\nallow_paths: true\n")
    start("--config", file)
    assert _settings(start.config, "port", "log_level", "threads", "allow_paths") == [
        9000,
        "WARNING",
        3,
        True,
    ]

    start("--config", file, "--port", "8766", "--threads", "5")
    assert _settings(start.config, "port", "log_level", "threads") == [8766, "WARNING", 5]


def test_locals_of_file_and_flags_are_joined(
    start: Started, config_file: Callable[[str], str], tmp_path: Path
) -> None:
    """Both are served; for one name the flag wins."""
    for name in ("x", "y", "z"):
        (tmp_path / name).mkdir()
    file = config_file(f"local:\n  a: {tmp_path}/x\n  b: {tmp_path}/y\n")
    start("--config", file, "--local", f"b={tmp_path}/z", "--local", f"c={tmp_path}/z")

    assert _settings(start.config, "local") == [
        {"a": tmp_path / "x", "b": tmp_path / "z", "c": tmp_path / "z"}
    ]


def test_home_is_filled_in(start: Started, config_file: Callable[[str], str], home: Path) -> None:
    """``~`` in the file and in flags is the home folder."""
    (home / "rows").mkdir()
    file = config_file("local: {a: ~/rows}\nauth_token_file: ~/token\n")
    result = start("--config", file, "--local", "b=~/rows")

    assert result.exit_code == 0, result.output
    assert _settings(start.config, "local", "auth_token_file") == [
        {"a": home / "rows", "b": home / "rows"},
        home / "token",
    ]


def test_the_default_file_is_read_when_there_is_one(
    start: Started, caplog: pytest.LogCaptureFixture
) -> None:
    """Without --config the file in the server's folder counts, and a line says so."""
    caplog.set_level(logging.INFO)
    start()
    assert "no config file (CLI flags + built-in defaults only)" in _messages(caplog)

    default = places.default_config_file()
    default.parent.mkdir(parents=True)
    default.write_text("port: 9001\n")
    start()
    assert _settings(start.config, "port") == [9001]
    assert f"loaded default config: {default}" in _messages(caplog)


def test_a_named_file_is_read_instead_of_the_default(
    start: Started, config_file: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    """Only one file is read, and a line says which."""
    caplog.set_level(logging.INFO)
    default = places.default_config_file()
    default.parent.mkdir(parents=True)
    default.write_text("port: 9001\nthreads: 2\n")
    file = config_file("port: 9002\n")
    start("--config", file)

    assert _settings(start.config, "port", "threads") == [9002, None]
    assert f"loaded config: {file}" in _messages(caplog)


def _messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_the_logged_configuration_has_no_token(
    start: Started, caplog: pytest.LogCaptureFixture
) -> None:
    """The effective configuration is logged; of the token only that there is one."""
    caplog.set_level(logging.INFO)
    start("--auth-token", "hush-hush")

    (line,) = [text for text in _messages(caplog) if text.startswith("effective configuration:")]
    assert "port: 8766" in line
    assert "auth_token: (set)" in line
    assert "hush" not in caplog.text
    assert "hush" not in repr(start.config)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("prot: 9000", "prot"),
        ("config: other.yaml", "config"),
        ("help: true", "help"),
        ("7: x", "7"),
        ("port: abc", "port"),
        ("port: '9000'", "port"),
        ("port: 9000.0", "port"),
        ("port: true", "port"),
        ("port: 70000", "port"),
        ("port: -1", "port"),
        ("threads: 0", "threads"),
        ("workers: 0", "workers"),
        ("workers: 65", "workers"),
        ("stall_timeout: 0", "stall_timeout"),
        ("idle_timeout: 0.5", "idle_timeout"),
        ("drain_timeout: -1", "drain_timeout"),
        ("no_auth: 'false'", "no_auth"),
        ("no_auth: 0", "no_auth"),
        ("allow-paths: yes please", "allow_paths"),
        ("log_level: LOUD", "log_level"),
        ("log_level: 10", "log_level"),
        ("host: 127", "host"),
        ("host: ''", "host"),
        ("host: 0.0.0.0", "0.0.0.0"),
        ("auth_token: ''", "auth_token"),
        ("auth_token: two words", "auth_token"),
        ("auth_token: 7", "auth_token"),
        ("local: [a, b]", "local"),
        ("local: {a: 7}", "local"),
        ("local: {7: /}", "local"),
        ("local: {a: ''}", "local"),
        ("local: {a: /does/not/exist}", "a"),
        ("local: {a/b: /}", "a/b"),
        ("port: 1\nlog_level: INFO\nlog-level: DEBUG", "log_level"),
        ("auth_token: a\nno_auth: true", "auth_token"),
        ("auth_token: a\nauth_token_file: /x", "auth_token_file"),
        ("auth_token_file: /x\nno_auth: true", "no_auth"),
        ("auth_token: a\nregen_token: true", "regen_token"),
        ("no_auth: true\nregen_token: true", "regen_token"),
    ],
)
def test_a_mistake_in_the_file_is_named(
    start: Started, config_file: Callable[[str], str], text: str, key: str
) -> None:
    """Unknown keys, wrong types, wrong values and contradictions end with the key's name."""
    result = start("--config", config_file(text))

    assert result.exit_code == 2
    assert start.config is None
    assert key in result.output.replace("-", "_") or key in result.output


@pytest.mark.parametrize("text", ["- a\n- b", "just text", "a: [", "\x00", "a: !!python/object:x"])
def test_a_file_that_is_no_mapping_is_refused(
    start: Started, config_file: Callable[[str], str], text: str
) -> None:
    """What is not YAML, or no mapping, is an error that names the file."""
    result = start("--config", config_file(text))

    assert result.exit_code == 2
    assert "server.yaml" in result.output


@pytest.mark.parametrize("text", ["", "# nothing\n", "port:\nlocal:\n"])
def test_a_file_may_say_nothing(
    start: Started, config_file: Callable[[str], str], text: str
) -> None:
    """An empty file, and keys without a value, leave the defaults."""
    start("--config", config_file(text))

    assert start.config == ServerConfig()


def test_a_named_file_must_exist(start: Started) -> None:
    """A missing file that was asked for is an error."""
    result = start("--config", "missing.yaml")

    assert result.exit_code == 2
    assert "missing.yaml" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "abc"],
        ["--port", "65536"],
        ["--log-level", "loud"],
        ["--unknown"],
        ["--local", "no-equals"],
        ["--local", "=/"],
        ["--local", "a="],
        ["--local", "a/b=/"],
        ["--local", "a=/does/not/exist"],
        ["--auth-token", "a", "--no-auth"],
        ["--auth-token", "a", "--auth-token-file", "b"],
        ["--auth-token", "a", "--regen-token"],
        ["--no-auth", "--regen-token"],
        ["--auth-token", ""],
        ["--host", "0.0.0.0"],
        ["--host", "::"],
        ["--host", "example.org", "--no-auth"],
    ],
)
def test_a_wrong_flag_is_a_usage_error(start: Started, arguments: list[str]) -> None:
    """Exit code 2, a message on stderr, nothing started."""
    result = start(*arguments)

    assert (result.exit_code, start.config) == (2, None)
    assert "Error: " in result.output


def test_a_host_for_others_needs_consent(start: Started) -> None:
    """Without TLS other machines are let in only with --insecure, and the message says why."""
    result = start("--host", "0.0.0.0")
    assert "TLS" in result.output
    assert "--insecure" in result.output

    start("--host", "0.0.0.0", "--insecure")
    assert _settings(start.config, "host") == ["0.0.0.0"]


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("auth_token: a", ["--no-auth"], [None, None, True]),
        ("no_auth: true", ["--auth-token", "b"], ["b", None, False]),
        ("auth_token_file: /x", ["--auth-token", "b"], ["b", None, False]),
        ("auth_token: a", ["--auth-token-file", "/y"], [None, Path("/y"), False]),
    ],
)
def test_flags_of_authentication_replace_those_of_the_file(
    start: Started,
    config_file: Callable[[str], str],
    text: str,
    arguments: list[str],
    expected: list[Any],
) -> None:
    """The file's way to authenticate yields to the command line's, whichever it is."""
    result = start("--config", config_file(text), *arguments)

    assert result.exit_code == 0, result.output
    assert _settings(start.config, "auth_token", "auth_token_file", "no_auth") == expected


def test_downloads_off_switches_the_libraries_off(
    start: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The offline switches are set unless --allow-downloads is given."""
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(variable)
    start("--allow-downloads")
    assert "HF_HUB_OFFLINE" not in os.environ

    start()
    assert (os.environ["HF_HUB_OFFLINE"], os.environ["HF_DATASETS_OFFLINE"]) == ("1", "1")


def test_the_switches_are_set_before_the_libraries_are_imported(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """Whatever ``fdss start`` imports, datasets comes after the switches."""
    code = (
        "import os, sys\n"
        "os.environ.pop('HF_HUB_OFFLINE', None)\n"
        "os.environ.pop('HF_DATASETS_OFFLINE', None)\n"
        "sys.argv = ['fdss', 'start', '-p', '0', '-l', 'ERROR']\n"
        "import fdss.cli.start\n"
        "early = {'datasets', 'huggingface_hub', 'fdss.serving'} & set(sys.modules)\n"
        "import fdss.serving\n"
        "def serve(config, read):\n"
        "    import datasets.config, huggingface_hub.constants\n"
        "    print(early, datasets.config.HF_HUB_OFFLINE,"
        " huggingface_hub.constants.HF_HUB_OFFLINE)\n"
        "fdss.serving.serve = serve\n"
        "from fdss.cli.main import main\n"
        "main()\n"
    )

    assert run_python("-c", code).stdout.split("\n")[0] == "set() True True"


@pytest.mark.only_on("linux", "darwin")
@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o600, False)])
def test_a_token_in_a_file_that_others_may_read_is_warned_of(
    start: Started,
    config_file: Callable[[str], str],
    caplog: pytest.LogCaptureFixture,
    mode: int,
    warned: bool,
) -> None:
    """A configuration file with a token should be its owner's alone."""
    file = config_file("auth_token: hush-hush")
    Path(file).chmod(mode)
    start("--config", file)

    assert ("may be used by other users" in caplog.text) is warned


def test_version_and_commands_are_told() -> None:
    """The group tells its version and lists every command with a line."""
    runner = CliRunner()

    assert (
        runner.invoke(fdss_command, ["--version"]).output == f"fdss, version {fdss.__version__}\n"
    )
    shown = runner.invoke(fdss_command, ["--help"]).output
    for name, (_, _, line) in LAZY.items():
        assert f"  {name} " in shown
        assert line in shown


@pytest.mark.parametrize("name", LAZY)
def test_every_command_of_the_table_is_there(name: str) -> None:
    """What the table names can be imported and helps."""
    result = CliRunner().invoke(fdss_command, [name, "--help"])

    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: fdss {name}")


def test_an_unknown_command_is_a_usage_error() -> None:
    """A command that is not there ends with exit code 2."""
    assert CliRunner().invoke(fdss_command, ["stop"]).exit_code == 2


SERVES = "serves: datasets of the HuggingFace cache"


class _Child:
    """A server in a process of its own, and what it wrote up to its URL."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fdss", "start", "-l", "WARNING", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(fdss.__file__).parents[1])},
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self.lines: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("dataset_server URL: "):
                break

    @property
    def port(self) -> int:
        """Return the port of the URL."""
        return int(self.lines[-1].rpartition(":")[2].rstrip("/"))

    def end(self) -> None:
        """Stop the server and wait for it."""
        self.process.terminate()
        self.process.communicate(timeout=TIMEOUT_S)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., _Child]]:
    """Return what starts a server as a user does; all are ended after the test."""
    children: list[_Child] = []

    def make(*arguments: str) -> _Child:
        children.append(_Child(tmp_path, *arguments))
        return children[-1]

    yield make
    for child in children:
        child.end()


def _banner(token: str, port: int, *, first: str = "", last: str) -> list[str]:
    return [
        *filter(None, [first]),
        f"dataset_server auth token: {token}",
        "clients must send 'Authorization: Bearer <token>'",
        f'curl -H "Authorization: Bearer {token}" http://127.0.0.1:{port}/v1/datasets',
        last,
        SERVES,
        f"dataset_server URL: http://127.0.0.1:{port}/",
    ]


def test_the_banner_tells_a_fresh_a_kept_and_a_replaced_token(
    started: Callable[..., _Child],
) -> None:
    """A first start mints, a second reuses, --regen-token replaces, each with its words."""
    port = free_port()
    first, file = started("-p", str(port)), places.token_file(port)
    minted = tokens.read(file)
    assert minted is not None
    assert first.lines == _banner(minted, port, last=f"persisted token file: {file}")
    first.end()

    second = started("-p", str(port))
    assert second.lines == _banner(minted, port, last=f"reusing persisted token at: {file}")
    second.end()

    third = started("-p", str(port), "--regen-token")
    fresh = tokens.read(file)
    assert fresh not in (None, minted)
    assert third.lines == _banner(
        str(fresh),
        port,
        first="!! --regen-token: replacing the persisted per-port token. "
        "Existing peers will need to re-pull.",
        last=f"persisted token file: {file}",
    )


def test_quiet_tokens_hides_the_value(started: Callable[..., _Child]) -> None:
    """Neither the value nor the curl line is written; where the token lies is."""
    child = started("-p", "0", "--quiet-tokens")

    assert child.lines == [
        "clients must send 'Authorization: Bearer <token>'",
        f"persisted token file: {places.token_file(child.port)}",
        SERVES,
        f"dataset_server URL: http://127.0.0.1:{child.port}/",
    ]


def test_a_token_of_the_operator_is_never_published(
    started: Callable[..., _Child], tmp_path: Path
) -> None:
    """A given token stands in no file of ours and not on the terminal."""
    file = tmp_path / "own.token"
    tokens.keep(file, "operator-token")
    child = started("-p", "0", "--auth-token-file", str(file))

    assert child.lines == [
        "clients must send 'Authorization: Bearer <token>'",
        SERVES,
        f"dataset_server URL: http://127.0.0.1:{child.port}/",
    ]
    assert not places.token_file(child.port).exists()


def test_no_auth_is_a_loud_warning(started: Callable[..., _Child]) -> None:
    """A server without authentication says so first."""
    child = started("-p", "0", "--no-auth")

    assert child.lines[0].startswith("!! dataset_server is running with --no-auth — any host")
    assert not places.token_file(child.port).exists()


@pytest.mark.only_on("linux", "darwin")
def test_a_token_file_that_others_may_read_is_refused(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """The operator's file must be private; one line says so, and how to mend it."""
    file = tmp_path / "own.token"
    file.write_text("operator-token")
    file.chmod(0o644)
    result = run_python(
        *("-m", "fdss", "start", "-p", "0", "-l", "ERROR", "--auth-token-file", str(file)),
        check=False,
    )

    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        f"error: Token file {str(file)!r} may be used by other users (mode 0644).",
        f"hint: chmod 600 {file}",
    ]


def test_a_taken_port_is_two_lines(
    started: Callable[..., _Child],
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """A second server on a port ends with exit code 1, and the first one's token stays."""
    child = started("-p", "0")
    kept = tokens.read(places.token_file(child.port))
    result = run_python(
        *("-m", "fdss", "start", "-l", "ERROR", "-p", str(child.port), "--regen-token"), check=False
    )

    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        f"error: Port {child.port} on 127.0.0.1 is taken by another process.",
        "hint: choose another with --port, or --port 0 for any free one",
    ]
    assert tokens.read(places.token_file(child.port)) == kept


@pytest.mark.only_on("linux", "darwin")
def test_interrupting_ends_without_a_traceback(started: Callable[..., _Child]) -> None:
    """Ctrl-C ends with exit code 0 and writes nothing more."""
    child = started("-p", "0")
    child.process.send_signal(signal.SIGINT)
    _, rest = child.process.communicate(timeout=TIMEOUT_S)

    assert (child.process.returncode, rest) == (0, "")


@pytest.mark.parametrize(
    ("names", "settings", "told"),
    [
        (1, {}, "local/d0; datasets of the HuggingFace cache"),
        (2, {"no_hf": True}, "nothing but local/d0, local/d1"),
        (0, {"no_hf": True}, "nothing; --local NAME=PATH names a dataset"),
        (1, {"no_hf": True, "allow_paths": True}, "local/d0; paths of this machine"),
        (
            0,
            {"allow_downloads": True},
            "datasets of the HuggingFace cache; datasets of the Hub",
        ),
        (
            MAX_NAMES + 3,
            {"no_hf": True},
            f"nothing but {', '.join(f'local/d{place}' for place in range(MAX_NAMES))} and 3 more",
        ),
    ],
)
def test_the_banner_tells_what_is_served(
    home: Path, sample_folder: Path, names: int, settings: dict[str, Any], told: str
) -> None:
    """Named datasets by name, a long list shortened, and what else the settings open."""
    local = {f"d{place:X}": sample_folder for place in range(names)}
    entrance = open_entrance(ServerConfig(port=0, local=local, **settings))
    entrance.socket.close()

    assert entrance.banner[-2] == f"serves: {told}"


def test_the_banner_of_every_address_tells_one_for_other_machines(home: Path) -> None:
    """A wildcard is an address of no machine, so the line before it has this machine's name."""
    entrance = open_entrance(ServerConfig(host="0.0.0.0", port=0, insecure=True))
    entrance.socket.close()
    port = entrance.config.port

    assert entrance.banner[-2:] == [
        f"from other machines: http://{socket.gethostname()}:{port}/",
        f"dataset_server URL: http://0.0.0.0:{port}/",
    ]

"""A real sshd on loopback, and tunnels through it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ports import free_port

# Where sshd of a superuser leaves its rights behind.
EMPTY_FOLDER = Path("/run/sshd")
STARTED = "Server listening on"

_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
"""


@dataclass(frozen=True)
class Ssh:
    """An sshd that lets this user in, with a key of its own."""

    folder: Path
    port: int

    @contextlib.contextmanager
    def tunnel(self, to: int, port: int | None = None) -> Iterator[Tunnel]:
        """Run ``ssh -N -L`` to a port of the data host, until the end of the block.

        Args:
            port: Port of this end; None takes a free one.
        """
        begin = free_port() if port is None else port
        options = {
            "BatchMode": "yes",
            "ExitOnForwardFailure": "yes",
            "IdentitiesOnly": "yes",
            "LocalCommand": "echo up",
            "PermitLocalCommand": "yes",
            "UserKnownHostsFile": str(self.folder / "known_hosts"),
        }
        process = subprocess.Popen(
            [
                *("ssh", "-F", os.devnull, "-N", "-p", str(self.port)),
                *("-i", str(self.folder / "user")),
                *("-L", f"127.0.0.1:{begin}:127.0.0.1:{to}"),
                *(f"-o{name}={value}" for name, value in options.items()),
                "127.0.0.1",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with _ending(process):
            assert process.stdout is not None
            said = process.stdout.readline()
            if said != "up\n":
                pytest.fail(f"There is no tunnel: {said}")
            yield Tunnel(begin, process)

    def client(self, name: str, control: Path | None = None) -> str:
        """Return the line of shell that is ``ssh`` to a user who calls this host by a name.

        Args:
            control: Socket that later calls share one connection by, which ``-O exit`` ends;
                a path of at most 80 bytes.
        """
        shared = f"ControlMaster auto\nControlPath {control}\n" if control else ""
        config = self.folder / (f"{name}-shared" if control else name)
        config.write_text(
            f"Host {name}\n"
            f"HostName 127.0.0.1\nPort {self.port}\nBatchMode yes\nIdentitiesOnly yes\n"
            f"IdentityFile {self.folder / 'user'}\n"
            f"UserKnownHostsFile {self.folder / 'known_hosts'}\n{shared}",
            "utf-8",
        )
        return f'{shutil.which("ssh")} -F {config} "$@"'


@dataclass(frozen=True)
class Tunnel:
    """This end of a tunnel."""

    port: int
    process: subprocess.Popen[str]

    def cut(self) -> None:
        """End the tunnel at once."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running_sshd(folder: Path, home: Path | None = None) -> Iterator[Ssh]:
    """Run sshd with keys made in a folder; skip the test where it is not installed.

    Args:
        home: Home of those who log in; None for this user's.
    """
    # sshd starts itself anew, and wants to know from where.
    program = shutil.which("sshd", path=os.pathsep.join(["/usr/sbin", "/usr/local/sbin"]))
    if program is None or shutil.which("ssh") is None:
        pytest.skip("openssh-server or openssh-client is not installed")
    if os.access("/run", os.W_OK):
        EMPTY_FOLDER.mkdir(mode=0o755, exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    ssh = Ssh(folder, free_port())
    host = (folder / "host.pub").read_text("utf-8")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{ssh.port} {host}", "utf-8")
    config = folder / "sshd_config"
    told = _CONFIG.format(port=ssh.port, folder=folder)
    if home is not None:
        told += f'ForceCommand export HOME={home}; cd; eval "$SSH_ORIGINAL_COMMAND"\n'
    config.write_text(told, "utf-8")
    process = subprocess.Popen(
        [program, "-D", "-e", "-f", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with _ending(process):
        assert process.stderr is not None
        said = ""
        while STARTED not in said:
            line = process.stderr.readline()
            said += line or pytest.fail(f"sshd does not run: {said}")
        yield ssh


@contextlib.contextmanager
def _ending(process: subprocess.Popen[str]) -> Iterator[None]:
    with process:
        try:
            yield
        finally:
            process.kill()

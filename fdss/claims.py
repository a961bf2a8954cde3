"""Which files are whose, where servers on several addresses of a machine share a port.

The first server on a port keeps its files under the port's name, where every client looks. One
on another address of the port that starts while the first is there has files named for its
address as well, from then on. A note beside the files tells whose they are.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import logging
import platform
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from fdss import places
from fdss.files import make_private, read_regular, write_whole
from fdss.hosts import unbracketed
from fdss.locking import locked

EVERYWHERE = "*"

_NOTE_BYTES = 4096
_NOTE_END = ".claim"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claim:
    """Whose the files of a name are.

    Attributes:
        address: Address of the server, or ``*`` for every address.
        machine: Machine it runs on: a home folder may be shared by several.
        is_passing: Whether its port was any free one, which nobody will look for again.
    """

    address: str
    machine: str
    is_passing: bool = False


def claimed_name(host: str, port: int, *, is_passing: bool = False) -> str:
    """Return what the files of the server on a host and port are named for, and note it.

    To be called once the port is bound. Without a folder to note it in, it is the port.

    Args:
        is_passing: Whether the port was any free one.
    """
    mine = Claim(address_of(host), platform.node(), is_passing)
    folder = places.server_folder()
    try:
        make_private(folder)
        with locked(folder / ".claims.lock"):
            name = _name(folder, port, mine)
            if _noted(folder, name) != mine:
                write_whole(folder / f"{name}{_NOTE_END}", [json.dumps(asdict(mine)).encode()])
            if is_passing:
                _clear_passed(folder, mine)
            return name
    except OSError as error:
        logger.debug("the files of port %d are not claimed: %s", port, error)
        return str(port)


def token_file(host: str, port: int) -> Path:
    """Return the token file of the server on a host and port, once it is claimed."""
    return places.server_folder() / f"{_known_name(host, port)}.token"


def handles_file(host: str, port: int) -> Path:
    """Return the file with the handles of the server on a host and port, once it is claimed."""
    return places.server_folder() / f"{_known_name(host, port)}.handles.json"


def token_files(host: str, port: int) -> Iterator[Path]:
    """Yield the files that may hold the token of a server on this machine, the best first.

    The file of another loopback address is left out: its token is nothing to send here.
    """
    address, folder = address_of(host), places.server_folder()
    own = folder / f"{_own_name(address, port)}.token"
    if own.exists():
        yield own
    noted = _noted(folder, str(port))
    if noted is None or noted.address in (address, EVERYWHERE) or not _is_loopback(noted.address):
        yield places.token_file(port)


def address_of(host: str) -> str:
    """Return the one spelling of a host's address, or the name as it is; ``*`` for every one."""
    bare = unbracketed(host).rstrip(".").lower()
    if bare == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return bare
    return EVERYWHERE if address.is_unspecified else str(address)


def _known_name(host: str, port: int) -> str:
    own = _own_name(address_of(host), port)
    return own if _noted(places.server_folder(), own) else str(port)


def _name(folder: Path, port: int, mine: Claim) -> str:
    own = _own_name(mine.address, port)
    if _noted(folder, own) is not None:
        return own
    held = _noted(folder, str(port))
    return own if held and _is_anothers(held, mine, port) else str(port)


def _is_anothers(held: Claim, mine: Claim, port: int) -> bool:
    # Whoever listens everywhere leaves nobody another address.
    if held.address == mine.address or EVERYWHERE in (held.address, mine.address):
        return False
    return held.machine == mine.machine and _is_taken(held.address, port)


def _own_name(address: str, port: int) -> str:
    # Windows allows neither : nor * in a file's name.
    return f"{port}-{address.replace(':', '_').replace('*', 'any')}"


def _noted(folder: Path, name: str) -> Claim | None:
    try:
        told = json.loads(read_regular(folder / f"{name}{_NOTE_END}", _NOTE_BYTES).data)
        return Claim(str(told["address"]), str(told["machine"]), told["is_passing"] is True)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _clear_passed(folder: Path, mine: Claim) -> None:
    """Remove the files of servers on any free port of this machine that have ended."""
    for note in folder.glob(f"*{_NOTE_END}"):
        held = _noted(folder, note.stem)
        port = note.stem.partition("-")[0]
        if held is None or not held.is_passing or held.machine != mine.machine:
            continue
        if port.isdecimal() and not _is_taken(held.address, int(port)):
            for file in (*folder.glob(f"{note.stem}.*"), *folder.glob(f".{note.stem}.*")):
                with contextlib.suppress(OSError):
                    file.unlink()


def _is_taken(address: str, port: int) -> bool:
    """Return whether somebody listens on a port of an address; never for a name."""
    try:
        shown = ipaddress.ip_address("0.0.0.0" if address == EVERYWHERE else address)
        family = socket.AF_INET if shown.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if sys.platform == "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((str(shown), port))
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    except (ValueError, OverflowError):
        return False
    return False


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False

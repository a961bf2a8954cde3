"""Two hosts with a link between them: network namespaces, and a wire that a test holds.

The wire carries IP packets between two TUN devices, so that the TCP of the kernel meets its delay,
its losses and its cuts; no traffic control of the kernel is needed.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import random
import selectors
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

TUN = "/dev/net/tun"
NEAR, FAR = "10.231.7.1", "10.231.7.2"
PACKET_BYTES = 1 << 16

# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001


@dataclass
class Wire:
    """What befalls packets; may be changed while they travel.

    Attributes:
        delay_s: Seconds from end to end, in each direction.
        loss: Share of the packets that never arrive.
        is_cut: Whether none arrives.
        lost: Packets that did not arrive so far.
        carried: Packets that did.
    """

    delay_s: float = 0.0
    loss: float = 0.0
    is_cut: bool = False
    lost: int = 0
    carried: int = 0


@dataclass(frozen=True)
class Network:
    """Two hosts, and the wire between them.

    Attributes:
        near: A command that runs another one at one end, which has the address ``NEAR``.
        far: The same for the other end, ``FAR``.
    """

    near: tuple[str, ...]
    far: tuple[str, ...]
    wire: Wire


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Make two hosts with a wire between them; skip the test where this user may not."""
    names = [f"fdss-{os.getpid()}-{end}" for end in ("near", "far")]
    with contextlib.ExitStack() as stack:
        try:
            ends = [
                _end(stack, name, address) for name, address in zip(names, (NEAR, FAR), strict=True)
            ]
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here: {error}")
        wire = Wire()
        stack.enter_context(_carried(wire, *ends))
        near, far = (("ip", "netns", "exec", name) for name in names)
        yield Network(near, far, wire)


def _end(stack: contextlib.ExitStack, name: str, address: str) -> int:
    """Make a namespace with a TUN device, and return its file descriptor."""
    if sys.platform != "linux":
        pytest.skip("network namespaces are of Linux")
    import fcntl

    device = f"fd{os.getpid()}{name[-1]}"[-15:]
    tun = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    stack.callback(os.close, tun)
    _ip("netns", "add", name)
    stack.callback(_ip, "netns", "del", name)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TUN_NO_PI))
    _ip("link", "set", device, "netns", name)
    _ip("-n", name, "addr", "add", f"{address}/24", "dev", device)
    _ip("-n", name, "link", "set", "lo", "up")
    _ip("-n", name, "link", "set", device, "up")
    return tun


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=60)


@contextlib.contextmanager
def _carried(wire: Wire, near: int, far: int) -> Iterator[None]:
    is_over = threading.Event()
    thread = threading.Thread(target=_carry, args=(wire, {near: far, far: near}, is_over))
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _carry(wire: Wire, other: dict[int, int], is_over: threading.Event) -> None:
    chance = random.Random(1)
    under_way: list[tuple[float, int, int, bytes]] = []
    with selectors.DefaultSelector() as selector:
        for end in other:
            selector.register(end, selectors.EVENT_READ)
        while not is_over.is_set():
            wait_s = under_way[0][0] - time.monotonic() if under_way else 0.05
            for key, _ in selector.select(min(max(wait_s, 0.0), 0.05)):
                packet = os.read(key.fd, PACKET_BYTES)
                if wire.is_cut or chance.random() < wire.loss:
                    wire.lost += 1
                    continue
                wire.carried += 1
                due_s = time.monotonic() + wire.delay_s
                heapq.heappush(under_way, (due_s, wire.carried, other[key.fd], packet))
            while under_way and under_way[0][0] <= time.monotonic():
                *_, end, packet = heapq.heappop(under_way)
                # A queue that is full loses packets too, as queues do.
                with contextlib.suppress(BlockingIOError):
                    os.write(end, packet)

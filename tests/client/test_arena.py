"""Memory that batches arrive in is used again when, and only when, nothing of them is left."""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest

from fdss.client.arena import KEPT_REGIONS, SMALL_BYTES, Arena

LARGE_BYTES = 1 << 20


def filled(arena: Arena, byte: int, size_bytes: int = LARGE_BYTES) -> pa.Buffer:
    region = arena.take(size_bytes)
    region.content[:size_bytes] = bytes([byte]) * size_bytes
    return region.filled(size_bytes)


def test_memory_is_used_again_once_its_last_slice_has_gone() -> None:
    """A slice keeps the memory and what is in it; after it the next batch is written there."""
    arena = Arena()
    buffer = filled(arena, 1)
    address = buffer.address
    part = buffer.slice(100, 50)
    del buffer
    assert filled(arena, 2).address != address
    assert part.to_pybytes() == b"\x01" * 50
    del part
    assert filled(arena, 3).address == address


def test_arrays_keep_their_memory() -> None:
    """Numbers that lie in a buffer stay what they are while other batches come and go."""
    arena = Arena()
    array = pa.Array.from_buffers(pa.uint8(), LARGE_BYTES, [None, filled(arena, 7)])
    for byte in range(5):
        filled(arena, byte)
    assert array.to_numpy().min() == array.to_numpy().max() == 7


@pytest.mark.parametrize("size_bytes", [0, 1, SMALL_BYTES - 1, SMALL_BYTES, 3 << 20])
def test_a_buffer_has_the_size_asked_for(size_bytes: int) -> None:
    """Whatever memory it lies in, a buffer has the bytes that were asked for."""
    assert filled(Arena(), 9, size_bytes).to_pybytes() == b"\x09" * size_bytes


def test_memory_of_quite_another_size_is_let_go() -> None:
    """A small batch does not sit in the memory of a large one."""
    arena = Arena()
    address = filled(arena, 1, 8 << 20).address
    assert filled(arena, 2, LARGE_BYTES).address != address


def test_memory_is_never_handed_out_twice() -> None:
    """However many batches are held at once, before and after others went, no two share memory."""
    arena = Arena()
    for count in (3 * KEPT_REGIONS, KEPT_REGIONS + 1):
        held = [filled(arena, number) for number in range(count)]
        contents = [buffer.to_pybytes() for buffer in held]
        assert contents == [bytes([number]) * LARGE_BYTES for number in range(count)]
        held.clear()


def test_memory_may_come_back_from_another_thread() -> None:
    """Readers fill, consumers let go, in threads of their own."""
    arena = Arena()
    buffers = [filled(arena, 1)]
    address = buffers[0].address
    consumer = threading.Thread(target=buffers.clear)
    consumer.start()
    consumer.join()
    assert filled(arena, 2).address == address

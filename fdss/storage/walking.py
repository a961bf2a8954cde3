"""A walk over the files of a dataset, which makes their index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from .contents import damage_told
from .index import BatchIndex, build_index
from .messages import Message, messages_of
from .stamps import Stamp

_PROGRESS_AFTER_S = 1.0
_MESSAGES_A_TICK = 4096


def walked_index(stamps: tuple[Stamp, ...], progress: bool) -> BatchIndex:
    """Return the index of some files, made now.

    Args:
        stamps: The files, in the order of their rows.
        progress: Whether to show progress on a terminal when it takes long.

    Raises:
        DatasetDamaged: A file cannot be read, is no Arrow file, or is cut.
    """
    bar = tqdm(
        total=sum(stamp.size for stamp in stamps),
        desc="indexing",
        unit="B",
        unit_scale=True,
        delay=_PROGRESS_AFTER_S,
        disable=None if progress else True,
    )
    with damage_told("A file of the dataset cannot be read."), bar:
        return build_index(stamps, (_ticking(stamp, bar) for stamp in stamps))


def _ticking(stamp: Stamp, bar: tqdm[Any]) -> Iterator[Message]:
    done = 0
    for count, message in enumerate(messages_of(stamp)):
        yield message
        if count % _MESSAGES_A_TICK == 0:
            end = message.offset + message.length
            bar.update(end - done)
            done = end
    bar.update(stamp.size - done)

"""One line of the log for each reader at the end of an epoch, for whoever asks for it."""

from __future__ import annotations

import logging

from .pipeline import Pipeline
from .slots import Snapshot
from .statistics import in_words, reader_counts
from .variables import is_on

VARIABLE = "FORGATHER_DATASET_CLIENT_STATS"

_log = logging.getLogger(__name__)


def are_wanted() -> bool:
    """Return whether the environment asks for a line.

    Raises:
        SettingError: The variable is neither 0 nor 1.
    """
    return is_on(VARIABLE)


def tell(name: str, pipeline: Pipeline, snapshot: Snapshot) -> None:
    """Write the line of a pass that has ended.

    It is told at level INFO, and shown on standard error where no logging is set up, as in a
    spawned worker: it was asked for.
    """
    if _log.level == logging.NOTSET:
        _log.setLevel(logging.INFO)
    if not _log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        _log.addHandler(handler)
    ranks, worker = pipeline.ranks, pipeline.worker
    rank = "" if ranks is None else f", rank {ranks.rank}/{ranks.world_size}"
    part = "" if worker is None else f", worker {worker[0]}/{worker[1]}"
    words = in_words(reader_counts(snapshot))
    _log.info("%s, epoch %d%s%s: %s", name, snapshot.epoch, rank, part, words)

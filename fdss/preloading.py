"""What a server opens by itself at its start, so that the first client does not wait for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

from fdss import places
from fdss.arguments import DEFAULT_SPLIT, LoadArguments
from fdss.catalog import Catalog
from fdss.config import ServerConfig
from fdss.errors import FdssError
from fdss.locking import locked
from fdss.openers import checked_location, storage_options
from fdss.policy import LOCAL_PREFIX, grant
from fdss.storage import split_openers

#: In place of a path: every named local dataset.
EVERY_LOCAL = "all"
#: Seconds that the end of a server waits for the dataset that is being opened.
STOP_TIMEOUT_S = 5.0
_LOCK_NAME = ".preload-{handle}.lock"

Splits = Callable[[ServerConfig, LoadArguments], Sequence[str]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How far a round of opening has come.

    Attributes:
        datasets: Datasets that were to be opened.
        done: Those that are over, whether or not they could be opened.
        failed: Those of them that could not be opened in whole, by their paths.
    """

    datasets: int = 0
    done: int = 0
    failed: tuple[str, ...] = ()


class Preloading:
    """A thread that opens what the setting ``preload`` names, dataset after dataset.

    A dataset that cannot be opened is logged and passed over. Several processes take turns, so
    that one of them builds an index, which the others find.

    Attributes:
        outcome: How far it has come.
    """

    def __init__(self, catalog: Callable[[], Catalog], *, splits: Splits | None = None) -> None:
        """Open nothing yet.

        Args:
            catalog: Returns the catalog that is in use.
            splits: Names the splits of a dataset; None for storage.
        """
        self._catalog = catalog
        self._splits = splits or stored_splits
        self._stopping = threading.Event()
        self._turn = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._is_done = threading.Event()
        self.outcome = Outcome()

    @property
    def is_done(self) -> bool:
        """Tell whether everything was opened, or found that it cannot be; it stays so."""
        return self._is_done.is_set()

    @property
    def reason(self) -> str | None:
        """Return why the server is not ready yet; None once it is."""
        if self.is_done:
            return None
        return f"{self.outcome.done:,} of {self.outcome.datasets:,} datasets are preloaded"

    def begin(self, config: ServerConfig) -> None:
        """Open what the settings name, in the background; again, what they name now."""
        wanted = list(wanted_datasets(config))
        if not wanted:
            if config.preload:
                logger.warning("nothing is preloaded: there is no named local dataset")
            self._is_done.set()
            return
        if not self.is_done:
            self.outcome = Outcome(len(wanted))
        thread = threading.Thread(
            target=self._run, args=(config, wanted), name="fdss-preload", daemon=True
        )
        self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]
        thread.start()

    def stop(self) -> None:
        """Open nothing more, and wait a while for the dataset that is being opened."""
        self._stopping.set()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def wait(self, timeout_s: float) -> bool:
        """Return whether it is done, once it is or the time is over."""
        return self._is_done.wait(timeout_s)

    def _run(self, config: ServerConfig, wanted: list[LoadArguments]) -> None:
        with self._turn:
            logger.info("preloading %s", ", ".join(map(_title, wanted)))
            begun_s = time.monotonic()
            outcome, opened = Outcome(len(wanted)), 0
            for arguments in wanted:
                if self._stopping.is_set():
                    return
                splits = self._opened_splits(config, arguments)
                opened += sum(splits)
                failed = () if all(splits) else (_title(arguments),)
                if failed and self._stopping.is_set():
                    # What is left out has not failed.
                    return
                outcome = replace(outcome, done=outcome.done + 1, failed=outcome.failed + failed)
                self.outcome = outcome
            logger.info(
                "preloaded %d of %d datasets in %.2f s%s",
                outcome.done - len(outcome.failed),
                outcome.datasets,
                time.monotonic() - begun_s,
                f"; failed: {', '.join(outcome.failed)}" if outcome.failed else "",
            )
            if opened > config.max_open:
                logger.warning(
                    "%s splits were preloaded and only the last %s stay open; "
                    "raise max_open, or preload less",
                    f"{opened:,}",
                    f"{config.max_open:,}",
                )
            self._is_done.set()

    def _opened_splits(self, config: ServerConfig, arguments: LoadArguments) -> list[bool]:
        """Open every split of a dataset; return whether each could be opened."""
        begun_s = time.monotonic()
        try:
            with self._turn_of_this_process(arguments):
                if self._stopping.is_set():
                    return [False]
                splits = self._splits(config, arguments)
        except Exception as error:  # the edge of the thread: the server goes on without it
            _tell_failure(_title(arguments), error)
            return [False]
        opened = []
        for split in splits:
            opened.append(self._is_split_opened(replace(arguments, split=split), begun_s))
            # The first one's time has that of preparing all of them in it.
            begun_s = time.monotonic()
        return opened

    def _is_split_opened(self, arguments: LoadArguments, begun_s: float) -> bool:
        title = f"{_title(arguments)}, split {arguments.split}"
        try:
            with self._turn_of_this_process(arguments):
                if self._stopping.is_set():
                    return False
                rows = len(self._catalog().load(arguments).backend)
        except Exception as error:  # the edge of the thread: the server goes on without it
            _tell_failure(title, error)
            return False
        logger.info("preloaded %s: %s rows, %.2f s", title, f"{rows:,}", time.monotonic() - begun_s)
        return True

    def _turn_of_this_process(self, arguments: LoadArguments) -> ExitStack:
        """Return what holds the turn at a dataset until it is left.

        The processes of all servers of this machine take turns: of another server one that hangs
        must not hold up more than it has to.
        """
        stack = ExitStack()
        folder = places.index_folder()
        handle = replace(arguments, split=DEFAULT_SPLIT).handle
        # Without the lock several processes build the same index, each in whole.
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / _LOCK_NAME.format(handle=handle)
            stack.enter_context(locked(file, self._stopping))
        return stack


def wanted_datasets(config: ServerConfig) -> Iterator[LoadArguments]:
    """Yield the datasets that the setting ``preload`` names, each once; their split is open."""
    texts: dict[str, None] = {}
    for text in config.preload:
        named = (LOCAL_PREFIX + name for name in sorted(config.local))
        texts.update(dict.fromkeys(named if text == EVERY_LOCAL else [text.strip()]))
    for text in texts:
        path, _, name = (text, "", "") if _is_absolute(text) else text.partition("=")
        yield LoadArguments(path, name or None)


def stored_splits(config: ServerConfig, arguments: LoadArguments) -> Sequence[str]:
    """Return the splits of a dataset of this machine, prepared if need be.

    Raises:
        FdssError: The policy or storage refuses it.
    """
    location = checked_location(grant(arguments, config), arguments, config)
    return list(split_openers(location, arguments, storage_options(config)))


def _is_absolute(text: str) -> bool:
    return text[:1] in ("/", "\\", "~") or text[1:2] == ":"


def _tell_failure(title: str, error: Exception) -> None:
    if isinstance(error, FdssError):
        logger.error("preload of %s failed: %s", title, error)
    else:
        logger.error("preload of %s failed", title, exc_info=error)


def _title(arguments: LoadArguments) -> str:
    return arguments.path if arguments.name is None else f"{arguments.path}={arguments.name}"

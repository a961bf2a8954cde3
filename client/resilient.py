"""A remote dataset that outlives its servers: it waits, looks for one again, and goes on.

Whichever server answers, it has to hold the rows that the job began with: its fingerprint is
compared before a row is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fdss.arguments import LoadArguments
from fdss.backend import Chunk, FeaturesJson, Selection
from fdss.errors import ContentChanged, FdssError, Unavailable

from . import hedging
from .descriptions import Description
from .finding import Finder, Found
from .pages import Transfer
from .patience import Patience
from .pins import Pin
from .remote import RemoteBackend, load_remote
from .tallies import TalliedBackend, Tally
from .trouble import HEALTH_TIMEOUT_S, Present, Trouble


class ResilientRemoteBackend(TalliedBackend):
    """The rows of a dataset, from whichever server has them.

    It can be pickled, and used after a fork and by several threads. All processes of a job read
    the same content, also those that were forked before it was known.
    """

    def __init__(
        self,
        arguments: LoadArguments,
        finder: Finder,
        *,
        patience: Patience | None = None,
        transfer: Transfer | None = None,
        hedge: bool | None = None,
    ) -> None:
        """Take what to load; nothing is sent before the first question.

        Args:
            arguments: What every server is asked to load.
            finder: Says which server.
            patience: How an outage is borne; None for what the environment says.
            transfer: How rows are brought here; None as ``RemoteBackend`` has it.
            hedge: Ask a second server, where there is one, for a first page that comes slowly;
                None for what the environment says.

        Raises:
            SettingError: The environment names no possible patience or hedge.
        """
        self.arguments = arguments
        self.finder = finder
        self.patience = patience or Patience.from_environment()
        self.transfer = transfer
        self._hedges = finder.can_choose and (hedging.is_wanted() if hedge is None else hedge)
        self.pin = Pin()
        self.present: Present | None = None
        self._told: Description | None = None

    def __repr__(self) -> str:
        return f"ResilientRemoteBackend({self.arguments.path!r}, {self.finder!r})"

    def __getstate__(self) -> dict[str, Any]:
        if not self.finder.can_choose:
            return self.__dict__
        # The copies would each ask for a server, and could be given different content; and the
        # token that a router gave stays here.
        self.description()
        return {**self.__dict__, "present": None}

    @property
    def url(self) -> str:
        """Return the URL of the server that is read from at present."""
        return Trouble(self).server()[1].url

    @property
    def handle(self) -> str:
        """Return the handle of the dataset on that server."""
        return Trouble(self).server()[1].handle

    @property
    def fingerprint(self) -> str:
        """Return the content fingerprint."""
        self.description()
        assert self.pin.fingerprint is not None
        return self.pin.fingerprint

    @property
    def column_names(self) -> list[str]:
        """Return the names of the columns, in stored order."""
        return list(self.description().column_names)

    @property
    def features(self) -> FeaturesJson:
        """Return the HF features as JSON, a name to a feature, in stored order."""
        return dict(self.description().features)

    def __len__(self) -> int:
        return self.description().length

    @property
    def is_described(self) -> bool:
        """Tell whether a server has told of the dataset."""
        return self._told is not None

    def description(self) -> Description:
        """Return what a server tells about the dataset, once one does."""
        if self._told is None:
            Trouble(self).server()
            assert self._told is not None
        return self._told

    def connect(self) -> None:
        """Load the dataset now; only a server that is busy is asked twice.

        Raises:
            ServerUnreachable: No server answered.
            FdssError: The server refused, with its own message.
        """
        trouble = Trouble(self)
        found = self.finder.find(self.arguments, self.pin.fingerprint)
        while self.present is None:
            try:
                self.present = found, trouble.loaded(found)
            except Unavailable as error:
                trouble.outages.wait(error)

    def tallied_chunks(self, selection: Selection, tally: Tally) -> Iterator[Chunk]:
        """Yield the rows of a selection, in its order, through outages and changes of server.

        Raises:
            OutageTooLong: No row came for as long as the patience lasts.
            ContentChanged: The rows are no longer those the job began with.
            FdssError: A server refused what no waiting helps.
        """
        trouble = Trouble(self, tally)
        done = 0
        while True:
            found, remote = present = trouble.server()
            left = selection if not done else selection.part(done, len(selection) - done)
            try:
                chunks = remote.tallied_chunks(left, tally)
                if self._hedges:
                    present, chunks = hedging.raced(self, present, left, tally)
                    found, self.present = present[0], present
                for chunk in chunks:
                    trouble.end(found)
                    done += len(chunk)
                    yield chunk
                    trouble.outages.flow()
                return
            except FdssError as error:
                if self.present is present:
                    self.present = None
                trouble.bear(error, found)

    def load(self, found: Found, timeout_s: float) -> RemoteBackend:
        """Return the dataset of a server, which has the rows that the job reads.

        Args:
            timeout_s: Seconds that the load may take.

        Raises:
            ContentChanged: It has other rows.
            FdssError: It did not answer, or refused.
        """
        remote = load_remote(
            found.url,
            self.arguments,
            token=found.token,
            timeout_s=min(self.patience.stall_s, max(self.patience.most_s, HEALTH_TIMEOUT_S)),
            transfer=self.transfer,
            load_timeout_s=timeout_s,
        )
        agreed = self.pin.agreed(remote.fingerprint)
        if remote.fingerprint != agreed:
            raise ContentChanged(
                f"{self.arguments.path!r} at {found.url} has the fingerprint"
                f" {remote.fingerprint!r}; this job reads {agreed!r}."
            )
        self._told = self._told or remote.description
        return remote

"""The methods that share a dataset out to ranks, and carry its state from some ranks to others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fdss.errors import BadParameter, UnsupportedStep

from .elastic import MergedState, merged, position_of
from .epochs import Epoch, Start
from .nodes import State
from .ranks import PAD, Beginning, Distribution, Ranks
from .states import BEGAN_KEY, DISTRIBUTION_KEY
from .transforms import Transforms, check_count

if TYPE_CHECKING:
    from typing_extensions import Self

_log = logging.getLogger(__name__)


class Distributing(Transforms):
    """The part of a dataset that knows of ranks."""

    _epoch: Epoch
    _start: Start | None
    _is_warned = False

    @property
    def distribution(self) -> Distribution | None:
        """Return what this rank gets, from where its newest pass has begun or the first will.

        None when the dataset is not distributed.
        """
        ranks = self._pipeline.ranks
        if ranks is None or self._start is None:
            return None
        return ranks.distribution(len(self._pipeline.view), self._start.newest)

    def distribute(
        self, rank: int, world_size: int, batch_size: int, tail: str = PAD, group: int = 1
    ) -> Self:
        """Return the rows of one rank of many, which all together get the rows of one order.

        What is shared out are places: rows of the source, in the order and the part of it that
        ``slice``, ``shard`` and ``shuffle`` have said, before any step has made more or fewer of
        them. A global step consumes the next ``world_size * batch_size`` places (a ``group``
        counts as one rank), and inside it the ranks take turns place by place. So after any number
        of rows on every rank, and not only of batches, exactly that many times ``world_size``
        places are consumed, and none behind them. All ranks get the same number of batches of the
        source. In a DataLoader with this batch size the k-th batch is the same with any number of
        workers, and no worker asks for rows that it does not need.

        **States.** Where every step makes one row of each (``map``, columns), the state says how
        many places are consumed, is the same on all ranks, and loads under any other
        ``world_size``, ``rank``, ``batch_size``, ``tail`` and number of workers, and under none:
        the places that were left follow, each once, in their order. With workers the main process
        saves ``state_after``.

        Where a step may make more or fewer rows (``filter``, ``batch``, a batched ``map``, a
        ``map`` that returns None, one of tables), ranks that gave as many rows have consumed
        different numbers of places, and need not end with as many. The state then goes on exactly
        on its own rank of the same distribution. For any other, pass the states of all ranks, in
        their order, to ``load_state_dict``: the run goes on at the first place that some rank has
        not consumed whole. No place is lost; places behind it that faster ranks have consumed
        come again, as many as ``merge_states`` says, and batches are put together anew from there.

        The next epoch begins at the first place again. Under the distribution it was saved with a
        state goes on inside its global step; under another one steps are counted from its place.

        Args:
            rank: 0 to ``world_size`` - 1.
            batch_size: Rows of a rank in one global step: the batch size of the DataLoader.
            tail: What becomes of places that fill no whole step. "pad" repeats places from the
                start of the order, "drop" leaves them out, and "uneven" gives each once, ranks
                differing by one row. ``distribution`` says how many there are.
            group: As many neighbouring ranks get identical rows, as tensor, context and pipeline
                parallel ranks need them; it divides ``world_size``.

        Raises:
            BadParameter: An argument is out of range, or each rank drew a seed of its own.
            UnsupportedStep: It is distributed already, or a step counts the rows that come out.
        """
        ranks = Ranks(rank, world_size, batch_size, tail, group)
        if self._pipeline.ranks is not None:
            raise UnsupportedStep(
                "distribute() cannot follow distribute().",
                hint="distribute once, the whole dataset",
            )
        cutting = [step.name for step in self._pipeline.steps if step.cuts_output]
        if cutting:
            raise UnsupportedStep(
                f"distribute() cannot follow {cutting[0]}, which counts rows behind other steps.",
                hint="take and skip before other steps, or slice",
            )
        shuffle = self._pipeline.view.shuffle
        if shuffle is not None and shuffle.is_drawn and ranks.count > 1:
            raise BadParameter(
                f"distribute() over {ranks.count} ranks follows a shuffle() that drew a seed of "
                "its own: every rank would have another order.",
                hint="name the seed, the same on every rank: shuffle(seed=...)",
            )
        distributed = self._with(ranks=ranks)
        _log.info("%s", distributed.distribution)
        return distributed

    def state_after(self, batches: int) -> State:
        """Return the state after so many batches of every rank, as ``state_dict`` would save it.

        They are counted from where the newest pass has begun: at the loaded state, else at the
        first row. Nothing is read, so a training loop whose rows come from DataLoader workers
        saves this.

        Args:
            batches: Batches that a rank has been given of this pass.

        Raises:
            BadParameter: The pass has fewer batches.
            UnsupportedStep: The dataset is not distributed, or has a step that may make more or
                fewer rows.
        """
        check_count("state_after", batches)
        ranks, start = self._pipeline.ranks, self._start
        if ranks is None or start is None or not self._pipeline.keeps_places:
            raise UnsupportedStep(
                "state_after() is of a distributed dataset whose steps make one row of each.",
                hint="save state_dict() of the iterator, or that of a StatefulDataLoader",
            )
        if start.has_dropped:
            raise UnsupportedStep(
                "state_after() counts batches of the source; a map() has dropped rows (None), so "
                "those that came hold others.",
                hint="drop rows with filter(), and save the states of all ranks",
            )
        begin = start.newest
        end = ranks.end(len(self._pipeline.view), begin.began)
        most = -(-(end - begin.place) // ranks.step_places)
        if batches > most:
            raise BadParameter(f"state_after({batches}): the pass has {most:,} batches.")
        place = min(begin.place + batches * ranks.step_places, end)
        return self._pipeline.state_at(place, self._epoch.number, begin.began)

    def merge_states(self, states: Sequence[State]) -> MergedState:
        """Return the place where all ranks can go on, of the states of all ranks in their order.

        Raises:
            StateRefused: They do not belong to this dataset, or not together.
        """
        return self._merged(states, strict=True)

    def _merged(self, states: Sequence[Any], *, strict: bool) -> MergedState:
        made = merged(states, self._pipeline, strict=strict)
        _log.info("%d states: %s", len(states), made)
        return made

    def _warn_of_uneven_ranks(self, worker: tuple[int, int] | None) -> None:
        """Say once a process that ranks may end at different steps, where they would hang."""
        ranks = self._pipeline.ranks
        is_even = ranks is None or ranks.count == 1 or self._pipeline.keeps_places
        if is_even or self._is_warned or (worker is not None and worker[0]):
            return
        self._is_warned = True
        _log.warning(
            "A step may make more or fewer rows: the ranks may end after different numbers of "
            "batches. Stop all of them when the first one ends."
        )

    def _begin_at(self, state: State | None) -> None:
        """Let the next pass of a rank begin at a state, or at the first row."""
        if self._start is None:
            return
        begin = Beginning()
        if state is not None:
            begin = Beginning(state[DISTRIBUTION_KEY][BEGAN_KEY], position_of(state))
        self._start.load(begin)
        if begin.place:
            _log.info("%s", self.distribution)

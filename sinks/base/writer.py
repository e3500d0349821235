"""The port between the consume loop and a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from schemas.errors import PoisonRecord
from sinks.base.counts import NO_COUNTS, CountsOf
from sinks.base.records import Record


class Outcome(NamedTuple):
    """What became of the records that were handed to a writer.

    All of them are durable, except these: ``poison`` can never pass, ``again`` (positions in what
    was handed over) failed for now, because of ``why``. ``counts``: what the writer counted of the
    durable records, apart from dead letters.
    """

    poison: Sequence[PoisonRecord] = ()
    again: Sequence[int] = ()
    why: str = ""
    counts: CountsOf = NO_COUNTS


class Writer(Protocol):
    """Makes records durable in one store.

    The loop calls it from one thread, one call after the other, for as long as the process
    lives. It needs no memory of earlier calls: whatever must survive is in the store.
    """

    def write(self, records: Sequence[Record]) -> Outcome:
        """Makes the records durable, and returns when they are.

        Called with records of any number of partitions: consecutive records of each, from a
        committed place on or from the end of the batch before. Called again after a failure, with
        what the outcome names or with all of them, and after a restart or a rebalance from the
        last commit on, also when newer records have been written since, by this process or
        another: the same records, written again, must leave the store as it is.

        Returns:
            The records that are not durable, and why. Those that can never pass come back here
            and are not raised, so that the rest of the batch need not be written twice.

        Raises:
            TransientFailure: The store does not take them now. None counts as durable; the loop
                waits and hands over all of them again.
            FatalFailure: The process cannot go on. It ends, and nothing of the batch is committed.
                An error of Python, such as ValueError, is blamed on a record: the loop looks for
                that record by writing parts of the batch. Any other error is fatal.
        """
        ...

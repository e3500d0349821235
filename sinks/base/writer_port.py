"""The port between the consume loop and a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from prometheus_client.registry import Collector

from schemas.errors import PoisonRecord
from sinks.base.counts import NO_COUNTS, CountsOf
from sinks.base.records import Record


class WriteOutcome(NamedTuple):
    """The result of a write.

    All records are durable, except ``poison``, which can never pass, and ``to_retry`` (positions
    in the passed records), which failed temporarily because of ``retry_reason``. ``counts``: the
    writer's counts of the durable records, without dead letters.
    """

    poison: Sequence[PoisonRecord] = ()
    to_retry: Sequence[int] = ()
    retry_reason: str = ""
    counts: CountsOf = NO_COUNTS


class StoreWriter(Protocol):
    """Makes records durable in one store.

    The loop calls it from one thread, one call after the other, until the end of the process. A
    writer needs no memory of earlier calls: all state that must survive is in the store.
    """

    def write(self, records: Sequence[Record]) -> WriteOutcome:
        """Makes the records durable, and returns when they are.

        The records are of any number of partitions: successive records of each partition, from a
        committed offset or from the end of the previous batch. The method is called again after a
        failure, with the records in the outcome or with all records. It is also called again after
        a restart or a rebalance, from the last commit on, even if this process or another has
        written newer records since. So a repeated write must not change the store.

        Returns:
            The records that are not durable, with reasons. Poison records are returned and not
            raised, so that the rest of the batch is not written twice.

        Raises:
            TransientFailure: The store does not accept the records now. No record counts as
                durable; the loop waits and passes all records again.
            FatalFailure: The process cannot continue. It ends without a commit of the batch.
                An error of Python, such as ValueError, is attributed to a record: the loop finds
                this record by writing parts of the batch. Any other error is fatal.
        """
        ...


@runtime_checkable
class MeteredWriter(Protocol):
    """A writer with metrics of its own."""

    own_metrics: Collector
    """The metrics, besides those of all sinks."""


class CheckedWriter(StoreWriter, Protocol):
    """A writer that knows whether its store answers."""

    def not_reachable(self) -> str | None:
        """The reason why the store does not answer; None if it does. Called from any thread.

        Takes some seconds at most.
        """
        ...

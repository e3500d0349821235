"""Makes a batch durable, between its reading and its commit. Runs in the worker thread."""

from __future__ import annotations

import logging
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Event
from typing import Final

from backends.processes.watchdog import Vitals
from schemas.errors import PoisonRecord, TransientFailure
from sinks.base.counts import NO_COUNTS, CountsOf, DeliveryCounts, added
from sinks.base.poison import PoisonGuard
from sinks.base.records import Record
from sinks.base.retry import attempts
from sinks.base.sink_letters import DeadLetter, DeadLetters
from sinks.base.sink_metrics import DeliveryObserver, NoObserver
from sinks.base.writer_port import StoreWriter, WriteOutcome

_OF_A_RECORD: Final = (
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    LookupError,
    RecursionError,
    struct.error,
)
"""Errors of a writer that only an unexpected record causes. Servers cause none of these: the
errors of their clients have other types."""

_logger = logging.getLogger(__name__)


class BatchDelivery:
    """Makes batches durable, each record in the store or among the dead letters.

    Args:
        writer: Writes to the store.
        dead_letters: Takes the records that the store never accepts.
        guard: Detects too many poison records.
        vitals: Receives the begin and the end of each attempt, for a watchdog.
        request_id_of: Returns the id of the request that caused a record, if it is known.
        observer: Receives the results, for metrics.
    """

    def __init__(  # noqa: PLR0913 - the parts of a delivery
        self,
        writer: StoreWriter,
        dead_letters: DeadLetters,
        guard: PoisonGuard,
        vitals: Vitals | None = None,
        request_id_of: Callable[[Record], str | None] = lambda _: None,
        *,
        observer: DeliveryObserver | None = None,
    ) -> None:
        self._request_id_of = request_id_of
        self._writer = writer
        self._dead_letters = dead_letters
        self._guard = guard
        self._vitals = vitals or Vitals()
        self._observer = observer or NoObserver()

    def deliver(self, records: Sequence[Record], abandon: Event) -> CountsOf:
        """Returns when all records are durable; waits for servers without a time limit.

        Args:
            records: The records, in the order of each partition.
            abandon: Set when the result is no longer needed.

        Returns:
            The counts of each partition.

        Raises:
            TransientFailure: The delivery was abandoned. Some records may be durable.
            FatalFailure: The process cannot continue. Any other error means the same.
        """
        try:
            return self._deliver(records, abandon)
        finally:
            self._vitals.written()

    def _deliver(self, records: Sequence[Record], abandon: Event) -> CountsOf:
        begun = time.monotonic()
        # Step 1: write to the store, except records that can never pass.
        poison, counts = self._write(records, abandon)
        # Step 2: stop if too many records are poison.
        self._guard.observe(len(records), sorted(poison))
        # Step 3: send the poison records as dead letters, until confirmed.
        letters = [DeadLetter(records[i], reason) for i, reason in sorted(poison.items())]
        if letters:
            self._send_letters(letters, abandon)
        dead = Counter(letter.record.partition for letter in letters)
        reasons = [letter.reason for letter in letters]
        self._observer.finished(records, counts, reasons, time.monotonic() - begun)
        return added(counts, {number: DeliveryCounts(count) for number, count in dead.items()})

    def _write(self, records: Sequence[Record], abandon: Event) -> tuple[dict[int, str], CountsOf]:
        """Writes until all records except poison are durable.

        Returns:
            The reason for each poison record by its position, and the writer's counts.
        """
        poison: dict[int, str] = {}
        counts = NO_COUNTS
        pending: Sequence[int] = range(len(records))
        for attempt in attempts("writing", abandon, self._observer.retried):
            with attempt:
                self._vitals.writing()
                is_complete = len(pending) == len(records)
                outcome = self._outcome(records if is_complete else [records[i] for i in pending])
                counts = added(counts, outcome.counts)
                poison.update((pending[each.index], each.reason) for each in outcome.poison)
                pending = [pending[i] for i in outcome.to_retry]
                if pending:
                    raise TransientFailure(f"{len(pending)} records wait ({outcome.retry_reason})")
        return poison, counts

    def _outcome(self, records: Sequence[Record]) -> WriteOutcome:
        """Writes records. A record for which the writer raises one of these errors is poison."""
        try:
            return self._writer.write(records)
        except _OF_A_RECORD as error:
            if len(records) == 1:
                reason = f"it cannot be written: {type(error).__name__}"
                return WriteOutcome([PoisonRecord(0, reason)])
        middle = len(records) // 2
        first = self._outcome(records[:middle])
        # No record of the second half may be durable before the whole first half.
        rest = range(len(records) - middle)
        second = WriteOutcome((), rest) if first.to_retry else self._outcome(records[middle:])
        poison = [PoisonRecord(each.index + middle, each.reason) for each in second.poison]
        to_retry = [index + middle for index in second.to_retry]
        return WriteOutcome(
            [*first.poison, *poison],
            [*first.to_retry, *to_retry],
            first.retry_reason or second.retry_reason,
            added(first.counts, second.counts),
        )

    def _send_letters(self, letters: Sequence[DeadLetter], abandon: Event) -> None:
        for letter in letters:
            record = letter.record
            fields = {
                "partition": record.partition,
                "offset": record.offset,
                "request_id": self._request_id_of(record),
            }
            _logger.warning("a record is a dead letter: %s", letter.reason, extra=fields)
        for attempt in attempts("sending dead letters", abandon):
            with attempt:
                self._vitals.writing()
                self._dead_letters.send(letters)

"""Passes records of the log to a sink's writer, outside of the sink's process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from threading import Event, Timer
from typing import Final

from sinks.base.delivery import BatchDelivery
from sinks.base.poison import PoisonGuard, PoisonLimits
from sinks.base.records import Record
from sinks.base.sink_letters import DeadLetter
from sinks.base.writer_port import StoreWriter

STORE_SECONDS: Final = 60.0
"""How long a store may refuse records temporarily."""

_NO_LIMIT: Final = PoisonLimits(run=1 << 62, share=1.0)


class _Refusals:
    """Replaces the dead-letter topic: a second letter about the same record has no use."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def send(self, letters: Iterable[DeadLetter]) -> None:
        """See `sinks.base.sink_letters.DeadLetters`."""
        self.reasons += [letter.reason for letter in letters]


def deliver_now(writer: StoreWriter, records: Sequence[Record]) -> list[str]:
    """Makes records durable.

    Returns:
        The reasons of the records that the store refuses permanently.

    Raises:
        TransientFailure: Some records are neither stored nor refused after `STORE_SECONDS`.
        FatalFailure: The store refuses this client.
    """
    refusals = _Refusals()
    late = Event()
    timer = Timer(STORE_SECONDS, late.set)
    timer.daemon = True
    timer.start()
    try:
        BatchDelivery(writer, refusals, PoisonGuard(_NO_LIMIT)).deliver(records, late)
    finally:
        timer.cancel()
    return refusals.reasons

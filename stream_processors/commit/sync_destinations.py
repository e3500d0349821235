"""The port of a transaction to the layout of the sync timelines.

`SyncDestinations` decides where a sync record goes, what must exist before the record is written,
and what must be checked before the commit. A transaction does all writes and waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from schemas.errors import RejectionCode
from schemas.number_types import EpochNumber
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.sequencing.source_record import SourceRecord

Destination: TypeAlias = tuple[str, int, Any]
"""Topic, partition and key (bytes or str) of a sync record. A plain tuple, because the loop over
destinations is the busiest of the sequencer, and Python unpacks a named tuple more slowly."""

ANY_PARTITION: Final = -1
"""The partition of a destination whose partition the producer computes from the key."""


class PreparedRecords(NamedTuple):
    """The first source records, for which all destinations exist.

    ``refusal``: the reason to refuse the only record, whatever the core decides.
    """

    records: Sequence[SourceRecord]
    refusal: RejectionCode | None = None


class CheckedCopy(NamedTuple):
    """A second copy of a sync record, which a check has found necessary."""

    topic: str
    recipient: str
    value: bytes


class SyncDestinations(Protocol):
    """The destinations of the sync records of one lane."""

    def use_epoch(self, epoch: EpochNumber) -> None:
        """Sets the epoch of all later records, which is the epoch in the lane's progress.

        Raises:
            FatalFailure: The deployment has no such epoch.
            KafkaException: The broker does not answer.
        """

    def prepare(self, sequencer: Sequencer, records: Sequence[SourceRecord]) -> PreparedRecords:
        """Creates what the first records need. Called before each transaction begins.

        Raises:
            ServerUnavailable: The broker did not answer in time. The process may end and retry.
        """
        ...

    def of(self, recipients: Sequence[str], value: bytes) -> Sequence[Destination]:
        """The destinations of one sync record, which together have all recipients.

        Raises:
            ServerUnavailable: The broker did not answer in time.
        """
        ...

    @property
    def needs_check(self) -> bool:
        """Whether `checked_copies` must be called before the commit."""
        ...

    def checked_copies(self) -> Iterator[CheckedCopy]:
        """The copies to write. Called when the broker has all records of the transaction.

        Raises:
            ServerUnavailable: The broker does not answer.
        """
        ...

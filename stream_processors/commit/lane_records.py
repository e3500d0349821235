"""The records of one lane in a transaction: a `RecordWriter` with the lane's destinations."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from confluent_kafka import Producer

from backends.processes.traces import Traces
from schemas.codec import encode
from schemas.dead_letters import (
    Headers,
    Origin,
    content_of,
    letter_headers,
    letter_key,
    letter_value,
)
from schemas.epochs import LaneSwitched, epoch_key
from schemas.errors import FatalFailure
from schemas.number_types import EpochNumber
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.commit.command_spans import CommandSpans
from stream_processors.commit.producer_settings import TRANSACTION_SECONDS
from stream_processors.commit.sync_destinations import PreparedRecords, SyncDestinations
from stream_processors.commit.turns import Turn
from stream_processors.sequencing.record_writer import RecordWriter, RejectedRecord
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.sequencing.source_record import SourceRecord
from stream_processors.state.state_codec import progress_record

FETCH_PAUSE_SECONDS: Final = 50e-6
"""Duration of a pause in a turn, for the threads that fetch. These threads need the interpreter
briefly, several times for each record, while a computing writer holds it for long.
"""

_BUFFER_WAIT_SECONDS: Final = 0.05

Process: TypeAlias = Callable[[SourceRecord, RecordWriter], int]
"""Processes one record, as `Sequencer.process`; returns the number of written records."""


class WrittenRecords(NamedTuple):
    """The records of some transactions, for metrics.

    ``deliveries``: the recipients of the sync records, summed. ``letter_reasons``: the reasons of
    the dead letters.
    """

    entries: int
    deliveries: int
    sync_records: int
    letter_reasons: Sequence[str]


class Written(NamedTuple):
    """The counts of a lane in a turn: processed source records, and written records."""

    done: int
    records: int


class LaneRecords:
    """Writes the decisions of one `Sequencer`. A `RecordWriter`.

    Args:
        settings: The settings of the deployment, which name the topics.
        partition: The source partition; its timeline and state have the same number.
        sequencer: The state of the partition.
        producer: The transactional producer, which owns the partition.
        destinations: Gives the destinations of sync records.
        traces: Makes the spans of sampled commands; None without traces.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a lane
        self,
        settings: Settings,
        partition: int,
        sequencer: Sequencer,
        producer: Producer,
        destinations: SyncDestinations,
        traces: Traces | None = None,
    ) -> None:
        self.partition = partition
        self.sequencer = sequencer
        self._traces = traces
        self._destinations = destinations
        self._destinations_of = destinations.of
        self._producer = producer
        self._messages = settings.topic(Topic.MESSAGES)
        self._timeline = settings.topic(Topic.TIMELINE)
        self._state = settings.topic(Topic.STATE)
        self._epochs = settings.topic(Topic.EPOCHS)
        self._dead_letter = settings.topic(Topic.DEAD_LETTER)
        self._entries = self._deliveries = self._sync_records = 0
        self._letter_reasons: list[str] = []
        self._spans: CommandSpans | None = None

    @property
    def epoch(self) -> EpochNumber:
        """The epoch to which the lane's sync records are written."""
        return self.sequencer.progress.epoch

    def take_written(self) -> WrittenRecords:
        """The records of the transactions since the last call."""
        reasons, self._letter_reasons = self._letter_reasons, []
        taken = WrittenRecords(self._entries, self._deliveries, self._sync_records, reasons)
        self._entries = self._deliveries = self._sync_records = 0
        return taken

    def switch(self, epoch: EpochNumber) -> None:
        """Writes the record of the switch to a later epoch, and uses the epoch from now on."""
        switched = LaneSwitched(lane=self.partition, epoch=epoch)
        self.sequencer.progress.epoch = epoch
        self._produce(self._epochs, encode(switched), epoch_key(switched), 0)
        self.state(*progress_record(self.sequencer.progress))
        self._destinations.use_epoch(epoch)

    def prepare(self, records: Sequence[SourceRecord]) -> PreparedRecords:
        """Creates what the first records need. Called before the transaction begins.

        Raises:
            ServerUnavailable: The destinations are not ready. The process may end and retry.
        """
        self._spans = self._new_spans()
        return self._destinations.prepare(self.sequencer, records)

    def write(self, prepared: PreparedRecords, turn: Turn) -> Written:
        """Runs steps 2 and 3 for the first of the records, up to the limit of the turn."""
        sequencer = self.sequencer
        if prepared.refusal is None:
            written = self._write(prepared.records, turn)
        else:
            written = Written(1, sequencer.refuse(prepared.records[0], self, prepared.refusal))
        sequencer.write_last(self)
        self.state(*progress_record(sequencer.progress))
        return written

    def write_copies(self) -> None:
        """Writes the copies of replies that a check finds necessary; see `SyncDestinations`."""
        if not self._destinations.needs_check:
            return
        if self._producer.flush(TRANSACTION_SECONDS):
            raise FatalFailure("the broker does not take a reply")
        for copy in self._destinations.checked_copies():
            self._produce(copy.topic, copy.value, copy.recipient)

    def committed(self, done: int) -> None:
        """Ends the spans of this number of commands, after the commit."""
        if self._spans is not None:
            self._spans.end(done)

    def _new_spans(self) -> CommandSpans | None:
        if self._traces is None:
            return None
        place = self._messages, self.partition
        return CommandSpans(self._traces, place, partial(_HeadedRecords, self))

    def _write(self, records: Sequence[SourceRecord], turn: Turn) -> Written:
        spans = self._spans
        process: Process = self.sequencer.process
        if spans is not None:
            process = partial(spans.process, self.sequencer)
        written, writes_between_pauses = 0, turn.writes_between_pauses
        for done, record in enumerate(records, 1):
            written += process(record, self)
            if written >= writes_between_pauses:
                if written >= turn.writes:
                    return Written(done, written)
                time.sleep(FETCH_PAUSE_SECONDS)
                writes_between_pauses = min(written + turn.writes_between_pauses, turn.writes)
        return Written(len(records), written)

    def timeline(self, conv_id: str, value: bytes) -> None:
        """Appends an entry to its conversation's timeline."""
        self._entries += 1
        try:
            self._producer.produce(self._timeline, value, conv_id, self.partition)
        except BufferError:
            self._produce_late(self._timeline, value, conv_id, self.partition)

    def sync(self, recipients: Sequence[str], value: bytes) -> int:
        """Appends one record for each destination; returns their number."""
        # Nearly all records are written here and in `timeline`, so both first call the producer.
        produce, destinations = self._producer.produce, self._destinations_of(recipients, value)
        self._deliveries += len(recipients)
        self._sync_records += len(destinations)
        for topic, partition, key in destinations:
            try:
                produce(topic, value, key, partition)
            except BufferError:
                self._produce_late(topic, value, key, partition)
        return len(destinations)

    def state(self, key: bytes, value: bytes | None) -> None:
        """Replaces a state record."""
        self._produce(self._state, value, key, self.partition)

    def dead_letter(self, letter: RejectedRecord) -> None:
        """Writes a dead letter for a source record, with the value if it is short."""
        origin = Origin(self._messages, self.partition, letter.offset, letter.last_offset)
        content = letter.content or content_of(letter.value)
        headers = letter_headers("sequencer", letter.reason, origin, content)
        value, key = letter_value(letter.value), letter_key(letter.key)
        self._letter_reasons.append(letter.reason)
        self._produce(self._dead_letter, value, key, self.partition, headers=headers)

    def entry_with(self, headers: Headers, conv_id: str, value: bytes) -> None:
        """Appends an entry with headers to its conversation's timeline."""
        self._entries += 1
        self._produce(self._timeline, value, conv_id, self.partition, headers=headers)

    def sync_with(self, headers: Headers, recipients: Sequence[str], value: bytes) -> int:
        """Appends one record with headers for each destination; returns their number."""
        destinations = self._destinations_of(recipients, value)
        self._deliveries += len(recipients)
        self._sync_records += len(destinations)
        for topic, partition, key in destinations:
            self._produce(topic, value, key, partition, headers=headers)
        return len(destinations)

    def _produce(self, *place: Any, **headers: Any) -> None:
        try:
            self._producer.produce(*place, **headers)
        except BufferError:
            self._produce_late(*place, **headers)

    def _produce_late(self, *place: Any, **headers: Any) -> None:
        """Waits for room in the producer's queue."""
        deadline = time.monotonic() + TRANSACTION_SECONDS
        while time.monotonic() < deadline:
            self._producer.poll(_BUFFER_WAIT_SECONDS)
            with contextlib.suppress(BufferError):
                self._producer.produce(*place, **headers)
                return
        raise FatalFailure("the producer's queue does not empty")


class _HeadedRecords:
    """A `RecordWriter`: the records of one command in a transaction, with headers.

    Args:
        lane: The records of the lane.
        headers: The headers of entries and sync records.
    """

    def __init__(self, lane: LaneRecords, headers: Headers) -> None:
        self.timeline = partial(lane.entry_with, headers)
        self.sync = partial(lane.sync_with, headers)
        self.state = lane.state
        self.dead_letter = lane.dead_letter

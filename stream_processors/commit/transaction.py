"""One transaction for all pending records of one source partition.

The steps, to which the code refers as "step n":

1. Begin.
2. For each source record in its order: decide, and write entry, sync records and memberships, a
   reply, or a dead letter.
3. Write the last head of each conversation that moved, the touched pages of ids, and the
   partition's progress.
4. Add the source offset to the transaction. Its metadata has delay and counts for `im status`.
5. Commit. A ``read_committed`` reader sees no record of steps 2 to 4 before, and all after it.

A process that ends between two steps leaves an open transaction. The next owner of the partition
aborts it by `init_transactions` and starts from the committed offset, as if the steps had not
begun.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from confluent_kafka import Producer, TopicPartition

from backends.kafka.clients import producer_config
from backends.kafka.commit_notes import CommitNote, encode_note
from schemas.codec import encode
from schemas.dead_letters import Origin, content_of, letter_headers, letter_key, letter_value
from schemas.epochs import LaneSwitched, epoch_key
from schemas.errors import FatalFailure
from schemas.number_types import EpochNumber, Milliseconds
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.commit.sync_destinations import PreparedRecords, SyncDestinations
from stream_processors.commit.turns import LONG_TURN, LaneTurns, Turn
from stream_processors.sequencing.record_writer import RejectedRecord
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.sequencing.source_record import SourceRecord
from stream_processors.state.state_codec import progress_record

TRANSACTION_SECONDS: Final = 30.0
"""The broker aborts a transaction after this time, and no call waits longer. Some 100 times the
usual duration."""

COMMIT_LIMIT_SECONDS: Final = 2 * TRANSACTION_SECONDS
"""The watchdog ends the process when a lane's transaction takes longer. librdkafka ignores the
timeout of `send_offsets_to_transaction` while the group's coordinator is not connected:
https://github.com/confluentinc/librdkafka/issues/5456. By then the broker has aborted the
transaction."""

MAX_WRITTEN_BYTES: Final = 2 * 1024 * 1024
"""Maximum size of a record: a dead letter with its headers is by far the longest."""

FETCH_PAUSE_SECONDS: Final = 50e-6
"""Duration of a pause in a turn, for the threads that fetch. These threads need the interpreter
briefly, several times for each record, while a computing lane holds it for long.
"""

_BUFFER_WAIT_SECONDS: Final = 0.05


def transactional_config(settings: Settings, group: str, partition: int) -> dict[str, Any]:
    """Producer settings of the one owner of a source partition."""
    return producer_config(settings) | {
        "transactional.id": f"{group}-{partition}",
        "transaction.timeout.ms": int(TRANSACTION_SECONDS * 1000),
        # No latency: a commit sends all remaining records. Until then the records of a partition
        # are batched, which makes a quarter of the requests of 5 ms, and a third less work for the
        # broker (ADR 2).
        "linger.ms": 1_000,
        # With the default of 100 ms, each commit waits for this time for the previous commit.
        "retry.backoff.ms": 5,
        "queue.buffering.max.messages": 8 * LONG_TURN.writes,
        "queue.buffering.max.kbytes": 64 * 1024,
        "batch.size": 512 * 1024,
        "message.max.bytes": MAX_WRITTEN_BYTES,
    }


class Transaction:
    """Writes the decisions of one `Sequencer`. A `RecordWriter`.

    Args:
        settings: The settings of the deployment, which name the topics.
        partition: The source partition; its timeline and state have the same number.
        producer: The initialised transactional producer of only this partition.
        group_metadata: Returns the consumer group of the source offsets.
        lane_turns: Takes the lane's turn in steps 2 and 3.
        destinations: Gives the destinations of sync records.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a transaction
        self,
        settings: Settings,
        partition: int,
        producer: Producer,
        group_metadata: Callable[[], object],
        lane_turns: LaneTurns,
        destinations: SyncDestinations,
    ) -> None:
        self._lane_turns = lane_turns
        self._destinations = destinations
        self._destinations_of = destinations.of
        self._partition = partition
        self._producer = producer
        self._group_metadata = group_metadata
        self._messages = settings.topic(Topic.MESSAGES)
        self._timeline = settings.topic(Topic.TIMELINE)
        self._state = settings.topic(Topic.STATE)
        self._epochs = settings.topic(Topic.EPOCHS)
        self._dead_letter = settings.topic(Topic.DEAD_LETTER)

    def switch(self, sequencer: Sequencer, epoch: EpochNumber) -> None:
        """Switches to a later epoch, in its own transaction with a record on ``im.epochs``.

        All earlier records of this lane are committed. After the commit, no owner of the lane
        writes to earlier epochs, because the lane's progress has the epoch.

        Raises:
            KafkaException: The transaction did not commit. The process must end.
        """
        switched = LaneSwitched(lane=self._partition, epoch=epoch)
        sequencer.progress.epoch = epoch
        self._producer.begin_transaction()
        self._produce(self._epochs, encode(switched), epoch_key(switched), 0)
        self.state(*progress_record(sequencer.progress))
        self._producer.commit_transaction(TRANSACTION_SECONDS)
        self._destinations.use_epoch(epoch)

    def run(self, sequencer: Sequencer, records: Sequence[SourceRecord]) -> int:
        """Runs steps 1 to 5 for the first of these records, up to the limit of a transaction.

        Returns:
            The number of committed records.

        Raises:
            KafkaException: The transaction did not commit. The process must end: `sequencer` is
                ahead of the log now.
            ServerUnavailable: The destinations are not ready. The process may end and retry.
        """
        prepared = self._destinations.prepare(sequencer, records)
        self._producer.begin_transaction()  # step 1
        with self._lane_turns.turn() as turn:
            done = self._write(sequencer, prepared, turn)  # step 2
            sequencer.write_last(self)  # step 3
            self.state(*progress_record(sequencer.progress))
        if self._destinations.needs_check:
            self._check_destinations()
        position = TopicPartition(
            self._messages,
            self._partition,
            sequencer.progress.next_offset,
            _metadata(sequencer, records[done - 1]),
        )
        self._producer.send_offsets_to_transaction(  # step 4
            [position], self._group_metadata(), TRANSACTION_SECONDS
        )
        self._producer.commit_transaction(TRANSACTION_SECONDS)  # step 5
        return done

    def _write(self, sequencer: Sequencer, prepared: PreparedRecords, turn: Turn) -> int:
        records = prepared.records
        if prepared.refusal is not None:
            sequencer.refuse(records[0], self, prepared.refusal)
            return 1
        written, writes_between_pauses = 0, turn.writes_between_pauses
        for done, record in enumerate(records, 1):
            written += sequencer.process(record, self)
            if written >= writes_between_pauses:
                if written >= turn.writes:
                    return done
                time.sleep(FETCH_PAUSE_SECONDS)
                writes_between_pauses = min(written + turn.writes_between_pauses, turn.writes)
        return len(records)

    def _check_destinations(self) -> None:
        """Waits until the broker has all records, and writes the necessary copies."""
        if self._producer.flush(TRANSACTION_SECONDS):
            raise FatalFailure("the broker does not take a reply")
        for copy in self._destinations.checked_copies():
            self._produce(copy.topic, copy.value, copy.recipient)

    def timeline(self, conv_id: str, value: bytes) -> None:
        """Appends an entry to its conversation's timeline."""
        try:
            self._producer.produce(self._timeline, value, conv_id, self._partition)
        except BufferError:
            self._produce_late(self._timeline, value, conv_id, self._partition)

    def sync(self, recipients: Sequence[str], value: bytes) -> int:
        """Appends one record for each destination; returns their number."""
        # Nearly all records are written here and in `timeline`, so both first call the producer.
        produce, destinations = self._producer.produce, self._destinations_of(recipients, value)
        for topic, partition, key in destinations:
            try:
                produce(topic, value, key, partition)
            except BufferError:
                self._produce_late(topic, value, key, partition)
        return len(destinations)

    def state(self, key: bytes, value: bytes | None) -> None:
        """Replaces a state record."""
        self._produce(self._state, value, key, self._partition)

    def dead_letter(self, letter: RejectedRecord) -> None:
        """Writes a dead letter for a source record, with the value if it is short."""
        origin = Origin(self._messages, self._partition, letter.offset, letter.last_offset)
        content = letter.content or content_of(letter.value)
        headers = letter_headers("sequencer", letter.reason, origin, content)
        value, key = letter_value(letter.value), letter_key(letter.key)
        self._produce(self._dead_letter, value, key, self._partition, headers=headers)

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


def _metadata(sequencer: Sequencer, newest: SourceRecord) -> str:
    now_ms = time.time_ns() // 1_000_000
    counts = sequencer.counts
    note = CommitNote(
        delay_ms=Milliseconds(now_ms - (newest.timestamp or now_ms)),
        at=Milliseconds(now_ms),
        accepted=counts.accepted,
        duplicates=counts.duplicates,
        stale=counts.stale,
        rejected=counts.rejected,
        dead_letters=counts.dead_letters,
    )
    return encode_note(note)

"""One transaction for the pending records of all lanes of a writer.

The steps, to which the code refers as "step n":

1. Begin.
2. For each source record of each lane, in its order: decide, and write entry, sync records and
   memberships, a reply, or a dead letter.
3. Write the last head of each conversation that moved, the touched pages of ids, and the
   partition's progress.
4. Add the source offset of each lane to the transaction. Its metadata has the writer, and delay
   and counts for `im status`.
5. Commit. A ``read_committed`` reader sees no record of steps 2 to 4 before, and all after it.

A process that ends between two steps leaves an open transaction. The next owner of any of the
partitions aborts it (`stream_processors.commit.claims`), and starts from the committed offset, as
if the steps had not begun.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from confluent_kafka import Producer, TopicPartition

from backends.kafka.commit_notes import CommitNote, encode_note
from schemas.number_types import EpochNumber, Milliseconds
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.commit.lane_records import LaneRecords
from stream_processors.commit.producer_settings import TRANSACTION_SECONDS
from stream_processors.commit.turns import Turn, WriterTurns
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.sequencing.source_record import SourceRecord


class LaneBatch(NamedTuple):
    """The pending records of one lane: at least one."""

    lane: LaneRecords
    records: Sequence[SourceRecord]


class Transactions:
    """The transactions of one producer, one after the other.

    Args:
        settings: The settings of the deployment, which name the topics.
        writer_id: The `transactional.id` of the producer.
        producer: The initialised transactional producer.
        group_metadata: Returns the consumer group of the source offsets.
        turns: Takes the writer's turn in steps 2 and 3.
    """

    def __init__(
        self,
        settings: Settings,
        writer_id: str,
        producer: Producer,
        group_metadata: Callable[[], object],
        turns: WriterTurns,
    ) -> None:
        self._messages = settings.topic(Topic.MESSAGES)
        self._writer_id = writer_id
        self._producer = producer
        self._group_metadata = group_metadata
        self._turns = turns

    def run(self, batches: Sequence[LaneBatch], *, is_short: bool = False) -> list[int]:
        """Runs steps 1 to 5 for the first records of each lane, up to the limit of a transaction.

        Args:
            batches: The pending records; lanes in the order of their turns.
            is_short: Whether a lane that is not in `batches` would wait for a long transaction.

        Returns:
            The number of committed records of each lane; at least one.

        Raises:
            KafkaException: The transaction did not commit. The process must end: the sequencers
                are ahead of the log now.
            ServerUnavailable: The destinations are not ready. The process may end and retry.
        """
        prepared = [(batch.lane, batch.lane.prepare(batch.records)) for batch in batches]
        self._producer.begin_transaction()  # step 1
        done: list[int] = []
        with self._turns.turn(is_short=is_short) as turn:
            left = turn.writes
            for number, (lane, records) in enumerate(prepared):
                writes = max(1, left // (len(prepared) - number))
                share = Turn(writes, min(writes, turn.writes_between_pauses))
                written = lane.write(records, share)  # steps 2 and 3
                left -= written.records
                done.append(written.done)
        for batch in batches:
            batch.lane.write_copies()
        positions = [
            self._position(batch.lane, _note(batch.lane.sequencer, batch.records[count - 1]))
            for batch, count in zip(batches, done, strict=True)
        ]
        self._commit(positions)
        for batch, count in zip(batches, done, strict=True):
            batch.lane.committed(count)
        return done

    def switch(self, lanes: Sequence[LaneRecords], epoch: EpochNumber) -> None:
        """Switches lanes to a later epoch, in a transaction with their records on ``im.epochs``.

        All earlier records of the lanes are committed. After the commit, no owner of a lane writes
        to earlier epochs, because the lane's progress has the epoch.

        Raises:
            KafkaException: The transaction did not commit. The process must end.
        """
        self._producer.begin_transaction()
        for lane in lanes:
            lane.switch(epoch)
        self._producer.commit_transaction(TRANSACTION_SECONDS)

    def release(self, lanes: Sequence[LaneRecords]) -> None:
        """Notes in the commits that the producer does not write for the partitions any more.

        Raises:
            KafkaException: The transaction did not commit. The process must end.
        """
        self._producer.begin_transaction()
        self._commit([self._position(lane, counts_note(lane.sequencer), "") for lane in lanes])

    def _position(
        self, lane: LaneRecords, note: CommitNote, writer_id: str | None = None
    ) -> TopicPartition:
        note.writer = self._writer_id if writer_id is None else writer_id
        return TopicPartition(
            self._messages, lane.partition, lane.sequencer.progress.next_offset, encode_note(note)
        )

    def _commit(self, positions: list[TopicPartition]) -> None:
        self._producer.send_offsets_to_transaction(  # step 4
            positions, self._group_metadata(), TRANSACTION_SECONDS
        )
        self._producer.commit_transaction(TRANSACTION_SECONDS)  # step 5


def counts_note(sequencer: Sequencer) -> CommitNote:
    """A note with the counts of a partition, without a delay."""
    counts = sequencer.counts
    return CommitNote(
        accepted=counts.accepted,
        duplicates=counts.duplicates,
        stale=counts.stale,
        rejected=counts.rejected,
        dead_letters=counts.dead_letters,
    )


def _note(sequencer: Sequencer, newest: SourceRecord) -> CommitNote:
    note, now_ms = counts_note(sequencer), time.time_ns() // 1_000_000
    note.delay_ms = Milliseconds(now_ms - (newest.timestamp or now_ms))
    note.at = Milliseconds(now_ms)
    return note

"""Which writer owns a source partition: each owner fences the previous one.

A writer commits for several partitions with one transactional producer, so the partition alone
does not name the producer of the previous owner. The last commit of the group's offset on the
partition names it (`CommitNote.writer`). The next owner of a partition

1. initialises the producer whose `transactional.id` belongs to the partition, which aborts the
   claim of another process in progress;
2. reads the last commit, and initialises the producer of the writer that the commit names. This
   aborts the open transaction of the writer, and the writer cannot commit any more;
3. restores the state;
4. commits its own claim with the producer of step 1: the same offset, with its own name.

If two processes claim a partition at the same time, the second one aborts the claim of the first
one in step 1, or finds the claim in step 2. A writer that gives up a partition commits an empty
name, so the next owner does not fence it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from msgspec import UNSET

from backends.kafka.clients import consumer_config
from backends.kafka.commit_notes import CommitNote, decode_note, encode_note
from backends.kafka.groups import committed_places
from schemas.errors import ServerUnavailable
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.commit.producer_settings import (
    TRANSACTION_SECONDS,
    claimant_id,
    transactional_config,
)
from stream_processors.commit.transaction import counts_note
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.state.state_codec import progress_record

log = logging.getLogger(__name__)


class ClaimBroker(Protocol):
    """The requests of a claim to the broker."""

    def initialised(self, transactional_id: str) -> Producer:
        """A producer that has fenced all earlier producers with its id.

        Raises:
            KafkaException: The broker does not answer.
        """
        ...

    def last_note(self, partition: int) -> CommitNote:
        """The note of the last commit on a source partition; an empty note without a commit.

        Raises:
            ServerUnavailable: The broker does not answer.
        """
        ...


class KafkaClaimBroker:
    """A `ClaimBroker`.

    Args:
        settings: The settings of the deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def initialised(self, transactional_id: str) -> Producer:
        """See `ClaimBroker.initialised`."""
        producer = Producer(transactional_config(self._settings, transactional_id))
        producer.init_transactions(TRANSACTION_SECONDS)
        return producer

    def last_note(self, partition: int) -> CommitNote:
        """See `ClaimBroker.last_note`."""
        # A reader of committed offsets would wait for the open transaction of the last writer.
        group = self._settings.group("sequencer")
        config = consumer_config(self._settings, group) | {"isolation.level": "read_uncommitted"}
        place = TopicPartition(self._settings.topic(Topic.MESSAGES), partition)
        consumer = Consumer(config)
        try:
            (found,) = committed_places(consumer, [place])
        except KafkaException as error:
            raise ServerUnavailable(f"the last commit is not known: {error}") from error
        finally:
            consumer.close()
        return decode_note(found.metadata)


class WriterClaims:
    """The claims of one worker. Thread-safe.

    Args:
        settings: The settings of the deployment.
        broker: Answers the requests.
        group_metadata: Returns the consumer group of the source offsets.
    """

    def __init__(
        self, settings: Settings, broker: ClaimBroker, group_metadata: Callable[[], object]
    ) -> None:
        self._settings = settings
        self._messages = settings.topic(Topic.MESSAGES)
        self._state = settings.topic(Topic.STATE)
        self._broker = broker
        self._group_metadata = group_metadata
        self._guard = threading.Lock()
        self._fenced: set[str] = set()

    def begin(self, partition: int, writer_id: str) -> Claim:
        """Runs steps 1 and 2.

        Args:
            partition: The source partition.
            writer_id: The `transactional.id` of the claiming writer, which is initialised.

        Raises:
            KafkaException, ServerUnavailable: The broker does not answer.
        """
        producer = self._broker.initialised(claimant_id(self._settings, partition))  # step 1
        note = self._broker.last_note(partition)
        if note.writer is not UNSET and note.writer not in {"", writer_id}:
            self._fence(note.writer)  # step 2
        source = TopicPartition(self._messages, partition)
        return Claim(producer, self._group_metadata, source, self._state, writer_id, note)

    def _fence(self, writer_id: str) -> None:
        with self._guard:
            if writer_id in self._fenced:
                return
            self._broker.initialised(writer_id)
            self._fenced.add(writer_id)
        log.info("the writer %s of an earlier owner is fenced", writer_id)


class Claim:
    """The claim of one partition, after steps 1 and 2. Made by `WriterClaims.begin`."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a transaction
        self,
        producer: Producer,
        group_metadata: Callable[[], object],
        source: TopicPartition,
        state: str,
        writer_id: str,
        previous: CommitNote,
    ) -> None:
        self._producer = producer
        self._group_metadata = group_metadata
        self._source = source
        self._state = state
        self._writer_id = writer_id
        self._previous = previous

    def commit(self, sequencer: Sequencer) -> None:
        """Runs step 4, with the state that step 3 has restored.

        Raises:
            KafkaException: The claim is not committed. Another process may own the partition.
        """
        note, progress = counts_note(sequencer), sequencer.progress
        note.delay_ms, note.at = self._previous.delay_ms, self._previous.at
        note.writer = self._writer_id
        topic, partition = self._source.topic, self._source.partition
        place = TopicPartition(topic, partition, progress.next_offset, encode_note(note))
        key, value = progress_record(progress)
        self._producer.begin_transaction()
        self._producer.produce(self._state, value, key, partition)
        self._producer.send_offsets_to_transaction(
            [place], self._group_metadata(), TRANSACTION_SECONDS
        )
        self._producer.commit_transaction(TRANSACTION_SECONDS)

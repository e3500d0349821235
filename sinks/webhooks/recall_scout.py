"""Reads ahead on the timeline for recalls, so that no recalled text is sent."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Final

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from backends.kafka.topic_reading import assigned_consumer, gulp
from schemas.codec import decode_entry
from schemas.errors import FatalFailure, UndecodableRecord
from schemas.number_types import Offset
from schemas.records import MessageRecalled
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.base.consumer import raise_if_fatal

_POLL_SECONDS: Final = 0.1
_GULP: Final = 2_000
_MARK: Final = b'"message_recalled"'
"""Every recall has these bytes. A record without them is not decoded."""

_logger = logging.getLogger(__name__)


class _Scanned:
    """What is known of one partition: the recalls at or after ``begin``."""

    def __init__(self, begin: Offset) -> None:
        self.begin = begin
        self.is_assigned = False
        self.is_at_the_end = False
        self.recalls: dict[tuple[str, int], Offset] = {}


class RecallScout:
    """Knows the recalls behind the positions of all subscriptions, up to the end of the log.

    A subscription that lags behind the log would otherwise send a text whose recall is already on
    the log. The scout has its own Kafka client, which starts with the first call of `need`.

    Args:
        settings: The deployment.
        open_consumer: Opens the client.
        failed: Receives an error that ends the scout.
    """

    def __init__(
        self,
        settings: Settings,
        open_consumer: Callable[[Settings, str], Consumer] = assigned_consumer,
        failed: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._topic = settings.topic(Topic.TIMELINE)
        self._open_consumer = open_consumer
        self._failed = failed
        self._lock = Lock()
        self._scanned: dict[int, _Scanned] = {}
        self._to_assign = False
        self._stop = Event()
        self._thread: Thread | None = None

    def need(self, partition: int, offset: Offset) -> None:
        """Makes the scout know the recalls of a partition at or after an offset."""
        with self._lock:
            known = self._scanned.get(partition)
            if known is not None and known.begin <= offset:
                return
            self._scanned[partition] = _Scanned(offset)
            self._to_assign = True
            if self._thread is None:
                self._thread = Thread(target=self._run, name="recalls", daemon=True)
                self._thread.start()

    def is_recalled(self, partition: int, conv_id: str, seq: int) -> bool | None:
        """Whether a message or an edit was recalled; None while the scout has not caught up."""
        with self._lock:
            known = self._scanned.get(partition)
            if known is None:
                return None
            if (conv_id, seq) in known.recalls:
                return True
            return False if known.is_at_the_end else None

    def forget_below(self, partition: int, offset: Offset) -> None:
        """Forgets the recalls below an offset that all subscriptions have passed."""
        with self._lock:
            known = self._scanned.get(partition)
            if known is not None and offset > known.begin:
                known.begin = offset
                known.recalls = {key: at for key, at in known.recalls.items() if at >= offset}

    def close(self) -> None:
        """Ends the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        try:
            consumer = self._open_consumer(self._settings, "webhook-recalls")
            try:
                self._follow(consumer)
            finally:
                consumer.close()
        except Exception as error:  # noqa: BLE001 - reported to the stage
            self._failed(error)

    def _follow(self, consumer: Consumer) -> None:
        places: dict[int, Offset] = {}
        while not self._stop.is_set():
            with self._lock:
                if self._to_assign:
                    self._to_assign = False
                    self._assign(consumer, places)
            for message in gulp(consumer, _POLL_SECONDS, _GULP):
                self._take(message, places)

    def _assign(self, consumer: Consumer, places: dict[int, Offset]) -> None:
        """Begins to read new partitions, and continues with the others."""
        for partition, known in self._scanned.items():
            if not known.is_assigned:
                places[partition] = known.begin
                known.is_assigned = True
        consumer.assign([TopicPartition(self._topic, p, at) for p, at in places.items()])

    def _take(self, message: Message, places: dict[int, Offset]) -> None:
        partition, offset, error = message.partition(), message.offset(), message.error()
        if partition is None or offset is None:
            return
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                with self._lock:
                    known = self._scanned[partition]
                    known.is_at_the_end = known.is_assigned
            else:
                raise_if_fatal(error)
            return
        places[partition] = Offset(offset + 1)
        if _MARK in (message.value() or b""):
            self._note(message.value(), partition, Offset(offset))

    def _note(self, value: bytes | None, partition: int, offset: Offset) -> None:
        try:
            entry = decode_entry(value)
        except UndecodableRecord:
            return
        if isinstance(entry, MessageRecalled):
            with self._lock:
                recalls = self._scanned[partition].recalls
                for seq in (entry.target, *entry.edits):
                    recalls[entry.conv_id, seq] = offset


def ends_by(failure: Exception) -> FatalFailure:
    """The error that ends the process after an error of a thread."""
    if isinstance(failure, FatalFailure):
        return failure
    return FatalFailure(f"a thread of the webhooks ended by {type(failure).__name__}")

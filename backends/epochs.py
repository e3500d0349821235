"""Reads ``im.epochs``: small, whole, and then what comes."""

from __future__ import annotations

import contextlib
import time
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from schemas.epochs import Epochs, decode_epoch_record
from schemas.errors import ServerUnavailable, UndecodableRecord
from schemas.settings import Settings
from schemas.topics import Topic

_POLL_SECONDS: Final = 0.2


class EpochLog:
    """Folds what a consumer reads of ``im.epochs``; a deployment without it has epoch 0 alone.

    Args:
        settings: The deployment.
        consumer: Reads committed records, and tells ends (``enable.partition.eof``).
    """

    def __init__(self, settings: Settings, consumer: Consumer) -> None:
        self.epochs = Epochs()
        self._consumer = consumer
        self._topic = settings.topic(Topic.EPOCHS)
        self._next = OFFSET_BEGINNING
        self._is_there = False

    @property
    def places(self) -> list[TopicPartition]:
        """What the consumer has to read on, beside whatever else it reads; from here on."""
        return [TopicPartition(self._topic, 0, self._next)] if self._is_there else []

    def read(self, timeout: float) -> None:
        """Assigns the log to the consumer, alone, and reads it to its end.

        Raises:
            ServerUnavailable: The broker does not tell it in time.
            KafkaException: The broker does not answer.
        """
        found = self._consumer.list_topics(self._topic, timeout).topics[self._topic]
        self._is_there = bool(found.partitions)
        if not self._is_there:
            return
        self._consumer.assign(self.places)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            # One by one: they are few, and to ask for many waits for the last of them.
            message = self._consumer.poll(_POLL_SECONDS)
            if message is None:
                continue
            self.take(message)
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's name for it
                return
        raise ServerUnavailable(f"{self._topic} cannot be read within {timeout:.0f} s")

    def follow(self, timeout: float) -> None:
        """Takes what has come since; the first time as `read`, and with its errors."""
        if not self._is_there:
            self.read(timeout)
        while (message := self._consumer.poll(0)) is not None:
            self.take(message)

    def take(self, message: Message) -> bool:
        """Takes a message if it is of this log, record or not; says whether it was."""
        if message.topic() != self._topic:
            return False
        if message.error() is None:
            self._next = (message.offset() or 0) + 1
            # Of a kind that comes later: it says nothing about the epochs that we know of.
            with contextlib.suppress(UndecodableRecord):
                self.epochs.apply(decode_epoch_record(message.value()))
        return True

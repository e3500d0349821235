"""Reads ``im.epochs``: first all of its few records, then new ones."""

from __future__ import annotations

import contextlib

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from backends.kafka.topic_reading import read_to_end
from schemas.epochs import Epochs, decode_epoch_record
from schemas.errors import UndecodableRecord
from schemas.settings import Settings
from schemas.topics import Topic


class EpochLog:
    """Folds the records of ``im.epochs``; a deployment without the topic has epoch 0 alone.

    Args:
        settings: The settings of the deployment.
        consumer: Reads committed records and reports ends (``enable.partition.eof``).
    """

    def __init__(self, settings: Settings, consumer: Consumer) -> None:
        self.epochs = Epochs()
        self._consumer = consumer
        self._topic = settings.topic(Topic.EPOCHS)
        self._next = OFFSET_BEGINNING
        self._is_there = False

    @property
    def places(self) -> list[TopicPartition]:
        """The next position in ``im.epochs``, for the consumer to assign with its other topics."""
        return [TopicPartition(self._topic, 0, self._next)] if self._is_there else []

    def read(self, timeout: float) -> None:
        """Assigns only ``im.epochs`` to the consumer and reads the topic to its end.

        Raises:
            ServerUnavailable: Nothing is read within the timeout.
            KafkaException: The broker does not answer.
        """
        topic = self._consumer.list_topics(self._topic, timeout).topics[self._topic]
        self._is_there = bool(topic.partitions)
        if not self._is_there:
            return
        for messages in read_to_end(self._consumer, self.places, timeout):
            for message in messages:
                self.take(message)

    def follow(self, timeout: float) -> None:
        """Applies the records since the last call. The first call is `read`, with its errors."""
        if not self._is_there:
            self.read(timeout)
        while (message := self._consumer.poll(0)) is not None:
            self.take(message)

    def take(self, message: Message) -> bool:
        """Applies a message of ``im.epochs``. Returns whether the message is of this topic."""
        if message.topic() != self._topic:
            return False
        if message.error() is None:
            self._next = (message.offset() or 0) + 1
            # A kind of a later version does not change the epochs that this version knows.
            with contextlib.suppress(UndecodableRecord):
                self.epochs.apply(decode_epoch_record(message.value()))
        return True

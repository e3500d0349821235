"""The least program for the sequencer's work: a confluent-kafka loop with transactions.

The loop decodes a command, increases its conversation's number, encodes the entry, and writes the
entry to the timeline and to each shard that has members. It uses the sequencer's transactions,
which include the source offset: each transaction has the records that arrived from one source
partition, at most as many as a busy lane writes, and a producer of that partition. The loop checks
nothing, remembers neither ids nor members, and cannot be restarted.

    python -m benchmarks.plain_loop FAN_OUT COMMANDS
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import Any, Final

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from backends.kafka.clients import consumer_config, topic_partitions
from benchmarks.workload import CONVERSATIONS, people
from schemas.codec import decode_command, encode
from schemas.records import AnyCommand, ConversationCreated, MessageSent, SendMessage
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.commit.producer_settings import TRANSACTION_SECONDS, transactional_config
from stream_processors.commit.shard_destinations import destinations_in
from stream_processors.commit.turns import LONG_TURN

_POLL_SECONDS: Final = 0.2


def main() -> None:
    """Processes the given number of commands, and ends."""
    fan_out, wanted = int(sys.argv[1]), int(sys.argv[2])
    settings = Settings()
    consumer = Consumer(consumer_config(settings, settings.group("plain")))
    places = topic_partitions(settings, Topic.MESSAGES)
    consumer.assign([TopicPartition(place.topic, place.partition, 0) for place in places])
    loop = PlainLoop(settings, consumer, fan_out)
    done, gulp = 0, LONG_TURN.writes // (1 + min(fan_out, settings.sync_partitions))
    while done < wanted:
        by_partition = defaultdict(list)
        for message in consumer.consume(gulp, _POLL_SECONDS):
            by_partition[message.partition() or 0].append(message)
        for partition, messages in by_partition.items():
            loop.run_transaction(partition, messages)
            done += len(messages)


class PlainLoop:
    """The transactions of a sequencer, without a sequencer's state."""

    def __init__(self, settings: Settings, consumer: Consumer, fan_out: int) -> None:
        self._consumer = consumer
        self._messages = settings.topic(Topic.MESSAGES)
        self._timeline, self._sync = settings.topic(Topic.TIMELINE), settings.topic(Topic.SYNC)
        self._shards = {
            f"conv-{n}": destinations_in(people(n, fan_out), self._sync, settings.sync_partitions)
            for n in range(CONVERSATIONS)
        }
        self._last_seq = dict.fromkeys(self._shards, 0)
        self._producers = [
            Producer(transactional_config(settings, f"{settings.group('plain')}-{partition}"))
            for partition in range(settings.partitions)
        ]
        for producer in self._producers:
            producer.init_transactions(TRANSACTION_SECONDS)

    def run_transaction(self, partition: int, messages: list[Message]) -> None:
        """Processes records of one partition in one transaction."""
        producer, last_seq = self._producers[partition], self._last_seq
        producer.begin_transaction()
        produce = producer.produce
        for message in messages:
            command = decode_command(message.value())
            last_seq[command.conv_id] = seq = last_seq[command.conv_id] + 1
            value = _entry(command, seq, message.timestamp()[1])
            produce(self._timeline, value, command.conv_id, partition)
            for topic, shard, key in self._shards[command.conv_id]:
                produce(topic, value, key, shard)
        done = TopicPartition(self._messages, partition, (messages[-1].offset() or 0) + 1)
        producer.send_offsets_to_transaction(
            [done], self._consumer.consumer_group_metadata(), TRANSACTION_SECONDS
        )
        producer.commit_transaction(TRANSACTION_SECONDS)


def _entry(command: AnyCommand, seq: int, at: int) -> bytes:
    common: dict[str, Any] = {
        "conv_id": command.conv_id,
        "seq": seq,
        "sender": command.sender,
        "client_msg_id": command.client_msg_id,
        "at": at,
    }
    if isinstance(command, SendMessage):
        return encode(MessageSent(**common, content=command.content, mentions=command.mentions))
    return encode(ConversationCreated(**common, members=[], join="invite", mode="push"))


if __name__ == "__main__":
    main()

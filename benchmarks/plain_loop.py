"""The least that could do the sequencer's work: a confluent-kafka loop with transactions.

It decodes a command, counts up its conversation, encodes the entry, writes it to the timeline
and to each member, and commits all with the source offsets in one transaction of some thousand
records. It checks nothing, remembers no id and no member, and cannot be restarted.

    python -m benchmarks.plain_loop FAN_OUT COMMANDS
"""

from __future__ import annotations

import sys
from typing import Final

from confluent_kafka import Consumer, Producer, TopicPartition

from backends.kafka import consumer_config, topic_partitions
from benchmarks.workload import CONVERSATIONS, people
from schemas.codec import decode_command, encode
from schemas.records import AnyCommand, MessageSent, SendMessage
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.transaction import TRANSACTION_SECONDS, transactional_config

_GULP: Final = 5_000
_POLL_SECONDS: Final = 0.2


def main() -> None:
    """Processes as many commands as it was told, and ends."""
    fan_out, wanted = int(sys.argv[1]), int(sys.argv[2])
    settings = Settings()
    recipients = {f"conv-{n}": people(n, fan_out) for n in range(CONVERSATIONS)}
    consumer = Consumer(consumer_config(settings, settings.group("plain")))
    consumer.assign(
        [
            TopicPartition(p.topic, p.partition, 0)
            for p in topic_partitions(settings, Topic.MESSAGES)
        ]
    )
    producer = Producer(transactional_config(settings, settings.group("plain"), 0))
    producer.init_transactions(TRANSACTION_SECONDS)
    last_seq = dict.fromkeys(recipients, 0)
    done = 0
    while done < wanted:
        done += _one_transaction(settings, consumer, producer, recipients, last_seq)


def _one_transaction(
    settings: Settings,
    consumer: Consumer,
    producer: Producer,
    recipients: dict[str, list[str]],
    last_seq: dict[str, int],
) -> int:
    messages = consumer.consume(_GULP, _POLL_SECONDS)
    if not messages:
        return 0
    timeline, sync = settings.topic(Topic.TIMELINE), settings.topic(Topic.SYNC)
    producer.begin_transaction()
    produce = producer.produce
    for message in messages:
        command = decode_command(message.value())
        last_seq[command.conv_id] = seq = last_seq[command.conv_id] + 1
        value = _entry(command, seq, message.timestamp()[1])
        produce(timeline, value, command.conv_id, message.partition() or 0)
        for recipient in recipients[command.conv_id]:
            produce(sync, value, recipient)
    producer.send_offsets_to_transaction(
        consumer.position(consumer.assignment()), consumer.consumer_group_metadata(),
        TRANSACTION_SECONDS,
    )  # fmt: skip
    producer.commit_transaction(TRANSACTION_SECONDS)
    return len(messages)


def _entry(command: AnyCommand, seq: int, at: int) -> bytes:
    if not isinstance(command, SendMessage):
        return encode(command)  # the creation, which nobody here reads again
    return encode(
        MessageSent(
            conv_id=command.conv_id, seq=seq, sender=command.sender,
            client_msg_id=command.client_msg_id, at=at, content=command.content,
            mentions=command.mentions,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()

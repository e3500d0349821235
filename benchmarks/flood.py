"""Floods one conversation: ``python -m benchmarks.flood CONV MESSAGES``."""

from __future__ import annotations

import sys

from confluent_kafka import Producer

from backends.kafka.clients import producer_config
from benchmarks.workload import FLUSH_SECONDS, TEXT
from schemas.codec import encode
from schemas.ids import uuid7
from schemas.records import SendMessage, TextContent
from schemas.settings import Settings
from schemas.topics import Topic

SENDER = "owner"


def main() -> None:
    """Appends the given number of messages as fast as possible, and ends."""
    conv_id, messages = sys.argv[1], int(sys.argv[2])
    settings = Settings()
    producer = Producer(
        producer_config(settings) | {"queue.buffering.max.messages": 1_000_000, "linger.ms": 20}
    )
    topic = settings.topic(Topic.MESSAGES)
    for number in range(messages):
        command = SendMessage(
            conv_id=conv_id, sender=SENDER, device_id="bench",
            client_msg_id=uuid7(1 + number, number), content=TextContent(text=TEXT),
        )  # fmt: skip
        producer.produce(topic, encode(command), conv_id)
    producer.flush(FLUSH_SECONDS)


if __name__ == "__main__":
    main()

"""Fills a topic with commands whose outcome is known."""

from __future__ import annotations

from typing import Final

from confluent_kafka import Producer

from backends.kafka.clients import producer_config
from schemas.codec import encode
from schemas.ids import uuid7
from schemas.records import AnyCommand, CreateConversation, SendMessage, TextContent
from schemas.settings import Settings
from schemas.topics import Topic

CONVERSATIONS: Final = 400
TEXT: Final = "The quick brown fox jumps over the lazy dog. 敏捷的棕色狐狸跳过了懒狗。"
FLUSH_SECONDS: Final = 60.0


def people(conversation: int, fan_out: int) -> list[str]:
    """The members of a conversation; neighbours share some."""
    return [f"user-{(conversation * 7 + n) % 5_000}" for n in range(fan_out)]


def creation(conversation: int, fan_out: int) -> AnyCommand:
    """Makes a conversation of `fan_out` members."""
    members = people(conversation, fan_out)
    return CreateConversation(
        conv_id=f"conv-{conversation}", sender=members[0], device_id="bench",
        client_msg_id=uuid7(0, conversation), members=members,
    )  # fmt: skip


def message(number: int, fan_out: int) -> AnyCommand:
    """The ``number``-th message, to one conversation after the other."""
    conversation = number % CONVERSATIONS
    members = people(conversation, fan_out)
    return SendMessage(
        conv_id=f"conv-{conversation}", sender=members[number % fan_out], device_id="bench",
        client_msg_id=uuid7(1 + number, number), content=TextContent(text=TEXT),
    )  # fmt: skip


def fill(settings: Settings, fan_out: int, messages: int) -> int:
    """Publishes the conversations and the messages; returns the number of commands."""
    producer = Producer(
        producer_config(settings) | {"queue.buffering.max.messages": 1_000_000, "linger.ms": 20}
    )
    topic = settings.topic(Topic.MESSAGES)
    commands = [creation(number, fan_out) for number in range(CONVERSATIONS)]
    commands += [message(number, fan_out) for number in range(messages)]
    for command in commands:
        producer.produce(topic, encode(command), command.conv_id)
    if producer.flush(FLUSH_SECONDS):
        raise TimeoutError(f"the broker did not take all commands in {FLUSH_SECONDS:.0f} s")
    return len(commands)

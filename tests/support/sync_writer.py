"""Writes to ``im.sync`` as the sequencer does: in transactions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from confluent_kafka import Producer

from backends.kafka.clients import producer_config
from schemas.codec import encode
from schemas.ids import uuid7
from schemas.number_types import Milliseconds, SeqId
from schemas.records import MessageSent, TextContent
from schemas.settings import Settings
from schemas.topics import Topic

WRITE_SECONDS: Final = 180.0


def entry(seq: int, sender: str = "ann") -> MessageSent:
    """The ``seq``-th entry of a conversation."""
    return MessageSent(
        conv_id="c",
        seq=SeqId(seq),
        sender=sender,
        client_msg_id=uuid7(seq, 0),
        at=Milliseconds(seq),
        content=TextContent(text=f"number {seq}"),
        mentions=[],
    )


class SyncWriter:
    """A transactional producer of sync records."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topic(Topic.SYNC)
        self._producer = Producer(
            producer_config(settings)
            | {"transactional.id": settings.namespace, "linger.ms": 2, "retry.backoff.ms": 5}
        )
        self._producer.init_transactions(WRITE_SECONDS)

    def write(self, records: Iterable[tuple[str, MessageSent | bytes]]) -> None:
        """One transaction of (recipient, record)."""
        self._produce(records)
        self._producer.commit_transaction(WRITE_SECONDS)

    def write_in_vain(self, records: Iterable[tuple[str, MessageSent | bytes]]) -> None:
        """Writes a transaction to the log and aborts it."""
        self._produce(records)
        assert self._producer.flush(WRITE_SECONDS) == 0
        self._producer.abort_transaction(WRITE_SECONDS)

    def _produce(self, records: Iterable[tuple[str, MessageSent | bytes]]) -> None:
        self._producer.begin_transaction()
        for user, record in records:
            value = record if isinstance(record, bytes) else encode(record)
            self._producer.produce(self._topic, value, user)

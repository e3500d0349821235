"""`im dead-letters`: records that a sink rejected are written to its store after a repair."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from backends.elasticsearch.index import elasticsearch_client
from backends.kafka.clients import producer_config
from backends.stages.dead_letter_log import read_letters
from ops.dead_letters.replay import GONE, NOT_A_SINK, REFUSED, STORED, replay
from schemas.codec import encode
from schemas.number_types import Offset
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.base.records import Record
from sinks.base.sink_letters import DeadLetter, KafkaDeadLetters
from sinks.base.source import OneTopic
from tests.conftest import Servers
from tests.support.pipeline import im, prepare
from tests.support.sink_stores import Conversation

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

TEXT = "lost and found"


def put_aside(settings: Settings, stage: str, offset: int) -> None:
    """Appends a dead letter of a stage for a record of partition 0 of the timeline."""
    source = OneTopic(settings.topic(Topic.TIMELINE))
    record = Record(0, Offset(offset), b"c", None)
    KafkaDeadLetters(settings, source, stage).send([DeadLetter(record, "the index was closed")])


def write(settings: Settings, *values: bytes) -> None:
    """Appends records to partition 0 of the timeline, from offset 0 on."""
    producer = Producer(producer_config(settings))
    for value in values:
        producer.produce(settings.topic(Topic.TIMELINE), value, b"c", 0)
    assert producer.flush(30) == 0


def hits(settings: Settings) -> int:
    """The number of messages in the index."""
    with elasticsearch_client(settings) as client:
        client.indices.refresh(index=settings.index_alias)
        return int(client.count(index=settings.index_alias)["count"])


def test_dead_letters_are_listed_and_replayed(servers: Servers) -> None:
    """A replay reads each record again from its offset; a second replay changes nothing."""
    settings = servers.settings(partitions=2)
    prepare(settings)
    write(settings, encode(Conversation("c").said(1, TEXT)), b"[]")
    for offset in (0, 1, 7):
        put_aside(settings, "sink-search", offset)
    put_aside(settings, "sequencer", 0)
    letters = read_letters(settings)
    assert {letter.place for letter in letters} == {
        f"{settings.topic(Topic.TIMELINE)}:0:{offset}" for offset in (0, 1, 7)
    }
    reported: list[str] = []
    for _ in range(2):
        counts = replay(settings, letters, lambda done: reported.append(f"{done}"))
        assert counts == {STORED: 1, REFUSED: 1, GONE: 1, NOT_A_SINK: 1}
        assert hits(settings) == 1
    shown = im(settings, "dead-letters", "list", "--stage", "sink-search")
    assert [letter["reason"] for letter in shown] == ["the index was closed"] * 3
    assert TEXT not in f"{shown} {reported}"

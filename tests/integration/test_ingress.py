"""Records that no correct producer sends, on a real broker: the sequencer continues."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    Message,
    Producer,
    TopicPartition,
)

from backends.kafka.clients import admin_client, create_topics, partition_of, producer_config
from schemas.codec import encode
from schemas.dead_letters import WRONG_PARTITION
from schemas.errors import FatalFailure, SourceGap
from schemas.records import AnyCommand
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.commands import growing_group, message
from tests.support.hostile import worst
from tests.support.processes import WAIT_SECONDS, running, wait_until
from tests.support.topics import is_caught_up, publish, publish_raw, read_all, timelines
from tests.unit.documents.test_wire_page import VECTORS

pytestmark = pytest.mark.servers

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
BOMB_BYTES = 60_000_000
"""Zeros, so that each codec compresses them to less than `max.message.bytes`."""


@pytest.fixture
def settings(servers: Servers) -> Settings:
    """A deployment with its topics and two partitions, so that one of them is the wrong one."""
    settings = servers.settings(partitions=2, sync_partitions=2)
    create_topics(settings)
    return settings


def sequenced(settings: Settings) -> bool:
    """Whether the sequencer has committed all records."""
    return is_caught_up(settings, "sequencer", Topic.MESSAGES)


def letters(settings: Settings) -> list[dict[str, str]]:
    """The headers of all dead letters."""
    return [_headers(letter) for letter in read_all(settings, Topic.DEAD_LETTER)]


def _headers(letter: Message) -> dict[str, str]:
    headers = dict(letter.headers() or [])
    return {str(name): (value or b"").decode() for name, value in headers.items()}  # type: ignore[union-attr] # bytes


def seqs(settings: Settings, conv_id: str = "c1") -> list[int]:
    """The SeqIds of a conversation in the order of the log."""
    return [entry.seq for entry in timelines(settings).get(conv_id, [])]


def test_a_command_on_a_wrong_partition_changes_nothing(settings: Settings) -> None:
    """A command on a wrong partition becomes a dead letter and changes no conversation.

    Here a stranger creates an existing conversation again on a wrong partition.
    """
    publish(settings, growing_group(2))
    producer = Producer(producer_config(settings))
    foreign = 1 - partition_of("c1", 2)
    for command in growing_group(1):
        stolen = encode(command).replace(b'"u0"', b'"thief"')
        producer.produce(settings.topic(Topic.MESSAGES), stolen, b"c1", foreign)
    assert producer.flush(WAIT_SECONDS) == 0
    publish(settings, [message(1)])
    with running(settings, "stream_processors"):
        wait_until(lambda: sequenced(settings), "all is sequenced")
    assert seqs(settings) == [1, 2, 3]
    assert {entry.sender for entry in timelines(settings)["c1"]} == {"u0", "u1"}
    (letter,) = letters(settings)
    assert (letter["reason"], letter["partition"]) == (WRONG_PARTITION, str(foreign))


@pytest.mark.parametrize("codec", CODECS)
def test_large_compressed_and_hostile_records_become_dead_letters(
    settings: Settings, codec: str
) -> None:
    """Records near the size limit and decompression bombs become dead letters.

    The valid command after these records is sequenced.
    """
    publish(settings, growing_group(1))
    values = [*worst(), b"x" * 4_190_000]
    if codec != "none":
        values.append(bytes(BOMB_BYTES))
    packed = {"compression.type": codec, "message.max.bytes": 100_000_000}
    producer = Producer(producer_config(settings) | packed)
    sent = 0
    for value in values:
        if codec == "none" and len(value) > 4_190_000:
            continue  # the broker refuses this record
        producer.produce(settings.topic(Topic.MESSAGES), value, b"c1")
        sent += 1
    assert producer.flush(WAIT_SECONDS) == 0
    publish(settings, [message(1)])
    with running(settings, "stream_processors"):
        wait_until(lambda: sequenced(settings), "all is sequenced")
    assert seqs(settings) == [1, 2]
    found = letters(settings)
    assert len(found) == sent
    assert all(len(letter["reason"]) <= 200 for letter in found)
    assert not any("kkk" in letter["reason"] for letter in found)


def test_an_aborted_transaction_is_never_sequenced(settings: Settings) -> None:
    """Commands of an aborted transaction are never sequenced, before or after the abort.

    Committed commands are sequenced, and transaction markers are not reported as gaps.
    """
    publish(settings, growing_group(1))
    config = producer_config(settings) | {"transactional.id": settings.namespace}
    producer = Producer(config)
    producer.init_transactions(WAIT_SECONDS)

    def transact(*commands: AnyCommand) -> None:
        producer.begin_transaction()
        for command in commands:
            producer.produce(
                settings.topic(Topic.MESSAGES), encode(command), command.conv_id.encode()
            )
        assert producer.flush(WAIT_SECONDS) == 0

    with running(settings, "stream_processors"):
        wait_until(lambda: sequenced(settings), "the first is sequenced")
        for number in range(1, 30, 3):
            transact(message(number), message(number + 1))
            producer.abort_transaction(WAIT_SECONDS)
            transact(message(number + 2))
            producer.commit_transaction(WAIT_SECONDS)
        publish(settings, [message(100)])
        wait_until(lambda: sequenced(settings), "marks are passed, too")
        wait_until(lambda: len(seqs(settings)) == 12, "all that is committed")
    with running(settings, "stream_processors"):
        publish(settings, [message(101)])
        wait_until(lambda: len(seqs(settings)) == 13, "a restart goes on behind the marks")
    ids = [entry.client_msg_id for entry in timelines(settings)["c1"]][1:]
    wanted = [message(n).client_msg_id for n in [*range(3, 31, 3), 100, 101]]
    assert ids == wanted
    assert letters(settings) == []


def test_the_clients_use_the_partitions_of_the_test_vectors(servers: Servers) -> None:
    """confluent-kafka with our settings and aiokafka agree with the partition vectors."""
    settings = servers.settings(partitions=8)
    create_topics(settings)
    topic = settings.topic(Topic.MESSAGES)
    publish_raw(settings, [(key.encode(), b"confluent") for key, _, _ in VECTORS])

    async def publish_by_aiokafka() -> None:
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap) as producer:
            for key, _, _ in VECTORS:
                await producer.send_and_wait(topic, b"aiokafka", key.encode())

    asyncio.run(publish_by_aiokafka())
    landed = {
        ((m.value() or b"").decode(), (m.key() or b"").decode(), m.partition())
        for m in read_all(settings, Topic.MESSAGES)
    }
    clients = ("confluent", "aiokafka")
    assert landed == {(c, key, place) for c in clients for key, _, place in VECTORS}


def expire(settings: Settings, before: int) -> None:
    """Makes the broker drop the first records of each partition, as retention does."""
    admin = admin_client(settings)
    topic = settings.topic(Topic.MESSAGES)
    places = [TopicPartition(topic, p, before) for p in range(settings.partitions)]
    for answer in admin.delete_records(places).values():
        answer.result(WAIT_SECONDS)


def one_partition(servers: Servers) -> Settings:
    """A deployment with one lane."""
    settings = servers.settings(partitions=1, sync_partitions=1)
    create_topics(settings)
    return settings


def test_records_that_expire_unread_end_the_process(servers: Servers, tmp_path: Path) -> None:
    """Records that expired unread end the process with one line and the exit code of a gap."""
    settings = one_partition(servers)
    publish(settings, growing_group(1))
    with running(settings, "stream_processors"):
        wait_until(lambda: sequenced(settings), "the first is sequenced")
    publish(settings, [message(n) for n in range(1, 40)])
    expire(settings, 20)
    log = tmp_path / "log"
    with running(settings, "stream_processors", log=log) as process:
        assert process.wait(WAIT_SECONDS) == SourceGap.exit_code
    lines = [line for line in log.read_text().splitlines() if "CRITICAL" in line]
    assert len(lines) == 1
    assert "starts at 20, the next is 1" in lines[0]
    assert seqs(settings) == [1]


def test_a_commit_that_differs_from_the_state_is_refused(servers: Servers, tmp_path: Path) -> None:
    """If the group's offset was reset, the worker ends with a line that names both offsets."""
    settings = one_partition(servers)
    publish(settings, [*growing_group(1), message(1)])
    with running(settings, "stream_processors"):
        wait_until(lambda: sequenced(settings), "all is sequenced")
    place = TopicPartition(settings.topic(Topic.MESSAGES), 0, 1)
    group = ConsumerGroupTopicPartitions(settings.group("sequencer"), [place])

    admin = admin_client(settings)  # keep a reference: without it the future never completes

    def is_reset() -> bool:
        (answer,) = admin.alter_consumer_group_offsets([group]).values()
        if answer.exception(WAIT_SECONDS) is not None:
            return False
        return all(each.error is None for each in answer.result().topic_partitions)

    wait_until(is_reset, "the group is empty and its offset is set back")
    log = tmp_path / "log"
    with running(settings, "stream_processors", log=log) as process:
        assert process.wait(WAIT_SECONDS) == FatalFailure.exit_code
    lines = [line for line in log.read_text().splitlines() if "CRITICAL" in line]
    assert len(lines) == 1
    assert "committed up to offset 1, but the state is at 2" in lines[0]

"""Topics of recipients: a stranger gets a reply, also while their topic is being created."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Consumer, Producer

from backends.kafka.clients import consumer_config, create_topics, producer_config
from backends.sync_layout import recipient_topics
from backends.sync_layout.recipient_topics import RecipientTopics, make_recipients
from consumers.chain import CHAIN_CHECK_SECONDS
from consumers.cursor import MemoryCursors
from consumers.follower import SyncFollower
from schemas.codec import encode
from schemas.number_types import Milliseconds
from schemas.records import Rejected
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.commit.lane_records import LaneRecords
from stream_processors.commit.producer_settings import (
    TRANSACTION_SECONDS,
    new_writer_id,
    transactional_config,
)
from stream_processors.commit.recipient_topic_destinations import RecipientTopicDestinations
from stream_processors.commit.transaction import LaneBatch, Transactions
from stream_processors.commit.turns import Turns
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.sequencing.source_record import SourceRecord
from stream_processors.state.conversations import Conversations
from stream_processors.state.state_codec import LaneProgress
from tests.conftest import Servers
from tests.support.commands import message
from tests.support.following import PATIENCE
from tests.support.sequencing import source

pytestmark = pytest.mark.servers

EVE = "eve"


@pytest.fixture
def settings(servers: Servers) -> Settings:
    """A deployment without any topic of a recipient."""
    settings = servers.settings(partitions=1, sync_partitions=1, sync_layout="topic-per-recipient")
    create_topics(settings)
    return settings


@pytest.fixture
def follower(settings: Settings) -> Iterator[SyncFollower]:
    """A device of Eve, who is not a member of any conversation."""
    with SyncFollower(settings, EVE, MemoryCursors()) as follower:
        assert follower.poll(0) is None
        yield follower


def is_quiet(follower: SyncFollower) -> bool:
    """Whether nothing arrives while the follower checks for Eve's topic again."""
    return follower.poll(3 * CHAIN_CHECK_SECONDS) is None


def writer_of(settings: Settings) -> Callable[[SourceRecord], object]:
    """A writer with the lane of partition 0, which has just found that Eve has no topic.

    Returns:
        A function that commits one record.
    """
    writer_id = new_writer_id(settings)
    producer = Producer(transactional_config(settings, writer_id))
    producer.init_transactions(TRANSACTION_SECONDS)
    group = Consumer(consumer_config(settings, settings.group("sequencer")))
    destinations = RecipientTopicDestinations(
        RecipientTopics(settings), settings.topic(Topic.SYNC)
    )
    sequencer = Sequencer(settings.limits, Conversations(), LaneProgress())
    lane = LaneRecords(settings, 0, sequencer, producer, destinations)
    transactions = Transactions(
        settings, writer_id, producer, group.consumer_group_metadata, Turns().join()
    )
    return lambda record: transactions.run([LaneBatch(lane, [record])])


def test_a_worker_that_does_not_know_the_topic_still_replies(
    settings: Settings, follower: SyncFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that does not know a new topic sends its reply where Eve's device reads it.

    Another worker has just created the topic, and Eve's device already follows the topic.
    """
    monkeypatch.setattr(recipient_topics, "TOPIC_LISTING_SECONDS", PATIENCE)
    late = writer_of(settings)
    make_recipients(settings, [EVE])
    assert is_quiet(follower)

    late(source(0, message(1, EVE)))

    item = follower.poll(PATIENCE)
    assert item is not None
    assert isinstance(item.record, Rejected)


def test_a_reader_waits_for_an_uncommitted_reply(
    settings: Settings, follower: SyncFollower
) -> None:
    """Eve's device gets a reply that was written before her topic and committed after it."""
    reply = Rejected(
        conv_id="c1",
        sender=EVE,
        device_id="d",
        client_msg_id="",
        at=Milliseconds(1),
        code="not_a_member",
    )
    producer = Producer(producer_config(settings) | {"transactional.id": settings.namespace})
    producer.init_transactions(TRANSACTION_SECONDS)
    producer.begin_transaction()
    producer.produce(settings.topic(Topic.SYNC), encode(reply), EVE)
    producer.flush(TRANSACTION_SECONDS)
    make_recipients(settings, [EVE])
    assert is_quiet(follower)

    producer.commit_transaction(TRANSACTION_SECONDS)

    item = follower.poll(PATIENCE)
    assert item is not None
    assert item.record == reply

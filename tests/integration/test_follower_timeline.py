"""A device's sync timeline, read directly from a real broker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka import TopicPartition

from backends.kafka.clients import admin_client, create_topics, partition_of
from consumers.device.kafka_timeline import FollowerTimeline
from consumers.device.knowledge import Arrived, SyncBatch
from consumers.device.local_store import LocalStore
from schemas.codec import encode
from schemas.errors import Trimmed
from schemas.number_types import SyncSeqId
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.sync_writer import SyncWriter, entry

pytestmark = pytest.mark.servers

USER: Final = "陈"
PATIENCE: Final = 180.0


@pytest.fixture
def settings(servers: Servers) -> Settings:
    """A deployment in its own namespace."""
    settings = servers.settings(partitions=1, sync_partitions=2)
    create_topics(settings)
    return settings


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    """An empty local store."""
    with closing(LocalStore(tmp_path / "local.db", USER, "phone")) as store:
        yield store


@pytest.fixture
def timeline(settings: Settings, store: LocalStore) -> Iterator[FollowerTimeline]:
    """The sync timeline of the device."""
    with closing(FollowerTimeline(settings, USER, store, "phone")) as timeline:
        yield timeline


async def next_batch(timeline: FollowerTimeline, cursor: int) -> SyncBatch:
    """The next batch that is not empty."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        batch = await timeline.after(SyncSeqId(cursor))
        if batch.arrived:
            return batch
    raise AssertionError("nothing comes")


async def follow(timeline: FollowerTimeline, store: LocalStore, count: int) -> list[Arrived]:
    """Reads and applies at least this number of records."""
    found: list[Arrived] = []
    while len(found) < count:
        batch = await next_batch(timeline, store.cursor)
        store.apply(batch)
        found += batch.arrived
    return found


async def test_a_batch_that_was_not_applied_is_delivered_again(
    settings: Settings, timeline: FollowerTimeline, store: LocalStore
) -> None:
    """A batch that was not applied is read again; an applied batch is not."""
    entries = [entry(number) for number in range(1, 8)]
    SyncWriter(settings).write((USER, each) for each in entries)
    lost = await next_batch(timeline, store.cursor)
    found = await follow(timeline, store, len(entries))
    assert [each.record for each in found] == entries
    assert found[: len(lost.arrived)] == list(lost.arrived)
    assert [each.json for each in found] == [encode(each) for each in entries]
    assert store.cursor == found[-1].sync_seq
    SyncWriter(settings).write([(USER, entry(8))])
    (last,) = await follow(timeline, store, 1)
    assert last.record == entry(8)


async def test_a_device_that_was_offline_too_long_is_notified_and_continues(
    settings: Settings, timeline: FollowerTimeline, store: LocalStore
) -> None:
    """A device whose next records have expired gets `Trimmed`, skips them, and continues."""
    writer = SyncWriter(settings)
    for number in range(1, 5):
        writer.write([(USER, entry(number))])
    found = await follow(timeline, store, 4)
    timeline.close()
    for number in range(5, 9):
        writer.write([(USER, entry(number))])
    shard = partition_of(USER, 2)
    gone = TopicPartition(settings.topic(Topic.SYNC), shard, found[-1].sync_seq + 4)
    admin = admin_client(settings)  # keep a reference: without it the future never completes
    (answer,) = admin.delete_records([gone]).values()
    answer.result(PATIENCE)
    with pytest.raises(Trimmed) as trimmed:
        await timeline.after(store.cursor)
    store.skip_to(SyncSeqId(trimmed.value.oldest - 1))
    (first, *_) = await follow(timeline, store, 1)
    assert first.sync_seq >= trimmed.value.oldest
    assert found[-1].record == entry(4)

"""A partition with more records than its lane can process, and other partitions of the worker."""

from __future__ import annotations

import itertools
import random
import statistics

import pytest

from backends.kafka.clients import create_topics, partition_of
from schemas.ids import uuid7
from schemas.records import AnyEntry, CreateConversation, MessageSent, SendMessage
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.lanes.inbox import ENOUGH
from tests.conftest import Servers
from tests.support.commands import growing_group, message
from tests.support.processes import WAIT_SECONDS, running, wait_until
from tests.support.topics import (
    committed,
    is_caught_up,
    publish,
    read_all,
    sync_timelines,
    timelines,
)

pytestmark = pytest.mark.servers

PARTITIONS = 2
ROUNDS = 5


@pytest.fixture
def settings(servers: Servers) -> Settings:
    """A deployment in its own namespace, with its topics."""
    settings = servers.settings(partitions=PARTITIONS, sync_partitions=2)
    create_topics(settings)
    return settings


def conversation_on(partition: int) -> str:
    """The id of a conversation whose records are on this partition."""
    ids = (f"c{n}" for n in itertools.count())
    return next(each for each in ids if partition_of(each, PARTITIONS) == partition)


BUSY, QUIET = conversation_on(0), conversation_on(1)


def big_group(members: int) -> CreateConversation:
    """A group whose messages are expensive for its lane."""
    return CreateConversation(
        conv_id=BUSY, sender="u0", device_id="d", client_msg_id=uuid7(0, 0),
        members=[f"u{n}" for n in range(members)],
    )  # fmt: skip


def flood(count: int, digits: int = 1) -> list[SendMessage]:
    """Messages to the busy conversation, with this number of incompressible digits."""
    rng = random.Random(count)
    texts = (f"{rng.randrange(10**digits)}" for _ in range(count))
    return [message(n, conv_id=BUSY, text=text) for n, text in enumerate(texts)]


def batched(commands: list[SendMessage]) -> list[list[SendMessage]]:
    """Commands in parts that fit into a producer's queue."""
    return [commands[start : start + ENOUGH] for start in range(0, len(commands), ENOUGH)]


def done(settings: Settings, partition: int) -> int:
    """The number of sequenced commands of a partition."""
    place = committed(settings, "sequencer", Topic.MESSAGES).get(partition)
    return 0 if place is None else place.offset


def test_a_full_lane_does_not_stop_another(servers: Servers) -> None:
    """While one partition has ten seconds of work in its queue, another is sequenced at once.

    Messages to 500 people on 256 shards fill the lane, and the buffer before the lane stays full.
    If the task that fetches records waited for room, a message of the chat would wait until the
    lane had sequenced one whole fetch, some 20,000 messages of the group. The test counts the
    messages of the group that are sequenced while one message of the chat waits. Neither the count
    of a fetch nor the median of five rounds depends on the speed of the machine.
    """
    settings = servers.settings(partitions=PARTITIONS, sync_partitions=256)
    create_topics(settings, WAIT_SECONDS)
    publish(settings, [big_group(500), *growing_group(2, QUIET)])
    for some in batched(flood(100_000, digits=700)):
        publish(settings, some)
    meanwhile = []
    with running(settings, "stream_processors"):
        wait_until(lambda: done(settings, 0) > 0, "the group is being sequenced")
        for n in range(ROUNDS):
            before, group_before = done(settings, 1), done(settings, 0)
            publish(settings, [message(n, conv_id=QUIET)])
            wait_until(lambda: done(settings, 1) > before, "the chat goes on")  # noqa: B023
            meanwhile.append(done(settings, 0) - group_before)
    assert statistics.median(meanwhile) < ENOUGH / 4, meanwhile
    assert done(settings, 0) < 100_000, "the group ended before the chat: nothing was shown"
    assert [entry.seq for entry in timelines(settings)[QUIET]] == list(range(1, ROUNDS + 3))


def test_a_partition_on_hold_loses_nothing(settings: Settings) -> None:
    """A partition that is put on hold many times, and moved, has every record once, in order."""
    sent = 5 * ENOUGH // 2
    publish(settings, [*growing_group(2, BUSY), *growing_group(2, QUIET)])
    for some in batched(flood(sent)):
        publish(settings, some)
    with running(settings, "stream_processors"):
        wait_until(lambda: done(settings, 0) > 0, "the first has begun")
        with running(settings, "stream_processors"):
            wait_until(lambda: done(settings, 0) > sent / 4, "some of it is done")
        publish(settings, [message(1, conv_id=QUIET)])
        wait_until(lambda: is_caught_up(settings, "sequencer", Topic.MESSAGES), "all is done")
    timeline = timelines(settings)[BUSY]
    assert [entry.seq for entry in timeline] == list(range(1, sent + 3))
    said = [entry.client_msg_id for entry in timeline if isinstance(entry, MessageSent)]
    assert said == [command.client_msg_id for command in flood(sent)]
    mine = [r for r in sync_timelines(settings)["u1"] if isinstance(r, AnyEntry)]
    assert [entry for entry in mine if entry.conv_id == BUSY] == timeline[1:]
    assert not read_all(settings, Topic.DEAD_LETTER)

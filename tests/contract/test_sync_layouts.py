"""The contract of both sync layouts, on a real broker with the pipeline's processes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from backends.stages.stage_health import pipeline_health
from consumers.cursor import MemoryCursors
from consumers.follower import SyncFollower
from schemas.errors import ServerUnavailable
from schemas.ids import uuid7
from schemas.records import AddMembers, AnyEntry, CreateConversation, Duplicate, Rejected
from schemas.settings import Settings
from tests.conftest import Servers
from tests.support.commands import message
from tests.support.following import PATIENCE, entries, follow, so_many, stored
from tests.support.pipeline import assert_verified, prepare, sinks
from tests.support.processes import running, wait_until
from tests.support.topics import publish, timelines

pytestmark = pytest.mark.servers

QUIET = 0.5
"""Seconds after which an undelivered record counts as missing."""

STRANGE_NAMES = ["a.b", "a_b", "a b", "A-b", "陈", "_2e", "😀" * 128, "😀" * 127 + "x", "."]


@pytest.fixture(params=["sharded", "topic-per-recipient"], scope="module")
def settings(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """A pipeline of each layout; each test has its own people and conversations."""
    settings = servers.settings(partitions=2, sync_partitions=2, sync_layout=request.param)
    prepare(settings)
    with sinks(settings), running(settings, "stream_processors"):
        yield settings


class Group(NamedTuple):
    """A conversation of one test with its creator, a later member and a stranger."""

    conv_id: str
    ann: str
    bob: str
    eve: str

    def create(self) -> CreateConversation:
        """The command that creates the conversation, for Ann alone."""
        return CreateConversation(
            conv_id=self.conv_id, sender=self.ann, device_id="d", client_msg_id=uuid7(0, 0),
            members=[], join="open",
        )  # fmt: skip

    def join(self, user: str) -> AddMembers:
        """A join with an id above those of the messages."""
        return AddMembers(
            conv_id=self.conv_id, sender=user, device_id="d", client_msg_id=uuid7(2_000, 0),
            members=[user],
        )  # fmt: skip

    def timeline(self, settings: Settings) -> list[AnyEntry]:
        """All entries of the conversation."""
        return timelines(settings)[self.conv_id]


@pytest.fixture
def group() -> Group:
    """A conversation and people that no other test uses."""
    name = secrets.token_hex(4)
    return Group(f"c {name}", f"ann {name}", f"bob {name}", f"eve {name}")


def has_no_lag(settings: Settings) -> bool:
    """Whether the sync sink has no lag, as `im status` counts it. A busy broker: not yet."""
    try:
        return pipeline_health(settings)["sink-sync"].lag == 0
    except ServerUnavailable:
        return False


def test_each_recipient_follows_only_their_own_timeline(settings: Settings, group: Group) -> None:
    """A follower gets all entries from the join on, once, in order, with increasing sync SeqIds.

    Bob follows before he joins a conversation, and Ann restarts after every second record.
    """
    conv_id, ann, bob, _ = group
    with SyncFollower(settings, bob, MemoryCursors()) as early:
        assert early.poll(QUIET) is None
        publish(settings, [group.create(), group.join(bob)])
        publish(settings, [message(n, ann, conv_id) for n in range(6)])
        found = [early.poll(PATIENCE) for _ in range(7)]
    cursors = MemoryCursors()
    got = follow(settings, ann, cursors, so_many(8), restart_after=2)
    logged = group.timeline(settings)
    assert entries([item for item in found if item]) == logged[1:]
    assert entries(got) == logged
    places = [item.sync_seq for item in got]
    assert places == sorted(set(places))
    with SyncFollower(settings, ann, cursors) as follower:
        assert follower.poll(QUIET) is None


def test_recipients_with_any_kind_of_id_receive_their_records(settings: Settings) -> None:
    """Each person gets the entries of their own conversation only.

    The names have characters that a topic's name cannot have, differ only in these, or have the
    maximum length.
    """
    publish(
        settings,
        [
            CreateConversation(
                conv_id=f"c{n}", sender=user, device_id="d", client_msg_id=uuid7(1, n), members=[]
            )
            for n, user in enumerate(STRANGE_NAMES)
        ],
    )
    for n, user in enumerate(STRANGE_NAMES):
        with SyncFollower(settings, user, MemoryCursors()) as follower:
            item = follower.poll(PATIENCE)
            assert item is not None
            assert item.record.conv_id == f"c{n}"
            assert follower.poll(0) is None


def test_every_sender_receives_a_reply(settings: Settings, group: Group) -> None:
    """A member gets the reply for a duplicate, and a stranger without a conversation a rejection.

    The records of the stranger's later membership come after the rejection.
    """
    conv_id, ann, _, eve = group
    publish(settings, [group.create(), message(1, ann, conv_id), message(1, ann, conv_id)])
    publish(settings, [message(9, eve, conv_id)])
    replies = follow(settings, ann, MemoryCursors(), so_many(3))
    assert isinstance(replies[-1].record, Duplicate)
    cursors = MemoryCursors()
    (refused,) = follow(settings, eve, cursors, so_many(1))
    assert isinstance(refused.record, Rejected)
    assert refused.record.code == "not_a_member"
    publish(settings, [group.join(eve), message(2, ann, conv_id)])
    joined = follow(settings, eve, cursors, so_many(2))
    assert entries(joined) == group.timeline(settings)[2:]
    assert refused.sync_seq < joined[0].sync_seq


def test_a_device_can_start_at_the_end(settings: Settings, group: Group) -> None:
    """A device that starts at the end gets only later records, and continues from its cursor."""
    conv_id, ann, _, _ = group
    publish(settings, [group.create(), message(1, ann, conv_id)])
    follow(settings, ann, MemoryCursors(), so_many(2))
    cursors = MemoryCursors()
    SyncFollower(settings, ann, cursors, start="end").close()
    publish(settings, [message(2, ann, conv_id)])
    assert entries(follow(settings, ann, cursors, so_many(1))) == group.timeline(settings)[2:]


def test_the_store_and_the_log_have_the_same_sync_seqs(settings: Settings, group: Group) -> None:
    """Store and log have the same sync SeqIds, so a cursor of one is valid in the other.

    `im verify` and `im status` find all records.
    """
    conv_id, ann, bob, _ = group
    publish(settings, [group.create(), group.join(bob)])
    publish(settings, [message(n, ann, conv_id) for n in range(5)])
    got = follow(settings, bob, MemoryCursors(), so_many(6))
    # The sink looks for new topics periodically, and `im verify` waits for the sink.
    assert_verified(settings)
    assert stored(settings, bob) == got
    assert stored(settings, bob, got[2].sync_seq, limit=2) == got[3:]
    cursors = MemoryCursors()
    cursors.save(bob, "default", got[2].sync_seq)
    assert follow(settings, bob, cursors, so_many(3)) == got[3:]
    wait_until(lambda: has_no_lag(settings), "there is no lag")

"""A group of 10,000 on the real servers: its creation, its messages, its leaves and their cost."""

from __future__ import annotations

from collections import Counter

import pytest

from backends.kafka.clients import create_topics
from schemas.codec import decode_entry
from schemas.ids import uuid7
from schemas.recipients import recipients_of
from schemas.records import (
    AnyEntry,
    AnySyncRecord,
    ConversationCreated,
    CreateConversation,
    FanoutChanged,
    MembersAdded,
    MembersRemoved,
    MessageSent,
    RemoveMembers,
    SendMessage,
    TextContent,
)
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.processes import running, wait_until
from tests.support.topics import is_caught_up, publish, read_all, sync_timelines, timelines

pytestmark = pytest.mark.servers

OWNER = "u0"
SIZES = {"thousand": 1_000, "ten thousand": 10_000}
LEFT_OVER = 399
"""One less than the size below which a conversation is pushed again."""


@pytest.fixture
def settings(servers: Servers) -> Settings:
    """A deployment in its own namespace with the default limits, and its topics."""
    settings = servers.settings(partitions=4, sync_partitions=4)
    assert (settings.limits.push_limit, settings.limits.push_again_below) == (500, 400)
    create_topics(settings)
    return settings


def people(size: int) -> list[str]:
    """The members of a group, the owner first."""
    return [f"u{n}" for n in range(size)]


def creation(group: str) -> CreateConversation:
    """A command that creates a group with all its members."""
    return CreateConversation(
        conv_id=group, sender=OWNER, device_id="d", client_msg_id=uuid7(0, 0),
        members=people(SIZES[group]),
    )  # fmt: skip


def say(group: str, number: int, *mentions: str) -> SendMessage:
    """The ``number``-th message of the owner."""
    return SendMessage(
        conv_id=group, sender=OWNER, device_id="d", client_msg_id=uuid7(number, 0),
        content=TextContent(text=f"number {number}"), mentions=list(mentions),
    )  # fmt: skip


def leave(group: str, number: int, sender: str, people: list[str]) -> RemoveMembers:
    """The ``number``-th command of a sender, which removes these people."""
    return RemoveMembers(
        conv_id=group, sender=sender, device_id="d", client_msg_id=uuid7(number, 0),
        members=people,
    )  # fmt: skip


def sequence(settings: Settings) -> None:
    """Runs a worker until all commands are sequenced."""
    with running(settings, "stream_processors"):
        wait_until(lambda: is_caught_up(settings, "sequencer", Topic.MESSAGES), "all is sequenced")


def cost(settings: Settings) -> dict[str, Counter[int]]:
    """The number of deliveries of each entry, by conversation and SeqId."""
    found: dict[str, Counter[int]] = {group: Counter() for group in SIZES}
    for record in read_all(settings, Topic.SYNC):
        entry = decode_entry(record.value())
        found[entry.conv_id][entry.seq] += len(recipients_of(record.key() or b""))
    return found


def lets_in(record: AnySyncRecord, user: str) -> bool:
    """Whether this entry adds the user."""
    return isinstance(record, ConversationCreated | MembersAdded) and user in record.members


def lets_out(record: AnySyncRecord, user: str) -> bool:
    """Whether this entry removes the user."""
    return isinstance(record, MembersRemoved) and user in record.members


def test_a_message_costs_the_same_in_any_large_group(settings: Settings) -> None:
    """A message has the same deliveries in a group of 1,000 as of 10,000: sender and mentioned."""
    for group, size in SIZES.items():
        mentioned = [f"u{size - 1}", f"u{size - 2}", "nobody"]
        publish(settings, [creation(group), say(group, 1), say(group, 2, *mentioned)])
    sequence(settings)
    counted, logged = cost(settings), timelines(settings)
    costs = {}
    for group, timeline in logged.items():
        said = [entry.seq for entry in timeline if isinstance(entry, MessageSent)]
        costs[group] = [counted[group][seq] for seq in said]
        assert said == [len(timeline) - 1, len(timeline)]
    assert costs == {"thousand": [1, 3], "ten thousand": [1, 3]}


def test_ten_thousand_members_join_and_leave(settings: Settings) -> None:
    """Each member receives their join, their leave, and each switch in between, exactly once."""
    group = "ten thousand"
    members = people(SIZES[group])
    staying, leaving = members[:LEFT_OVER], members[LEFT_OVER:-1]
    publish(
        settings,
        [
            creation(group),
            say(group, 1, *members[-3:]),
            leave(group, 1, members[-1], members[-1:]),
            leave(group, 2, OWNER, leaving),
            say(group, 3),
        ],
    )
    sequence(settings)
    timeline, syncs = timelines(settings)[group], sync_timelines(settings)
    assert [entry.seq for entry in timeline] == list(range(1, len(timeline) + 1))
    to_pull, to_push = (entry for entry in timeline if isinstance(entry, FanoutChanged))
    assert (to_pull.mode, to_push.mode) == ("pull", "push")
    assert (to_pull.member_count, to_push.member_count) == (1_000, LEFT_OVER)
    last = timeline[-1]
    for user in members:
        mine = syncs[user]
        seqs = [record.seq for record in mine if isinstance(record, AnyEntry)]
        assert seqs == sorted(set(seqs)), user
        assert sum(lets_in(record, user) for record in mine) == 1, user
        assert mine.count(to_pull) == (user in members[: to_pull.member_count]), user
        assert mine.count(to_push) == (user in staying), user
        assert mine.count(last) == (user in staying), user
        assert sum(lets_out(record, user) for record in mine) == (user not in staying), user
    assert sum(to_push in mine for mine in syncs.values()) == LEFT_OVER

"""Somebody is let into conversations so often, and no more often: the store has a bound."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from backends.memberships import user_bucket
from schemas.ids import uuid7
from schemas.records import (
    AddMembers,
    AnyCommand,
    CreateConversation,
    MembersAdded,
    Rejected,
    RemoveMembers,
    SendMessage,
    TextContent,
)
from stream_processors.conversations import Conversations
from stream_processors.core.state import MemberJoined
from stream_processors.joins import Joins
from stream_processors.sequencer import Sequencer
from stream_processors.state_codec import Progress
from tests.support.sequencing import SMALL_LIMITS, Commit, Crash, Log, run, source

TWICE: Final = structs.replace(SMALL_LIMITS, joins=2)
CONVERSATIONS: Final = [f"c{number}" for number in range(100)]
NEAR: Final = [c for c in CONVERSATIONS if user_bucket(c) == user_bucket("c0")]
FAR: Final = next(c for c in CONVERSATIONS if user_bucket(c) != user_bucket("c0"))

Step = AnyCommand | type[Crash | Commit]


class Commands:
    """Makes the commands of ann's device, each with an id of its own."""

    def __init__(self) -> None:
        self._number = 0

    def _common(self, conv_id: str) -> dict[str, Any]:
        self._number += 1
        ids = {"conv_id": conv_id, "sender": "ann", "device_id": "d"}
        return ids | {"client_msg_id": uuid7(self._number, 0)}

    def create(self, conv_id: str, *members: str) -> AnyCommand:
        """A conversation of ann's."""
        return CreateConversation(**self._common(conv_id), members=list(members))

    def add(self, conv_id: str, *members: str) -> AnyCommand:
        """Lets people in."""
        return AddMembers(**self._common(conv_id), members=list(members))

    def remove(self, conv_id: str, *members: str) -> AnyCommand:
        """Lets people out."""
        return RemoveMembers(**self._common(conv_id), members=list(members))

    def say(self, conv_id: str) -> AnyCommand:
        """Says something."""
        return SendMessage(**self._common(conv_id), content=TextContent(text="hi"), mentions=[])


@pytest.fixture
def ann() -> Commands:
    """What ann's device sends."""
    return Commands()


def codes(log: Log) -> list[str]:
    """Why ann was refused, in order."""
    return [record.code for record in log.sync_of("ann") if isinstance(record, Rejected)]


def kinds(log: Log, conv_id: str) -> list[str]:
    """The entries of a conversation, by their classes."""
    return [type(entry).__name__ for entry in log.timeline_of(conv_id)]


def used_up(ann: Commands, conv_id: str = "c0") -> list[Step]:
    """Bob was let in as often as he may, and is there."""
    return [ann.create(conv_id, "bob"), ann.remove(conv_id, "bob"), ann.add(conv_id, "bob")]


def test_one_time_too_often_is_refused(ann: Commands) -> None:
    """Without a trace but the reply; to leave is always allowed, and all else goes on."""
    refused = ann.add("c0", "cid", "bob")
    steps = [*used_up(ann), ann.remove("c0", "bob"), refused, ann.say("c0"), ann.add("c0", "cid")]
    log = run(steps, TWICE)
    assert codes(log) == ["too_many_joins"]
    assert kinds(log, "c0") == [
        *("ConversationCreated", "MembersRemoved", "MembersAdded", "MembersRemoved"),
        *("MessageSent", "MembersAdded"),
    ]
    added = log.timeline_of("c0")[-1]
    assert isinstance(added, MembersAdded)
    assert added.members == ["cid"]


def test_it_counts_over_all_conversations_of_a_bucket(ann: Commands) -> None:
    """Also where somebody is let in by the creation; other buckets have room."""
    near, later = NEAR[1:3]
    steps = [ann.create("c0", "bob"), ann.create(near, "bob"), ann.create(later, "bob")]
    log = run([*steps, ann.create(FAR, "bob")], TWICE)
    # Ann herself has no room in a third one.
    assert codes(log) == ["too_many_joins"]
    assert log.conversations == {"c0", near, FAR}


def test_who_creates_counts_as_well(ann: Commands) -> None:
    """They join their own conversation."""
    steps = [ann.create(conv_id) for conv_id in NEAR[:3]]
    assert codes(run(steps, TWICE)) == ["too_many_joins"]


@pytest.mark.parametrize("compact_share", [0.0, 1.0])
def test_what_was_counted_survives_a_crash(ann: Commands, compact_share: float) -> None:
    """Committed joins are counted once, those of a transaction that was lost not at all."""
    steps = [*used_up(ann), ann.remove("c0", "bob")]
    again = ann.add("c0", "bob")
    for before in range(len(steps) + 1):
        parts: list[Step] = [*steps[:before], Commit, *steps[before:], Crash, again]
        assert codes(run(parts, TWICE, compact_share=compact_share)) == ["too_many_joins"]
        fewer = [*parts[:-1], Commit, Crash, again]
        assert codes(run(fewer, structs.replace(TWICE, joins=3))) == []


def test_sent_again_it_is_decided_anew(ann: Commands) -> None:
    """With a higher limit, as after an upgrade, what was refused is accepted."""
    conversations, progress, log = Conversations(), Progress(), Log()
    again = ann.add("c0", "bob")
    steps = [ann.create("c0", "bob"), ann.remove("c0", "bob"), again]
    for most, sent in ((1, steps), (2, [again])):
        limits = structs.replace(SMALL_LIMITS, joins=most)
        sequencer = Sequencer(limits, conversations, progress)
        for command in sent:
            sequencer.process(source(progress.next_offset, command), log)
    assert codes(log) == ["too_many_joins"]
    assert kinds(log, "c0")[-1] == "MembersAdded"


def test_nobody_is_an_audience_of_what_is_refused(ann: Commands) -> None:
    """No topics are made for people whom a command does not let in."""
    sequencer, log = Sequencer(TWICE, Conversations(), Progress()), Log()
    for at, command in enumerate([*used_up(ann), ann.remove("c0", "bob")]):
        assert not isinstance(command, type)
        sequencer.process(source(at, command), log)
    assert sequencer.audience(source(4, ann.add("c0", "bob"))) == set()
    assert sequencer.audience(source(4, ann.add("c0", "cid"))) == {"ann", "cid"}


@given(st.lists(st.sampled_from(["ann", "bob", "cid", "陈", "dee"]), max_size=40))
def test_who_shares_a_count_is_never_let_in_too_often(joins: list[str]) -> None:
    """With fewer counts than people, and with what was counted restored in between."""
    counted, let_in = Joins(cells=2), Counter[str]()
    for user in joins:
        change = [MemberJoined(user, 1)]
        if counted.allow("c0", change, most=5):
            counted.count("c0", change)
            let_in[user] += 1
        kept = dict(counted.take_touched())
        assert len(kept) <= 1
        for place, count in kept.items():
            counted.restore(place, count)
    assert all(times <= 5 for times in let_in.values())
    assert sum(let_in.values()) >= min(len(joins), 5)


def test_counts_take_no_more_room_for_more_people() -> None:
    """A hundred people leave as many records as there are counts, and the next ones none more."""
    counted = Joins(cells=8)
    for number in range(100):
        counted.count("c0", [MemberJoined(f"u{number}", 1)])
    assert len(dict(counted.take_touched())) == 8

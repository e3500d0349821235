"""Each rule of the log: what keeps it is silent, what breaks it is named."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from backends.kafka import partition_of
from ops.verify.log import Log
from ops.verify.report import Difference, Report
from schemas.codec import encode
from schemas.limits import MAX_ENTRY_BYTES
from schemas.records import (
    AnyEntry,
    ConversationCreated,
    FanoutChanged,
    MembersAdded,
    MembersRemoved,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    TextContent,
)

PARTITIONS = 2


def _common(seq: int, sender: str, command: str) -> dict[str, Any]:
    return {
        "conv_id": "c",
        "seq": seq,
        "sender": sender,
        "client_msg_id": command or f"command of {seq}",
        "at": seq,
    }


def created(*members: str, seq: int = 1, sender: str = "ann") -> AnyEntry:
    """The first entry."""
    return ConversationCreated(
        **_common(seq, sender, ""), members=list(members), join="invite", mode="push"
    )


def added(
    seq: int, *members: str, sender: str = "ann", command: str = "", **mode: Any
) -> AnyEntry:
    """People who come."""
    common = _common(seq, sender, command) | {"mode": "push"} | mode
    return MembersAdded(**common, members=list(members))


def removed(seq: int, *members: str, sender: str = "ann", command: str = "") -> AnyEntry:
    """People who go."""
    return MembersRemoved(**_common(seq, sender, command), members=list(members), mode="push")


def said(seq: int, sender: str = "ann", command: str = "") -> AnyEntry:
    """A message."""
    return MessageSent(**_common(seq, sender, command), content=TextContent(text=""), mentions=[])


def counting(messages: int, entry: AnyEntry) -> AnyEntry:
    """The entry, which says that there are so many messages up to it."""
    return structs.replace(entry, messages=messages)


def edited(seq: int, target: int, sender: str = "ann") -> AnyEntry:
    """An edit."""
    common, content = _common(seq, sender, ""), TextContent(text="")
    return MessageEdited(**common, target=target, target_at=target, content=content)


def recalled(seq: int, target: int, *edits: int, sender: str = "ann") -> AnyEntry:
    """A recall."""
    common = _common(seq, sender, "")
    return MessageRecalled(**common, target=target, target_at=target, edits=list(edits))


def changed(seq: int, command: str, **fields: Any) -> AnyEntry:
    """A switch to pull of three people, where two are the limit."""
    usual = {"mode": "pull", "member_count": 3, "push_limit": 2, "push_again_below": 2}
    return FanoutChanged(**(_common(seq, "ann", command) | usual | fields))


def differences(*entries: AnyEntry) -> list[Difference]:
    """What the audit says of a log with these entries."""
    log, report = Log(PARTITIONS), Report()
    place = partition_of("c", PARTITIONS)
    log.read([(place, entry.seq, b"c", encode(entry)) for entry in entries], report)
    log.finish(report)
    return report.differences


@pytest.mark.parametrize(
    "entries",
    [
        [created("ann"), said(2)],
        [created("ann", "bob"), removed(2, "bob", sender="bob")],
        [created("ann"), added(2, "bob", sender="bob")],
        [created("ann"), added(2, "b", "c", command="x"), changed(3, "x")],
        # One command, several entries, of which the first removes who sent it.
        [
            created("ann", "b", "c"),
            removed(2, "ann", "b", command="x"),
            removed(3, "c", command="x"),
        ],
        [created("ann", "bob"), said(2, command="x"), said(3, "bob", command="x")],
        # What was said before messages were counted does not count; from some entry on all does.
        [
            created("ann"),
            said(2),
            counting(1, said(3)),
            counting(1, added(4, "b")),
            counting(2, said(5)),
        ],
        [created("ann"), said(2), edited(3, 2), edited(4, 2), recalled(5, 2, 3, 4)],
    ],
)
def test_what_keeps_the_rules_is_silent(entries: list[AnyEntry]) -> None:
    """Ordinary histories, with the corners where a rule could be too strict."""
    assert differences(*entries) == []


@pytest.mark.parametrize(
    ("entries", "said_of_the_last"),
    [
        ([said(1)], "begins with conversation_created"),
        ([created("ann"), said(2, command="x" * MAX_ENTRY_BYTES)], "an entry has at most"),
        ([created("ann"), created("bob", seq=2, sender="bob")], "has it once"),
        ([created("bob")], "who creates a conversation"),
        ([created("ann", "ann")], "names a member twice"),
        ([created("ann"), said(2, "bob")], "its sender is not a member"),
        ([created("ann"), counting(2, said(2))], "it counts 2 messages in place of 1"),
        ([counting(1, created("ann"))], "it counts 1 messages in place of 0"),
        ([created("ann"), counting(1, said(2)), said(3)], "it counts 0 messages in place of 2"),
        (
            [created("ann"), counting(1, said(2)), counting(2, added(3, "b"))],
            "it counts 2 messages in place of 1",
        ),
        ([created("ann"), said(2), edited(3, 2, "bob")], "its sender is not a member"),
        ([created("ann"), said(2), edited(3, 1)], "not a message"),
        ([created("ann"), said(2), edited(3, 3)], "not a message"),
        ([created("ann"), said(2), edited(3, 2), recalled(4, 3)], "not a message"),
        ([created("ann"), said(2), edited(3, 2), recalled(4, 2)], "names 0 edits"),
        ([created("ann"), said(2), recalled(3, 2), recalled(4, 2)], "recalled before"),
        ([created("ann"), said(2), recalled(3, 2), edited(4, 2)], "recalled before"),
        ([created("ann"), added(2)], "names nobody"),
        ([created("ann"), added(2, "b", "b")], "a member twice"),
        ([created("ann", "bob"), added(2, "bob")], "adds somebody who is a member"),
        ([created("ann"), removed(2, "bob")], "removes somebody who is not a member"),
        ([created("ann"), added(2, "bob", mode="pull")], "its mode is pull"),
        ([created("ann"), added(2, "bob", history="all")], "its history rule is all"),
        ([created("ann", "bob"), removed(2, "bob", sender="eve")], "its sender is not a member"),
        ([created("ann", "b", "c"), changed(2, "command of 1", member_count=4)], "counts 4"),
        ([created("ann", "b", "c"), changed(2, "command of 1", push_limit=3)], "no more members"),
        ([created("ann", "b"), changed(2, "command of 1", mode="push")], "the mode was push"),
        (
            [created("ann", "b", "c"), changed(2, "command of 1", push_again_below=3)],
            "its limits overlap",
        ),
        ([created("ann", "b", "c"), changed(2, "another")], "does not follow"),
        (
            [
                created("ann", "b", "c"),
                changed(2, "command of 1"),
                changed(3, "command of 1", mode="push"),
            ],
            "no fewer members",
        ),
        (
            [
                created("ann", "b", "c"),
                changed(2, "command of 1"),
                changed(3, "command of 1", mode="push", push_limit=3, push_again_below=3),
            ],
            "no fewer members",
        ),
    ],
)
def test_what_breaks_a_rule_is_named(entries: list[AnyEntry], said_of_the_last: str) -> None:
    """The broken rule is told in words, at the SeqId of the entry that breaks it."""
    found = [(each.kind, each.conv_id, each.seq, each.detail) for each in differences(*entries)]

    assert any(
        (kind, conv_id, seq) == ("rule", "c", entries[-1].seq) and said_of_the_last in detail
        for kind, conv_id, seq, detail in found
    ), found


def test_a_command_that_was_accepted_twice_is_named() -> None:
    """The same sender's id later on, not side by side: what was sent once is there twice."""
    found = differences(created("ann"), said(2, command="x"), said(3), said(4, command="x"))

    assert [(each.kind, each.seq) for each in found] == [("double", 4)]
    assert "entry 2" in found[0].detail


def test_a_hole_is_one_difference_however_long() -> None:
    """SeqIds that are not there are named as one run with its length; what follows is audited."""
    found = differences(created("ann"), said(5), said(6, "bob"))

    hole, stranger = found
    assert (hole.kind, hole.seq, hole.through, hole.records) == ("missing", 2, 4, 3)
    assert (stranger.kind, stranger.seq) == ("rule", 6)


def test_holes_are_no_command_that_was_accepted_twice() -> None:
    """What is not there is alike, and means nothing."""
    found = differences(created("ann"), said(3), said(5))

    assert [(each.kind, each.seq) for each in found] == [("missing", 2), ("missing", 4)]


def test_no_text_is_told() -> None:
    """What is not an entry may hold a message: the difference does not quote it."""
    log, report = Log(PARTITIONS), Report()
    log.read([(0, 0, b"c", b'{"kind": "message_sent", "content": "my secret"}')], report)

    assert [each.kind for each in report.differences] == ["undecodable"]
    assert "secret" not in str(report.differences)

"""Rules of the log: an entry that breaks a rule is named, and a correct entry is not."""

from __future__ import annotations

from typing import Any, Final, get_args

import pytest
from msgspec import structs

from audit.log import KafkaRecord, Log
from audit.report import AuditReport, Difference
from audit.rule_names import RuleName
from backends.kafka.clients import partition_of
from schemas.codec import encode
from schemas.direct_chats import direct_chat_id
from schemas.ids import uuid7
from schemas.limits import MAX_EDITS, MAX_MESSAGE_BYTES, MAX_PERIODS, Limits
from schemas.number_types import Milliseconds, Offset, SeqId
from schemas.records import (
    AnyEntry,
    ConversationCreated,
    ConversationDescribed,
    FanoutChanged,
    MembersAdded,
    MembersRemoved,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    OwnershipTransferred,
    TextContent,
)
from schemas.texts import message_bytes

PARTITIONS: Final = 2
LIMITS: Final = Limits(
    push_limit=3,
    push_again_below=2,
    max_text_bytes=4,
    max_mentions=1,
    members_per_entry=3,
    recall_within_ms=Milliseconds(2_000),
    edit_within_ms=Milliseconds(1_500),
)
_UNCOUNTED: Final = -1
CHAT: Final = direct_chat_id("ann", "bob")


def _common(seq: int, sender: str, command: int = 0) -> dict[str, Any]:
    """``command`` is the number of the command's id, by default the SeqId."""
    return {
        "conv_id": "c",
        "seq": seq,
        "sender": sender,
        "client_msg_id": uuid7(1, command or seq),
        "at": command or seq,
        "messages": _UNCOUNTED,
    }


def created(*members: str, seq: int = 1, **fields: Any) -> AnyEntry:
    """The first entry, by the first member."""
    usual = _common(seq, members[0]) | {"join": "invite", "mode": "push"}
    return ConversationCreated(**(usual | fields), members=list(members))


def added(
    seq: int, *members: str, sender: str = "ann", command: int = 0, **fields: Any
) -> AnyEntry:
    """An entry that adds people."""
    usual = _common(seq, sender, command) | {"mode": "push"} | fields
    return MembersAdded(**usual, members=list(members))


def removed(
    seq: int, *members: str, sender: str = "ann", command: int = 0, **fields: Any
) -> AnyEntry:
    """An entry that removes people."""
    usual = _common(seq, sender, command) | {"mode": "push"} | fields
    return MembersRemoved(**usual, members=list(members))


def owned(seq: int, owner: str, sender: str = "ann", command: int = 0) -> AnyEntry:
    """A change of the owner."""
    return OwnershipTransferred(**_common(seq, sender, command), owner=owner)


def described(seq: int, sender: str = "ann", command: int = 0, **fields: Any) -> AnyEntry:
    """A name or metadata."""
    return ConversationDescribed(**(_common(seq, sender, command) | fields))


def said(
    seq: int, sender: str = "ann", command: int = 0, text: str = "hi", *mentions: str
) -> AnyEntry:
    """A message."""
    content = TextContent(text=text)
    return MessageSent(**_common(seq, sender, command), content=content, mentions=list(mentions))


def edited(seq: int, target: int, sender: str = "ann", **fields: Any) -> AnyEntry:
    """An edit."""
    usual = _common(seq, sender) | {"target_at": target, "content": TextContent(text="ho")}
    return MessageEdited(**(usual | fields), target=SeqId(target))


def recalled(seq: int, target: int, *edits: int, sender: str = "ann", **fields: Any) -> AnyEntry:
    """A recall."""
    usual = _common(seq, sender) | {"target_at": target} | fields
    return MessageRecalled(**usual, target=SeqId(target), edits=list(map(SeqId, edits)))


def switched(seq: int, command: int, **fields: Any) -> AnyEntry:
    """A switch to pull with one member more than the limit."""
    usual = {"mode": "pull", "member_count": 4, "push_limit": 3, "push_again_below": 2}
    return FanoutChanged(**(_common(seq, "ann", command) | usual | fields))


TRIO: Final = created("ann", "bob", "eve")
OPEN: Final = created("ann", join="open")
FOUR: Final = [TRIO, added(2, "dan", command=2), switched(3, 2)]


BACK: Final = [
    created("ann", "bob"),
    removed(2, "bob"),
    said(3),
    added(4, "bob", periods={"bob": (1, 4)}),
]


def comes_and_goes(periods: int) -> list[AnyEntry]:
    """The log of a person with this number of periods, of which the first is the longest."""
    entries = [created("ann", "bob"), said(2), removed(3, "bob"), said(4)]
    for number in range(1, periods):
        seq = len(entries) + 1
        entries += [
            added(seq, "bob", periods={"bob": (number, seq)}),
            removed(seq + 1, "bob", periods={"bob": number}),
            said(seq + 2),
        ]
    return entries


MANY: Final = comes_and_goes(MAX_PERIODS)


def differences(
    *entries: AnyEntry, limits: Limits = LIMITS, settings_since: int = 0
) -> list[Difference]:
    """The differences in a log of these entries.

    An entry without a count of messages gets the right count.
    """
    log, report = Log(PARTITIONS, limits, Milliseconds(settings_since)), AuditReport()
    conv_id = entries[0].conv_id
    place, records, messages = partition_of(conv_id, PARTITIONS), [], 0
    for entry in entries:
        messages += isinstance(entry, MessageSent)
        if entry.messages == _UNCOUNTED:
            records.append((entry.seq, encode(structs.replace(entry, messages=messages))))
        else:
            records.append((entry.seq, encode(entry)))
    log.read(
        [KafkaRecord(place, Offset(offset), conv_id.encode(), value) for offset, value in records],
        report,
    )
    log.finish(report)
    return report.differences


@pytest.mark.parametrize(
    "entries",
    [
        [created("ann"), said(2)],
        [TRIO, removed(2, "bob", sender="bob")],
        [TRIO, removed(2, "bob", "eve")],
        [TRIO, removed(2, "ann", command=2), owned(3, "bob", command=2)],
        # The earliest join decides, whatever the ids are.
        [
            created("zoe", "ann"),
            removed(2, "ann", sender="ann"),
            added(3, "cat", sender="zoe"),
            added(4, "ann", sender="zoe", periods={"ann": (1, 4)}),
            removed(5, "zoe", sender="zoe", command=5),
            owned(6, "cat", sender="zoe", command=5),
        ],
        # A join directly after a leave continues the membership.
        [
            created("ann", "bob"),
            added(2, "cat"),
            removed(3, "bob", sender="bob"),
            added(4, "bob", periods={"bob": (0, 1)}),
            removed(5, "ann", command=5),
            owned(6, "bob", command=5),
        ],
        # A person enters an empty conversation and becomes the owner.
        [
            OPEN,
            removed(2, "ann"),
            added(3, "bob", sender="bob", command=3),
            owned(4, "bob", sender="bob", command=3),
        ],
        [TRIO, owned(2, "eve"), owned(3, "ann", sender="eve")],
        [OPEN, added(2, "bob", sender="bob")],
        [created("ann"), added(2, "bob"), added(3, "eve", sender="bob")],
        [created("ann"), removed(2, "ann"), added(3, "ann", periods={"ann": (0, 1)})],
        # The second period has the number 1, also when the person leaves.
        [*BACK, removed(5, "bob", periods={"bob": 1})],
        # Of 100 periods, the earliest of the shortest ones passes its number to the next period.
        [*MANY, added(len(MANY) + 1, "bob", periods={"bob": (1, len(MANY) + 1)})],
        [*FOUR, said(4, "dan")],
        [
            *FOUR,
            removed(4, "bob", "eve", "dan", mode="pull"),
            switched(5, 4, mode="push", member_count=1),
        ],
        # The first of several entries of one command removes the command's sender.
        [
            created("ann", "bob", "eve"),
            removed(2, "ann", "bob", command=2),
            removed(3, "eve", command=2),
        ],
        [TRIO, said(2, command=2), said(3, "bob", command=2)],
        [created("ann"), said(2), edited(3, 2), edited(4, 2), recalled(5, 2, 3, 4)],
        [created("ann"), said(2), recalled(3, 2, at=2_002)],
        [created("ann"), said(2), edited(3, 2, at=1_502)],
        [created("ann"), *(said(seq) for seq in range(2, 1_025)), recalled(1_025, 16)],
    ],
)  # fmt: skip
def test_valid_entries_break_no_rule(entries: list[AnyEntry]) -> None:
    """Correct histories, with corner cases of each rule, have no difference."""
    assert differences(*entries) == []


_COUNTED_TWO: Final = structs.replace(said(2), messages=2)

BROKEN: Final[dict[RuleName, list[list[AnyEntry]]]] = {
    "no_creation": [[added(1, "ann", sender="ann")]],
    "created_twice": [[created("ann"), created("ann", seq=2)]],
    "wrong_count": [
        [created("ann"), _COUNTED_TWO],
        [structs.replace(TRIO, messages=1)],
        [created("ann"), said(2), structs.replace(said(3), messages=0)],
    ],
    "invalid_id": [
        [created("ann"), structs.replace(said(2), client_msg_id="7")],
        [created("ann"), added(2, "b\n")],
        [created("ann"), added(2, "b" * 129)],
    ],
    "id_repeated": [
        [created("ann"), said(2, command=2), said(3, command=2)],
        [created("ann"), said(2, command=2), said(3), said(4, command=2)],
        [TRIO, removed(2, "bob", command=2), said(3, command=2)],
        [TRIO, removed(2, "bob", command=2), added(3, "bob", command=2)],
    ],
    "wrong_time": [[created("ann"), added(2, "bob", command=2), added(3, "eve", command=2, at=9)]],
    "entry_too_long": [[created("ann"), said(2, "ann", 2, "hi", *("m" * 128 for _ in range(80)))]],
    "sender_not_a_member": [
        [created("ann"), said(2, "bob")],
        [TRIO, removed(2, "bob", sender="bob"), removed(3, "bob", sender="bob")],
    ],
    "empty_text": [
        [created("ann"), said(2, text="")],
        [created("ann"), said(2, text=" \u200b")],
        [created("ann"), said(2), edited(3, 2, content=TextContent(text="\n"))],
    ],
    "text_too_long": [
        [created("ann"), said(2, text="12345")],
        [created("ann"), said(2), edited(3, 2, content=TextContent(text="ééé"))],
    ],
    "too_many_mentions": [[created("ann"), said(2, "ann", 2, "hi", "ann", "bob")]],
    "not_a_message": [
        [created("ann"), said(2), edited(3, 1)],
        [created("ann"), said(2), edited(3, 3)],
        [created("ann"), said(2), edited(3, 2), recalled(4, 3)],
    ],
    "recalled_before": [
        [created("ann"), said(2), recalled(3, 2), recalled(4, 2)],
        [created("ann"), said(2), recalled(3, 2), edited(4, 2)],
    ],
    "no_right_to_edit": [[TRIO, said(2, "bob"), edited(3, 2, "eve")]],
    "no_right_to_recall": [
        [TRIO, said(2, "bob"), recalled(3, 2, sender="eve")],
        [TRIO, said(2, "bob"), recalled(3, 2, sender="ann")],
    ],
    "edited_too_late": [[created("ann"), said(2), edited(3, 2, at=1_503)]],
    "recalled_too_late": [[created("ann"), said(2), recalled(3, 2, at=2_003)]],
    "too_far_back": [
        [created("ann"), *(said(seq) for seq in range(2, 1_041)), recalled(1_041, 15)],
        [created("ann"), *(said(seq) for seq in range(2, 1_041)), edited(1_041, 15)],
    ],
    "wrong_target_time": [[created("ann"), said(2), recalled(3, 2, target_at=1)]],
    "too_many_edits": [
        [created("ann"), said(2), *(edited(seq, 2) for seq in range(3, 4 + MAX_EDITS))]
    ],
    "wrong_edits": [[created("ann"), said(2), edited(3, 2), recalled(4, 2)]],
    "creator_not_a_member": [[created("bob", sender="ann")]],
    "nobody_named": [[created("ann"), added(2)]],
    "named_twice": [[created("ann", "ann")], [created("ann"), added(2, "bob", "bob")]],
    "too_many_named": [[created("ann", "bob", "eve", "dan"), switched(2, 1)]],
    "no_right_to_add": [
        [created("ann"), added(2, "eve", sender="eve")],
        [OPEN, added(2, "eve", "bob", sender="eve")],
        [created("ann"), removed(2, "ann"), added(3, "eve", sender="eve")],
    ],
    "no_right_to_remove": [[TRIO, removed(2, "eve", sender="bob")]],
    "added_a_member": [[TRIO, added(2, "bob")]],
    "removed_a_stranger": [[TRIO, removed(2, "dan")]],
    "wrong_mode": [[created("ann"), added(2, "bob", mode="pull")], [created("ann", mode="pull")]],
    "wrong_history": [[created("ann"), added(2, "bob", history="all")]],
    "wrong_periods": [
        [*BACK[:-1], added(4, "bob")],
        [*BACK, removed(5, "bob")],
        [created("ann"), added(2, "bob", periods={"bob": (1, 2)})],
    ],
    "owner_not_a_member": [[TRIO, owned(2, "dan")]],
    "no_right_to_transfer": [
        [TRIO, owned(2, "bob", sender="bob")],
        [TRIO, removed(2, "ann"), owned(3, "bob", sender="bob")],
    ],
    "wrong_successor": [
        [TRIO, removed(2, "ann", command=2), owned(3, "eve", command=2)],
        [
            created("ann", "eve"),
            added(2, "bob"),
            removed(3, "ann", command=3),
            owned(4, "bob", command=3),
        ],
    ],
    "no_right_to_describe": [
        [TRIO, described(2, "bob", name="mine")],
        [TRIO, owned(2, "bob"), described(3, name="still mine")],
    ],
    "wrong_description": [
        [TRIO, described(2)],
        [TRIO, described(2, name=" ")],
        [TRIO, described(2, name="n" * 257)],
        [TRIO, described(2, metadata="[]")],
    ],
    "wrong_direct_chat": [
        [created("ann", "eve", conv_id=CHAT)],
        [created("ann", "bob", conv_id=CHAT, join="open")],
        [created("ann", "bob", "eve", conv_id=CHAT)],
        [created("ann", "bob", conv_id=CHAT), added(2, "eve", conv_id=CHAT)],
        [created("ann", "bob", conv_id=CHAT), removed(2, "bob", conv_id=CHAT)],
        [created("ann", "bob", conv_id=CHAT), described(2, conv_id=CHAT, name="us")],
    ],
    "succession_missing": [
        [TRIO, removed(2, "ann")],
        [TRIO, removed(2, "ann"), said(3, "bob")],
        [OPEN, removed(2, "ann"), added(3, "bob", sender="bob")],
    ],
    "switch_missing": [
        [TRIO, added(2, "dan"), said(3)],
        [TRIO, added(2, "dan")],
        [*FOUR, removed(4, "bob", "eve", "dan", mode="pull")],
    ],
    "switch_alone": [[TRIO, said(2), switched(3, 2)], [TRIO, added(2, "dan"), switched(3, 3)]],
    "switch_unfounded": [[TRIO, switched(2, 1, member_count=3)]],
    "switch_to_same_mode": [[TRIO, added(2, "dan", command=2), switched(3, 2, mode="push")]],
    "wrong_member_count": [
        [TRIO, added(2, "dan", command=2), switched(3, 2, member_count=5)],
        [created("ann", "bob", member_count=1)],
        [TRIO, added(2, "dan", command=2, member_count=3)],
        [TRIO, removed(2, "bob", member_count=3)],
    ],
    "wrong_limits": [
        [TRIO, added(2, "dan", command=2), switched(3, 2, push_limit=2)],
        [TRIO, added(2, "dan", command=2), switched(3, 2, push_again_below=4)],
    ],
}
"""For each rule, logs whose last entry breaks the rule."""


@pytest.mark.parametrize(
    ("rule", "entries"), [(rule, log) for rule, logs in BROKEN.items() for log in logs]
)
def test_each_broken_rule_is_named(rule: RuleName, entries: list[AnyEntry]) -> None:
    """The difference has the rule and the SeqId; entries before the last two have none."""
    found = [(each.check, each.kind, each.conv_id) for each in differences(*entries)]
    seqs = {each.seq for each in differences(*entries)}

    assert ("log", rule, entries[-1].conv_id) in found
    assert seqs <= {entries[-1].seq, entries[-1].seq - 1}


def test_each_rule_has_a_log_that_breaks_it() -> None:
    """Each rule has a test."""
    assert set(BROKEN) == set(get_args(RuleName))


def test_entries_of_earlier_settings_are_not_compared_with_the_present_limits() -> None:
    """An entry from before the last change of limits may exceed them; a later one may not."""
    late = [created("ann"), said(2), edited(3, 2, at=1_503)]

    assert differences(*late, settings_since=1_504) == []
    assert [each.kind for each in differences(*late, settings_since=1_503)] == ["edited_too_late"]


def test_no_setting_allows_more_mentions() -> None:
    """The limit of mentions holds for entries of any time."""
    people = [str(number) for number in range(Limits().max_mentions + 1)]
    most, too_many = (said(2, "ann", 2, "hi", *some) for some in (people[1:], people))

    assert differences(created("ann"), most, settings_since=10) == []
    found = differences(created("ann"), too_many, settings_since=10)
    assert [each.kind for each in found] == ["too_many_mentions"]


def test_the_settings_may_let_the_owner_recall() -> None:
    """With the setting the owner may recall messages of others, and other members may not."""
    limits = structs.replace(LIMITS, owner_recalls=True)
    by_owner, by_other = (recalled(3, 2, sender=sender) for sender in ("ann", "eve"))

    assert differences(TRIO, said(2, "bob"), by_owner, limits=limits) == []
    found = differences(TRIO, said(2, "bob"), by_other, limits=limits)
    assert [each.kind for each in found] == ["no_right_to_recall"]


def test_a_hole_is_one_difference_however_long() -> None:
    """A run of missing SeqIds is one difference with its length, and later entries are audited."""
    found = differences(created("ann"), said(5), said(6, "bob"))

    hole, stranger = found
    assert (hole.kind, hole.seq, hole.through, hole.records) == ("missing", 2, 4, 3)
    assert (stranger.kind, stranger.seq) == ("sender_not_a_member", 6)


def test_holes_are_not_repeated_commands() -> None:
    """Missing entries have no id, so they do not count as repeated commands."""
    found = differences(created("ann"), said(3), said(5))

    assert [(each.kind, each.seq) for each in found] == [("missing", 2), ("missing", 4)]


def test_a_creation_may_end_with_a_description() -> None:
    """A description has the command of the creation, also after members are added; no other."""
    end = [added(2, "bob", command=1, member_count=2), described(3, command=1, name="team")]
    assert differences(created("ann", member_count=1), *end) == []
    found = differences(created("ann"), added(2, "bob"), described(3, command=2, name="team"))
    assert [(each.kind, each.seq) for each in found] == [("id_repeated", 3)]


def test_no_text_is_quoted() -> None:
    """The difference of an undecodable record does not quote it, because it may be a message."""
    log, report = Log(PARTITIONS), AuditReport()
    value = b'{"kind": "message_sent", "content": "my secret"}'
    log.read([KafkaRecord(0, Offset(0), b"c", value)], report)

    assert [each.kind for each in report.differences] == ["undecodable"]
    assert "secret" not in str(report.differences)


def test_the_longest_message_is_allowed() -> None:
    """The limit of a message's ids, text and mentions is exact."""
    room = MAX_MESSAGE_BYTES - message_bytes("c", "ann", TextContent(text="hi"), ["m"])
    fits, too_long = (said(2, "ann", 2, "hi", "m" * (1 + room + more)) for more in (0, 1))

    assert differences(created("ann"), fits) == []
    assert [each.kind for each in differences(created("ann"), too_long)] == ["entry_too_long"]

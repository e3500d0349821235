"""Names and metadata of conversations, for any commands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from schemas.codec import encode
from schemas.descriptions import description_fault
from schemas.limits import MAX_ENTRY_BYTES, MAX_METADATA_BYTES, MAX_NAME_BYTES
from schemas.records import (
    MAX_ID_LENGTH,
    AnyCommand,
    ConversationCreated,
    ConversationDescribed,
    CreateConversation,
    DescribeConversation,
    MembersAdded,
    OwnershipTransferred,
    RemoveMembers,
)
from tests.support.commands import commands, fields_of, opening, talk
from tests.support.sequencing import run

_WIDE = "\U0001f600" * MAX_ID_LENGTH


@settings(max_examples=200)
@given(
    st.one_of(
        st.lists(commands, max_size=60),
        st.lists(talk, min_size=15, max_size=60).map(lambda said: [*opening(), *said]),
    )
)
def test_only_the_owner_describes_and_within_the_rules(steps: list[AnyCommand]) -> None:
    """Each description is by the owner at that time, has a value, and has no fault."""
    log = run(steps)
    for conv_id in log.conversations:
        owner = ""
        for entry in log.timeline_of(conv_id):
            if isinstance(entry, ConversationCreated):
                owner = entry.sender
            elif isinstance(entry, OwnershipTransferred):
                owner = entry.owner
            elif isinstance(entry, ConversationDescribed):
                assert entry.sender == owner
                assert (entry.name, entry.metadata) != (UNSET, UNSET)
                fault = description_fault(conv_id, owner, entry.name, entry.metadata)
                assert fault is None
                assert isinstance(json.loads(entry.metadata or "{}"), dict)


@given(st.lists(commands, max_size=60))
def test_every_entry_that_names_members_counts_them(steps: list[AnyCommand]) -> None:
    """`member_count` is the number of members after the entry."""
    log = run(steps)
    for conv_id in log.conversations:
        members: set[str] = set()
        for entry in log.timeline_of(conv_id):
            named = set(getattr(entry, "members", ()))
            is_join = isinstance(entry, ConversationCreated | MembersAdded)
            members = members | named if is_join else members - named
            if named:
                assert getattr(entry, "member_count", None) == len(members)


def test_a_creation_with_a_name_is_described_after_its_members() -> None:
    """The description is the last entry of the creation, and reaches all members."""
    made = CreateConversation(**fields_of(0), members=["bob"], name="team", metadata='{"a": 1}')
    log = run([made])
    created, described = log.timeline_of("c1")
    assert isinstance(created, ConversationCreated)
    assert isinstance(described, ConversationDescribed)
    assert (described.name, described.metadata) == ("team", '{"a": 1}')
    assert described.client_msg_id == created.client_msg_id
    assert [record.seq for record in log.sync_of("bob") if hasattr(record, "seq")] == [1, 2]


@pytest.mark.parametrize("nothing", ["", UNSET])
def test_a_creation_without_a_name_has_one_entry(nothing: str | UnsetType) -> None:
    """An empty name at the creation is like an absent one."""
    made = CreateConversation(**fields_of(0), members=[], name=nothing, metadata=nothing)
    assert len(run([made]).timeline_of("c1")) == 1


@pytest.mark.parametrize(
    ("description", "code"),
    [
        ({}, "invalid"),
        ({"name": " \u200b"}, "empty"),
        ({"name": "two\nlines"}, "invalid"),
        ({"name": "two\u2028lines"}, "invalid"),
        ({"name": "n" * (MAX_NAME_BYTES + 1)}, "too_large"),
        ({"name": "字" * (MAX_NAME_BYTES // 3 + 1)}, "too_large"),
        ({"metadata": "[]"}, "invalid"),
        ({"metadata": "null"}, "invalid"),
        ({"metadata": "{"}, "invalid"),
        ({"metadata": '{"a": NaN}'}, "invalid"),
        ({"metadata": '{"a":' * 32 + "1" + "}" * 32}, None),
        ({"metadata": '{"a":' * 33 + "1" + "}" * 33}, "invalid"),
        ({"metadata": "[" * 4_000}, "invalid"),
        ({"metadata": " " * MAX_METADATA_BYTES + "{}"}, "too_large"),
        ({"metadata": " " * (MAX_METADATA_BYTES - 2) + "{}"}, None),
        ({"name": "n" * MAX_NAME_BYTES, "metadata": ""}, None),
    ],
)
def test_each_bound_of_a_description(description: dict[str, Any], code: str | None) -> None:
    """A value at its limit is accepted; one more byte or level, or another form, is refused."""
    made = CreateConversation(**fields_of(0), members=[])
    log = run([made, DescribeConversation(**fields_of(1), **description)])
    assert log.rejections_of("ann") == ([] if code is None else [code])
    at_creation = run([CreateConversation(**fields_of(0), members=[], **description)])
    expected = [] if code is None or not description else [code]
    assert at_creation.rejections_of("ann") == expected


def test_only_the_present_owner_may_describe() -> None:
    """A member is refused as `not_allowed`, and a former owner as `not_a_member`."""
    log = run(
        [
            CreateConversation(**fields_of(0), members=["bob"]),
            DescribeConversation(**fields_of(1, "bob"), name="mine"),
            RemoveMembers(**fields_of(2), members=["ann"]),
            DescribeConversation(**fields_of(3, "bob"), name="mine now"),
            DescribeConversation(**fields_of(4), name="still mine"),
            DescribeConversation(**fields_of(5, conv_id="c9"), name="nothing there"),
        ]
    )
    assert log.rejections_of("bob") == ["not_allowed"]
    assert log.rejections_of("ann") == ["not_a_member", "unknown_conversation"]
    names = [e.name for e in log.timeline_of("c1") if isinstance(e, ConversationDescribed)]
    assert names == ["mine now"]


@given(
    st.sampled_from(["c", _WIDE, '"' * MAX_ID_LENGTH]),
    st.sampled_from(["a", _WIDE, '"' * MAX_ID_LENGTH]),
    st.integers(0, 4_100),
    st.sampled_from(["x", '"', "\\", "字"]),
)
def test_no_description_makes_a_longer_entry(
    conv_id: str, sender: str, size: int, letter: str
) -> None:
    """For any ids, names and metadata, the entry is within its limit or the command is refused."""
    metadata = json.dumps({"a": letter * size}, ensure_ascii=False)
    name = letter * (size % (MAX_NAME_BYTES + 2))
    made = CreateConversation(
        **fields_of(0, sender, conv_id), members=[], name=name, metadata=metadata
    )
    log = run([made])
    entries = log.timeline_of(conv_id) if conv_id in log.conversations else []
    assert entries or log.rejections_of(sender) == ["too_large"]
    assert all(len(encode(entry)) <= MAX_ENTRY_BYTES for entry in entries)

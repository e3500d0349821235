"""Direct chats: one conversation for two people, whoever creates it, for any commands."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

from schemas.direct_chats import direct_chat_id, is_direct_chat
from schemas.errors import InvalidCommand
from schemas.limits import Limits
from schemas.number_types import SeqId
from schemas.records import (
    AddMembers,
    AnyCommand,
    ConversationCreated,
    CreateConversation,
    DescribeConversation,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    TextContent,
    TransferOwnership,
)
from schemas.valid_commands import encode_valid
from tests.support.commands import commands, fields_of
from tests.support.sequencing import SMALL_LIMITS, run

CHAT = direct_chat_id("ann", "bob")
_ids = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=128)


def _one(number: int, sender: str = "ann", conv_id: str = CHAT) -> dict[str, Any]:
    return fields_of(number, sender, conv_id)


def _made(number: int = 0, sender: str = "ann", *members: str) -> CreateConversation:
    other = "bob" if sender == "ann" else "ann"
    return CreateConversation(**_one(number, sender), members=list(members or [other]))


@given(_ids, _ids, _ids)
def test_each_pair_has_its_own_id(one: str, other: str, third: str) -> None:
    """The id does not depend on the order, differs for other pairs, and has a fixed length."""
    assert direct_chat_id(one, other) == direct_chat_id(other, one)
    assert is_direct_chat(direct_chat_id(one, other))
    assert len(direct_chat_id(one, other)) == 59
    assume(third not in {one, other})
    assert direct_chat_id(one, third) != direct_chat_id(one, other)


def test_ids_of_people_are_not_joined() -> None:
    """Pairs with the same characters in all have different chats."""
    assert direct_chat_id("a", "bc") != direct_chat_id("ab", "c")
    assert direct_chat_id("1:a", "b") != direct_chat_id("1", "a1:b")


def test_an_id_is_stable() -> None:
    """Clients in other languages compute the same id."""
    assert direct_chat_id("bob", "ann") == (
        "direct:hpmkl63g4x4elbysw5kifxav2br2mkr2qwe2yqgdxhxie7gzfseq"
    )
    assert not is_direct_chat("direct:ann:bob")


def test_two_creators_make_one_conversation() -> None:
    """The second creation is refused as `already_exists`, and both are members."""
    log = run([_made(0, "ann"), _made(0, "bob")])
    (created,) = log.timeline_of(CHAT)
    assert isinstance(created, ConversationCreated)
    assert sorted(created.members) == ["ann", "bob"]
    assert log.rejections_of("bob") == ["already_exists"]


@pytest.mark.parametrize(
    "command",
    [
        _made(0, "ann", "eve"),
        _made(0, "ann", "bob", "eve"),
        _made(0, "eve", "ann", "bob"),
        _made(0, "ann", "ann"),
        structs.replace(_made(), join="open"),
        structs.replace(_made(), name="us"),
        structs.replace(_made(), metadata="{}"),
    ],
)
def test_a_direct_chat_is_created_for_its_two_people_alone(command: CreateConversation) -> None:
    """Any other creation with this id is refused, by the sequencer and before it is sent."""
    log = run([command])
    assert log.rejections_of(command.sender) == ["invalid"]
    with pytest.raises(InvalidCommand):
        encode_valid(command, Limits())


@pytest.mark.parametrize(
    "command",
    [
        AddMembers(**_one(1), members=["eve"]),
        AddMembers(**_one(1, "eve"), members=["eve"]),
        RemoveMembers(**_one(1), members=["bob"]),
        RemoveMembers(**_one(1, "bob"), members=["bob"]),
        TransferOwnership(**_one(1), to="bob"),
        DescribeConversation(**_one(1), name="us"),
    ],
)
def test_a_direct_chat_does_not_change(command: AnyCommand) -> None:
    """Nobody is added or removed, and owner and name do not change."""
    log = run([_made(), command])
    assert log.rejections_of(command.sender) == ["not_allowed"]
    assert len(log.timeline_of(CHAT)) == 1
    with pytest.raises(InvalidCommand):
        encode_valid(command, Limits())


def test_the_owner_of_a_direct_chat_recalls_only_own_messages() -> None:
    """The owner is whoever was first, so the owner has no right that the other lacks."""
    assert SMALL_LIMITS.owner_recalls
    said = SendMessage(**_one(1, "bob"), content=TextContent(text="hi"))
    log = run(
        [
            _made(),
            said,
            RecallMessage(**_one(2), seq=SeqId(2)),
            RecallMessage(**_one(3, "bob"), seq=SeqId(2)),
        ]
    )
    assert log.rejections_of("ann") == ["not_allowed"]
    assert len(log.timeline_of(CHAT)) == 3


@given(st.lists(commands, max_size=40))
def test_a_direct_chat_has_its_two_people_whatever_is_sent(steps: list[AnyCommand]) -> None:
    """After any commands of any people, the members are those of the id."""
    pair = direct_chat_id("ann", "bob")
    log = run([structs.replace(step, conv_id=pair) for step in steps])
    for entry in log.timeline_of(pair) if pair in log.conversations else []:
        if hasattr(entry, "members"):
            assert isinstance(entry, ConversationCreated)
            assert sorted(entry.members) == ["ann", "bob"]

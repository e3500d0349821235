"""Hypothesis strategies of commands. Names are few, so that commands affect each other."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from schemas.ids import uuid7
from schemas.number_types import SeqId
from schemas.records import (
    MUTED_WITHOUT_END,
    AddMembers,
    AnyCommand,
    CreateConversation,
    DescribeConversation,
    EditMessage,
    MarkRead,
    MuteConversation,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    TextContent,
    TransferOwnership,
)

StepT = TypeVar("StepT")

USERS: Final = ["ann", "bob", "陈", "d e", "|e-", "f"]
CONVERSATIONS: Final = ["c1", "c2"]
users = st.sampled_from(USERS)
people = st.lists(users, min_size=0, max_size=len(USERS))
ids = st.integers(0, 60).map(lambda number: uuid7(number // 7, number))


def _common() -> dict[str, st.SearchStrategy[Any]]:
    return {
        "conv_id": st.sampled_from(CONVERSATIONS),
        "sender": users,
        "device_id": st.sampled_from(["phone", "desk"]),
        "client_msg_id": ids,
    }


def _text_content(text: str) -> TextContent:
    return TextContent(text=text)


seqs = st.integers(0, 12)
texts = st.sampled_from(["", "hi", "你好", "0123456789abcdef", "0123456789abcdefg"])

names: st.SearchStrategy[str | UnsetType] = st.sampled_from(
    [UNSET, "", " ", "team", "团队", "two\nlines", "n" * 257]
)
metadata: st.SearchStrategy[str | UnsetType] = st.sampled_from(
    [UNSET, "", "{}", '{"color": "red"}', "[]", "{", "[" * 99, " " * 4_097]
)

commands: st.SearchStrategy[AnyCommand] = st.one_of(
    st.builds(
        CreateConversation,
        **_common(),
        members=people,
        join=st.sampled_from(["invite", "open"]),
        history=st.sampled_from(["since_join", "all"]),
        name=names,
        metadata=metadata,
    ),
    st.builds(DescribeConversation, **_common(), name=names, metadata=metadata),
    st.builds(AddMembers, **_common(), members=people),
    st.builds(RemoveMembers, **_common(), members=people),
    st.builds(
        SendMessage,
        **_common(),
        content=texts.map(_text_content),
        mentions=st.lists(users, max_size=4),
    ),
    st.builds(SendMessage, **_common(), content=texts.map(_text_content)),
    st.builds(MarkRead, **_common(), seq=st.integers(-1, 14)),
    st.builds(MuteConversation, **_common(), until=st.sampled_from([-1, 0, 5, MUTED_WITHOUT_END])),
    st.builds(RecallMessage, **_common(), seq=seqs),
    st.builds(
        EditMessage,
        **_common(),
        seq=seqs,
        content=texts.map(_text_content),
        mentions=st.lists(users, max_size=4),
    ),
    st.builds(TransferOwnership, **_common(), to=users),
)
"""Any command, valid or not."""


_SPEAKERS: Final = ["ann", "ann", "bob", "bob", "陈", "d e", "|e-"]


def opening() -> list[AnyCommand]:
    """Creates a conversation of ``ann``, open to all; then two more people speak."""
    made = CreateConversation(
        conv_id="c1", sender="ann", device_id="tablet", client_msg_id=uuid7(0, 0),
        members=["bob", "陈"], join="open",
    )  # fmt: skip
    return [made]


@st.composite
def _talk(draw: st.DrawFn) -> AnyCommand:  # noqa: PLR0911 - one return for each kind
    common: dict[str, Any] = {
        "conv_id": "c1",
        "sender": draw(st.sampled_from(_SPEAKERS)),
        "device_id": draw(st.sampled_from(["phone", "desk"])),
        "client_msg_id": uuid7(draw(st.integers(0, 500)), draw(st.integers(0, 500))),
    }
    mine = [common["sender"]]
    content = TextContent(text="hi")
    match draw(st.integers(0, 19)):
        case 0 | 1:
            return AddMembers(**common, members=mine)
        case 2:
            return RemoveMembers(**common, members=mine)
        case 3:
            return AddMembers(**common, members=draw(people))
        case 4 | 5 | 6 | 7:
            return RecallMessage(**common, seq=SeqId(draw(st.integers(2, 16))))
        case 8 | 9 | 10 | 11:
            seq, mentions = draw(st.integers(2, 16)), draw(st.lists(users, max_size=2))
            return EditMessage(**common, seq=SeqId(seq), content=content, mentions=mentions)
        case 12:
            return TransferOwnership(**common, to=draw(users))
        case 13:
            return DescribeConversation(**common, name=draw(names), metadata=draw(metadata))
        case _:
            mentions = draw(st.lists(users, max_size=2))
            return SendMessage(**common, content=content, mentions=mentions)


talk = _talk()
"""A command that is mostly permitted in the conversation of `opening`."""


def fields_of(
    number: int, sender: str = "ann", conv_id: str = "c1", device_id: str = "d"
) -> dict[str, Any]:
    """The fields that every command has, for the ``number``-th command of a sender's device."""
    return {
        "conv_id": conv_id,
        "sender": sender,
        "device_id": device_id,
        "client_msg_id": uuid7(number, 0),
    }


def growing_group(size: int, conv_id: str = "c1") -> list[AnyCommand]:
    """A conversation that ``u0`` creates and everybody else joins."""
    created = CreateConversation(
        conv_id=conv_id, sender="u0", device_id="d", client_msg_id=uuid7(0, 0), members=[],
        join="open",
    )  # fmt: skip
    joins = [
        AddMembers(
            conv_id=conv_id, sender=f"u{n}", device_id="d", client_msg_id=uuid7(n, 0),
            members=[f"u{n}"],
        )
        for n in range(1, size)
    ]  # fmt: skip
    return [created, *joins]


def message(number: int, sender: str = "u0", conv_id: str = "c1", text: str = "hi") -> SendMessage:
    """The ``number``-th message of a sender's device."""
    return SendMessage(
        conv_id=conv_id, sender=sender, device_id="d", client_msg_id=uuid7(1_000 + number, 0),
        content=TextContent(text=text),
    )  # fmt: skip


def recall(number: int, seq: int, sender: str = "u0", conv_id: str = "c1") -> RecallMessage:
    """Recalls a message, as the ``number``-th command of a sender's device."""
    return RecallMessage(
        conv_id=conv_id, sender=sender, device_id="d", client_msg_id=uuid7(1_000 + number, 0),
        seq=SeqId(seq),
    )  # fmt: skip


def edit(number: int, seq: int, text: str, sender: str = "u0", conv_id: str = "c1") -> EditMessage:
    """Edits a message, as the ``number``-th command of a sender's device."""
    return EditMessage(
        conv_id=conv_id, sender=sender, device_id="d", client_msg_id=uuid7(1_000 + number, 0),
        seq=SeqId(seq), content=TextContent(text=text),
    )  # fmt: skip

"""Lists of commands that tests share."""

from __future__ import annotations

from typing import Any, Final

from schemas.ids import uuid7
from schemas.records import (
    AddMembers,
    AnyCommand,
    CreateConversation,
    EditMessage,
    MarkRead,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    TextContent,
)


def _story() -> list[AnyCommand]:
    """Two conversations; one switches to pull and back. People join, leave and rejoin."""
    ids = (uuid7(1_000 + number, 0) for number in range(1_000))

    def by(sender: str, conv_id: str = "c1") -> dict[str, Any]:
        return {
            "conv_id": conv_id, "sender": sender, "device_id": "d", "client_msg_id": next(ids),
        }  # fmt: skip

    def say(sender: str, text: str, *mentions: str, conv_id: str = "c1") -> SendMessage:
        content = TextContent(text=text)
        return SendMessage(**by(sender, conv_id), content=content, mentions=list(mentions))

    def edit(sender: str, seq: int, text: str) -> EditMessage:
        return EditMessage(**by(sender), seq=seq, content=TextContent(text=text))

    return [
        CreateConversation(**by("ann"), members=["bob", "陈"], join="open"),
        say("ann", "hi"),
        say("bob", "\uff28\uff29"),
        say("陈", "你好"),
        edit("ann", 3, "hello"),
        edit("bob", 4, "\uff28\uff2f"),
        AddMembers(**by("ann"), members=["d e", "|e-"]),
        say("ann", "all of you", "bob", "nobody"),
        say("d e", ""),
        edit("陈", 5, "你们好"),
        RemoveMembers(**by("ann"), members=["bob", "d e", "陈"]),
        say("|e-", "less of us"),
        RecallMessage(**by("ann"), seq=3),
        RecallMessage(**by("ann"), seq=5),
        AddMembers(**by("bob"), members=["bob"]),
        say("bob", "again"),
        say("f", "may I?"),
        MarkRead(**by("陈"), seq=4),
        MarkRead(**by("|e-"), seq=3),
        MarkRead(**by("|e-"), seq=9),
        MarkRead(**by("ann"), seq=14),
        CreateConversation(**by("f", "c2"), members=["ann"], history="all"),
        say("f", "just us", conv_id="c2"),
        say("ann", "yes", conv_id="c2"),
    ]


STORY: Final = _story()
"""Produces each kind of entry under `tests.support.sequencing.SMALL_LIMITS`."""

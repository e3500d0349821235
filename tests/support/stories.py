"""Lists of commands that tests share."""

from __future__ import annotations

from typing import Any, Final

from schemas.ids import uuid7
from schemas.number_types import Milliseconds, SeqId
from schemas.records import (
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
)

FIRST_MUTE_OF_THE_STORY: Final = Milliseconds(1_900_000_000_000)
"""The end of the first mute in the story."""


class _Story:
    """Makes the commands of the story, with increasing ids. The comments are SeqIds of entries."""

    def __init__(self) -> None:
        self._ids = (uuid7(1_000 + number, 0) for number in range(1_000))

    def _by(self, sender: str, conv_id: str = "c1") -> dict[str, Any]:
        return {
            "conv_id": conv_id, "sender": sender, "device_id": "d",
            "client_msg_id": next(self._ids),
        }  # fmt: skip

    def _say(self, sender: str, text: str, *mentions: str, conv_id: str = "c1") -> SendMessage:
        content = TextContent(text=text)
        return SendMessage(**self._by(sender, conv_id), content=content, mentions=list(mentions))

    def _edit(self, sender: str, seq: int, text: str) -> EditMessage:
        return EditMessage(**self._by(sender), seq=SeqId(seq), content=TextContent(text=text))

    def commands(self) -> list[AnyCommand]:
        """All steps, in order."""
        return [
            *self.three_people_talk_and_edit(),
            *self.more_people_join(),
            *self.people_leave_and_the_owner_recalls(),
            *self.a_former_member_returns(),
            *self.people_mark_as_read(),
            *self.people_mute(),
            *self.another_conversation(),
        ]

    def three_people_talk_and_edit(self) -> list[AnyCommand]:
        """A conversation in push mode."""
        return [
            CreateConversation(**self._by("ann"), members=["bob", "陈"], join="open"),  # 1, 2
            self._say("ann", "hi"),  # 3
            self._say("bob", "\uff28\uff29"),  # 4
            self._say("陈", "你好"),  # 5
            self._edit("ann", 3, "hello"),  # 6
            self._edit("bob", 4, "\uff28\uff2f"),  # 7
        ]

    def more_people_join(self) -> list[AnyCommand]:
        """The conversation switches to pull; an empty text is rejected."""
        return [
            AddMembers(**self._by("ann"), members=["d e", "|e-"]),  # 8; 9 is the switch to pull
            self._say("ann", "all of you", "bob", "nobody"),  # 10
            self._say("d e", ""),
            self._edit("陈", 5, "你们好"),  # 11
        ]

    def people_leave_and_the_owner_recalls(self) -> list[AnyCommand]:
        """The conversation switches back to push; two edited messages are recalled."""
        return [
            # 12 and 13; 14 is the switch to push
            RemoveMembers(**self._by("ann"), members=["bob", "d e", "陈"]),
            self._say("|e-", "less of us"),  # 15
            RecallMessage(**self._by("ann"), seq=SeqId(3)),  # 16
            RecallMessage(**self._by("ann"), seq=SeqId(5)),  # 17
        ]

    def a_former_member_returns(self) -> list[AnyCommand]:
        """A former member adds themselves; a stranger is rejected."""
        return [
            AddMembers(**self._by("bob"), members=["bob"]),  # 18
            self._say("bob", "again"),  # 19
            self._say("f", "may I?"),
        ]

    def people_mark_as_read(self) -> list[AnyCommand]:
        """A rejected mark of a former member, a duplicate, and two marks that move."""
        return [
            MarkRead(**self._by("陈"), seq=SeqId(4)),
            MarkRead(**self._by("|e-"), seq=SeqId(3)),
            MarkRead(**self._by("|e-"), seq=SeqId(9)),
            MarkRead(**self._by("ann"), seq=SeqId(14)),
        ]

    def people_mute(self) -> list[AnyCommand]:
        """Two mutes of a member, a repeated one, and a rejected one of a former member."""
        again = MuteConversation(**self._by("ann"), until=FIRST_MUTE_OF_THE_STORY)
        return [
            again,
            again,
            MuteConversation(**self._by("ann")),
            MuteConversation(**self._by("陈")),
        ]

    def another_conversation(self) -> list[AnyCommand]:
        """A conversation of two people with a name and the history rule ``all``."""
        return [
            CreateConversation(  # 1 and 2
                **self._by("f", "c2"),
                members=["ann"],
                history="all",
                name="two",
                metadata='{"n": 2}',
            ),
            DescribeConversation(**self._by("f", "c2"), name="我们"),  # 3
            self._say("f", "just us", conv_id="c2"),  # 4
            self._say("ann", "yes", conv_id="c2"),  # 5
        ]


STORY: Final = _Story().commands()
"""Produces each kind of entry under `tests.support.sequencing.SMALL_LIMITS`."""

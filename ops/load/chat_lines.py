"""Convert lines of a chat log to commands. Pure: equal lines always give equal commands.

The ids of a line's commands depend only on the line and its place in its conversation. Loading a
file again therefore adds nothing: the sequencer recognizes every id.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from schemas.errors import InvalidLine
from schemas.ids import uuid7
from schemas.records import (
    AddMembers,
    AnyCommand,
    CreateConversation,
    Id,
    RemoveMembers,
    SendMessage,
    TextContent,
)
from schemas.texts import is_blank

DEVICE: Final = "import"
"""The device id of every sender in a loaded log."""

COMMANDS_PER_LINE: Final = 4
"""Ids reserved for the commands of one line; a line has two at most."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ChatLine(Struct, frozen=True):
    """One line: a person sends a message, joins or leaves. ``number``: line number, from 1."""

    conv: Id
    at: Annotated[datetime, Meta(tz=True)]
    kind: Literal["message", "join", "leave"]
    user: Id
    text: str | None = None
    number: int = 0


_decoder = msgspec.json.Decoder(ChatLine)


def parse_line(raw: bytes, number: int) -> ChatLine:
    """Decode one line.

    Args:
        raw: The line.
        number: The line number in the file, from 1, for the error message.

    Raises:
        InvalidLine: The line does not have the format.
    """
    try:
        line = _decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidLine(f"line {number}: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The decoder's message may quote the line, which contains a message's text.
        raise InvalidLine(f"line {number}: not one JSON object in UTF-8") from None
    if line.kind == "message" and line.text is None:
        raise InvalidLine(f"line {number}: a message needs the field `text`")
    force_setattr(line, "number", number)
    return line


class _Conversation:
    """A conversation after the lines read so far."""

    __slots__ = ("lines", "members", "ms")

    def __init__(self) -> None:
        self.lines = 0
        self.ms = 0  # the latest time so far: ids must grow even if times in the log decrease
        self.members: set[str] | None = None  # None: not created yet


class Conversion:
    """Converts lines to commands, in order. Holds the members of each conversation.

    - The first person to speak or join creates the conversation. It is open: anybody may join.
    - A speaker who is not a member joins first.
    - A join of a member, a leave of a non-member and a message without visible text are skipped.

    Attributes:
        created: Conversations that the file creates.
        added_speakers: Added joins: the person spoke without being a member.
        skipped_joins: Joins of members.
        skipped_leaves: Leaves of non-members.
        skipped_empty: Messages without visible text. The sequencer would reject them.
    """

    def __init__(self) -> None:
        self._conversations: dict[str, _Conversation] = {}
        self.created = 0
        self.added_speakers = 0
        self.skipped_joins = 0
        self.skipped_leaves = 0
        self.skipped_empty = 0

    def commands(self, line: ChatLine) -> list[AnyCommand]:
        """The commands of the next line: at most two."""
        conversation = self._conversations.get(line.conv)
        if conversation is None:
            conversation = self._conversations[line.conv] = _Conversation()
        conversation.lines += 1
        conversation.ms = max(conversation.ms, (line.at - _EPOCH) // timedelta(milliseconds=1))
        place = _Place(line, conversation.ms, conversation.lines)
        if line.kind == "leave":
            return self._leave(place, conversation)
        if line.kind == "join":
            entering = self._enter(place, conversation)
            self.skipped_joins += not entering
            return entering
        if is_blank(line.text or ""):
            self.skipped_empty += 1
            return []
        entering = self._enter(place, conversation)
        self.added_speakers += bool(entering)
        return [*entering, place.say(len(entering))]

    def _enter(self, place: _Place, conversation: _Conversation) -> list[AnyCommand]:
        user = place.line.user
        if conversation.members is None:
            conversation.members = {user}
            self.created += 1
            return [place.create()]
        if user in conversation.members:
            return []
        conversation.members.add(user)
        return [place.join()]

    def _leave(self, place: _Place, conversation: _Conversation) -> list[AnyCommand]:
        user = place.line.user
        if conversation.members is None or user not in conversation.members:
            self.skipped_leaves += 1
            return []
        conversation.members.remove(user)
        return [place.leave()]


class _Place:
    """Creates the commands of one line. Ids grow from line to line."""

    __slots__ = ("_ms", "_number", "line")

    def __init__(self, line: ChatLine, ms: int, number: int) -> None:
        self.line = line
        self._ms = ms
        self._number = number

    def create(self) -> AnyCommand:
        line = self.line
        return CreateConversation(
            conv_id=line.conv, sender=line.user, device_id=DEVICE, client_msg_id=self._id(0),
            members=[line.user], join="open",
        )  # fmt: skip

    def join(self) -> AnyCommand:
        line = self.line
        return AddMembers(
            conv_id=line.conv, sender=line.user, device_id=DEVICE, client_msg_id=self._id(0),
            members=[line.user],
        )  # fmt: skip

    def leave(self) -> AnyCommand:
        line = self.line
        return RemoveMembers(
            conv_id=line.conv, sender=line.user, device_id=DEVICE, client_msg_id=self._id(0),
            members=[line.user],
        )  # fmt: skip

    def say(self, command: int) -> AnyCommand:
        line = self.line
        return SendMessage(
            conv_id=line.conv, sender=line.user, device_id=DEVICE, client_msg_id=self._id(command),
            content=TextContent(text=line.text or ""),
        )  # fmt: skip

    def _id(self, command: int) -> str:
        return uuid7(self._ms, self._number * COMMANDS_PER_LINE + command)

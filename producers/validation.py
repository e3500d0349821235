"""Refuses what the sequencer would refuse in any state, before it is queued."""

from __future__ import annotations

from typing import Final, get_args

from schemas.codec import encode
from schemas.errors import InvalidCommand
from schemas.ids import is_client_msg_id, is_valid_id
from schemas.limits import MAX_EDIT_BYTES, MAX_MESSAGE_BYTES, MAX_SEQ, Limits
from schemas.records import (
    MAX_ID_LENGTH,
    AddMembers,
    AnyCommand,
    CreateConversation,
    EditMessage,
    HistoryRule,
    JoinRule,
    MarkRead,
    RecallMessage,
    RemoveMembers,
    SendMessage,
)
from schemas.topics import Topic

MAX_RECORD_BYTES: Final = int(Topic.MESSAGES.spec.config["max.message.bytes"])
"""What the broker takes as one batch."""

MAX_COMMAND_BYTES: Final = MAX_RECORD_BYTES - 16 * 1024
"""An encoded command; the rest is for its key and the framing around it."""

_LONGEST: Final[dict[type[AnyCommand], int]] = {
    SendMessage: MAX_MESSAGE_BYTES,
    EditMessage: MAX_EDIT_BYTES,
}


def encode_valid(command: AnyCommand, limits: Limits) -> bytes:
    """Encodes a command that has a chance.

    Raises:
        InvalidCommand: An id, a list, a rule or the text is out of its range.
    """
    _check_ids(command)
    _check_content(command, limits)
    try:
        value = encode(command)
    except UnicodeEncodeError:
        raise InvalidCommand("invalid", "a text holds a lone surrogate: not Unicode") from None
    most = _LONGEST.get(type(command), MAX_COMMAND_BYTES)
    if len(value) > most:
        raise InvalidCommand("too_large", f"the command takes {len(value)} bytes, at most {most}")
    return value


def _check_ids(command: AnyCommand) -> None:
    for name in (command.conv_id, command.sender, command.device_id):
        _check_id(name)
    if not is_client_msg_id(command.client_msg_id):
        raise InvalidCommand("invalid", "client_msg_id must be a UUIDv7, canonical and lower case")


def _check_id(name: str) -> None:
    if not 1 <= len(name) <= MAX_ID_LENGTH or not is_valid_id(name):
        raise InvalidCommand(
            "invalid", f"an id has 1 to {MAX_ID_LENGTH} printable characters, unlike {name!r:.140}"
        )


def _check_content(command: AnyCommand, limits: Limits) -> None:
    match command:
        case SendMessage():
            _check_text(command.content.text, limits)
            _check_mentions(command, limits)
        case EditMessage():
            _check_seq(command.seq)
            _check_text(command.content.text, limits)
        case RecallMessage():
            _check_seq(command.seq)
        case MarkRead():
            _check_mark(command)
        case _:
            _check_people(command, limits)
    if isinstance(command, CreateConversation):
        _check_rules(command)


def _check_seq(seq: int) -> None:
    if not 1 <= seq <= MAX_SEQ:
        raise InvalidCommand("unknown_message", "a SeqId is a whole number from 1 on")


def _check_text(text: str, limits: Limits) -> None:
    # The bytes are counted only where the characters alone do not settle it.
    if len(text) * 4 > limits.max_text_bytes and _utf8_length(text) > limits.max_text_bytes:
        raise InvalidCommand("too_large", f"a text has at most {limits.max_text_bytes} bytes")


def _check_mentions(command: SendMessage, limits: Limits) -> None:
    if len(command.mentions) > limits.max_mentions:
        raise InvalidCommand("too_large", f"at most {limits.max_mentions} people are mentioned")
    for user in command.mentions:
        _check_id(user)


def _utf8_length(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _check_people(
    command: CreateConversation | AddMembers | RemoveMembers, limits: Limits
) -> None:
    people = command.members
    if not people and not isinstance(command, CreateConversation):
        raise InvalidCommand("invalid", "nobody is named")
    if len(people) > limits.max_members_per_command:
        raise InvalidCommand(
            "too_large", f"at most {limits.max_members_per_command} people in one command"
        )
    for user in people:
        _check_id(user)


def _check_mark(command: MarkRead) -> None:
    if not 1 <= command.seq <= MAX_SEQ:
        raise InvalidCommand("invalid", "a SeqId is a whole number from 1 on")


def _check_rules(command: CreateConversation) -> None:
    # Another word would make it undecodable: a dead letter, of which its sender is told nothing.
    for name, rule, rules in (
        ("join", command.join, get_args(JoinRule)),
        ("history", command.history, get_args(HistoryRule)),
    ):
        if rule not in rules:
            raise InvalidCommand("invalid", f"{name} is one of {', '.join(rules)}")

"""Refuses commands that the sequencer would reject in any state, before they are sent.

Commands are structs, which do not check field types. A wrong type would be encoded as something
else (a str as a list of its characters, bytes as base64) or become a dead letter, which the sender
cannot see. So every field is checked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, get_args

from msgspec import UNSET

from schemas.codec import encode
from schemas.descriptions import description_fault
from schemas.direct_chats import breaks_direct_chat
from schemas.errors import InvalidCommand, RejectionCode
from schemas.ids import is_client_msg_id, is_valid_id
from schemas.limits import MAX_MESSAGE_BYTES, MAX_SEQ, MAX_TIME_MS, Limits, is_end_of_mute
from schemas.number_types import Milliseconds, SeqId
from schemas.records import (
    MAX_ID_LENGTH,
    MAX_INSTALLATION_LENGTH,
    AddMembers,
    AnyCommand,
    Command,
    CreateConversation,
    DescribeConversation,
    EditMessage,
    HistoryRule,
    JoinRule,
    MarkRead,
    MuteConversation,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    TextContent,
    TransferOwnership,
)
from schemas.texts import is_blank, message_bytes
from schemas.topics import Topic

MAX_BATCH_BYTES: Final = int(Topic.MESSAGES.spec.config["max.message.bytes"])
"""Maximum size of a batch that the broker accepts."""

MAX_COMMAND_BYTES: Final = MAX_BATCH_BYTES - 16 * 1024
"""Maximum size of an encoded command; the rest is for its key and the framing."""


def list_of(name: str, people: Sequence[str]) -> list[str]:
    """Return the ids in an argument that takes several.

    Args:
        name: The name of the argument.
        people: The argument, of any type.

    Raises:
        InvalidCommand: The argument is not a sequence or a set, or is a single str.
    """
    given: Any = people
    if isinstance(given, str | bytes | bytearray | memoryview | range):
        raise InvalidCommand(
            "invalid", f"{name} is a list of ids, not a single {_type(given)}", field=name
        )
    if not isinstance(given, Sequence | AbstractSet):
        raise InvalidCommand("invalid", f"{name} is a list of ids, not {_type(given)}", field=name)
    return sorted(given, key=str) if isinstance(given, AbstractSet) else list(given)


def encode_valid(command: AnyCommand, limits: Limits) -> bytes:
    """Encode a command that the sequencer could accept.

    Raises:
        InvalidCommand: The argument is not a command, a field has a wrong type, or an id, a
            list, a rule or the text is out of its range.
    """
    if not isinstance(command, get_args(AnyCommand)):
        raise InvalidCommand("invalid", f"a command was expected, not {_type(command)}")
    _check_ids(command)
    _check_fields(command, limits)
    if breaks_direct_chat(command):
        raise InvalidCommand("not_allowed", "a direct chat is of its two people", field="conv_id")
    try:
        value = encode(command)
    except UnicodeEncodeError:
        raise InvalidCommand(
            "invalid", "a text holds a lone surrogate: not Unicode", field="text"
        ) from None
    if len(value) > MAX_COMMAND_BYTES:
        raise InvalidCommand(
            "too_large", f"the command takes {len(value)} bytes, at most {MAX_COMMAND_BYTES}"
        )
    return value


def _type(given: object) -> str:
    return "None" if given is None else type(given).__name__


def _check_type(name: str, given: object, wanted: type) -> None:
    if not isinstance(given, wanted) or isinstance(given, bool):
        raise InvalidCommand("invalid", f"{name} is {_A[wanted]}, not {_type(given)}", field=name)


_A: Final = {str: "a str", list: "a list of ids", int: "a whole number", TextContent: "a text"}


def _check_ids(command: Command) -> None:
    for name in ("conv_id", "sender", "device_id"):
        _check_id(name, getattr(command, name))
    _check_type("client_msg_id", command.client_msg_id, str)
    if not is_client_msg_id(command.client_msg_id):
        raise InvalidCommand(
            "invalid",
            "client_msg_id must be a UUIDv7, canonical and lower case",
            field="client_msg_id",
        )
    if command.installation is not UNSET:
        _check_id("installation", command.installation, MAX_INSTALLATION_LENGTH)
    if command.v is not UNSET and command.v != 1:
        raise InvalidCommand(
            "invalid", "v is 1, the version of this format, or is left out", field="v"
        )


def _check_id(name: str, given: str, longest: int = MAX_ID_LENGTH) -> None:
    _check_type(name, given, str)
    if not 1 <= len(given) <= longest or not is_valid_id(given):
        raise InvalidCommand(
            "invalid",
            f"{name}: an id has 1 to {longest} printable characters",
            field=name,
            given=f", unlike {given!r:.140}",
        )


def _check_fields(command: AnyCommand, limits: Limits) -> None:
    match command:
        case SendMessage() | EditMessage() | RecallMessage() | MarkRead():
            _check_about_message(command, limits)
        case MuteConversation():
            _check_until(command.until)
        case TransferOwnership():
            _check_id("to", command.to)
            if command.to == command.sender:
                raise InvalidCommand(
                    "invalid", "ownership is transferred to another member", field="to"
                )
        case CreateConversation():
            _check_people(command, limits)
            _check_rules(command)
            _check_description(command)
        case DescribeConversation():
            if command.name is UNSET and command.metadata is UNSET:
                raise InvalidCommand(
                    "invalid", "neither a name nor metadata is given", field="name"
                )
            _check_description(command)
        case AddMembers() | RemoveMembers():
            _check_people(command, limits)
            if not command.members:
                raise InvalidCommand("invalid", "nobody is named", field="members")


def _check_about_message(
    command: SendMessage | EditMessage | RecallMessage | MarkRead, limits: Limits
) -> None:
    match command:
        case SendMessage():
            _check_content(command, limits)
        case EditMessage():
            _check_seq(command.seq, "unknown_message")
            _check_content(command, limits)
        case RecallMessage():
            _check_seq(command.seq, "unknown_message")
        case MarkRead():
            _check_seq(command.seq, "invalid")


def _check_description(command: CreateConversation | DescribeConversation) -> None:
    for field, given in (("name", command.name), ("metadata", command.metadata)):
        if given is not UNSET:
            _check_type(field, given, str)
    try:
        fault = description_fault(command.conv_id, command.sender, command.name, command.metadata)
    except UnicodeEncodeError:
        return  # `encode_valid` reports it
    if fault is not None:
        raise InvalidCommand(fault.code, fault.reason, field=fault.field)


def _check_seq(seq: SeqId, code: RejectionCode) -> None:
    _check_type("seq", seq, int)
    if not 1 <= seq <= MAX_SEQ:
        raise InvalidCommand(code, f"a SeqId is a whole number from 1 to {MAX_SEQ}", field="seq")


def _check_until(until: Milliseconds) -> None:
    _check_type("until", until, int)
    if not is_end_of_mute(until):
        raise InvalidCommand(
            "invalid", f"until is milliseconds since 1970, at most {MAX_TIME_MS}", field="until"
        )


def _check_content(command: SendMessage | EditMessage, limits: Limits) -> None:
    _check_type("content", command.content, TextContent)
    _check_type("mentions", command.mentions, list)
    text, mentions = command.content.text, command.mentions
    _check_type("text", text, str)
    if is_blank(text):
        raise InvalidCommand(
            "empty", "a text shows something: white space alone does not", field="text"
        )
    # The text is encoded only where its number of characters does not decide.
    if len(text) * 4 > limits.max_text_bytes and _utf8_length(text) > limits.max_text_bytes:
        raise InvalidCommand(
            "too_large", f"a text has at most {limits.max_text_bytes} bytes", field="text"
        )
    if len(mentions) > limits.max_mentions:
        raise InvalidCommand(
            "too_large", f"at most {limits.max_mentions} people are mentioned", field="mentions"
        )
    for user in mentions:
        _check_id("mentions", user)
    _check_size(command)


def _check_size(command: SendMessage | EditMessage) -> None:
    try:
        size = message_bytes(command.conv_id, command.sender, command.content, command.mentions)
    except UnicodeEncodeError:
        return  # `encode_valid` reports it
    if size > MAX_MESSAGE_BYTES:
        raise InvalidCommand(
            "too_large",
            f"text, mentions and ids take {size} bytes, at most {MAX_MESSAGE_BYTES}",
            field="text",
        )


def _utf8_length(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _check_people(
    command: CreateConversation | AddMembers | RemoveMembers, limits: Limits
) -> None:
    people = command.members
    _check_type("members", people, list)
    if len(people) > limits.max_members_per_command:
        raise InvalidCommand(
            "too_large",
            f"at most {limits.max_members_per_command} people in one command",
            field="members",
        )
    for user in people:
        _check_id("members", user)


def _check_rules(command: CreateConversation) -> None:
    # Any other value would be undecodable: a dead letter, which the sender cannot see.
    for name, rule, rules in (
        ("join", command.join, get_args(JoinRule)),
        ("history", command.history, get_args(HistoryRule)),
    ):
        if rule not in rules:
            raise InvalidCommand("invalid", f"{name} is one of {', '.join(rules)}", field=name)

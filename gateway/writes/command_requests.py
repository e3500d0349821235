"""Makes the command of a request. The token names the sender, never the request."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from msgspec import UNSET

from gateway.writes.command_ids import CommandIds, installation_of
from schemas.errors import InvalidCommand
from schemas.http.command_bodies import (
    CommandBody,
    EditedMessage,
    LeftConversation,
    MutedConversation,
    NewConversation,
    NewDescription,
    NewDirectChat,
    NewMembers,
    NewMessage,
    NewOwner,
    ReadUpTo,
    RecalledMessage,
    RemovedMember,
    UnmutedConversation,
)
from schemas.ids import is_client_msg_id
from schemas.number_types import NO_SEQ, Milliseconds, SeqId
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
    TransferOwnership,
)

DEFAULT_DEVICE: Final = "http"
"""The device of a request that names none."""


class CommandTarget(NamedTuple):
    """The parts of a request that the path names: a conversation, and a SeqId or a person in it.

    ``conv_id`` is None only for a new conversation.
    """

    conv_id: str | None
    seq: SeqId = NO_SEQ
    person: str = ""


class CommandSender(NamedTuple):
    """The person and the device of a token. ``device_id`` is None if the token names none."""

    user: str
    device_id: str | None = None


def requested_command(
    sender: CommandSender,
    target: CommandTarget,
    body: CommandBody,
    ids: CommandIds,
    idempotency_key: str | None = None,
) -> AnyCommand:
    """The command of a request.

    Args:
        sender: The caller.
        target: The parts of the path.
        body: The decoded body.
        ids: Makes the id of a request that has none.
        idempotency_key: The header ``Idempotency-Key``, if there is one.

    Raises:
        InvalidCommand: The id of the request is not a UUIDv7, or the request has two ids.
    """
    client_msg_id = given_id(body, idempotency_key) or ids.next()
    installation = body.installation
    if installation is UNSET:
        installation = installation_of(client_msg_id)
    device_id = sender.device_id if body.device_id is UNSET else body.device_id
    fields: dict[str, Any] = {
        "conv_id": _conversation(target, body, client_msg_id),
        "sender": sender.user,
        "device_id": device_id or DEFAULT_DEVICE,
        "client_msg_id": client_msg_id,
        "installation": installation,
    }
    return _command(body, target, sender.user, fields)


def _command(
    body: CommandBody, target: CommandTarget, user: str, fields: dict[str, Any]
) -> AnyCommand:
    match body:
        case NewMessage():
            content = TextContent(text=body.text)
            return SendMessage(content=content, mentions=body.mentions, **fields)
        case EditedMessage():
            content = TextContent(text=body.text)
            return EditMessage(seq=target.seq, content=content, mentions=body.mentions, **fields)
        case RecalledMessage():
            return RecallMessage(seq=target.seq, **fields)
        case ReadUpTo():
            return MarkRead(seq=body.seq, **fields)
        case MutedConversation() | UnmutedConversation():
            until = body.until if isinstance(body, MutedConversation) else Milliseconds(0)
            return MuteConversation(until=until, **fields)
        case _:
            return _membership_command(body, target, user, fields)


def _membership_command(
    body: CommandBody, target: CommandTarget, user: str, fields: dict[str, Any]
) -> AnyCommand:
    match body:
        case NewConversation():
            return CreateConversation(
                members=body.members,
                join=body.join,
                history=body.history,
                name=body.name,
                metadata=body.metadata,
                **fields,
            )
        case NewDirectChat():
            return CreateConversation(members=[target.person], **fields)
        case NewMembers():
            return AddMembers(members=body.members, **fields)
        case RemovedMember() | LeftConversation():
            person = user if isinstance(body, LeftConversation) else target.person
            return RemoveMembers(members=[person], **fields)
        case NewOwner():
            return TransferOwnership(to=body.owner, **fields)
        case NewDescription():
            return DescribeConversation(name=body.name, metadata=body.metadata, **fields)
    raise TypeError(f"{type(body).__name__} has no command")


def _conversation(target: CommandTarget, body: CommandBody, client_msg_id: str) -> str:
    """The conversation. A new one without an id gets the same id at each repetition."""
    if target.conv_id is not None:
        return target.conv_id
    given = body.conv_id if isinstance(body, NewConversation) else UNSET
    return client_msg_id if given is UNSET else given


def given_id(body: CommandBody, idempotency_key: str | None) -> str | None:
    """The client_msg_id of a request; None if the request has none.

    Raises:
        InvalidCommand: The id of the request is not a UUIDv7, or the request has two ids.
    """
    given = None if body.client_msg_id is UNSET else body.client_msg_id
    if idempotency_key is None:
        return given
    key = idempotency_key.strip().strip('"')  # a structured field (RFC 8941) has quotes
    if not is_client_msg_id(key):
        raise InvalidCommand(
            "invalid", "the key is a UUIDv7 in lower case", field="Idempotency-Key"
        )
    if given not in {None, key}:
        raise InvalidCommand(
            "invalid", "client_msg_id and Idempotency-Key differ", field="client_msg_id"
        )
    return key

"""Commands: what somebody wants done. On `im.messages`."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, final

from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.records.values import (
    MAX_ID_LENGTH,
    Content,
    HistoryRule,
    Id,
    InstallationId,
    JoinRule,
)


class Command(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True):
    """What somebody wants done in one conversation; the Kafka key is ``conv_id``.

    ``client_msg_id`` is a UUIDv7 (RFC 9562) that grows within (conversation, sender, device,
    installation): a new id that is not above the one before it is refused as ``stale``.
    ``installation`` is random, and new when the sending application is installed anew and no
    longer knows the ids that it has used. Without it all commands of a device are of one
    installation.
    """

    conv_id: Id
    sender: Id
    device_id: Id
    client_msg_id: Annotated[str, Meta(max_length=MAX_ID_LENGTH)]
    installation: InstallationId | UnsetType = UNSET
    v: Literal[1] | UnsetType = UNSET


class CreateConversation(Command, frozen=True, kw_only=True, tag="create_conversation"):
    """Make a conversation of ``members`` and the sender, who owns it."""

    members: list[Id]
    join: JoinRule = "invite"
    history: HistoryRule = "since_join"


class AddMembers(Command, frozen=True, kw_only=True, tag="add_members"):
    """Add people. By a member; in an ``open`` conversation also by whoever adds themselves."""

    members: list[Id]


class RemoveMembers(Command, frozen=True, kw_only=True, tag="remove_members"):
    """Remove people. By the owner, or by whoever removes themselves alone."""

    members: list[Id]


class TransferOwnership(Command, frozen=True, kw_only=True, tag="transfer_ownership"):
    """Make the member ``to`` the owner. By the owner."""

    to: Id


class SendMessage(Command, frozen=True, kw_only=True, tag="send_message"):
    """Say something to the conversation. By a member."""

    content: Content
    mentions: list[Id] = []


@final
class MarkRead(Command, frozen=True, kw_only=True, tag="mark_read"):
    """The sender has read all up to entry ``seq``. By a member, for themselves.

    A mark only goes forward, so the ids of accepted marks are not remembered: a mark that is sent
    again, late or in another order moves nothing. The id of a refused mark is remembered.
    """

    seq: int


class RecallMessage(Command, frozen=True, kw_only=True, tag="recall_message"):
    """Take back the message ``seq``. By who said it, or by the owner where that is allowed."""

    seq: int


class EditMessage(Command, frozen=True, kw_only=True, tag="edit_message"):
    """Say something else in place of the message ``seq``. By its sender.

    ``mentions`` replace those of the message, as ``content`` replaces its content.
    """

    seq: int
    content: Content
    mentions: list[Id] = []


AnyCommand: TypeAlias = (
    CreateConversation
    | AddMembers
    | RemoveMembers
    | TransferOwnership
    | SendMessage
    | RecallMessage
    | EditMessage
    | MarkRead
)

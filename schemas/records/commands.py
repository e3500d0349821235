"""Commands: requests of a sender for one conversation. On `im.messages`."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, TypeGuard, final

from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.number_types import SeqId
from schemas.records.values import (
    MAX_ID_LENGTH,
    MUTED_WITHOUT_END,
    Content,
    HistoryRule,
    Id,
    InstallationId,
    JoinRule,
    Ms,
)


class Command(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True):
    """A request of a sender for one conversation; the Kafka key is ``conv_id``.

    ``client_msg_id`` is a UUIDv7 (RFC 9562) that grows within (conversation, sender, device,
    installation). A new id that is not above the previous id is refused as ``stale``.
    ``installation`` is a random id. A reinstalled application, which no longer knows the ids that
    it has used, makes a new one. All commands of a device without this field belong to one
    installation.
    """

    conv_id: Id
    sender: Id
    device_id: Id
    client_msg_id: Annotated[str, Meta(max_length=MAX_ID_LENGTH)]
    installation: InstallationId | UnsetType = UNSET
    v: Literal[1] | UnsetType = UNSET


class CreateConversation(Command, frozen=True, kw_only=True, tag="create_conversation"):
    """Create a conversation of ``members`` and the sender, who becomes the owner.

    ``name`` and ``metadata`` as in `DescribeConversation`.
    """

    members: list[Id]
    join: JoinRule = "invite"
    history: HistoryRule = "since_join"
    name: str | UnsetType = UNSET
    metadata: str | UnsetType = UNSET


class AddMembers(Command, frozen=True, kw_only=True, tag="add_members"):
    """Add people. By a member; in an ``open`` conversation, people may also add themselves."""

    members: list[Id]


class RemoveMembers(Command, frozen=True, kw_only=True, tag="remove_members"):
    """Remove people. By the owner, or by a member who removes only themselves."""

    members: list[Id]


class TransferOwnership(Command, frozen=True, kw_only=True, tag="transfer_ownership"):
    """Make the member ``to`` the owner. By the owner."""

    to: Id


class DescribeConversation(Command, frozen=True, kw_only=True, tag="describe_conversation"):
    """Set the name and the metadata of the conversation. By the owner.

    ``metadata`` is a JSON object as text, which only the application interprets. An absent field
    leaves the value as it is, and an empty text removes the value.
    """

    name: str | UnsetType = UNSET
    metadata: str | UnsetType = UNSET


class SendMessage(Command, frozen=True, kw_only=True, tag="send_message"):
    """Send a message to the conversation. By a member."""

    content: Content
    mentions: list[Id] = []


@final
class MarkRead(Command, frozen=True, kw_only=True, tag="mark_read"):
    """Mark all entries up to ``seq`` as read by the sender. By a member, for themselves.

    A read mark only moves forward, so the ids of accepted marks are not remembered: a repeated,
    late or reordered mark has no effect. The id of a refused mark is remembered.
    """

    seq: SeqId


@final
class MuteConversation(Command, frozen=True, kw_only=True, tag="mute_conversation"):
    """Mute the conversation for the sender until a time. By a member, for themselves.

    ``until``: the end of the mute, in milliseconds since 1970; a time in the past, such as 0, ends
    the mute. Without the field, the mute lasts until another command ends it. The mute survives a
    leave. It stops notifications only: entries and unread counts do not change.
    """

    until: Ms = MUTED_WITHOUT_END


class RecallMessage(Command, frozen=True, kw_only=True, tag="recall_message"):
    """Recall the message ``seq``. By its sender; by the owner if the deployment allows it."""

    seq: SeqId


class EditMessage(Command, frozen=True, kw_only=True, tag="edit_message"):
    """Replace the text of the message ``seq``. By the sender of the message.

    ``mentions`` replace those of the message, as ``content`` replaces its content.
    """

    seq: SeqId
    content: Content
    mentions: list[Id] = []


def makes_no_entry(command: Command) -> TypeGuard[MarkRead | MuteConversation]:
    """Whether an accepted command makes a reply for its sender only, and no entry."""
    return isinstance(command, MarkRead | MuteConversation)


AnyCommand: TypeAlias = (
    CreateConversation
    | AddMembers
    | RemoveMembers
    | TransferOwnership
    | DescribeConversation
    | SendMessage
    | RecallMessage
    | EditMessage
    | MarkRead
    | MuteConversation
)

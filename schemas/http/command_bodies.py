"""The bodies of requests that write: one struct for each command.

A body without required fields may be absent. `schemas.valid_commands` has the limits that depend
on the deployment.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from schemas.limits import MAX_SEQ, MAX_TIME_MS
from schemas.number_types import Milliseconds, SeqId
from schemas.records import MUTED_WITHOUT_END, HistoryRule, Id, InstallationId, JoinRule

UUID7_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
"""A UUIDv7 in lower case, as a JSON Schema states it."""

_ClientMsgId: TypeAlias = Annotated[
    str,
    Meta(
        pattern=UUID7_PATTERN,
        description="A UUIDv7 in lower case. Absent: the header Idempotency-Key, or else an id "
        "that the gateway makes.",
    ),
]
_DeviceId: TypeAlias = Annotated[
    Id, Meta(description="Absent: the claim `device` of the token, or else `http`.")
]
_SeqId: TypeAlias = Annotated[SeqId, Meta(ge=1, le=MAX_SEQ)]
_EndOfMute: TypeAlias = Annotated[Milliseconds, Meta(ge=0, le=MAX_TIME_MS)]
_Text: TypeAlias = Annotated[
    str, Meta(min_length=1, description="Has a visible character, and is within the limits.")
]


class CommandBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of every request that writes. All are optional.

    A request with the same ``client_msg_id``, device and ``installation`` as an earlier one has
    the outcome of the earlier one, and no second effect. The ids of one conversation, device and
    ``installation`` increase.
    """

    client_msg_id: _ClientMsgId | UnsetType = UNSET
    device_id: _DeviceId | UnsetType = UNSET
    installation: InstallationId | UnsetType = UNSET


class NewConversation(CommandBody, frozen=True):
    """Creates a conversation of ``members`` and the caller, who becomes the owner.

    Without ``conv_id``, the ``client_msg_id`` is the id of the conversation.
    """

    members: list[Id]
    conv_id: Id | UnsetType = UNSET
    join: JoinRule = "invite"
    history: HistoryRule = "since_join"
    name: str | UnsetType = UNSET
    metadata: str | UnsetType = UNSET


class NewDirectChat(CommandBody, frozen=True):
    """Gets or creates the direct chat of the caller and the person in the path.

    The body may be absent.
    """


class NewMembers(CommandBody, frozen=True):
    """Adds people. In an open conversation, the caller may also add themselves."""

    members: Annotated[list[Id], Meta(min_length=1)]


class RemovedMember(CommandBody, frozen=True):
    """Removes the person in the path. The body may be absent."""


class LeftConversation(CommandBody, frozen=True):
    """Removes the caller from the conversation. The body may be absent."""


class NewOwner(CommandBody, frozen=True):
    """Makes the member ``owner`` the owner of the conversation."""

    owner: Id


class NewDescription(CommandBody, frozen=True):
    """Sets the name and the metadata of the conversation.

    An absent field leaves the value as it is, and an empty text removes the value. ``metadata`` is
    a JSON object as text.
    """

    name: str | UnsetType = UNSET
    metadata: str | UnsetType = UNSET


class NewMessage(CommandBody, frozen=True):
    """Sends a message."""

    text: _Text
    mentions: list[Id] = []


class EditedMessage(CommandBody, frozen=True):
    """Replaces the text and the mentions of a message."""

    text: _Text
    mentions: list[Id] = []


class RecalledMessage(CommandBody, frozen=True):
    """Recalls the message in the path. The body may be absent."""


class ReadUpTo(CommandBody, frozen=True):
    """Marks all entries up to ``seq`` as read by the caller."""

    seq: _SeqId


class MutedConversation(CommandBody, frozen=True):
    """Mutes the conversation for the caller. The body may be absent.

    ``until`` is the end of the mute, in milliseconds since 1970; without it, the mute lasts until
    the caller ends it.
    """

    until: _EndOfMute = MUTED_WITHOUT_END


class UnmutedConversation(CommandBody, frozen=True):
    """Ends the mute of the conversation for the caller. The body may be absent."""


MAX_REF_LENGTH = 64
"""Maximum number of characters in the ``ref`` of a live request."""


class LiveRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request that writes, as a frame of a live connection.

    ``method``, ``path`` and ``body`` are those of the route. The answer has the same ``ref``.
    """

    ref: Annotated[str, Meta(max_length=MAX_REF_LENGTH)]
    method: Literal["POST", "PUT", "DELETE"]
    path: str
    body: Raw = field(default_factory=lambda: Raw(b"{}"))


class LivePresence(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="presence"
):
    """Whether the person looks at the device, as a frame of a live connection. It has no answer.

    Before the first such frame, a connection is active. A person without an active connection gets
    push notifications.
    """

    active: bool

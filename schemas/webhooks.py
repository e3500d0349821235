"""Subscriptions of integrators to events, on ``im.webhooks``, and the events that they receive."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.codec import decode
from schemas.push_addresses import HttpUrl
from schemas.records import (
    AnyEntry,
    ConversationCreated,
    MembersAdded,
    MembersRemoved,
    MessageEdited,
    MessageRecalled,
    MessageSent,
)
from schemas.records.values import Ms

WebhookEvent: TypeAlias = Literal[
    "message_sent", "message_edited", "message_recalled", "membership_changed"
]

WEBHOOK_EVENTS: Final[tuple[WebhookEvent, ...]] = get_args(WebhookEvent)

MAX_WEBHOOKS: Final = 64
"""Maximum number of subscriptions. Each has a Kafka client in the stage ``webhooks``."""

MAX_SCOPE: Final = 100
"""Maximum number of conversations and prefixes in one subscription."""

PREFIX_MARK: Final = "*"
"""The last character of a prefix in the scope of a subscription."""


class WebhookSubscription(Struct, frozen=True, kw_only=True):
    """A subscription. The Kafka key is its id; a record without a value removes it.

    ``events``: the kinds of events. ``conversations``: ids, and prefixes that end with ``*``;
    empty for all conversations. ``text``: whether events have the texts of messages. ``secrets``:
    the secrets of the signatures, the newest first. ``created_at``: ms since 1970.
    """

    id: Annotated[str, Meta(pattern=r"^[a-z0-9]{1,32}$")]
    url: HttpUrl
    events: Annotated[list[WebhookEvent], Meta(min_length=1, max_length=len(WEBHOOK_EVENTS))]
    conversations: Annotated[list[str], Meta(max_length=MAX_SCOPE)] = []
    text: bool = False
    secrets: Annotated[list[str], Meta(min_length=1, max_length=2)]
    created_at: Ms


class MessageData(Struct, frozen=True, kw_only=True):
    """The ``data`` of an event about a message.

    ``target``: the SeqId of the edited or recalled message. ``text``: only for a subscription with
    texts. ``recalled``: true in place of the text, if the message was recalled before the attempt.
    """

    conv_id: str
    seq: int
    sender: str
    target: int | UnsetType = UNSET
    mentions: list[str] | UnsetType = UNSET
    text: str | UnsetType = UNSET
    recalled: bool | UnsetType = UNSET


class MembershipData(Struct, frozen=True, kw_only=True):
    """The ``data`` of an event about members. ``sender`` changed the members."""

    conv_id: str
    seq: int
    sender: str
    added: list[str]
    removed: list[str]
    member_count: int | UnsetType = UNSET


class WebhookBody(Struct, frozen=True):
    """The body of a request. ``timestamp``: the time of the entry, ISO 8601 in UTC."""

    type: WebhookEvent
    timestamp: str
    data: MessageData | MembershipData


_subscription = msgspec.json.Decoder(WebhookSubscription)


def decode_subscription(value: bytes | None) -> WebhookSubscription:
    """Decodes the value of a record of ``im.webhooks``.

    Raises:
        UndecodableRecord: The value is not a subscription that this version knows.
    """
    return decode(_subscription, value)


def webhook_event_of(entry: AnyEntry) -> WebhookEvent | None:
    """The kind of event that an entry is for integrators; None if it is none."""
    match entry:
        case MessageSent():
            return "message_sent"
        case MessageEdited():
            return "message_edited"
        case MessageRecalled():
            return "message_recalled"
        case ConversationCreated() | MembersAdded() | MembersRemoved():
            return "membership_changed"
        case _:
            return None


def is_wanted(entry: AnyEntry, subscription: WebhookSubscription) -> bool:
    """Whether a subscription has chosen the event of an entry."""
    return webhook_event_of(entry) in subscription.events and is_in_scope(
        entry.conv_id, subscription.conversations
    )


def is_in_scope(conv_id: str, scope: Collection[str]) -> bool:
    """Whether a scope has a conversation; an empty scope has all."""
    return not scope or any(
        conv_id.startswith(each[:-1]) if each.endswith(PREFIX_MARK) else conv_id == each
        for each in scope
    )


def webhook_data(entry: AnyEntry, *, text: bool, recalled: bool) -> MessageData | MembershipData:
    """The data of an event.

    Args:
        entry: An entry for which `webhook_event_of` returns a kind.
        text: Whether the event has the text of a message.
        recalled: Whether the message is known to be recalled. Its text is absent then.
    """
    conv_id, seq, sender = entry.conv_id, entry.seq, entry.sender
    match entry:
        case MessageSent() | MessageEdited():
            return MessageData(
                conv_id=conv_id,
                seq=seq,
                sender=sender,
                target=entry.target if isinstance(entry, MessageEdited) else UNSET,
                mentions=entry.mentions,
                text=entry.content.text if text and not recalled else UNSET,
                recalled=True if recalled else UNSET,
            )
        case MessageRecalled():
            return MessageData(conv_id=conv_id, seq=seq, sender=sender, target=entry.target)
        case ConversationCreated() | MembersAdded() | MembersRemoved():
            is_removal = isinstance(entry, MembersRemoved)
            return MembershipData(
                conv_id=conv_id,
                seq=seq,
                sender=sender,
                added=[] if is_removal else entry.members,
                removed=entry.members if is_removal else [],
                member_count=entry.member_count,
            )
        case _:
            raise TypeError(f"{type(entry).__name__} is no event")

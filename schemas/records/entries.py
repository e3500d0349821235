"""Entries: events, each with a SeqId of its conversation. On `im.timeline` and `im.sync`."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import UNSET, Struct, UnsetType

from schemas.number_types import SeqId
from schemas.records.values import Content, FanoutMode, HistoryRule, Int64, JoinRule, Ms, Seq


class Entry(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True):
    """One place in a conversation timeline; the Kafka key is ``conv_id``.

    ``seq`` is dense in its conversation: 1, 2, 3 … ``at`` is the broker's time of the command in
    milliseconds since 1970 (UTC). ``sender`` and ``client_msg_id`` are the command's.
    ``messages`` is the number of messages among the entries 1 to ``seq``, this entry included.
    Entries of early versions, which did not count, have 0, as if there were no earlier message.
    """

    conv_id: str
    seq: Seq
    sender: str
    client_msg_id: str
    at: Ms
    messages: Int64 = 0


class ConversationCreated(Entry, frozen=True, kw_only=True, tag="conversation_created"):
    """The first entry of every conversation: its members, and its fan-out mode.

    ``member_count`` is the number of members after this entry, here and in the other entries that
    name members. Entries of early versions have no count.
    """

    members: list[str]
    join: JoinRule
    mode: FanoutMode
    history: HistoryRule = "since_join"
    member_count: Int64 | UnsetType = UNSET


class MembersAdded(Entry, frozen=True, kw_only=True, tag="members_added"):
    """The membership period of each of ``members`` begins with this entry.

    ``history`` is the history rule of the conversation, so that the entry alone determines which
    entries the new members may read. ``periods`` has the number and the first SeqId of each period
    that is not number 0 or did not begin with this entry: the periods of people who were members
    before. Absent if there is none.
    """

    members: list[str]
    mode: FanoutMode
    history: HistoryRule = "since_join"
    periods: dict[str, tuple[int, SeqId]] | UnsetType = UNSET
    member_count: Int64 | UnsetType = UNSET


class MembersRemoved(Entry, frozen=True, kw_only=True, tag="members_removed"):
    """The membership period of each of ``members`` ends with this entry.

    ``periods`` has the number of each period that is not number 0. Absent if there is none.
    """

    members: list[str]
    mode: FanoutMode
    periods: dict[str, int] | UnsetType = UNSET
    member_count: Int64 | UnsetType = UNSET


class OwnershipTransferred(Entry, frozen=True, kw_only=True, tag="ownership_transferred"):
    """From this entry on, ``owner`` owns the conversation: by a transfer, or by succession."""

    owner: str


class ConversationDescribed(Entry, frozen=True, kw_only=True, tag="conversation_described"):
    """From this entry on, the conversation has this name and this metadata.

    An absent field did not change; an empty text means that the conversation has no such value.
    ``metadata`` is a JSON object as text.
    """

    name: str | UnsetType = UNSET
    metadata: str | UnsetType = UNSET


class FanoutChanged(Entry, frozen=True, kw_only=True, tag="fanout_changed"):
    """From the next entry on, the conversation is fanned out by ``mode``. Sent to every member.

    The entry has the limits that caused the change, so that the log alone explains every mode.
    """

    mode: FanoutMode
    member_count: Int64
    push_limit: Int64
    push_again_below: Int64


class MessageSent(Entry, frozen=True, kw_only=True, tag="message_sent"):
    """A member sent a message.

    ``edited`` is the SeqId of the edit whose content and mentions the message has. It is present
    only when an edited message is read back; it is on no topic.
    """

    content: Content
    mentions: list[str]
    edited: Seq | UnsetType = UNSET


class MessageRecalled(Entry, frozen=True, kw_only=True, tag="message_recalled"):
    """The message ``target`` and its ``edits`` were recalled: their text is erased everywhere.

    ``target_at`` is the time of the message: ``at`` of the message's own entry.
    """

    target: Seq
    target_at: Ms
    edits: list[Seq]


class MessageEdited(Entry, frozen=True, kw_only=True, tag="message_edited"):
    """The message ``target`` has another text now. The last of several edits counts.

    ``sender`` is the sender of the message, ``target_at`` the time of the message. ``content`` and
    ``mentions`` replace those of the message.
    """

    target: Seq
    target_at: Ms
    content: Content
    mentions: list[str] = []


AnyEntry: TypeAlias = (
    ConversationCreated
    | MembersAdded
    | MembersRemoved
    | OwnershipTransferred
    | ConversationDescribed
    | FanoutChanged
    | MessageSent
    | MessageRecalled
    | MessageEdited
)

"""Entries: what happened, at a SeqId of its conversation. On `im.timeline`, and `im.sync`."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import UNSET, Struct, UnsetType

from schemas.records.values import Content, FanoutMode, HistoryRule, Int64, JoinRule


class Entry(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True):
    """One place in a conversation timeline; the Kafka key is ``conv_id``.

    ``seq`` is dense in its conversation: 1, 2, 3 … ``at`` is the broker's time of the command in
    milliseconds since 1970 (UTC). ``sender`` and ``client_msg_id`` are the command's.
    ``messages`` is how many of the entries 1 to ``seq`` are messages, this one included; entries
    of a version that did not count have 0, as if nothing had been said before.
    """

    conv_id: str
    seq: Int64
    sender: str
    client_msg_id: str
    at: Int64
    messages: Int64 = 0


class ConversationCreated(Entry, frozen=True, kw_only=True, tag="conversation_created"):
    """The first entry of every conversation: who is in it, and how it is fanned out."""

    members: list[str]
    join: JoinRule
    mode: FanoutMode
    history: HistoryRule = "since_join"


class MembersAdded(Entry, frozen=True, kw_only=True, tag="members_added"):
    """The membership period of each of ``members`` begins with this entry.

    ``history`` is the conversation's, so that the entry alone tells what the newcomers may read.
    ``periods`` has the number and the first SeqId of each period that is not number 0 and begun by
    this entry: those of people who were members before. Absent if there is none.
    """

    members: list[str]
    mode: FanoutMode
    history: HistoryRule = "since_join"
    periods: dict[str, tuple[int, int]] | UnsetType = UNSET


class MembersRemoved(Entry, frozen=True, kw_only=True, tag="members_removed"):
    """The membership period of each of ``members`` ends with this entry.

    ``periods`` has the number of each period that is not number 0. Absent if there is none.
    """

    members: list[str]
    mode: FanoutMode
    periods: dict[str, int] | UnsetType = UNSET


class OwnershipTransferred(Entry, frozen=True, kw_only=True, tag="ownership_transferred"):
    """From this entry on, ``owner`` owns the conversation: by a transfer, or by succession."""

    owner: str


class FanoutChanged(Entry, frozen=True, kw_only=True, tag="fanout_changed"):
    """From the next entry on, the conversation is fanned out by ``mode``. Goes to every member.

    The limits that decided are logged with it, so that the log alone explains every mode.
    """

    mode: FanoutMode
    member_count: Int64
    push_limit: Int64
    push_again_below: Int64


class MessageSent(Entry, frozen=True, kw_only=True, tag="message_sent"):
    """Somebody said something.

    ``edited`` is there only where a message is read back that was edited: the SeqId of the edit
    whose content and mentions it has. It is on no topic.
    """

    content: Content
    mentions: list[str]
    edited: Int64 | UnsetType = UNSET


class MessageRecalled(Entry, frozen=True, kw_only=True, tag="message_recalled"):
    """The message ``target`` was taken back, and with it its ``edits``: their text is nowhere.

    ``target_at`` is the time of the message, as ``at`` of its own entry.
    """

    target: Int64
    target_at: Int64
    edits: list[Int64]


class MessageEdited(Entry, frozen=True, kw_only=True, tag="message_edited"):
    """The message ``target`` says something else now. Of several edits the last counts.

    ``sender`` is the sender of the message, ``target_at`` the time of the message. ``content`` and
    ``mentions`` replace those of the message.
    """

    target: Int64
    target_at: Int64
    content: Content
    mentions: list[str] = []


AnyEntry: TypeAlias = (
    ConversationCreated
    | MembersAdded
    | MembersRemoved
    | OwnershipTransferred
    | FanoutChanged
    | MessageSent
    | MessageRecalled
    | MessageEdited
)

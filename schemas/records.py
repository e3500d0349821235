"""What travels on the topics: commands in, entries and sync records out.

All records are JSON objects with a ``kind``. Decoding is strict about types, ignores fields it
does not know (a newer writer may add some) and refuses kinds and versions it does not know.

    Command (im.messages)     Entry (im.timeline)       sync record (im.sync)
    ---------------------     -------------------       ---------------------
    CreateConversation   ->   ConversationCreated  ->   the entry, byte for byte
    AddMembers           ->   MembersAdded         ->   the entry, byte for byte
    RemoveMembers        ->   MembersRemoved       ->   the entry, byte for byte
    SendMessage          ->   MessageSent          ->   the entry, byte for byte
    RecallMessage        ->   MessageRecalled      ->   the entry, byte for byte
    EditMessage          ->   MessageEdited        ->   the entry, byte for byte
                              FanoutChanged        ->   the entry, byte for byte
    MarkRead             ->                        ->   ReadMarked (to the reader)
                                                   ->   Retracted  (of a recall, to who left)
    (refused)                                      ->   Rejected   (to the sender)
    (sent before)                                  ->   Duplicate  (to the sender)
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, final

from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.errors import RejectionCode

MAX_ID_LENGTH = 128
"""Characters in an id of a user, a device or a conversation."""

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
"""Names a user, a device or a conversation. Printable, see `schemas.ids.is_valid_id`."""

FanoutMode: TypeAlias = Literal["push", "pull"]
"""``push``: an entry goes to every member's sync timeline. ``pull``: members read the store."""

JoinRule: TypeAlias = Literal["invite", "open"]
"""``invite``: a member adds others. ``open``: anybody may add themselves, too."""

HistoryRule: TypeAlias = Literal["since_join", "all"]
"""What a member may read of what was said before they joined. ``since_join``: nothing. ``all``:
everything, as for somebody who was there from the beginning."""


NewDevicePolicy: TypeAlias = Literal["new-messages-only", "window", "full-history"]
"""From where a new device shows: what comes from now on, the last of each conversation and that,
or everything that its owner may read."""


class TextContent(Struct, frozen=True, gc=False, tag_field="type", tag="text"):
    """Plain text, as its sender wrote it."""

    text: str


Content: TypeAlias = TextContent
"""What a message carries. A union by ``type``, so that later kinds fit beside text."""


class Command(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True):
    """What somebody wants done in one conversation; the Kafka key is ``conv_id``.

    ``client_msg_id`` is a UUIDv7 (RFC 9562) that grows within (conversation, sender, device).
    """

    conv_id: Id
    sender: Id
    device_id: Id
    client_msg_id: Annotated[str, Meta(max_length=MAX_ID_LENGTH)]
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


class SendMessage(Command, frozen=True, kw_only=True, tag="send_message"):
    """Say something to the conversation. By a member."""

    content: Content
    mentions: list[Id] = []


@final
class MarkRead(Command, frozen=True, kw_only=True, tag="mark_read"):
    """The sender has read all up to entry ``seq``. By a member, for themselves.

    A mark only goes forward, so it needs no window of ids: whatever is sent again, late or in
    another order moves nothing.
    """

    seq: int


class RecallMessage(Command, frozen=True, kw_only=True, tag="recall_message"):
    """Take back the message ``seq``. By who said it, or by the owner where that is allowed."""

    seq: int


class EditMessage(Command, frozen=True, kw_only=True, tag="edit_message"):
    """Say something else in place of the message ``seq``. By who said it."""

    seq: int
    content: Content


AnyCommand: TypeAlias = (
    CreateConversation
    | AddMembers
    | RemoveMembers
    | SendMessage
    | RecallMessage
    | EditMessage
    | MarkRead
)


class Entry(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True):
    """One place in a conversation timeline; the Kafka key is ``conv_id``.

    ``seq`` is dense in its conversation: 1, 2, 3 … ``at`` is the broker's time of the command in
    milliseconds since 1970 (UTC). ``sender`` and ``client_msg_id`` are the command's.
    ``messages`` is how many of the entries 1 to ``seq`` are messages, this one included; entries
    of a version that did not count have 0, as if nothing had been said before.
    """

    conv_id: str
    seq: int
    sender: str
    client_msg_id: str
    at: int
    messages: int = 0


class ConversationCreated(Entry, frozen=True, kw_only=True, tag="conversation_created"):
    """The first entry of every conversation: who is in it, and how it is fanned out."""

    members: list[str]
    join: JoinRule
    mode: FanoutMode
    history: HistoryRule = "since_join"


class MembersAdded(Entry, frozen=True, kw_only=True, tag="members_added"):
    """The membership period of each of ``members`` begins with this entry.

    ``history`` is the conversation's, so that the entry alone tells what the newcomers may read.
    """

    members: list[str]
    mode: FanoutMode
    history: HistoryRule = "since_join"


class MembersRemoved(Entry, frozen=True, kw_only=True, tag="members_removed"):
    """The membership period of each of ``members`` ends with this entry."""

    members: list[str]
    mode: FanoutMode


class FanoutChanged(Entry, frozen=True, kw_only=True, tag="fanout_changed"):
    """From the next entry on, the conversation is fanned out by ``mode``. Goes to every member.

    The limits that decided are logged with it, so that the log alone explains every mode.
    """

    mode: FanoutMode
    member_count: int
    push_limit: int
    push_again_below: int


class MessageSent(Entry, frozen=True, kw_only=True, tag="message_sent"):
    """Somebody said something.

    ``edited`` is there only where a message is read back that was edited: the SeqId of the edit
    whose content it has. It is on no topic.
    """

    content: Content
    mentions: list[str]
    edited: int | UnsetType = UNSET


class MessageRecalled(Entry, frozen=True, kw_only=True, tag="message_recalled"):
    """The message ``target`` was taken back, and with it its ``edits``: their text is nowhere.

    ``target_at`` is the time of the message, as ``at`` of its own entry.
    """

    target: int
    target_at: int
    edits: list[int]


class MessageEdited(Entry, frozen=True, kw_only=True, tag="message_edited"):
    """The message ``target`` says something else now. Of several edits the last counts.

    Its ``sender`` is that of the message, and ``target_at`` the time of it.
    """

    target: int
    target_at: int
    content: Content


AnyEntry: TypeAlias = (
    ConversationCreated
    | MembersAdded
    | MembersRemoved
    | FanoutChanged
    | MessageSent
    | MessageRecalled
    | MessageEdited
)


class Reply(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True):
    """What only the sender of a command learns; takes no SeqId of the conversation."""

    conv_id: str
    sender: str
    device_id: str
    client_msg_id: str
    at: int


class Rejected(Reply, frozen=True, kw_only=True, tag="rejected"):
    """The command had no effect. ``stale`` alone means: it may have had one, long ago."""

    code: RejectionCode


class Duplicate(Reply, frozen=True, kw_only=True, tag="duplicate"):
    """The command had its effect before, as entry ``seq``.

    Of a `MarkRead`: the read mark is at ``seq`` already, which is no lower.
    """

    seq: int


class ReadMarked(Reply, frozen=True, kw_only=True, tag="read_marked"):
    """The sender's read mark went forward to entry ``seq``. For all of their devices."""

    seq: int


AnyReply: TypeAlias = Rejected | Duplicate | ReadMarked


class Retracted(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True, tag="retracted"):
    """To somebody who has left since: a text that they were told was recalled. Has no SeqId.

    Those who are still there learn it from the entry `MessageRecalled`.
    """

    conv_id: str
    target: int
    edits: list[int]
    at: int


class RecalledHole(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True, tag="recalled"):
    """What the store holds in a sync timeline in place of entry ``seq``, whose text was recalled.

    On no topic: what Kafka has once, it keeps until it expires.
    """

    conv_id: str
    seq: int


AnySyncRecord: TypeAlias = AnyEntry | AnyReply | Retracted | RecalledHole


class EntryPosition(Struct, frozen=True, gc=False):
    """The part of an entry or reply that tells where it belongs, for readers in a hurry.

    ``seq`` is absent from a rejection.
    """

    kind: str
    conv_id: str
    seq: int = 0

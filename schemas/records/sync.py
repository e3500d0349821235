"""Records of a sync timeline other than entries: replies, retractions, and holes for entries."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from schemas.errors import RejectionCode
from schemas.number_types import Milliseconds, SeqId
from schemas.records.entries import AnyEntry
from schemas.records.values import Ms, Seq


class Reply(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True):
    """A record only for the sender of a command; takes no SeqId of the conversation."""

    conv_id: str
    sender: str
    device_id: str
    client_msg_id: str
    at: Ms


class Rejected(Reply, frozen=True, kw_only=True, tag="rejected"):
    """The command had no effect. Only with ``stale``, it may have had an effect long ago."""

    code: RejectionCode


class Duplicate(Reply, frozen=True, kw_only=True, tag="duplicate"):
    """The command had its effect before, as entry ``seq``.

    For a `MarkRead`: the read mark is already at ``seq``, which is not below the requested SeqId.
    For a `MuteConversation`: ``seq`` as in the first `ConversationMuted`.
    """

    seq: Seq


class ReadMarked(Reply, frozen=True, kw_only=True, tag="read_marked"):
    """The sender's read mark moved forward to entry ``seq``. For all devices of the sender."""

    seq: Seq


class ConversationMuted(Reply, frozen=True, kw_only=True, tag="conversation_muted"):
    """The sender muted the conversation, or ended the mute. For all devices of the sender.

    ``until`` as in `MuteConversation`; the conversation is muted at each time before ``until``.
    ``seq`` is the head of the conversation at the decision. The record with the highest sync SeqId
    wins.
    """

    seq: Seq
    until: Ms


AnyReply: TypeAlias = Rejected | Duplicate | ReadMarked | ConversationMuted


class Retracted(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True, tag="retracted"):
    """Informs a former member that a message they had received was recalled. Has no SeqId.

    Present members get the entry `MessageRecalled` instead.
    """

    conv_id: str
    target: Seq
    edits: list[Seq]
    at: Ms


class RecalledHole(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True, tag="recalled"):
    """The gateway's placeholder for entry ``seq``, whose text was recalled.

    On no topic: Kafka retains the original record until it expires.
    """

    conv_id: str
    seq: Seq


class NotStoredHole(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True, tag="not_yet"):
    """The gateway's placeholder for entry ``seq``, which the store refused.

    On no topic. History has a hole of the same kind at ``seq``, until an operator replays the
    entry.
    """

    conv_id: str
    seq: Seq


AnySyncRecord: TypeAlias = AnyEntry | AnyReply | Retracted | RecalledHole | NotStoredHole


class EntryPosition(Struct, frozen=True, gc=False):
    """The position of an entry or a reply, for readers that need no other field.

    A rejection has no ``seq``; ``at`` is milliseconds since 1970.
    """

    kind: str
    conv_id: str
    seq: Seq = SeqId(0)
    at: Ms = Milliseconds(0)


class OutcomeFields(Struct, frozen=True, gc=False):
    """The fields of an entry or a reply that identify its command and give the outcome.

    An entry has no ``device_id``, a rejection no ``seq``, and only a rejection has a ``code``.
    Retractions and records without a sender have an empty ``client_msg_id``.
    """

    kind: str
    conv_id: str
    sender: str = ""
    client_msg_id: str = ""
    device_id: str = ""
    seq: Seq = SeqId(0)
    at: Ms = Milliseconds(0)
    code: RejectionCode | None = None

"""What a sync timeline has beside entries: replies, retractions, and holes in place of entries."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from schemas.errors import RejectionCode
from schemas.records.entries import AnyEntry
from schemas.records.values import Int64


class Reply(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True):
    """What only the sender of a command learns; takes no SeqId of the conversation."""

    conv_id: str
    sender: str
    device_id: str
    client_msg_id: str
    at: Int64


class Rejected(Reply, frozen=True, kw_only=True, tag="rejected"):
    """The command had no effect. ``stale`` alone means: it may have had one, long ago."""

    code: RejectionCode


class Duplicate(Reply, frozen=True, kw_only=True, tag="duplicate"):
    """The command had its effect before, as entry ``seq``.

    Of a `MarkRead`: the read mark is at ``seq`` already, which is no lower.
    """

    seq: Int64


class ReadMarked(Reply, frozen=True, kw_only=True, tag="read_marked"):
    """The sender's read mark went forward to entry ``seq``. For all of their devices."""

    seq: Int64


AnyReply: TypeAlias = Rejected | Duplicate | ReadMarked


class Retracted(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True, tag="retracted"):
    """To somebody who has left since: a text that they were told was recalled. Has no SeqId.

    Those who are still there learn it from the entry `MessageRecalled`.
    """

    conv_id: str
    target: Int64
    edits: list[Int64]
    at: Int64


class RecalledHole(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True, tag="recalled"):
    """What the gateway answers in place of entry ``seq``, whose text was recalled.

    On no topic: what Kafka has once, it keeps until it expires.
    """

    conv_id: str
    seq: Int64


class NotStoredHole(Struct, frozen=True, gc=False, tag_field="kind", kw_only=True, tag="not_yet"):
    """What the gateway answers in place of entry ``seq``, which the store refused.

    On no topic. History has a hole of the same kind there, until an operator repeats the entry.
    """

    conv_id: str
    seq: Int64


AnySyncRecord: TypeAlias = AnyEntry | AnyReply | Retracted | RecalledHole | NotStoredHole


class EntryPosition(Struct, frozen=True, gc=False):
    """The part of an entry or reply that tells where it belongs, for readers in a hurry.

    ``seq`` is absent from a rejection; ``at`` is milliseconds since 1970.
    """

    kind: str
    conv_id: str
    seq: Int64 = 0
    at: Int64 = 0

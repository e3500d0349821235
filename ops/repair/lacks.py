"""What an audit found missing, as the rows and documents to write again. Pure.

Only rows, documents and columns that are missing in a copy count. A row that differs from the log
in another way is left alone: nobody knows why it differs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from msgspec import Struct, field

from audit.audit import AuditedData
from audit.conversation import AuditedConversation
from audit.report import CheckName, Difference
from audit.sync_shards import Shard
from schemas.buckets import sync_bucket
from schemas.number_types import BucketNumber, Offset, SeqId, SyncSeqId
from sinks.cassandra.messages import StorePart

COPIES: Final[frozenset[CheckName]] = frozenset(
    {"store", "membership", "index", "sync-store", "marks"}
)
"""The checks of copies that are made from the log."""

_WRITERS: Final[dict[CheckName, tuple[CheckName, ...]]] = {
    "store": ("store", "membership", "marks"),
    "index": ("index",),
    "sync-store": ("sync-store", "marks"),
}
"""By check of a sink: the copies that the sink writes."""


class EntryPlace(NamedTuple):
    """An entry of a conversation."""

    conv_id: str
    seq: SeqId


class Delivery(NamedTuple):
    """A record of a shard, and a recipient (UTF-8) without a row for the record."""

    offset: Offset
    user: bytes


class Lacks(Struct):
    """The rows and documents to write again.

    Attributes:
        rows: By kind of row, the entries whose rows are missing.
        documents: The entries whose documents are missing.
        deliveries: By number of a shard, the deliveries without a row.
        listings: Recipients and buckets whose listing or note on expiry is missing.
        marks: Conversations and people whose marks of devices, or mutes, are missing.
    """

    rows: defaultdict[StorePart, set[EntryPlace]] = field(default_factory=lambda: defaultdict(set))
    documents: set[EntryPlace] = field(default_factory=set)
    deliveries: dict[int, list[Delivery]] = field(default_factory=dict)
    listings: set[tuple[str, BucketNumber]] = field(default_factory=set)
    marks: set[tuple[str, str]] = field(default_factory=set)

    def entries(self) -> set[EntryPlace]:
        """All entries that must be read from the log."""
        found = set(self.documents)
        for places in self.rows.values():
            found |= places
        return found

    def __bool__(self) -> bool:
        return bool(
            any(self.rows.values())
            or self.documents
            or self.deliveries
            or self.listings
            or self.marks
        )


def late_checks(differences: Iterable[Difference]) -> set[CheckName]:
    """The copies that a sink is still writing: nobody knows yet what they lack."""
    found: set[CheckName] = set()
    for each in differences:
        if each.kind == "behind":
            found.update(_WRITERS[each.check])
    return found


def is_lack(difference: Difference) -> bool:
    """Whether a copy lacks something, and the log has it."""
    return difference.check in COPIES and (difference.kind == "missing" or difference.absent)


def lacks_of(data: AuditedData, differences: Iterable[Difference], most: int) -> Lacks:
    """What to write again for the differences.

    Args:
        data: What the copies should have.
        differences: The differences, of any kind.
        most: The most deliveries of one shard.
    """
    found = list(differences)
    late = late_checks(found)
    lacks = Lacks()
    for each in found:
        if is_lack(each) and each.check not in late:
            _take(lacks, data, each)
    if "sync-store" not in late:
        for shard in data.shards.by_number.values():
            if deliveries := _undelivered(shard, most):
                lacks.deliveries[shard.number] = deliveries
    return lacks


def _undelivered(shard: Shard, most: int) -> list[Delivery]:
    """The deliveries that no row has. Those that expired or were skipped are not among them."""
    due = shard.deliveries.first_due(most)
    return [Delivery(Offset(place + shard.low), user) for place, user in due]


def _take(lacks: Lacks, data: AuditedData, lack: Difference) -> None:
    if lack.check == "sync-store":
        _take_sync(lacks, lack)
        return
    conversation = data.log.conversations.get(lack.conv_id)
    if lack.check == "marks":
        _take_marks(lacks, data, lack)
    elif conversation is None:
        return
    elif lack.check == "membership":
        lacks.rows[StorePart.MEMBERSHIP].add(EntryPlace(lack.conv_id, lack.seq))
    elif lack.check == "index":
        for seq in _range(lack):
            lacks.documents.add(EntryPlace(lack.conv_id, conversation.altered_by(seq)))
    elif lack.where != "table conversation":
        for seq in _range(lack):
            _take_message(lacks, conversation, seq)
    else:
        _take_conversation(lacks, conversation)


def _range(lack: Difference) -> Iterator[SeqId]:
    return map(SeqId, range(lack.seq, max(lack.seq, lack.through) + 1))


def _take_message(lacks: Lacks, conversation: AuditedConversation, seq: SeqId) -> None:
    """A message, with the recall that erases its text, or with its last edit."""
    conv_id = conversation.conv_id
    lacks.rows[StorePart.MESSAGE].add(EntryPlace(conv_id, seq))
    for by in (conversation.recalled.get(seq), conversation.edited_by(seq)):
        if by is not None:
            lacks.rows[StorePart.ALTERATION].add(EntryPlace(conv_id, by))


def _take_conversation(lacks: Lacks, conversation: AuditedConversation) -> None:
    """All entries: each column has the value of the last entry that sets the column."""
    places = lacks.rows[StorePart.CONVERSATION]
    places.update(
        EntryPlace(conversation.conv_id, SeqId(seq))
        for seq in range(1, conversation.head + 1)
        if conversation.has(SeqId(seq))
        and (seq == conversation.head or not conversation.may_be_message(SeqId(seq)))
    )


def _take_marks(lacks: Lacks, data: AuditedData, lack: Difference) -> None:
    conv_id, user = lack.conv_id, lack.user
    conversation = data.log.conversations.get(conv_id)
    own = None if conversation is None else conversation.own.get(user)
    if own is not None:
        lacks.rows[StorePart.OWN_MARK].add(EntryPlace(conv_id, own[0]))
    marks = [shard.marks.get((conv_id, user)) for shard in data.shards.chain(user)]
    is_marked = any(mark is not None for mark in marks)
    if is_marked or data.shards.muted_until(conv_id, user) is not None:
        lacks.marks.add((conv_id, user))


def _take_sync(lacks: Lacks, lack: Difference) -> None:
    """A listing or a note. `_undelivered` finds the lost deliveries, which have a conversation."""
    if lack.bucket >= 0:
        lacks.listings.add((lack.user, BucketNumber(lack.bucket)))
    elif lack.sync_seq >= 0 and not lack.conv_id:
        lacks.listings.add((lack.user, sync_bucket(SyncSeqId(lack.sync_seq))))

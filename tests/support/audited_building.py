"""Builds a `tests.support.audited.System` from the records of a log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import UNSET

from audit.index import IndexedDocument
from audit.input_records import InputLetter, InputRecord
from audit.log import KafkaRecord
from audit.member_rows import MembershipRow
from audit.read_marks import ReadMarkRow
from audit.store import ConversationRow, MessageRow
from backends.cassandra.memberships import member_bucket, user_bucket
from backends.elasticsearch.index import document_id
from backends.kafka.clients import partition_of
from backends.search_text import readings_of
from backends.sync_layout.layouts import SyncShards
from schemas.buckets import message_bucket, sync_bucket
from schemas.codec import decode_entry, decode_sync_record
from schemas.limits import SYNC_BUCKET
from schemas.number_types import (
    NO_SEQ,
    EpochNumber,
    Milliseconds,
    Offset,
    SeqId,
    ShardNumber,
    SyncSeqId,
)
from schemas.recipients import recipients_of
from schemas.records import (
    AnyEntry,
    ConversationCreated,
    ConversationDescribed,
    ConversationMuted,
    FanoutChanged,
    MembersAdded,
    MembersRemoved,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    OwnershipTransferred,
    ReadMarked,
)
from schemas.sync_seq import epoch_of, sync_seq
from sinks.cassandra.messages import row_by_user
from tests.support.audited import JUMP_AFTER, System, index_of
from tests.support.placing import TIMELINE_PARTITIONS, Placing, in_one_epoch
from tests.support.sequencing import Log, Source
from tests.support.shared_records import shared_records
from tests.support.sync_table import rows_of

_KINDS: Final[dict[type[AnyEntry], str]] = {
    ConversationCreated: "conversation_created",
    MembersAdded: "members_added",
    MembersRemoved: "members_removed",
    ConversationDescribed: "conversation_described",
    OwnershipTransferred: "ownership_transferred",
    FanoutChanged: "fanout_changed",
    MessageSent: "message_sent",
    MessageEdited: "message_edited",
    MessageRecalled: "message_recalled",
}


def system_of(log: Log, place: Placing = in_one_epoch) -> System:
    """The consistent deployment with these records on its topics.

    Args:
        log: The records that a sequencer read and wrote, in the order of its writes.
        place: Assigns the sync records to shards.
    """
    shards, epochs = place(log.syncs)
    homes = [
        shards.home(user, EpochNumber(epoch))
        for (user, _), epoch in zip(log.syncs, epochs, strict=True)
    ]
    lanes = (
        (partition_of(key, TIMELINE_PARTITIONS), key.encode(), value) for key, value in log.entries
    )
    sync = shared_records(log.syncs, homes)
    system = system_on(list(_placed(lanes)), list(_placed(sync)), shards)
    system.input = [_input(record) for record in log.sources]
    places = {record.offset: record.partition for record in system.input}
    system.letters = [InputLetter(places[each.offset], *[each.offset] * 2) for each in log.letters]
    return system


def _input(record: Source) -> InputRecord:
    lane = partition_of((record.key or b"").decode(), TIMELINE_PARTITIONS)
    return InputRecord(
        lane, record.offset, record.timestamp or Milliseconds(0), record.key, record.value
    )


def system_on(timeline: list[KafkaRecord], sync: list[KafkaRecord], shards: SyncShards) -> System:
    """The consistent deployment with these topics."""
    system = System(timeline=timeline, sync=sync, shards=shards)
    for _, _, _, value in timeline:
        _store(system, decode_entry(value), value or b"")
    for number, offset, key, value in sync:
        place = sync_seq(epoch_of(ShardNumber(number)), offset)
        for user in recipients_of(key or b""):
            _store_sync(system, user.decode(), place, value or b"")
    system.sync_rows = rows_of(sync)
    return system


def _placed(records: Iterable[tuple[int, bytes, bytes]]) -> Iterator[KafkaRecord]:
    """The records on partitions, with transaction markers and aborted records in between."""
    ends: dict[int, int] = {}
    for partition, key, value in records:
        offset = ends.get(partition, 0)
        yield KafkaRecord(partition, Offset(offset), key, value)
        # One marker after each record; once an aborted transaction as long as a bucket.
        ends[partition] = offset + (SYNC_BUCKET if offset == 2 * JUMP_AFTER else 2)


def _store(system: System, entry: AnyEntry, value: bytes) -> None:
    row = MessageRow(
        conv_id=entry.conv_id,
        bucket=message_bucket(entry.seq),
        seq=entry.seq,
        kind=_KINDS[type(entry)],
        sender=entry.sender,
        at=entry.at,
        entry=value,
        edited_by=None,
        recalled_by=None,
        messages=entry.messages,
    )
    system.messages.append(row)
    _store_conversation(system, entry)
    if isinstance(entry, ConversationCreated | MembersAdded | MembersRemoved):
        joined = not isinstance(entry, MembersRemoved)
        rule = None if isinstance(entry, MembersRemoved) else entry.history
        for user in entry.members:
            change = MembershipRow(
                user, entry.conv_id, entry.seq, joined, rule, member_bucket(user), at=entry.at
            )
            _store_by_conversation(system, change)
            own_bucket = user_bucket(entry.conv_id)
            counted = change._replace(bucket=own_bucket, messages=entry.messages)
            _store_by_user(system, entry, counted)
    if isinstance(entry, MessageSent):
        system.documents.append(_document(entry, entry.seq, entry.at))
        mark = _take_mark(system, entry.conv_id, entry.sender)
        system.read_marks.append(mark._replace(own_seq=entry.seq, own_messages=entry.messages))
    elif isinstance(entry, MessageEdited):
        _alter(system, entry.conv_id, entry.target, edited_by=entry.seq)
        _replace(system, _document(entry, entry.target, entry.target_at))
    elif isinstance(entry, MessageRecalled):
        for seq in (entry.target, *entry.edits):
            _alter(system, entry.conv_id, seq, recalled_by=entry.seq)
        _replace(system, _recalled(entry))


def _store_by_user(
    system: System, entry: ConversationCreated | MembersAdded | MembersRemoved, row: MembershipRow
) -> None:
    """Stores a change. A join replaces an earlier join of its period, a leave an earlier leave."""
    place = (row.user_id, row.conv_id, row_by_user(entry, row.user_id)["place"])
    before = system.places.get(place)
    if before is not None:
        system.by_user.remove(before)
    system.places[place] = row
    system.by_user.append(row)


def _store_by_conversation(system: System, row: MembershipRow) -> None:
    """Stores a change, which replaces the earlier change of the person."""
    before = [each for each in system.by_conversation if each[:2] == row[:2]]
    for each in before:
        system.by_conversation.remove(each)
    system.by_conversation.append(row)


def _take_mark(system: System, conv_id: str, user: str) -> ReadMarkRow:
    """Removes and returns a person's row, so that the caller can write the row again."""
    for at, row in enumerate(system.read_marks):
        if (row.conv_id, row.user_id) == (conv_id, user):
            return system.read_marks.pop(at)
    return ReadMarkRow(conv_id, user, None, None, None, None)


def _store_conversation(system: System, entry: AnyEntry) -> None:
    old = {row.conv_id: row for row in system.conversations}
    row = old.get(entry.conv_id, ConversationRow(entry.conv_id, owner=entry.sender))
    row = row._replace(head=entry.seq, messages=entry.messages, at=entry.at)
    if isinstance(entry, ConversationCreated):
        row = row._replace(join_rule=entry.join, history_rule=entry.history)
    if isinstance(entry, OwnershipTransferred):
        row = row._replace(owner=entry.owner)
    if isinstance(entry, ConversationCreated | MembersAdded | MembersRemoved | FanoutChanged):
        row = row._replace(mode=entry.mode)
    if isinstance(entry, ConversationCreated | MembersAdded | MembersRemoved):
        count = row.member_count if entry.member_count is UNSET else entry.member_count
        row = row._replace(member_count=count)
    if isinstance(entry, ConversationDescribed):
        name = row.name if entry.name is UNSET else entry.name
        metadata = row.metadata if entry.metadata is UNSET else entry.metadata
        row = row._replace(name=name, metadata=metadata)
    old[entry.conv_id] = row
    system.conversations = list(old.values())


def _alter(
    system: System,
    conv_id: str,
    seq: SeqId,
    edited_by: SeqId = NO_SEQ,
    recalled_by: SeqId = NO_SEQ,
) -> None:
    for at, row in enumerate(system.messages):
        if (row.conv_id, row.seq) == (conv_id, seq):
            system.messages[at] = row._replace(
                entry=b"" if recalled_by else row.entry,
                edited_by=edited_by or row.edited_by,
                recalled_by=recalled_by or row.recalled_by,
            )


def _replace(system: System, document: IndexedDocument) -> None:
    for at, old in enumerate(system.documents):
        if old.id == document.id:
            system.documents[at] = document


def _recalled(entry: MessageRecalled) -> IndexedDocument:
    source = {"conv_id": entry.conv_id, "seq": entry.target, "at": entry.target_at}
    place = document_id(entry.conv_id, entry.target)
    return IndexedDocument(index_of(entry.target_at), place, entry.conv_id, source, entry.seq)


def _document(entry: MessageSent | MessageEdited, seq: int, at: int) -> IndexedDocument:
    text = entry.content.text
    source: dict[str, Any] = {
        "conv_id": entry.conv_id,
        "seq": seq,
        "sender": entry.sender,
        "at": at,
        "text": text,
    }
    if tokens := readings_of(text):
        source["tokens"] = list(tokens)
    place = document_id(entry.conv_id, SeqId(seq))
    return IndexedDocument(index_of(Milliseconds(at)), place, entry.conv_id, source, entry.seq)


def _store_sync(system: System, user: str, place: SyncSeqId, value: bytes) -> None:
    record = decode_sync_record(value)
    if isinstance(record, ReadMarked):
        mark = _take_mark(system, record.conv_id, user)
        system.read_marks.append(mark._replace(read_seq=max(record.seq, mark.read_seq or NO_SEQ)))
    elif isinstance(record, ConversationMuted):
        mark = _take_mark(system, record.conv_id, user)
        system.read_marks.append(mark._replace(muted_until=record.until))
    bucket = sync_bucket(place)
    newest = max([place, *(noted for name, noted in system.expiries if name == user)])
    system.expiries = [each for each in system.expiries if each[0] != user] + [(user, newest)]
    if (user, bucket) not in system.buckets:
        system.buckets.append((user, bucket))

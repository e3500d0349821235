"""A store and an index in memory, with what the sinks write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping

from msgspec import Raw

from backends.search_text import has_run, readings_of
from gateway.store.index_port import Hit, SearchPosition, SearchRequest
from gateway.store.store_port import (
    SLICE,
    ConversationHead,
    Expiry,
    ReadMark,
    StoredEntry,
    StoredMember,
    StoredMute,
    StoredRow,
)
from schemas.buckets import sync_bucket
from schemas.codec import encode
from schemas.errors import ServerUnavailable
from schemas.ids import uuid7
from schemas.limits import MAX_SEQ, SYNC_BUCKET
from schemas.number_types import BucketNumber, Milliseconds, SeqId, SyncSeqId
from schemas.records import FanoutMode, HistoryRule, MessageEdited, MessageSent, TextContent
from schemas.sync_rows import SyncRow, encode_row, references
from schemas.unread import Counted
from schemas.visibility import MembershipChange, Period, visible
from tests.support.gateway_devices import FakeDevices


def message(conv_id: str, seq: int, text: str = "hello", sender: str = "ann") -> MessageSent:
    """A message whose time grows with its SeqId."""
    return MessageSent(
        conv_id=conv_id,
        seq=SeqId(seq),
        sender=sender,
        client_msg_id=uuid7(seq, 0),
        at=Milliseconds(1_700_000_000_000 + seq * 1000),
        content=TextContent(text=text),
        mentions=[],
    )


def edit(conv_id: str, seq: int, target: int, text: str) -> MessageEdited:
    """An edit of `message`."""
    said = message(conv_id, seq, text)
    return MessageEdited(
        conv_id=conv_id,
        seq=SeqId(seq),
        sender=said.sender,
        client_msg_id=said.client_msg_id,
        at=said.at,
        target=SeqId(target),
        target_at=message(conv_id, target).at,
        content=said.content,
    )


def key_of(row: SyncRow) -> int:
    """The key of a row: its highest sync SeqId."""
    return references(row)[-1].sync_seq


class SyncRowWriting(ABC):
    """Writes single sync records into a store, one row for each."""

    @abstractmethod
    def put_row(self, user: str, row: SyncRow) -> None:
        """Writes a row of a sync timeline."""

    @abstractmethod
    def put_message(self, entry: MessageSent) -> None:
        """Writes a message."""

    def put_record(self, user: str, sync_seq: int, json: bytes) -> None:
        """Writes a sync record whose value is in the row itself, such as a reply."""
        self.put_row(user, SyncRow(replies={SyncSeqId(sync_seq): Raw(json)}))

    def put_reference(self, user: str, sync_seq: int, conv_id: str, seq: int) -> None:
        """Writes a reference to an entry, in a separate row. The entry is not written."""
        self.put_row(user, SyncRow(entries={conv_id: [sync_seq, seq]}))

    def put_synced(self, user: str, sync_seq: int, entry: MessageSent) -> None:
        """Writes an entry, and a reference to the entry."""
        self.put_message(entry)
        self.put_reference(user, sync_seq, entry.conv_id, entry.seq)


class FakeStore(SyncRowWriting):
    """`store_port.Store` in memory, with the write methods that the contract suite uses."""

    def __init__(self) -> None:
        self.up = True
        self.devices = FakeDevices(self._check)
        self._conversations: dict[str, ConversationHead] = {}
        self._entries: dict[tuple[str, int], StoredEntry] = {}
        self._counts: dict[tuple[str, int], int] = {}
        self._marks: dict[tuple[str, str], ReadMark] = {}
        self._changes: dict[str, dict[str, dict[int, MembershipChange]]] = defaultdict(dict)
        self._members: dict[str, dict[str, StoredMember]] = defaultdict(dict)
        self._rows: dict[str, dict[int, str]] = defaultdict(dict)
        self._expiries: dict[str, dict[int, Expiry]] = defaultdict(dict)

    def put_conversation(
        self, conv_id: str, head: int, mode: FanoutMode = "push", messages: int = 0
    ) -> None:
        """Writes the current state of a conversation."""
        self._conversations[conv_id] = ConversationHead(SeqId(head), mode, messages)

    def put_described(self, conv_id: str, about: ConversationHead) -> None:
        """Writes the whole current state of a conversation."""
        self._conversations[conv_id] = about

    def put_member(self, conv_id: str, member: StoredMember) -> None:
        """Writes the last change of a person in a conversation."""
        self._members[conv_id][member.user] = member

    def put_own(self, conv_id: str, user: str, seq: int, messages: int) -> None:
        """Writes the last own message of a person; the highest SeqId wins."""
        before = self._marks.get((conv_id, user), ReadMark())
        own = max(before.own, Counted(SeqId(seq), messages))
        self._marks[conv_id, user] = before._replace(own=own)

    def put_marked(self, conv_id: str, user: str, seq: int) -> None:
        """Writes a person's read mark; the highest SeqId wins."""
        before = self._marks.get((conv_id, user), ReadMark())
        self._marks[conv_id, user] = before._replace(marked=SeqId(max(before.marked, seq)))

    def put_muted(self, conv_id: str, user: str, sync_seq: int, until: int) -> None:
        """Writes a person's mute; the highest sync SeqId wins."""
        before = self._marks.get((conv_id, user), ReadMark())
        mute = StoredMute(Milliseconds(until), SyncSeqId(sync_seq))
        if before.mute is None or before.mute.sync_seq < sync_seq:
            self._marks[conv_id, user] = before._replace(mute=mute)

    def put_change(  # noqa: PLR0913 - one for each column
        self,
        user: str,
        conv_id: str,
        seq: int,
        *,
        joined: bool,
        history: HistoryRule = "since_join",
        messages: int = 0,
        at: int = 0,
    ) -> None:
        """Writes a change of membership."""
        change = MembershipChange(SeqId(seq), joined, history, messages, Milliseconds(at))
        self._changes[user].setdefault(conv_id, {})[seq] = change

    def put_message(self, entry: MessageSent) -> None:
        """Writes an entry."""
        stored = StoredEntry(entry.seq, "message_sent", encode(entry))
        self._entries[entry.conv_id, entry.seq] = stored
        self._counts[entry.conv_id, entry.seq] = entry.messages

    def put_edit(self, entry: MessageEdited) -> None:
        """Writes an edit, and marks it as the last edit of its message."""
        stored = StoredEntry(entry.seq, "message_edited", encode(entry))
        self._entries[entry.conv_id, entry.seq] = stored
        target = self._entries[entry.conv_id, entry.target]
        self._entries[entry.conv_id, entry.target] = target._replace(edited_by=entry.seq)

    def put_recall(self, conv_id: str, seq: int, *seqs: int) -> None:
        """Writes that entry ``seq`` recalled these messages."""
        del seq
        for each in seqs:
            before = self._entries.get((conv_id, each), StoredEntry(SeqId(each), "", b""))
            self._entries[conv_id, each] = before._replace(json=b"", is_recalled=True)

    def put_row(self, user: str, row: SyncRow) -> None:
        """Writes a row of a sync timeline."""
        self._rows[user][key_of(row)] = encode_row(row).decode()

    def drop_record(self, user: str, sync_seq: int) -> None:
        """Removes a row with one record, as its expiry does."""
        self._rows[user].pop(sync_seq, None)

    def put_expiry(self, user: str, since: int, until: int, newest: int) -> None:
        """Writes how long records are retained; the highest ``newest`` of an interval wins."""
        notes = self._expiries[user]
        if since not in notes or notes[since].newest < newest:
            notes[since] = Expiry(since, until, SyncSeqId(newest))

    async def conversation(self, conv_id: str) -> ConversationHead | None:
        """See `Store`."""
        self._check()
        return self._conversations.get(conv_id)

    async def changes(self, user: str, conv_id: str) -> list[MembershipChange]:
        """See `Store`."""
        return (await self.all_changes(user)).get(conv_id, [])

    async def all_changes(self, user: str) -> dict[str, list[MembershipChange]]:
        """See `Store`."""
        self._check()
        return {c: sorted(found.values()) for c, found in sorted(self._changes[user].items())}

    async def conversation_ids(self, user: str, after: str, limit: int) -> list[str]:
        """See `Store`."""
        self._check()
        return sorted(conv_id for conv_id in self._changes[user] if conv_id > after)[:limit]

    async def activities(self, user: str, most: int) -> dict[str, int] | None:
        """See `Store`."""
        found = await self.all_changes(user)
        if sum(map(len, found.values())) > most:
            return None
        return {conv_id: self._activity(conv_id, each[-1]) for conv_id, each in found.items()}

    def _activity(self, conv_id: str, last: MembershipChange) -> int:
        about = self._conversations.get(conv_id)
        return about.at if last.joined and about else last.at

    async def members(self, conv_id: str, after: str, limit: int) -> list[StoredMember]:
        """See `Store`."""
        self._check()
        there = sorted(self._members[conv_id].values())
        return [member for member in there if member.user > after][:limit]

    async def messages_up_to(self, conv_id: str, seq: SeqId) -> int:
        """See `Store`."""
        self._check()
        return self._counts.get((conv_id, seq), 0)

    async def read_mark(self, conv_id: str, user: str) -> ReadMark:
        """See `Store`."""
        self._check()
        return self._marks.get((conv_id, user), ReadMark())

    async def entries(self, conv_id: str, first: SeqId, last: SeqId) -> list[StoredEntry]:
        """See `Store`."""
        self._check()
        assert last - first < SLICE
        keys = ((conv_id, seq) for seq in range(first, last + 1))
        return [self._entries[key] for key in keys if key in self._entries]

    async def chosen_entries(self, conv_id: str, seqs: list[SeqId]) -> list[StoredEntry]:
        """See `Store`."""
        self._check()
        assert len(seqs) <= SLICE
        return [self._entries[conv_id, seq] for seq in seqs if (conv_id, seq) in self._entries]

    async def entries_of(self, chosen: Mapping[str, list[SeqId]]) -> dict[str, list[StoredEntry]]:
        """See `Store`."""
        return {c: await self.chosen_entries(c, seqs) for c, seqs in chosen.items()}

    async def sync_buckets(self, user: str, first: BucketNumber, limit: int) -> list[BucketNumber]:
        """See `Store`."""
        self._check()
        buckets = {sync_bucket(SyncSeqId(sync_seq)) for sync_seq in self._rows[user]}
        return sorted(bucket for bucket in buckets if bucket >= first)[:limit]

    async def sync_rows(
        self, user: str, bucket: BucketNumber, after: SyncSeqId, limit: int
    ) -> list[StoredRow]:
        """See `Store`."""
        self._check()
        assert limit <= SLICE
        return [
            StoredRow(SyncSeqId(sync_seq), json)
            for sync_seq, json in sorted(self._rows[user].items())
            if sync_seq // SYNC_BUCKET == bucket and sync_seq > after
        ][:limit]

    async def sync_buckets_back(
        self, user: str, last: BucketNumber, limit: int
    ) -> list[BucketNumber]:
        """See `Store`."""
        there = await self.sync_buckets(user, BucketNumber(0), MAX_SEQ)
        return [bucket for bucket in reversed(there) if bucket <= last][:limit]

    async def sync_rows_back(
        self, user: str, bucket: BucketNumber, before: SyncSeqId, limit: int
    ) -> list[StoredRow]:
        """See `Store`."""
        self._check()
        assert limit <= SLICE
        return [
            StoredRow(SyncSeqId(sync_seq), json)
            for sync_seq, json in sorted(self._rows[user].items(), reverse=True)
            if sync_seq // SYNC_BUCKET == bucket and sync_seq < before
        ][:limit]

    async def expiries(self, user: str, limit: int) -> list[Expiry]:
        """See `Store`."""
        self._check()
        return sorted(self._expiries[user].values(), reverse=True)[:limit]

    async def reachable(self) -> bool:
        """See `Store`."""
        return self.up

    def _check(self) -> None:
        if not self.up:
            raise ServerUnavailable("switched off by the test")


class FakeIndex:
    """`gateway.reads.search.Index` in memory: matches terms as Elasticsearch does."""

    def __init__(self) -> None:
        self.up = True
        self.messages: list[MessageSent] = []
        self.versions: dict[tuple[str, int], int] = {}

    async def newest(
        self,
        asked: SearchRequest,
        scope: dict[str, list[Period]],
        below: SearchPosition | None,
        limit: int,
    ) -> list[Hit]:
        """See `Index`. The version of a message is its own, unless ``versions`` has another."""
        if not self.up:
            raise ServerUnavailable("switched off by the test")
        found = [
            SearchPosition(message.at, message.conv_id, message.seq)
            for message in self.messages
            if visible(scope.get(message.conv_id, []), message.seq)
            and asked.sender in {None, message.sender}
            and all(has_run(readings_of(message.content.text), term) for term in asked.query.terms)
        ]
        found.sort(key=SearchPosition.sort_key)
        after = [p for p in found if below is None or p.sort_key() > below.sort_key()][:limit]
        return [Hit(p, SeqId(self.versions.get((p.conv_id, p.seq), p.seq))) for p in after]

    async def reachable(self) -> bool:
        """See `Index`."""
        return self.up

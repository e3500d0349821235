"""The store on Cassandra."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from backends.cassandra.memberships import user_bucket
from gateway.store.cassandra_devices import CassandraDevices, DeviceQuery
from gateway.store.cassandra_queries import CassandraQueries, Rows
from gateway.store.store_port import (
    ConversationHead,
    Expiry,
    ReadMark,
    StoredEntry,
    StoredMember,
    StoredRow,
)
from gateway.store.stored_rows import (
    changes_by_conversation,
    changes_of,
    read_mark_of,
    stored_entries,
    stored_sync_rows,
)
from schemas.buckets import message_bucket
from schemas.errors import ServerUnavailable
from schemas.limits import MEMBER_BUCKETS, USER_BUCKETS
from schemas.number_types import BucketNumber, SeqId, SyncSeqId
from schemas.settings import Settings
from schemas.visibility import MembershipChange

REACHABLE_SECONDS: Final = 2.0
_CHANGES: Final = 5_000
"""Membership rows in one response, some 100 bytes each."""

_BUCKETS: Final = [BucketNumber(number) for number in range(USER_BUCKETS)]
_MEMBER_BUCKETS: Final = [BucketNumber(number) for number in range(MEMBER_BUCKETS)]

_TIMES_AT_ONCE: Final = 100
"""Conversations in one query for times: a query for each takes most of a page's time in the
driver."""


class _Read(Enum):
    CONVERSATION = (
        "SELECT head, mode, messages, at, owner, member_count, name, metadata FROM conversation"
        " WHERE conv_id = ?"
    )
    TIMES = "SELECT conv_id, at FROM conversation WHERE conv_id IN ?"
    MEMBERS = (
        "SELECT user_id, seq, joined, at FROM membership_by_conversation"
        " WHERE conv_id = ? AND bucket IN ? AND user_id > ? PER PARTITION LIMIT ?"
    )
    CHANGES = (
        "SELECT place, seq, since, joined, history_rule, messages, at FROM membership_by_user"
        " WHERE user_id = ? AND bucket = ? AND conv_id = ?"
    )
    ALL_CHANGES = (
        "SELECT conv_id, place, seq, since, joined, history_rule, messages, at"
        " FROM membership_by_user WHERE user_id = ? AND bucket IN ? LIMIT ?"
    )
    MORE_CHANGES = (
        "SELECT conv_id, place, seq, since, joined, history_rule, messages, at"
        " FROM membership_by_user"
        " WHERE user_id = ? AND bucket = ? AND (conv_id, place) > (?, ?) LIMIT ?"
    )
    CONVERSATION_IDS = (
        "SELECT conv_id FROM membership_by_user"
        " WHERE user_id = ? AND bucket IN ? AND conv_id > ?"
        " GROUP BY user_id, bucket, conv_id PER PARTITION LIMIT ?"
    )
    COUNT = "SELECT messages FROM message WHERE conv_id = ? AND bucket = ? AND seq = ?"
    READ_MARK = (
        "SELECT own_seq, own_messages, read_seq, muted_until, WRITETIME(muted_until)"
        " FROM read_mark WHERE conv_id = ? AND user_id = ?"
    )
    ENTRIES = (
        "SELECT seq, kind, entry, edited_by, recalled_by FROM message"
        " WHERE conv_id = ? AND bucket = ? AND seq >= ? AND seq <= ?"
    )
    CHOSEN_ENTRIES = (
        "SELECT seq, kind, entry, edited_by, recalled_by FROM message"
        " WHERE conv_id = ? AND bucket = ? AND seq IN ?"
    )
    SYNC_BUCKETS = "SELECT bucket FROM sync_bucket WHERE user_id = ? AND bucket >= ? LIMIT ?"
    SYNC_BUCKETS_BACK = (
        "SELECT bucket FROM sync_bucket"
        " WHERE user_id = ? AND bucket <= ? ORDER BY bucket DESC LIMIT ?"
    )
    SYNC_ROWS_BACK = (
        "SELECT sync_seq, records FROM sync"
        " WHERE user_id = ? AND bucket = ? AND sync_seq < ? ORDER BY sync_seq DESC LIMIT ?"
    )
    SYNC_ROWS = (
        "SELECT sync_seq, records FROM sync"
        " WHERE user_id = ? AND bucket = ? AND sync_seq > ? LIMIT ?"
    )
    EXPIRIES = (
        "SELECT since, until, newest, toUnixTimestamp(now()) FROM sync_expiry"
        " WHERE user_id = ? ORDER BY since DESC LIMIT ?"
    )


class CassandraStore:
    """`store_port.Store` on Cassandra. `CassandraQueries` describes the connection."""

    def __init__(self, settings: Settings) -> None:
        self._queries = CassandraQueries(settings, itertools.chain(_Read, DeviceQuery))
        self.devices = CassandraDevices(self._queries)

    def start(self) -> None:
        """Starts to connect."""
        self._queries.start()

    async def stop(self) -> None:
        """Closes the session. Waits for the end of its thread within a bound."""
        await self._queries.stop()

    async def conversation(self, conv_id: str) -> ConversationHead | None:
        """See `Store`."""
        rows = await self._read(_Read.CONVERSATION, conv_id)
        if not rows:
            return None
        ((head, mode, messages, at, owner, count, name, metadata),) = rows
        return ConversationHead(
            head, mode, messages or 0, at or 0, owner or "", count, name or "", metadata or ""
        )

    async def changes(self, user: str, conv_id: str) -> list[MembershipChange]:
        """See `Store`."""
        return changes_of(await self._read(_Read.CHANGES, user, user_bucket(conv_id), conv_id))

    async def all_changes(self, user: str) -> dict[str, list[MembershipChange]]:
        """See `Store`. Mostly one query: 32 take 32 times the work of the driver."""
        rows = await self._read(_Read.ALL_CHANGES, user, _BUCKETS, _CHANGES)
        if len(rows) < _CHANGES:
            return changes_by_conversation(rows)
        parts = await asyncio.gather(*(self._changes_in(user, bucket) for bucket in _BUCKETS))
        return {conv_id: changes for part in parts for conv_id, changes in part.items()}

    async def _changes_in(
        self, user: str, bucket: BucketNumber
    ) -> dict[str, list[MembershipChange]]:
        all_rows: Rows = []
        behind: tuple[str, int] = ("", -1)
        while rows := await self._read(_Read.MORE_CHANGES, user, bucket, *behind, _CHANGES):
            all_rows += rows
            if len(rows) < _CHANGES:
                break
            conv_id, place, *_ = rows[-1]
            behind = (conv_id, place)
        return changes_by_conversation(all_rows)

    async def conversation_ids(self, user: str, after: str, limit: int) -> list[str]:
        """See `Store`."""
        rows = await self._read(_Read.CONVERSATION_IDS, user, _BUCKETS, after, limit)
        return sorted(conv_id for (conv_id,) in rows)[:limit]

    async def activities(self, user: str, most: int) -> dict[str, int] | None:
        """See `Store`. Reads the times of `_TIMES_AT_ONCE` conversations in one query."""
        rows = await self._read(_Read.ALL_CHANGES, user, _BUCKETS, most + 1)
        if len(rows) > most:
            return None
        last = {c: changes[-1] for c, changes in changes_by_conversation(rows).items() if changes}
        times = {c: change.at for c, change in last.items()}
        present = [c for c, change in last.items() if change.joined]
        starts = range(0, len(present), _TIMES_AT_ONCE)
        asked = [(present[start : start + _TIMES_AT_ONCE],) for start in starts]
        for part in await self._read_all(_Read.TIMES, asked):
            times |= {conv_id: at or 0 for conv_id, at in part}
        return times

    async def members(self, conv_id: str, after: str, limit: int) -> list[StoredMember]:
        """See `Store`."""
        rows = await self._read(_Read.MEMBERS, conv_id, _MEMBER_BUCKETS, after, limit)
        members = (StoredMember(user, seq, joined, at or 0) for user, seq, joined, at in rows)
        return sorted(members)[:limit]

    async def messages_up_to(self, conv_id: str, seq: SeqId) -> int:
        """See `Store`."""
        rows = await self._read(_Read.COUNT, conv_id, message_bucket(seq), seq)
        for (messages,) in rows:
            return messages or 0
        return 0

    async def read_mark(self, conv_id: str, user: str) -> ReadMark:
        """See `Store`."""
        return read_mark_of(await self._read(_Read.READ_MARK, conv_id, user))

    async def entries(self, conv_id: str, first: SeqId, last: SeqId) -> list[StoredEntry]:
        """See `Store`."""
        buckets = range(message_bucket(first), message_bucket(last) + 1)
        reads = (self._read(_Read.ENTRIES, conv_id, bucket, first, last) for bucket in buckets)
        return stored_entries(await asyncio.gather(*reads))

    async def chosen_entries(self, conv_id: str, seqs: list[SeqId]) -> list[StoredEntry]:
        """See `Store`."""
        return (await self.entries_of({conv_id: seqs}))[conv_id]

    async def entries_of(self, chosen: Mapping[str, list[SeqId]]) -> dict[str, list[StoredEntry]]:
        """See `Store`."""
        by_partition: defaultdict[tuple[str, BucketNumber], list[SeqId]] = defaultdict(list)
        for conv_id, seqs in chosen.items():
            for seq in seqs:
                by_partition[conv_id, message_bucket(seq)].append(seq)
        asked = [(*partition, seqs) for partition, seqs in by_partition.items()]
        entries: dict[str, list[StoredEntry]] = {conv_id: [] for conv_id in chosen}
        parts = await self._read_all(_Read.CHOSEN_ENTRIES, asked)
        for (conv_id, *_), rows in zip(asked, parts, strict=True):
            entries[conv_id] += stored_entries([rows])
        return entries

    async def sync_buckets(self, user: str, first: BucketNumber, limit: int) -> list[BucketNumber]:
        """See `Store`."""
        rows = await self._read(_Read.SYNC_BUCKETS, user, first, limit)
        return [bucket for (bucket,) in rows]

    async def sync_rows(
        self, user: str, bucket: BucketNumber, after: SyncSeqId, limit: int
    ) -> list[StoredRow]:
        """See `Store`."""
        return stored_sync_rows(await self._read(_Read.SYNC_ROWS, user, bucket, after, limit))

    async def sync_buckets_back(
        self, user: str, last: BucketNumber, limit: int
    ) -> list[BucketNumber]:
        """See `Store`."""
        rows = await self._read(_Read.SYNC_BUCKETS_BACK, user, last, limit)
        return [bucket for (bucket,) in rows]

    async def sync_rows_back(
        self, user: str, bucket: BucketNumber, before: SyncSeqId, limit: int
    ) -> list[StoredRow]:
        """See `Store`."""
        return stored_sync_rows(
            await self._read(_Read.SYNC_ROWS_BACK, user, bucket, before, limit)
        )

    async def expiries(self, user: str, limit: int) -> list[Expiry]:
        """See `Store`. Converts the times from Cassandra's clock to the gateway's clock."""
        rows = await self._read(_Read.EXPIRIES, user, limit)
        now = time.time()
        return [
            Expiry(since + ahead, until + ahead, newest)
            for since, until, newest, store_ms in rows
            for ahead in [round(now - store_ms / 1000)]
        ]

    async def reachable(self) -> bool:
        """See `Store`."""
        try:
            async with asyncio.timeout(REACHABLE_SECONDS):
                await self.conversation("-")
        except (ServerUnavailable, TimeoutError):
            return False
        return True

    async def _read(self, read: _Read, *parameters: object) -> Rows:
        return await self._queries.run(read, *parameters)

    async def _read_all(self, read: _Read, asked: Sequence[tuple[object, ...]]) -> list[Rows]:
        return await self._queries.run_all(read, asked)

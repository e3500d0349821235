"""The gateway's reads of the store, as a port. `gateway.store.cassandra_store` implements it.

A method returns the data that was durable at some instant between its call and its return. The
instants of several conversations in one call may differ. So the second of two successive calls
returns data that is at least as new. `gateway.reads.access` relies on this, and on the order of
the message sink's writes: first changes of membership, then messages and the read marks of their
senders, then the head. `gateway.reads.sync_page` relies on the order of the sync sink: a row of a
recipient becomes durable after all records below the row, and a bucket gets rows after all buckets
below it are listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from gateway.store.device_port import DeviceStore
from schemas.number_types import NO_SEQ, BucketNumber, Milliseconds, SeqId, SyncSeqId
from schemas.records import FanoutMode
from schemas.unread import Counted
from schemas.visibility import MembershipChange

SLICE: Final = 100
"""Entries, or rows of a sync timeline, in one result of the store: 100 entries of at most 9 KB are
1 MB."""


MAX_SORTED: Final = 5_000
"""Joins and leaves of a person whose conversations are sorted by activity."""


class ConversationHead(NamedTuple):
    """The state of a conversation. All entries up to SeqId ``head`` are sequenced and stored.

    ``messages``: the number of messages among them. ``at``: the time of the head in milliseconds
    since 1970, 0 if an early version stored the head. ``member_count`` is None if no entry has
    counted the members. ``name`` and ``metadata`` are empty if there is none.
    """

    head: SeqId
    mode: FanoutMode
    messages: int = 0
    at: int = 0
    owner: str = ""
    member_count: int | None = None
    name: str = ""
    metadata: str = ""


class StoredMember(NamedTuple):
    """A person who is or was a member, by the last entry that added or removed them.

    ``at``: the time of the entry in milliseconds since 1970.
    """

    user: str
    seq: int
    joined: bool
    at: int


class StoredMute(NamedTuple):
    """A person's mute of a conversation: its end in milliseconds since 1970, and its record."""

    until: Milliseconds
    sync_seq: SyncSeqId


class ReadMark(NamedTuple):
    """The parts of a person's read mark, except the person's joins and leaves.

    ``own`` is the person's own last message, ``marked`` the SeqId that the person's devices have
    marked. Zero if there is none. ``mute`` is the last mute of the person.
    """

    own: Counted = Counted(NO_SEQ, 0)
    marked: SeqId = NO_SEQ
    mute: StoredMute | None = None


class StoredEntry(NamedTuple):
    """One entry of a conversation timeline; ``json`` is the entry as it was sequenced.

    ``edited_by``: the SeqId of its last edit. A recalled entry has only its SeqId.
    """

    seq: SeqId
    kind: str
    json: bytes
    edited_by: SeqId | None = None
    is_recalled: bool = False


class StoredRow(NamedTuple):
    """One row of a sync timeline, in the encoding of `schemas.sync_rows`.

    The row has all records of the recipient above the previous row and up to ``sync_seq``, and
    perhaps earlier ones: `gateway.reads.sync_merge` reads overlapping rows.
    """

    sync_seq: SyncSeqId
    json: str


class Expiry(NamedTuple):
    """Records up to ``newest``, of the interval from ``since``, are stored until ``until``.

    Times are seconds since 1970. A replayed record gets a later note as well. The skip note
    (`schemas.lifetime`) is the latest note of all, and its records have expired.
    """

    since: int
    until: int
    newest: SyncSeqId


class Store(Protocol):
    """Reads of the store. Each raises `ServerUnavailable` if the store does not answer in time."""

    @property
    def devices(self) -> DeviceStore:
        """The store of devices."""

    async def conversation(self, conv_id: str) -> ConversationHead | None:
        """The conversation of this id, or None if nobody created it."""

    async def changes(self, user: str, conv_id: str) -> list[MembershipChange]:
        """The joins and leaves of ``user`` in one conversation, by SeqId."""

    async def all_changes(self, user: str) -> dict[str, list[MembershipChange]]:
        """The same for every conversation of which ``user`` is or was a member, by its id."""

    async def conversation_ids(self, user: str, after: str, limit: int) -> list[str]:
        """Conversations of which ``user`` is or was a member: ``limit`` ids above ``after``."""

    async def activities(self, user: str, most: int) -> dict[str, int] | None:
        """The time of the last entry of each conversation of which ``user`` is or was a member.

        In milliseconds since 1970, and 0 if the time is not stored. For a former member, the time
        of the last leave. None if the person has more than ``most`` joins and leaves, so that the
        work is bounded. The times are for sorting: a person who is removed during the call may
        get the time of a later entry.
        """

    async def members(self, conv_id: str, after: str, limit: int) -> list[StoredMember]:
        """People who are or were members: ``limit`` ids above ``after``, in order."""

    async def messages_up_to(self, conv_id: str, seq: SeqId) -> int:
        """The number of messages up to a stored entry, also for a recalled entry."""

    async def read_mark(self, conv_id: str, user: str) -> ReadMark:
        """The read mark of ``user``.

        It includes all own messages up to a head that the caller read earlier.
        """

    async def entries(self, conv_id: str, first: SeqId, last: SeqId) -> list[StoredEntry]:
        """The stored ones of the entries ``first`` to ``last``, by SeqId.

        The two are at most `SLICE` - 1 apart, so that the result is bounded.
        """

    async def chosen_entries(self, conv_id: str, seqs: list[SeqId]) -> list[StoredEntry]:
        """The stored ones of at most `SLICE` chosen entries, in any order."""

    async def entries_of(self, chosen: Mapping[str, list[SeqId]]) -> dict[str, list[StoredEntry]]:
        """The stored ones of the chosen entries, by conversation; at most `SLICE` of each.

        Reads few conversations at a time, for any number of conversations.
        """

    async def sync_buckets(self, user: str, first: BucketNumber, limit: int) -> list[BucketNumber]:
        """Buckets in which ``user`` has sync records: the first ``limit`` from ``first`` on."""

    async def sync_rows(
        self, user: str, bucket: BucketNumber, after: SyncSeqId, limit: int
    ) -> list[StoredRow]:
        """Rows of one bucket above ``after``: the first ``limit``, at most `SLICE`, ascending."""

    async def sync_buckets_back(
        self, user: str, last: BucketNumber, limit: int
    ) -> list[BucketNumber]:
        """The same downwards: the first ``limit`` from ``last`` on, in descending order."""

    async def sync_rows_back(
        self, user: str, bucket: BucketNumber, before: SyncSeqId, limit: int
    ) -> list[StoredRow]:
        """Rows of one bucket below ``before``: the last ``limit``, at most `SLICE`, descending."""

    async def expiries(self, user: str, limit: int) -> list[Expiry]:
        """The notes on the expiry of the sync records of ``user``: ``limit``, latest first."""

    async def reachable(self) -> bool:
        """Whether the store answers reads now. Raises nothing."""

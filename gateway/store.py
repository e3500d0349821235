"""What the gateway reads from the store, as a port. Cassandra is behind it.

A method returns what is durable at some instant between its call and its return; what it returns
of several conversations, that of each at an instant of its own. The order of two calls is
therefore the order of what they saw, and `gateway.access` relies on it. So it does on what the
sinks do in this order: changes of membership, then messages and that their senders have read them,
then the head. `gateway.sync` relies on the order of the sync sink: a row of a recipient is durable
after all records below the row are, and a bucket has rows after all buckets below it are listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol, TypeAlias

from gateway.device_store import DeviceStore
from schemas import visibility
from schemas.records import FanoutMode
from schemas.unread import Counted

SLICE: Final = 100
"""Entries, or rows of a sync timeline, in one answer of the store: 100 entries of at most 9 KB are
1 MB."""

Change: TypeAlias = visibility.Change
"""A join or a leave. With a join comes what it lets the person read, in the same row: a reader who
knows of one knows of the other."""


class Conversation(NamedTuple):
    """What a conversation is now. All up to SeqId ``head`` has been sequenced and stored.

    ``messages``: so many of them are messages.
    """

    head: int
    mode: FanoutMode
    messages: int = 0


class ReadMark(NamedTuple):
    """Up to where somebody has read a conversation, beside where they joined it.

    ``own`` is their own last message, ``marked`` the SeqId that their devices have marked. Zeros
    if there is none.
    """

    own: Counted = Counted(0, 0)
    marked: int = 0


class StoredEntry(NamedTuple):
    """One entry of a conversation timeline; ``json`` is it, as it was sequenced.

    ``edited_by``: the SeqId of its last edit. Of a recalled one nothing is left but its SeqId.
    """

    seq: int
    kind: str
    json: bytes
    edited_by: int | None = None
    is_recalled: bool = False


class StoredRow(NamedTuple):
    """One row of a sync timeline, encoded as `schemas.sync_rows` says.

    The row holds all records of the recipient above the row before it and up to ``sync_seq``, and
    perhaps earlier ones: `gateway.sync_merge` reads rows that overlap.
    """

    sync_seq: int
    json: str


class Expiry(NamedTuple):
    """From ``since`` on, a slot long, records up to ``newest`` came; all are kept to ``until``.

    Times are seconds since 1970. A replayed record gets a later note as well. The skip note
    (`schemas.lifetime`) is the latest note of all, and its time is over.
    """

    since: int
    until: int
    newest: int


class Store(Protocol):
    """Reads of the store. Each raises `ServerUnavailable` when it does not answer in time."""

    @property
    def devices(self) -> DeviceStore:
        """What it keeps of devices."""

    async def conversation(self, conv_id: str) -> Conversation | None:
        """The conversation of this id, or None if nobody created it."""

    async def changes(self, user: str, conv_id: str) -> list[Change]:
        """What happened to the membership of ``user`` in one conversation, by SeqId."""

    async def all_changes(self, user: str) -> dict[str, list[Change]]:
        """The same for every conversation that ``user`` was ever in, by its id."""

    async def conversation_ids(self, user: str, after: str, limit: int) -> list[str]:
        """Conversations that ``user`` was ever in: the first ``limit`` ids above ``after``."""

    async def messages_up_to(self, conv_id: str, seq: int) -> int:
        """How many messages there are up to an entry that is there, also if it was recalled."""

    async def read_mark(self, conv_id: str, user: str) -> ReadMark:
        """How far ``user`` has read. Has all that they said up to a head that was read before."""

    async def entries(self, conv_id: str, first: int, last: int) -> list[StoredEntry]:
        """The entries ``first`` to ``last`` that are there, by SeqId.

        The two are at most `SLICE` - 1 apart, so that the answer is bounded.
        """

    async def chosen_entries(self, conv_id: str, seqs: list[int]) -> list[StoredEntry]:
        """Those of at most `SLICE` entries that are there, in any order."""

    async def entries_of(self, chosen: Mapping[str, list[int]]) -> dict[str, list[StoredEntry]]:
        """By conversation those of its chosen entries that are there; at most `SLICE` of each.

        Reads few conversations at a time, however many are chosen.
        """

    async def sync_buckets(self, user: str, first: int, limit: int) -> list[int]:
        """Buckets in which ``user`` has sync records: the first ``limit`` from ``first`` on."""

    async def sync_rows(self, user: str, bucket: int, after: int, limit: int) -> list[StoredRow]:
        """Rows of one bucket above ``after``: the first ``limit``, at most `SLICE`, ascending."""

    async def sync_buckets_back(self, user: str, last: int, limit: int) -> list[int]:
        """The same downwards: the first ``limit`` from ``last`` on, in descending order."""

    async def sync_rows_back(
        self, user: str, bucket: int, before: int, limit: int
    ) -> list[StoredRow]:
        """Rows of one bucket below ``before``: the last ``limit``, at most `SLICE`, descending."""

    async def expiries(self, user: str, limit: int) -> list[Expiry]:
        """How long the sync records of ``user`` are kept: the last ``limit``, latest first."""

    async def reachable(self) -> bool:
        """Whether a read would be answered now. Raises nothing."""

"""Where the audit gets what it compares: the port, behind which there are servers or lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from backends.sync_layout import SyncShards
from ops.verify.index import Document
from ops.verify.input import InputRecord, Letter
from ops.verify.log import KafkaRecord
from ops.verify.marks import ReadMarkRow
from ops.verify.membership import MembershipRow
from ops.verify.store import ConversationRow, MessageRow
from ops.verify.sync_buckets import BucketRow
from ops.verify.sync_expiry import ExpiryRow
from ops.verify.sync_store import StoredRow
from ops.verify.topics import Span
from schemas.limits import Limits

Stage: TypeAlias = Literal["sink-message", "sink-search", "sink-sync"]


class Sources(Protocol):
    """All places of one deployment. Any method may raise `ServerUnavailable`."""

    def limits(self) -> Limits:
        """The present settings of the sequencer."""

    def timeline_spans(self) -> list[Span]:
        """What of ``im.timeline`` is committed now."""

    def timeline(self, spans: Sequence[Span]) -> Iterable[KafkaRecord]:
        """Its records."""

    def input_spans(self) -> list[Span]:
        """What of ``im.messages`` is there and was sequenced, as of now.

        The end is the committed offset, `NO_POSITION` where there is none.
        """

    def input(self, spans: Sequence[Span]) -> Iterable[InputRecord]:
        """The records of some partitions of ``im.messages``, those of each in their order."""

    def letters(self) -> Iterable[Letter]:
        """The dead letters about records of ``im.messages``."""

    def sync_shards(self) -> SyncShards:
        """Which shards there are."""

    def sync_spans(self) -> list[Span]:
        """What of each shard is written now; waits for the transactions that are open."""

    def sync(self, spans: Sequence[Span]) -> Iterable[KafkaRecord]:
        """The records of some shards, those of each in their order."""

    def sync_at(
        self, partition: int, offsets: Sequence[int]
    ) -> Mapping[int, tuple[bytes | None, bytes | None]]:
        """(key, value) of some records of a shard, again."""

    def behind(self, stage: Stage, last_offsets: Mapping[int, int]) -> int:
        """Waits, within a bound, for a sink; returns how many offsets it is behind after that."""

    def messages(self) -> Iterable[MessageRow]:
        """The table."""

    def conversations(self) -> Iterable[ConversationRow]:
        """The table."""

    def membership_by_user(self) -> Iterable[MembershipRow]:
        """The table."""

    def membership_by_conversation(self) -> Iterable[MembershipRow]:
        """The table."""

    def sync_rows(self) -> Iterable[StoredRow]:
        """The table; the rows of a recipient and bucket together, in the order of keys."""

    def sync_buckets(self) -> Iterable[BucketRow]:
        """The table."""

    def sync_expiries(self) -> Iterable[ExpiryRow]:
        """The table ``sync_expiry`` without skip notes."""

    def skip_notes(self) -> Iterable[ExpiryRow]:
        """The skip notes in the table ``sync_expiry``."""

    def read_marks(self) -> Iterable[ReadMarkRow]:
        """The table."""

    def documents(self) -> Iterable[Document]:
        """All of the index."""

    def index_of(self, at: int) -> str:
        """The index of a message of that time (ms)."""

    def expired_before(self) -> int:
        """Sync records of an earlier time (ms) may have left the store, or do so meanwhile."""

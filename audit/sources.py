"""The port for the data that an audit compares: real servers, or lists in tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from audit.index import IndexedDocument
from audit.input_records import InputLetter, InputRecord
from audit.log import KafkaRecord
from audit.member_rows import MembershipRow
from audit.read_marks import ReadMarkRow
from audit.store import ConversationRow, MessageRow
from audit.sync_buckets import BucketRow
from audit.sync_expiry import ExpiryRow
from audit.sync_store import AuditedSyncRow
from audit.topic_readers import OffsetSpan
from backends.sync_layout.layouts import SyncShards
from schemas.limits import Limits
from schemas.number_types import Milliseconds, Offset

SinkName: TypeAlias = Literal["sink-message", "sink-search", "sink-sync"]


class Sources(Protocol):
    """All data of one deployment. Any method may raise `ServerUnavailable`."""

    def limits(self) -> Limits:
        """The present settings of the sequencer."""

    def timeline_spans(self) -> list[OffsetSpan]:
        """The committed offsets of ``im.timeline``, as of now."""

    def timeline(self, spans: Sequence[OffsetSpan]) -> Iterable[KafkaRecord]:
        """The records of ``im.timeline``, in order within each partition."""

    def input_spans(self) -> list[OffsetSpan]:
        """The retained and sequenced offsets of ``im.messages``, as of now.

        The end is the sequencer's committed offset; `NO_POSITION` if there is none.
        """

    def input(self, spans: Sequence[OffsetSpan]) -> Iterable[InputRecord]:
        """The records of some partitions of ``im.messages``, in order within each partition."""

    def letters(self) -> Iterable[InputLetter]:
        """The dead letters of records of ``im.messages``."""

    def sync_shards(self) -> SyncShards:
        """The existing shards."""

    def sync_spans(self) -> list[OffsetSpan]:
        """The written offsets of each shard, as of now. Waits for the open transactions to end."""

    def sync(self, spans: Sequence[OffsetSpan]) -> Iterable[KafkaRecord]:
        """The records of some shards, in order within each shard."""

    def sync_at(
        self, partition: int, offsets: Sequence[Offset]
    ) -> Mapping[Offset, tuple[bytes | None, bytes | None]]:
        """(key, value) by offset, for single records of a shard."""

    def behind(self, stage: SinkName, last_offsets: Mapping[int, Offset]) -> int:
        """The lag of a sink in offsets, after a bounded wait for the lag to become 0."""

    def messages(self) -> Iterable[MessageRow]:
        """The rows of the table ``message``."""

    def conversations(self) -> Iterable[ConversationRow]:
        """The rows of the table ``conversation``."""

    def membership_by_user(self) -> Iterable[MembershipRow]:
        """The rows of the table ``membership_by_user``."""

    def membership_by_conversation(self) -> Iterable[MembershipRow]:
        """The rows of the table ``membership_by_conversation``."""

    def sync_rows(self) -> Iterable[AuditedSyncRow]:
        """The rows of ``sync``. Rows of a recipient and bucket are adjacent, in order of key."""

    def sync_buckets(self) -> Iterable[BucketRow]:
        """The rows of the table ``sync_bucket``."""

    def sync_expiries(self) -> Iterable[ExpiryRow]:
        """The rows of the table ``sync_expiry``."""

    def read_marks(self) -> Iterable[ReadMarkRow]:
        """The rows of the table ``read_mark``."""

    def documents(self) -> Iterable[IndexedDocument]:
        """All documents of the index."""

    def index_of(self, at: Milliseconds) -> str:
        """The index for a message of that time (ms)."""

    def expired_before(self) -> Milliseconds:
        """Sync records before this time (ms) may have expired in the store, or may soon expire."""

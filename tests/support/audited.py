"""A whole deployment as lists: built in the obvious way, to be audited and to be damaged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final, TypeVar

from audit.audit import audit
from audit.index import IndexedDocument
from audit.input_records import InputLetter, InputRecord
from audit.log import KafkaRecord
from audit.member_rows import MembershipRow
from audit.read_marks import ReadMarkRow
from audit.report import AuditReport
from audit.sources import SinkName, Sources
from audit.store import ConversationRow, MessageRow
from audit.sync_buckets import BucketRow
from audit.sync_expiry import ExpiryRow
from audit.sync_store import AuditedSyncRow
from audit.topic_readers import OffsetSpan
from backends.sync_layout.layouts import SyncShards
from schemas.codec import decode_entry
from schemas.lifetime import SKIPPED_SINCE
from schemas.limits import Limits
from schemas.number_types import EpochNumber, Milliseconds, Offset, ShardNumber, SyncSeqId
from tests.support.placing import TIMELINE_PARTITIONS, in_one_epoch
from tests.support.sequencing import SMALL_LIMITS

RecordT = TypeVar("RecordT", KafkaRecord, InputRecord)

JUMP_AFTER: Final = 4


def index_of(at: Milliseconds) -> str:
    """The index of a message: a new index for every ten units of the message's time."""
    return f"messages-{at // 10}"


@dataclass
class System:
    """The content of every topic, table and index. `system_of` builds a consistent one.

    ``sync``: the partition of its records is the number of a shard. ``grown``: the records that
    are appended to the timeline during the audit. ``lows``: the first retained offset, by shard.
    ``lags``: the lag of a sink. ``input_lows``: as ``lows``, for ``im.messages``. ``done``: the
    committed offsets of the sequencer that are not the ends of their partitions.
    """

    input: list[InputRecord] = field(default_factory=list)
    letters: list[InputLetter] = field(default_factory=list)
    timeline: list[KafkaRecord] = field(default_factory=list)
    sync: list[KafkaRecord] = field(default_factory=list)
    messages: list[MessageRow] = field(default_factory=list)
    conversations: list[ConversationRow] = field(default_factory=list)
    by_user: list[MembershipRow] = field(default_factory=list)
    places: dict[tuple[object, ...], MembershipRow] = field(default_factory=dict)
    by_conversation: list[MembershipRow] = field(default_factory=list)
    documents: list[IndexedDocument] = field(default_factory=list)
    sync_rows: list[AuditedSyncRow] = field(default_factory=list)
    buckets: list[BucketRow] = field(default_factory=list)
    expiries: list[tuple[str, SyncSeqId]] = field(default_factory=list)
    """(user_id, newest) of each interval's note."""
    skip_notes: list[tuple[str, SyncSeqId]] = field(default_factory=list)
    """(user_id, newest)."""
    read_marks: list[ReadMarkRow] = field(default_factory=list)
    grown: list[KafkaRecord] = field(default_factory=list)
    lows: dict[int, Offset] = field(default_factory=dict)
    lags: dict[SinkName, int] = field(default_factory=dict)
    input_lows: dict[int, Offset] = field(default_factory=dict)
    done: dict[int, Offset] = field(default_factory=dict)
    expired_before: Milliseconds = Milliseconds(0)
    limits: Limits = SMALL_LIMITS
    shards: SyncShards = field(default_factory=lambda: in_one_epoch([]).shards)

    def home(self, user: str, epoch: EpochNumber) -> ShardNumber:
        """The shard of a recipient in an epoch; the recipient must have one."""
        number = self.shards.home(user, epoch)
        assert number is not None
        return number

    def last_home(self, user: str) -> int:
        """The shard to which a recipient's records are written now."""
        homes = [self.shards.home(user, epoch) for epoch in self.shards.epochs]
        return [number for number in homes if number is not None][-1]

    def audit(self, *, allow_empty: bool = True) -> AuditReport:
        """The report of `audit.audit.audit`."""
        report = AuditReport()
        audit(_Lists(self), report, allow_empty=allow_empty)
        return report


def lists(system: System) -> Sources:
    """A deployment as the port of the audit."""
    return _Lists(system)


class _Lists:
    """A `System` as the port of the audit."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._asked = 0

    def limits(self) -> Limits:
        return self._system.limits

    def timeline_spans(self) -> list[OffsetSpan]:
        self._asked += 1
        return _spans(self._timeline_now(), range(TIMELINE_PARTITIONS), {})

    def timeline(self, spans: Sequence[OffsetSpan]) -> Iterable[KafkaRecord]:
        return [record for span in spans for record in _within(self._timeline_now(), span)]

    def input_spans(self) -> list[OffsetSpan]:
        system = self._system
        spans = _spans(system.input, range(TIMELINE_PARTITIONS), system.input_lows)
        done = self._done_before() | system.done
        return [span._replace(end=Offset(done.get(span.partition, span.end))) for span in spans]

    def _done_before(self) -> dict[int, Offset]:
        """The sequencer's position before it writes the records that arrive during the audit."""
        if self._asked:
            return {}
        times = {decode_entry(record.value).at for record in self._system.grown}
        new = [record for record in self._system.input if record.at in times]
        return {record.partition: record.offset for record in reversed(new)}

    def input(self, spans: Sequence[OffsetSpan]) -> Iterable[InputRecord]:
        return [r for span in spans for r in _within(self._system.input, span)]

    def letters(self) -> Iterable[InputLetter]:
        return self._system.letters

    def sync_shards(self) -> SyncShards:
        return self._system.shards

    def sync_spans(self) -> list[OffsetSpan]:
        return _spans(self._system.sync, sorted(self._system.shards.places), self._system.lows)

    def sync(self, spans: Sequence[OffsetSpan]) -> Iterable[KafkaRecord]:
        return [record for span in spans for record in _within(self._system.sync, span)]

    def sync_at(
        self, partition: int, offsets: Sequence[Offset]
    ) -> Mapping[Offset, tuple[bytes | None, bytes | None]]:
        return {
            offset: (key, value)
            for number, offset, key, value in self._system.sync
            if number == partition and offset in offsets
        }

    def behind(self, stage: SinkName, last_offsets: Mapping[int, Offset]) -> int:  # noqa: ARG002 - required by the port
        return self._system.lags.get(stage, 0)

    def messages(self) -> Iterable[MessageRow]:
        return self._system.messages

    def conversations(self) -> Iterable[ConversationRow]:
        return self._system.conversations

    def membership_by_user(self) -> Iterable[MembershipRow]:
        return self._system.by_user

    def membership_by_conversation(self) -> Iterable[MembershipRow]:
        return self._system.by_conversation

    def sync_rows(self) -> Iterable[AuditedSyncRow]:
        return sorted(self._system.sync_rows, key=itemgetter(0, 1, 2))

    def sync_buckets(self) -> Iterable[BucketRow]:
        return self._system.buckets

    def sync_expiries(self) -> Iterable[ExpiryRow]:
        system = self._system
        return [
            *((user, 0, newest) for user, newest in system.expiries),
            *((user, SKIPPED_SINCE, newest) for user, newest in system.skip_notes),
        ]

    def read_marks(self) -> Iterable[ReadMarkRow]:
        return self._system.read_marks

    def documents(self) -> Iterable[IndexedDocument]:
        return self._system.documents

    def index_of(self, at: Milliseconds) -> str:
        return index_of(at)

    def expired_before(self) -> Milliseconds:
        return self._system.expired_before

    def _timeline_now(self) -> list[KafkaRecord]:
        """The timeline. Records that arrive during the audit appear from the second query on."""
        grown = self._system.grown if self._asked > 1 else []
        return [*self._system.timeline, *grown]


def _spans(
    records: Sequence[KafkaRecord | InputRecord],
    partitions: Iterable[int],
    lows: Mapping[int, Offset],
) -> list[OffsetSpan]:
    ends = {record.partition: record.offset + 1 for record in records}
    return [
        OffsetSpan(
            number,
            Offset(lows.get(number, 0)),
            Offset(max(lows.get(number, 0), ends.get(number, 0))),
        )
        for number in partitions
    ]


def _within(records: Iterable[RecordT], span: OffsetSpan) -> list[RecordT]:
    return [
        record
        for record in records
        if record.partition == span.partition and span.low <= record.offset < span.end
    ]

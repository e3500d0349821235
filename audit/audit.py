"""The order of the checks of an audit, and the waits between them.

1. Read the sequencer's committed offsets in ``im.messages``. The outcomes of the records before
   these offsets are committed already.
2. Read the end of ``im.timeline``. Fold all entries before that end.
3. Wait until the sinks of messages have passed that end. Compare store, membership and index.
4. Read the ends of the shards of ``im.sync``. The sync records of the entries of step 2 are before
   these ends, since they were written in the same transactions. Compare the shards with the log.
5. Read the sequencer's committed offsets again. All entries and replies of steps 2 and 4 belong to
   commands before these offsets. Each command of step 1 must have an outcome; later ones may.
6. Wait until the sink of sync records has passed the ends of step 4. Compare its tables, and the
   read marks, which both sinks write.
7. If a copy holds more than the log of step 2, read the log again: those records may be newer.

So an audit can run during normal operation. It covers the records that existed at its beginning.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from audit.index import compare_documents
from audit.input import compare_input
from audit.input_records import InputSpans
from audit.log import KafkaRecord, Log
from audit.member_rows import compare_membership
from audit.missing_rows import report_missing_rows
from audit.read_marks import compare_marks, take_marks
from audit.report import AuditReport, CheckName
from audit.sources import SinkName, Sources
from audit.store import compare_conversations, compare_messages
from audit.sync_buckets import compare_sync_buckets
from audit.sync_expiry import (
    allow_skipped,
    compare_skip_notes,
    compare_sync_expiries,
    read_notes,
)
from audit.sync_log import compare_sync_log
from audit.sync_shards import AuditedShards, Shard, SyncPosition, position_of
from audit.sync_store import compare_sync_rows
from audit.topic_readers import OffsetSpan
from schemas.number_types import Milliseconds, Offset


class AuditedData(NamedTuple):
    """The log, folded, and the deliveries of each shard with their states."""

    log: Log
    shards: AuditedShards


def audit(
    sources: Sources,
    report: AuditReport,
    *,
    allow_empty: bool = False,
    settings_since: Milliseconds = Milliseconds(0),
) -> AuditedData:
    """Compare every copy with the log, and report the differences.

    Args:
        sources: The deployment.
        report: Receives counts and differences.
        allow_empty: An empty log is not a difference.
        settings_since: Earlier entries (time in ms) are not compared with the present settings.

    Returns:
        The data that the copies should have.

    Raises:
        ServerUnavailable: A server does not answer in time.
    """
    done = sources.input_spans()
    spans = sources.timeline_spans()
    log = Log(len(spans), sources.limits(), settings_since)
    _fold(sources, log, spans, report, allow_empty=allow_empty)
    _compare_copies(sources, log, report)
    shards = _compare_sync_log(sources, log, report)
    _compare_input(sources, log, shards, done, report)
    _compare_sync_store(sources, log, shards, report)
    if report.holds_any:
        _read_on(sources, log, spans, shards)
        report.settle()
    return AuditedData(log, shards)


def _fold(
    sources: Sources,
    log: Log,
    spans: Sequence[OffsetSpan],
    report: AuditReport,
    *,
    allow_empty: bool,
) -> None:
    with _timed(report, "log"):
        for span in spans:
            if span.low > 0:
                where = f"timeline[{span.partition}]"
                detail = f"the records before offset {span.low} were removed by retention"
                report.differ("log", "missing", where=where, detail=detail)
        log.read(sources.timeline(spans), report)
        log.finish(report)
        if not log.conversations and not allow_empty:
            report.differ("log", "no_data", detail="there is nothing to verify")


def _compare_copies(sources: Sources, log: Log, report: AuditReport) -> None:
    with _timed(report, "store"):
        _await(sources, "sink-message", log.last_offsets, "store", report)
        compare_messages(log, sources.messages(), report)
        compare_conversations(log, sources.conversations(), report)
    with _timed(report, "membership"):
        by_user, by_conversation = "membership_by_user", "membership_by_conversation"
        compare_membership(log, by_user, sources.membership_by_user(), report)
        compare_membership(log, by_conversation, sources.membership_by_conversation(), report)
    with _timed(report, "index"):
        _await(sources, "sink-search", log.last_offsets, "index", report)
        compare_documents(log, sources.documents(), sources.index_of, report)


def _compare_sync_log(sources: Sources, log: Log, report: AuditReport) -> AuditedShards:
    def read(some: Sequence[Shard]) -> Iterable[KafkaRecord]:
        return sources.sync([OffsetSpan(shard.number, shard.low, shard.end) for shard in some])

    with _timed(report, "sync-log"):
        # The shards before the spans: a shard created later is not part of this audit.
        places = sources.sync_shards()
        shards = AuditedShards(places, sources.sync_spans(), sources.expired_before())
        for group in shards.groups():
            compare_sync_log(log, shards, group, read, report)
    return shards


def _compare_input(
    sources: Sources,
    log: Log,
    shards: AuditedShards,
    done: Sequence[OffsetSpan],
    report: AuditReport,
) -> None:
    with _timed(report, "input"):
        spans = InputSpans(done, sources.input_spans())
        records = sources.input([span for span in spans.after if span.end > span.low])
        compare_input(log, shards, spans, records, sources.letters(), report)


def _compare_sync_store(
    sources: Sources, log: Log, shards: AuditedShards, report: AuditReport
) -> None:
    def read(number: int, offsets: Sequence[Offset]) -> dict[Offset, SyncPosition | None]:
        found = sources.sync_at(number, offsets)
        return {offset: position_of(value) for offset, (_, value) in found.items()}

    with _timed(report, "sync-store"):
        last = {
            number: Offset(shard.last_offset)
            for number, shard in shards.by_number.items()
            if shard.last_offset >= 0
        }
        _await(sources, "sink-sync", last, "sync-store", report)
        buckets = compare_sync_rows(log, shards, sources.sync_rows(), report)
        notes = read_notes(sources.sync_expiries(), report)
        compare_skip_notes(notes.skips, shards, report)
        allow_skipped(shards.by_number.values(), notes.skips)
        report_missing_rows(shards.by_number.values(), read, report)
        compare_sync_buckets(buckets, sources.sync_buckets(), report)
        compare_sync_expiries(buckets.reached, notes.expiries, report)
    with _timed(report, "marks"):
        compare_marks(log, shards, sources.read_marks(), report)


def _await(
    sources: Sources,
    stage: SinkName,
    last_offsets: Mapping[int, Offset],
    check: CheckName,
    report: AuditReport,
) -> None:
    lag = sources.behind(stage, last_offsets)
    if lag:
        detail = f"{stage} is {lag} offsets behind, and did not catch up in time"
        report.differ(check, "behind", detail=detail)


def _read_on(
    sources: Sources, log: Log, spans: Sequence[OffsetSpan], shards: AuditedShards
) -> None:
    begins = {span.partition: span.end for span in spans}
    more = [span._replace(low=begins[span.partition]) for span in sources.timeline_spans()]
    # Differences in newer entries belong to the next audit.
    log.read(sources.timeline(more), AuditReport())
    shards.look_again(sources.sync_shards())
    for span in sources.sync_spans():
        shard = shards.by_number.get(span.partition)
        if shard is not None:
            take_marks(shard, sources.sync([span._replace(low=shard.end)]))
            shard.end_now = span.end


@contextmanager
def _timed(report: AuditReport, check: CheckName) -> Iterator[None]:
    begin = time.monotonic()
    try:
        yield
    finally:
        report.section(check).seconds += time.monotonic() - begin

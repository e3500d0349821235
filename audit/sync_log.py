"""The shards of sync timelines against the deliveries that the log requires.

A record is shared by all recipients in its key. So each rule applies to each delivery: a pair of
record and recipient.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

from audit.checks import run_check
from audit.conversation import AuditedConversation
from audit.deliveries import NO_KEY
from audit.digests import ABSENT, audited_digest
from audit.expected_audience import AudienceRun, Cursors, cursors
from audit.floors import Floors
from audit.inline_records import INLINE, InlineRecords
from audit.log import KafkaRecord, Log
from audit.report import AuditReport
from audit.sync_shards import AuditedShards, Shard, ShardRecipients, SyncPosition, position_of
from schemas.recipients import recipients_of

_NOTHING_DUE: Final = Cursors({})


class _Value(NamedTuple):
    """The common properties of all records with the same value.

    Attributes:
        position: The decoded fields of the record; None if it is undecodable.
        seq: The SeqId of the position, 0 if there is none.
        digest: Digest of the value.
        known: Digest of the log's entry with that SeqId; `ABSENT` if there is none.
        stored: Digest of the expected content in a row of the store.
        state: The initial state of each delivery.
        due: The cursors of the conversation, if the value is an entry of the log.
    """

    position: SyncPosition | None
    seq: int
    digest: int
    known: int
    stored: int
    state: int
    due: Cursors | None


def compare_sync_log(
    log: Log,
    shards: AuditedShards,
    group: Sequence[Shard],
    read: Callable[[Sequence[Shard]], Iterable[KafkaRecord]],
    report: AuditReport,
) -> None:
    """Compare all records of some shards with the required ones, and store their deliveries.

    Args:
        log: All of ``im.timeline``.
        shards: All shards.
        group: One of their `AuditedShards.groups`. It receives the deliveries. A ``low`` above 0
        means
            that retention removed older records.
        read: Returns the records of shards of one epoch, in order within each shard, with offsets
            from ``low`` to below ``end``.
        report: Receives the differences.
    """
    epochs = (read(list(of_epoch)) for _, of_epoch in groupby(group, attrgetter("epoch")))
    run_check(_Check(log, shards, group, report), epochs)


class _Check:
    def __init__(
        self, log: Log, shards: AuditedShards, group: Sequence[Shard], report: AuditReport
    ) -> None:
        self._log = log
        self._shards = shards
        self._group = group
        self._report = report
        self._counts = report.section("sync-log").counts
        is_wanted = group[0].holds if len(group) == 1 else _is_anybody
        self._due = {
            conv_id: cursors(conversation, is_wanted)
            for conv_id, conversation in log.conversations.items()
        }
        self._inline = InlineRecords(log, shards, is_wanted, report)
        self._shard = group[0]
        """The shard of the present records."""
        self._floors = Floors(shards)

    def take(self, records: Iterable[KafkaRecord]) -> None:
        """Process the records of an epoch. The loop runs once for each record."""
        shard, deliveries = self._shard, self._shard.deliveries
        last: bytes | None = None
        value = self._value(None)
        count = taken = 0
        for number, offset, key, content in records:
            count += 1
            if number != shard.number:
                shard = self._shard = self._shards.by_number[number]
                deliveries, last, value = shard.deliveries, None, self._value(None)
            if content != last:
                last, value = content, self._value(content)
            users = key or b""
            recipients = shard.recipients(users)
            if (
                value.due is None
                or not recipients.are_sound
                or not value.due.advance(users, value.seq)
            ):
                self._take_odd(offset, users, recipients, value)
            if value.position is not None and recipients.number != NO_KEY:
                states = bytes((value.state,)) * recipients.distinct
                deliveries.add(offset - shard.low, recipients.number, states, value.stored)
                taken += recipients.distinct
        self._counts["records"] += count
        self._counts["deliveries"] += taken

    def finish(self) -> None:
        """Report the deliveries that did not arrive."""
        for conv_id, due in self._due.items():
            conversation = self._log.conversations[conv_id]
            for key, run in due.missing():
                self._miss(conversation, key.decode(), run)
        self._inline.finish(self._floors)
        for shard in self._group:
            shard.seal()
            if shard.low > 0:
                self._report.section("sync-log").notes.append(
                    f"{shard.name}: retention removed the records before offset {shard.low};"
                    " later records are checked"
                )

    def _value(self, content: bytes | None) -> _Value:
        position = position_of(content)
        digest = audited_digest(content or b"")
        if position is None:
            return _Value(None, 0, digest, ABSENT, digest, 0, None)
        self._shard.first_at.setdefault(
            self._log.source_partition_of(position.conv_id), position.at
        )
        state = self._shard.state_of(position.at)
        if position.kind in INLINE:
            return _Value(position, position.seq, digest, ABSENT, digest, state, None)
        known = self._log.digest(position.conv_id, position.seq)
        stored = self._log.reference_digest(position.conv_id, position.seq)
        due = self._due_to(position) if known == digest else None
        return _Value(position, position.seq, digest, known, stored, state, due)

    def _due_to(self, position: SyncPosition) -> Cursors:
        """The cursors of an entry's conversation. Records the first entry of a partition."""
        conversation = self._log.conversations[position.conv_id]
        self._floors.note(self._shard.number, conversation, position.seq)
        return self._due[position.conv_id]

    def _take_odd(
        self, offset: int, key: bytes, recipients: ShardRecipients, value: _Value
    ) -> None:
        """Process a record that is not the next one of all its recipients, or has another flaw."""
        report, position = self._report, value.position
        where = f"{self._shard.name}@{offset}"
        if position is None or recipients.number == NO_KEY:
            is_list = recipients.number != NO_KEY
            listed = [user.decode() for user in recipients_of(key)] if is_list else []
            detail = (
                "the value is not a sync record" if is_list else "the key is not a list of ids"
            )
            report.differ(
                "sync-log", "undecodable", where=where, user=_only(listed), detail=detail
            )
            return
        place: dict[str, Any]
        place = {"conv_id": position.conv_id, "seq": position.seq, "where": where}
        users = self._at_home(recipients_of(key), place)
        if position.kind in INLINE:
            self._inline.take(self._shard, users, position, place)
        elif position.seq > self._log.head(position.conv_id):
            newer = partial(self._log.holds, position.conv_id, position.seq, value.digest)
            report.hold("sync-log", newer, **place, user=_only(users))
        else:
            self._take_entry(key, users, position, value, place)

    def _at_home(self, listed: Sequence[bytes], place: dict[str, Any]) -> list[str]:
        """The distinct recipients of a record that belong to the shard. Reports all others."""
        users = [user.decode() for user in listed]
        for user, times in Counter(users).items():
            if times > 1:
                detail = "the key lists the recipient more than once"
                self._report.differ("sync-log", "double", **place, user=user, detail=detail)
            if not self._shard.holds(user):
                detail = self._belongs(user)
                self._report.differ("sync-log", "misplaced", **place, user=user, detail=detail)
        return [user for user in dict.fromkeys(users) if self._shard.holds(user)]

    def _take_entry(
        self,
        key: bytes,
        users: Sequence[str],
        position: SyncPosition,
        value: _Value,
        place: dict[str, Any],
    ) -> None:
        due = self._due.get(position.conv_id, _NOTHING_DUE)
        for user in users:
            arrival = due.take(user.encode(), position.seq)
            if arrival != "next":
                self._report.differ("sync-log", arrival, **place, user=user)
        if value.known != value.digest:
            detail = "not in the log" if value.known == ABSENT else "the bytes differ from the log"
            self._report.differ("sync-log", "altered", **place, user=_only(users), detail=detail)
        due.unite(key, recipients_of(key))

    def _miss(self, conversation: AuditedConversation, user: str, run: AudienceRun) -> None:
        trimmed = self._floors.trimmed(conversation, user)
        dropped = max(0, min(run.last, trimmed) - run.first + 1)
        self._counts["trimmed"] += dropped
        for first, last in _without_holes(
            conversation, AudienceRun(run.first + dropped, run.last)
        ):
            self._report.differ(
                "sync-log",
                "missing",
                conv_id=conversation.conv_id,
                seq=first,
                through=last,
                records=last - first + 1,
                user=user,
            )

    def _belongs(self, user: str) -> str:
        home = self._shards.of(user, self._shard.epoch)
        return f"belongs to {home.name}" if home else "belongs to no shard of that epoch"


def _without_holes(conversation: AuditedConversation, run: AudienceRun) -> Iterator[AudienceRun]:
    """The parts of a run that the log has. A hole of the log is no difference of the copies."""
    first = run.first
    for seq in range(run.first, run.last + 1):
        if conversation.digests[seq - 1] == ABSENT:
            if first < seq:
                yield AudienceRun(first, seq - 1)
            first = seq + 1
    if first <= run.last:
        yield AudienceRun(first, run.last)


def _is_anybody(_user: str) -> bool:
    return True


def _only(users: Sequence[str]) -> str:
    """The recipient of a record with one recipient; otherwise empty."""
    return users[0] if len(users) == 1 else ""

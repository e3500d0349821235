"""The commands on ``im.messages`` against their outcomes: an entry, a reply or a dead letter.

The sequencer appends entries in the order of its commands, so the commands and the entries of a
conversation are compared in parallel. Both have a limited retention in Kafka:

- Commands before the oldest record of ``im.messages`` are gone. Entries before the first command
  with an entry are not compared.
- A reply may have expired. A command older than the oldest record in its sender's shard counts as
  not accounted for.
- A command at or after the sequencer's committed offset is pending: it may have an outcome, or
  none yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from audit.checks import run_check
from audit.command_outcome import is_made_of
from audit.entry_matching import EntryMatcher
from audit.input_records import (
    NO_POSITION,
    InputLetter,
    InputPartition,
    InputRecord,
    InputSpans,
    command_of,
    fields_of,
)
from audit.log import Log
from audit.reply_records import ReplyKind
from audit.report import AuditReport, DifferenceKind
from audit.sync_shards import AuditedShards
from schemas.number_types import Milliseconds, SeqId
from schemas.records import AnyCommand, makes_no_entry


def compare_input(  # noqa: PLR0913, PLR0917 - each is a separate source
    log: Log,
    shards: AuditedShards,
    spans: InputSpans,
    records: Iterable[InputRecord],
    letters: Iterable[InputLetter],
    report: AuditReport,
) -> None:
    """Find the outcome of each command, and the command of each entry and reply.

    Args:
        log: All of ``im.timeline``.
        shards: All sync timelines, with their replies.
        spans: From the beginning of each partition to the committed offset.
        records: The records of ``spans.after``, in order within each partition.
        letters: All dead letters of commands.
        report: Receives the differences.
    """
    run_check(_Check(log, shards, spans, letters, report), records)


_Name: TypeAlias = tuple[int, str, str, str, str]
"""Time, conversation, sender, device and client_msg_id of a command."""


class _Check:
    def __init__(
        self,
        log: Log,
        shards: AuditedShards,
        spans: InputSpans,
        letters: Iterable[InputLetter],
        report: AuditReport,
    ) -> None:
        self._log = log
        self._shards = shards
        self._report = report
        self._counts = report.section("input").counts
        self._letters: set[tuple[int, int]] = set()
        self._batches: list[InputLetter] = []
        for letter in letters:
            if letter.offset == letter.last_offset:
                self._letters.add((letter.partition, letter.offset))
            else:
                self._batches.append(letter)
        decided_ends = {span.partition: span.end for span in spans.before}
        self._partitions = {
            span.partition: InputPartition(span.low, decided_ends.get(span.partition, NO_POSITION))
            for span in spans.after
        }
        self._matcher = EntryMatcher(log, report)
        self._newest: dict[int, str] = {}
        """The last accepted id of each device, by a hash of conversation, sender and device."""
        self._spare: dict[_Name, tuple[ReplyKind, dict[str, Any]]] = {}
        """Replies to commands that have an entry. A copy of equal time may claim the reply."""
        shards.replies.seal()
        for number, partition in self._partitions.items():
            self._begin(number, partition)

    def take(self, record: InputRecord) -> None:
        partition = self._partitions[record.partition]
        if partition.since is None:
            partition.since = Milliseconds(record.at + 1)
        is_pending = record.offset >= partition.decided_end
        self._counts["pending" if is_pending else "commands"] += 1
        has_letter = self._has_letter(record.partition, record.offset)
        command = command_of(record)
        place = fields_of(record, command)
        outcomes = ["letter"] if has_letter else []
        if command is not None:
            outcomes += self._outcomes(partition, record, command, place)
        if len(outcomes) > 1:
            detail = f"has {' and '.join(outcomes)}"
            self._report.differ("input", "double", **place, detail=detail)
        if outcomes:
            self._counts[_PLURALS[outcomes[0]]] += 1
        elif not is_pending:
            self._miss(record, command, place)

    def finish(self) -> None:
        """Report entries and replies without a command, and commands with an entry and a reply."""
        for _, place in self._spare.values():
            self._report.differ("input", "double", **place, detail="has entry and reply")
        self._matcher.finish(self._partitions)
        for number, partition in self._partitions.items():
            if partition.decided_end == NO_POSITION or partition.since is None:
                continue
            extra = self._shards.replies.left(number, partition.since)
            if extra:
                where, detail = f"messages[{number}]", "replies on im.sync without a command"
                self._report.differ("input", "extra", where=where, records=extra, detail=detail)

    def _begin(self, number: int, partition: InputPartition) -> None:
        if partition.decided_end == NO_POSITION and number in self._log.last_offsets:
            detail = "the partition has entries, but the sequencer has no committed offset"
            self._report.differ("input", "no_position", where=f"messages[{number}]", detail=detail)
        elif 0 <= partition.decided_end < partition.low:
            self._report.differ(
                "input",
                "missing",
                where=f"messages[{number}]@{partition.decided_end}",
                records=partition.low - partition.decided_end,
                detail="retention removed records that the sequencer had not read",
            )

    def _has_letter(self, partition: int, offset: int) -> bool:
        return (partition, offset) in self._letters or any(
            letter.partition == partition and letter.offset <= offset <= letter.last_offset
            for letter in self._batches
        )

    def _outcomes(
        self,
        partition: InputPartition,
        record: InputRecord,
        command: AnyCommand,
        place: dict[str, Any],
    ) -> list[str]:
        name = (command.conv_id, command.sender, command.device_id, command.client_msg_id)
        outcomes = []
        reply = self._shards.replies.take(record.partition, record.at, *name)
        if reply is None:
            reply, _ = self._spare.pop((record.at, *name), (None, None))
        entries = self._matcher.take_entries(
            partition, command, record.at, has_reply=reply is not None
        )
        if entries is not None:
            outcomes.append("entry")
            self._check_entries(command, entries, place)
            if reply is not None:
                self._spare[record.at, *name] = reply, place
        elif reply is not None:
            outcomes.append("reply")
            # A later reply may refer to entries after the snapshot.
            if record.offset < partition.decided_end:
                self._check_reply(partition, command, reply, place)
        return outcomes

    def _check_reply(
        self,
        partition: InputPartition,
        command: AnyCommand,
        reply: ReplyKind,
        place: dict[str, Any],
    ) -> None:
        """Check what only the order of commands and entries shows."""
        conversation = self._log.conversations.get(command.conv_id)
        if conversation is None:
            return
        head = self._matcher.begin_of(partition, conversation)
        if makes_no_entry(command):
            broken = _OF_A_STRANGER.get(reply)
            if broken is None or head is None:
                return
            if not conversation.was_member(command.sender, SeqId(head)):
                detail = "was accepted, but its sender was not a member"
                self._report.differ("input", broken, **place, detail=detail)
        elif reply == "duplicate" and not conversation.may_have_made(command, head):
            detail = "the reply is duplicate, but no earlier entry exists"
            self._report.differ("input", "wrong_duplicate", **place, detail=detail)

    def _check_entries(self, command: AnyCommand, entries: range, place: dict[str, Any]) -> None:
        conversation = self._log.conversations[command.conv_id]
        place = {**place, "seq": entries.start + 1}
        if not is_made_of(conversation, entries, command):
            detail = "the entry's content differs from the command's"
            self._report.differ("input", "altered", **place, detail=detail)
        device = hash(
            (command.conv_id, command.sender, command.device_id, command.installation or "")
        )
        newest = self._newest.get(device, "")
        if command.client_msg_id <= newest:
            detail = "was accepted after a greater id of the same device"
            self._report.differ("input", "out_of_order", **place, detail=detail)
        self._newest[device] = max(newest, command.client_msg_id)

    def _miss(
        self, record: InputRecord, command: AnyCommand | None, place: dict[str, Any]
    ) -> None:
        if command is None:
            detail = "not a command, and no dead letter"
            self._report.differ("input", "missing", **place, detail=detail)
        elif self._matcher.take_hole(command):
            self._counts["entries"] += 1
        elif self._shards.has_replies_of(command.sender, record.partition, record.at):
            self._report_missing_entry(command, place)
        else:
            self._counts["not accounted for, replies expired"] += 1

    def _report_missing_entry(self, command: AnyCommand, place: dict[str, Any]) -> None:
        if self._matcher.has_made_later(command):
            detail = "the entry's time differs from the command's"
            self._report.differ("input", "altered", **place, detail=detail)
        else:
            detail = "has no entry, no reply and no dead letter"
            self._report.differ("input", "missing", **place, detail=detail)


_OF_A_STRANGER: Final[Mapping[ReplyKind, DifferenceKind]] = {
    "read_marked": "mark_of_a_stranger",
    "conversation_muted": "mute_of_a_stranger",
}
_PLURALS: Final[Mapping[str, str]] = {
    "letter": "dead letters",
    "entry": "entries",
    "reply": "replies",
}

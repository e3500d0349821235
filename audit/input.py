"""The commands on ``im.messages`` against their outcomes: an entry, a reply or a dead letter.

A lane appends entries in the order of its commands, so the commands and the entries of a
conversation are compared in parallel. Both have a limited retention in Kafka:

- Commands before the oldest record of ``im.messages`` are gone. Entries before the first command
  with an entry are not compared.
- A reply may have expired. A command older than the oldest record in its sender's shard counts as
  not accounted for.
- A command at or after the sequencer's committed offset is pending: it may have an outcome.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from audit.checks import run_check
from audit.command_outcome import is_made_of
from audit.conversation import ABSENT, AuditedConversation, command_hash
from audit.log import Log
from audit.reply_records import ReplyKind
from audit.report import AuditReport, DifferenceKind
from audit.sync_shards import AuditedShards
from audit.topic_readers import OffsetSpan
from schemas.codec import decode_command
from schemas.errors import UndecodableRecord
from schemas.records import AnyCommand, MarkRead

NO_POSITION: Final = -1
"""End of the span of a partition without a committed offset of the sequencer."""


class InputRecord(NamedTuple):
    """A record of ``im.messages``; ``at`` is the broker's time in milliseconds since 1970."""

    partition: int
    offset: int
    at: int
    key: bytes | None
    value: bytes | None


class InputLetter(NamedTuple):
    """A dead letter about the records ``offset`` to ``last_offset`` of ``im.messages``."""

    partition: int
    offset: int
    last_offset: int


class InputSpans(NamedTuple):
    """The retained and sequenced part of ``im.messages``, before and after the log was read."""

    before: Sequence[OffsetSpan]
    after: Sequence[OffsetSpan]


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


class _Lane:
    """One partition.

    ``due``: commands below this offset must have an outcome. ``floor``: entries above this offset
    of the timeline must have a command; None until known. ``since``: replies at or after this time
    (ms) must have a command.
    """

    def __init__(self, low: int, due: int) -> None:
        self.low = low
        self.due = due
        self.floor: int | None = -1 if low == 0 else None
        self.since: int | None = 0 if low == 0 else None


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
        due = {span.partition: span.end for span in spans.before}
        self._lanes = {
            span.partition: _Lane(span.low, due.get(span.partition, NO_POSITION))
            for span in spans.after
        }
        self._next: dict[str, int] = {}
        """By conversation, the place (from 0) of the entry that the next command makes."""
        self._newest: dict[int, str] = {}
        """The last accepted id of each device, by a hash of conversation, sender and device."""
        self._spare: dict[_Name, tuple[ReplyKind, dict[str, Any]]] = {}
        """Replies to commands that have an entry. A copy of equal time may claim the reply."""
        shards.replies.seal()
        for number, lane in self._lanes.items():
            self._begin(number, lane)

    def take(self, record: InputRecord) -> None:
        lane = self._lanes[record.partition]
        if lane.since is None:
            lane.since = record.at + 1
        is_pending = record.offset >= lane.due
        self._counts["pending" if is_pending else "commands"] += 1
        has_letter = self._has_letter(record.partition, record.offset)
        command = _command(record)
        place = _place(record, command)
        outcomes = ["letter"] if has_letter else []
        if command is not None:
            outcomes += self._outcomes(lane, record, command, place)
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
        for conv_id, conversation in self._log.conversations.items():
            lane = self._lanes.get(conversation.partition)
            if lane is None or lane.due == NO_POSITION or lane.floor is None:
                continue
            begin = self._next.get(conv_id, bisect_right(conversation.offsets, lane.floor))
            self._name_extra(conversation, begin, conversation.head)
        for number, lane in self._lanes.items():
            if lane.due == NO_POSITION or lane.since is None:
                continue
            extra = self._shards.replies.left(number, lane.since)
            if extra:
                where, detail = f"messages[{number}]", "replies on im.sync without a command"
                self._report.differ("input", "extra", where=where, records=extra, detail=detail)

    def _begin(self, number: int, lane: _Lane) -> None:
        if lane.due == NO_POSITION and number in self._log.last_offsets:
            detail = "the partition has entries, but the sequencer has no committed offset"
            self._report.differ("input", "no_position", where=f"messages[{number}]", detail=detail)
        elif 0 <= lane.due < lane.low:
            self._report.differ(
                "input",
                "missing",
                where=f"messages[{number}]@{lane.due}",
                records=lane.low - lane.due,
                detail="retention removed records that the sequencer had not read",
            )

    def _has_letter(self, partition: int, offset: int) -> bool:
        return (partition, offset) in self._letters or any(
            letter.partition == partition and letter.offset <= offset <= letter.last_offset
            for letter in self._batches
        )

    def _outcomes(
        self, lane: _Lane, record: InputRecord, command: AnyCommand, place: dict[str, Any]
    ) -> list[str]:
        name = (command.conv_id, command.sender, command.device_id, command.client_msg_id)
        outcomes = []
        reply = self._shards.replies.take(record.partition, record.at, *name)
        if reply is None:
            reply, _ = self._spare.pop((record.at, *name), (None, None))
        entries = self._entries(lane, command, record.at, has_reply=reply is not None)
        if entries is not None:
            outcomes.append("entry")
            self._check_entries(command, entries, place)
            if reply is not None:
                self._spare[record.at, *name] = reply, place
        elif reply is not None:
            outcomes.append("reply")
            if record.offset < lane.due:  # a later reply may refer to entries after the snapshot
                self._check_reply(lane, command, reply, place)
        return outcomes

    def _check_reply(
        self, lane: _Lane, command: AnyCommand, reply: ReplyKind, place: dict[str, Any]
    ) -> None:
        """Check what only the order of commands and entries shows."""
        conversation = self._log.conversations.get(command.conv_id)
        if conversation is None:
            return
        head = self._begin_of(lane, conversation)
        if isinstance(command, MarkRead):
            is_known = reply == "read_marked" and head is not None
            if is_known and not conversation.was_member(command.sender, head or 0):
                detail = "was accepted, but its sender was not a member"
                self._report.differ("input", "mark_of_a_stranger", **place, detail=detail)
        elif reply == "duplicate" and not conversation.may_have_made(command, head):
            detail = "the reply is duplicate, but no earlier entry exists"
            self._report.differ("input", "wrong_duplicate", **place, detail=detail)

    def _begin_of(self, lane: _Lane, conversation: AuditedConversation) -> int | None:
        """The number of entries of all earlier commands; None if unknown."""
        begin = self._next.get(conversation.conv_id)
        if begin is None and lane.floor is not None:
            begin = bisect_right(conversation.offsets, lane.floor)
        return begin

    def _entries(
        self, lane: _Lane, command: AnyCommand, at: int, *, has_reply: bool
    ) -> range | None:
        """The places (from 0) of the entries of a command; None if it has no entry."""
        conversation = self._log.conversations.get(command.conv_id)
        if conversation is None or isinstance(command, MarkRead):
            return None
        begin = self._begin_of(lane, conversation)
        wanted = command_hash(command)
        first = _find(conversation, wanted, at, begin or 0, is_near=has_reply)
        if first is None:
            return None
        if begin is not None:
            self._name_extra(conversation, begin, first)
        elif lane.floor is None:
            lane.floor = conversation.offsets[first]
        last = first
        while last + 1 < conversation.head and (
            (conversation.commands[last + 1], conversation.times[last + 1]) == (wanted, at)
        ):
            last += 1
        self._next[command.conv_id] = last + 1
        return range(first, last + 1)

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
        elif self._take_hole(command):
            self._counts["entries"] += 1
        elif self._shards.has_replies_of(command.sender, record.partition, record.at):
            kind, detail = self._other_time(command)
            self._report.differ("input", kind, **place, detail=detail)
        else:
            self._counts["not accounted for, replies expired"] += 1

    def _take_hole(self, command: AnyCommand) -> bool:
        """Whether the command's entry may be a missing entry of the log. Takes that entry."""
        conversation = self._log.conversations.get(command.conv_id)
        place = self._next.get(command.conv_id, 0)
        if conversation is None or isinstance(command, MarkRead) or place >= conversation.head:
            return False
        if conversation.digests[place] != ABSENT:
            return False
        self._next[command.conv_id] = place + 1
        return True

    def _other_time(self, command: AnyCommand) -> tuple[DifferenceKind, str]:
        conversation = self._log.conversations.get(command.conv_id)
        begin = self._next.get(command.conv_id, 0)
        if conversation is not None and command_hash(command) in conversation.commands[begin:]:
            return "altered", "the entry's time differs from the command's"
        return "missing", "has no entry, no reply and no dead letter"

    def _name_extra(self, conversation: AuditedConversation, begin: int, end: int) -> None:
        """Report the entries between two places that no command made."""
        for place in range(begin, end):
            if conversation.digests[place] != ABSENT:
                self._report.differ(
                    "input",
                    "extra",
                    conv_id=conversation.conv_id,
                    seq=place + 1,
                    detail="no command made this entry",
                )


_PLURALS: Final[Mapping[str, str]] = {
    "letter": "dead letters",
    "entry": "entries",
    "reply": "replies",
}


def _find(
    conversation: AuditedConversation, wanted: int, at: int, begin: int, *, is_near: bool
) -> int | None:
    """The place of the first entry of a command; ``is_near``: only the place ``begin`` counts."""
    commands, times = conversation.commands, conversation.times
    if begin < len(commands) and commands[begin] == wanted and times[begin] == at:
        return begin
    place = begin
    while not is_near:
        try:
            place = commands.index(wanted, place)
        except ValueError:
            return None
        if times[place] == at:
            return place
        place += 1
    return None


def _command(record: InputRecord) -> AnyCommand | None:
    try:
        command = decode_command(record.value)
    except UndecodableRecord:
        return None
    return command if record.key == command.conv_id.encode() else None


def _place(record: InputRecord, command: AnyCommand | None) -> dict[str, Any]:
    where = f"messages[{record.partition}]@{record.offset}"
    if command is None:
        return {"where": where}
    return {"where": where, "conv_id": command.conv_id, "user": command.sender}

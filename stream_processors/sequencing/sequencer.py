"""Converts source records to the records of a transaction. No I/O: writes to a `RecordWriter`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from backends.kafka.clients import partition_of
from schemas.codec import encode
from schemas.dead_letters import WRONG_PARTITION
from schemas.errors import RejectionCode, SourceGap, UndecodableRecord
from schemas.limits import Limits
from schemas.number_types import Milliseconds, Offset
from schemas.records import AnyCommand, AnyReply, Rejected
from stream_processors.core.decide import decide, refusal_to_remember
from stream_processors.core.devices import DeviceKey, device_of
from stream_processors.core.outcome import Accept, Decision, Mark, Mute, Refuse
from stream_processors.core.replies import rejected
from stream_processors.core.state import Conversation, PageOfIds
from stream_processors.core.window import Window
from stream_processors.sequencing.entry_encoding import UnexpectedFailure, encoded_entries
from stream_processors.sequencing.headerless_records import RejectedRecords, SkippedOffsets
from stream_processors.sequencing.outcome_lines import OutcomeLines
from stream_processors.sequencing.record_writer import RecordWriter, RejectedRecord
from stream_processors.sequencing.source_record import SourceRecord, command_in
from stream_processors.state.conversations import Conversations
from stream_processors.state.state_codec import (
    CommandCounts,
    LaneProgress,
    moved_record,
    refusal_record,
    state_record,
)

_Touched = tuple[str, str, DeviceKey, Window]
"""Conversation, sender, device, and their window."""


class Sequencer:
    """The state of one source partition, advanced record by record.

    Args:
        limits: The limits of the deployment.
        conversations: The restored state.
        progress: The restored progress.
        partition: The source partition.
        partitions: The number of source partitions of the deployment.
    """

    def __init__(
        self,
        limits: Limits,
        conversations: Conversations,
        progress: LaneProgress,
        partition: int = 0,
        partitions: int = 1,
    ) -> None:
        self._limits = limits
        self._partition, self._partitions = partition, partitions
        self._lines = OutcomeLines(partition)
        self._conversations = conversations
        self._strangers = conversations.strangers
        self.progress = progress
        self._moved: dict[str, Conversation] = {}
        self._touched: list[_Touched] = []
        self._rejections: Counter[str] = Counter()

    @property
    def counts(self) -> CommandCounts:
        """The counts of the outcomes so far."""
        return self.progress.counts

    def take_rejections(self) -> Counter[str]:
        """The number of rejected commands by code, since the last call."""
        taken, self._rejections = self._rejections, Counter()
        return taken

    def gap_before(self, offset: Offset) -> range:
        """The offsets between the last processed record and this one; empty for the next one."""
        return range(self.progress.next_offset, offset)

    def skip_to(self, offset: Offset) -> None:
        """Skips offsets that have no records, such as transaction markers."""
        self.progress.next_offset = offset

    def process(self, record: SourceRecord, writer: RecordWriter) -> int:
        """Processes one record, which must be the next.

        A record that cannot be processed becomes a dead letter, without a change of the state. All
        steps that can fail because of the record are before the first write.

        Returns:
            The number of written records.

        Raises:
            SourceGap: The record is not the next one; the state was not changed.
        """
        if record.offset != self.progress.next_offset:
            raise SourceGap(f"got {record.offset}, the next is {self.progress.next_offset}")
        self.progress.next_offset = Offset(record.offset + 1)
        try:
            command, at = command_in(record)
            conversation = self._conversation_of(command.conv_id)
            decision = self._decide(conversation, command, at)
            if isinstance(decision, Accept):  # nearly all decisions are
                values = encoded_entries(decision)
        except UndecodableRecord as error:
            return self._dead_letter(record, error, writer)
        if not isinstance(decision, Accept):
            if isinstance(decision, Rejected):
                self._lines.rejected(record, decision, is_known=conversation is not None)
            return self._complete_without_entry(conversation, command, decision, writer)
        if conversation is None:
            conversation = self._conversations.get_or_make(command.conv_id)
        return self._accept(conversation, decision, values, writer)

    def audience(self, record: SourceRecord) -> set[str]:
        """The recipients of all sync records of this record, if it is the next.

        Has no side effects. Does not include the reply to a command that is not accepted.
        """
        try:
            command, at = command_in(record)
            decision = self._decide(self._conversation_of(command.conv_id), command, at)
        except UndecodableRecord:
            return set()
        if not isinstance(decision, Accept):
            return set()
        return {user for each in decision.effect.deliveries for user in each.recipients}

    def refuse(self, record: SourceRecord, writer: RecordWriter, code: RejectionCode) -> int:
        """Refuses a command that would be accepted, for a reason that the core does not know.

        Its id is remembered, like the id of any refused command.

        Args:
            record: The next record, which must be a command.
            writer: Writes the reply.
            code: The reason.

        Returns:
            The number of written records.
        """
        command, at = command_in(record)
        self.progress.next_offset = Offset(record.offset + 1)
        conversation = self._conversations.get(command.conv_id)
        reply = rejected(command, at, code)
        self._lines.rejected(record, reply, is_known=conversation is not None)
        return self._complete_without_entry(conversation, command, reply, writer)

    def write_last(self, writer: RecordWriter) -> None:
        """Writes the state of which only the last value counts, once at the end of a transaction.

        This is the head of each conversation that moved, with its open page of recent messages,
        and each page of ids that was touched.
        """
        for conv_id, conversation in self._moved.items():
            writer.state(*moved_record(conv_id, conversation))
        self._moved.clear()
        # A conversation that became idle and busy again is another object, later in the list.
        for conv_id, sender, device, window in self._touched:
            for number in window.take_touched():
                page = PageOfIds(sender, window.place, number, device, window.page(number))
                writer.state(*state_record(conv_id, page))
        self._touched.clear()

    def _conversation_of(self, conv_id: str) -> Conversation | None:
        """The conversation; None if there is none.

        Raises:
            UndecodableRecord: The conversation belongs to another partition.
        """
        conversation = self._conversations.get(conv_id)
        # A known conversation was checked at its creation.
        if conversation is None and partition_of(conv_id, self._partitions) != self._partition:
            raise UndecodableRecord(WRONG_PARTITION)
        return conversation

    def _decide(
        self, conversation: Conversation | None, command: AnyCommand, at: Milliseconds
    ) -> Decision:
        try:
            return decide(self._limits, conversation, command, at, self._strangers)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - any failure because of one record
            raise UnexpectedFailure(error) from None

    def _accept(
        self,
        conversation: Conversation,
        accept: Accept,
        values: Sequence[bytes],
        writer: RecordWriter,
    ) -> int:
        self.progress.counts.accepted += 1
        effect, command = accept.effect, accept.command
        conv_id = command.conv_id
        written = 0
        for delivery, value in zip(effect.deliveries, values, strict=True):
            writer.timeline(conv_id, value)
            written += 1 + writer.sync(delivery.recipients, value)
        if effect.notice is not None:
            written += writer.sync(effect.notice.recipients, encode(effect.notice.record))
        touched = accept.apply_to(conversation, self._strangers)
        if touched is not None:  # a call of `_touch` would be on the path of every message
            self._touched.append((conv_id, command.sender, device_of(command), touched))
        self._moved[conv_id] = conversation
        return written + (_log(conv_id, conversation, writer) if conversation.unlogged else 0)

    def _complete_without_entry(
        self,
        conversation: Conversation | None,
        command: AnyCommand,
        decision: Mark | Mute | AnyReply,
        writer: RecordWriter,
    ) -> int:
        """Completes a command without an entry."""
        if isinstance(decision, Mark):
            return self._mark(decision, writer)
        if isinstance(decision, Mute):
            return self._mute(decision, writer)
        refuse = refusal_to_remember(conversation, command, decision, self._strangers)
        written = self._reply(decision, writer)
        return (
            written if refuse is None else written + self._remember(conversation, refuse, writer)
        )

    def _remember(
        self, conversation: Conversation | None, refuse: Refuse, writer: RecordWriter
    ) -> int:
        command, strangers = refuse.command, self._strangers
        if conversation is None or not conversation.has_place(command.sender):
            refusal = strangers.add(command, refuse.digest, refuse.reply.code)
            writer.state(*refusal_record(*refusal))
            return 1
        self._touch(command, refuse.apply_to(conversation, strangers))
        return _log(command.conv_id, conversation, writer)

    def _mark(self, mark: Mark, writer: RecordWriter) -> int:
        self.counts.accepted += 1
        record = mark.record
        conversation = self._conversations.get_or_make(record.conv_id)
        conversation.change(mark.change)
        writer.sync((record.sender,), encode(record))
        return 1 + _log(record.conv_id, conversation, writer)

    def _mute(self, mute: Mute, writer: RecordWriter) -> int:
        self.counts.accepted += 1
        record = mute.record
        conversation = self._conversations.get_or_make(record.conv_id)
        self._touch(mute.command, mute.apply_to(conversation, self._strangers))
        writer.sync((record.sender,), encode(record))
        return 1 + _log(record.conv_id, conversation, writer)

    def _touch(self, command: AnyCommand, window: Window | None) -> None:
        """Notes that the pages of a window are to be written, if this is new."""
        if window is not None:
            self._touched.append((command.conv_id, command.sender, device_of(command), window))

    def _dead_letter(
        self, record: SourceRecord, error: UndecodableRecord, writer: RecordWriter
    ) -> int:
        offset, key = record.offset, record.key
        if isinstance(record, SkippedOffsets):
            self.progress.next_offset = Offset(record.last_offset + 1)
            return 0
        letter = RejectedRecord(offset, key, record.value, str(error))
        if isinstance(record, RejectedRecords):
            error = UndecodableRecord(record.reason)
            letter = RejectedRecord(
                offset, key, None, record.reason, record.content, record.last_offset
            )
            self.progress.next_offset = Offset((record.last_offset or offset) + 1)
        self.counts.dead_letters += 1
        self._lines.dead_letter(record, error)
        writer.dead_letter(letter)
        return 1

    def _reply(self, reply: AnyReply, writer: RecordWriter) -> int:
        counts = self.counts
        if not isinstance(reply, Rejected):
            counts.duplicates += 1
        else:
            self._rejections[reply.code] += 1
            if reply.code == "stale":
                counts.stale += 1
            else:
                counts.rejected += 1
        writer.sync((reply.sender,), encode(reply))
        return 1


def _log(conv_id: str, conversation: Conversation, writer: RecordWriter) -> int:
    """Writes the changes that need their own state records; returns the number of records."""
    unlogged = conversation.take_unlogged()
    for change in unlogged:
        writer.state(*state_record(conv_id, change))
    return len(unlogged)

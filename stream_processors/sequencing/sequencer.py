"""Converts source records to the records of a transaction. No I/O: writes to a `RecordWriter`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from traceback import format_tb
from typing import NamedTuple, Protocol

from backends.kafka.clients import partition_of
from schemas.codec import decode_command, encode
from schemas.dead_letters import WRONG_PARTITION, ContentDigest
from schemas.errors import RejectionCode, SourceGap, UndecodableRecord
from schemas.ids import is_valid_id
from schemas.limits import MAX_ENTRY_BYTES, MAX_TIME_MS, Limits
from schemas.records import AnyCommand, AnyReply, Rejected
from stream_processors.core.decide import decide, refusal_to_remember
from stream_processors.core.devices import DeviceKey, device_of
from stream_processors.core.outcome import Accept, Decision, Mark, Refuse
from stream_processors.core.replies import rejected
from stream_processors.core.state import Conversation, PageOfIds
from stream_processors.core.window import Window
from stream_processors.sequencing.unpacking import RejectedRecords, SkippedOffsets
from stream_processors.state.conversations import Conversations
from stream_processors.state.state_codec import (
    CommandCounts,
    LaneProgress,
    moved_record,
    refusal_record,
    state_record,
)

log = logging.getLogger(__name__)


class SourceRecord(Protocol):
    """A record of ``im.messages``, as the Kafka client returns it."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""

    @property
    def timestamp(self) -> int | None:
        """The broker's append time in milliseconds since 1970; None if it is unknown."""

    @property
    def key(self) -> bytes | None:
        """The id of a conversation, if the record is valid."""

    @property
    def value(self) -> bytes | None:
        """A command, if the record is valid."""


class RejectedRecord(NamedTuple):
    """A source record that is not a command, and the reason.

    ``last_offset``: set for a batch that is rejected as a whole. ``content``: set for a record or
    batch that was not loaded into memory.
    """

    offset: int
    key: bytes | None
    value: bytes | None
    reason: str
    content: ContentDigest | None = None
    last_offset: int | None = None


class RecordWriter(Protocol):
    """Writes the records of a transaction, in the order of the calls."""

    def timeline(self, conv_id: str, value: bytes) -> None:
        """Appends an entry to its conversation's timeline."""

    def sync(self, recipients: Sequence[str], value: bytes) -> int:
        """Appends an entry or a reply to the sync timeline of each recipient.

        Returns:
            The number of records that this takes.
        """

    def state(self, key: bytes, value: bytes | None) -> None:
        """Replaces a state record."""

    def dead_letter(self, letter: RejectedRecord) -> None:
        """Writes a dead letter for a source record."""


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
        self._conversations = conversations
        self._strangers = conversations.strangers
        self.progress = progress
        self._moved: dict[str, Conversation] = {}
        self._touched: list[_Touched] = []

    @property
    def counts(self) -> CommandCounts:
        """The counts of the outcomes so far."""
        return self.progress.counts

    def gap_before(self, offset: int) -> range:
        """The offsets between the last processed record and this one; empty for the next one."""
        return range(self.progress.next_offset, offset)

    def skip_to(self, offset: int) -> None:
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
        self.progress.next_offset = record.offset + 1
        try:
            command, at = _command(record)
            conversation = self._find(command.conv_id)
            decision = self._decide(conversation, command, at)
            if isinstance(decision, Accept):  # nearly all decisions are
                values = _encoded(decision)
        except UndecodableRecord as error:
            return self._put_aside(record, str(error), writer)
        if not isinstance(decision, Accept):
            return self._leave(conversation, command, decision, writer)
        if conversation is None:
            conversation = self._conversations.get_or_make(command.conv_id)
        return self._accept(conversation, decision, values, writer)

    def audience(self, record: SourceRecord) -> set[str]:
        """The recipients of all sync records of this record, if it is the next.

        Has no side effects. Does not include the reply to a command that is not accepted.
        """
        try:
            command, at = _command(record)
            decision = self._decide(self._find(command.conv_id), command, at)
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
        command, at = _command(record)
        self.progress.next_offset = record.offset + 1
        conversation = self._conversations.get(command.conv_id)
        return self._leave(conversation, command, rejected(command, at, code), writer)

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

    def _find(self, conv_id: str) -> Conversation | None:
        """The conversation; None if there is none.

        Raises:
            UndecodableRecord: The conversation belongs to another partition.
        """
        conversation = self._conversations.get(conv_id)
        # A known conversation was checked at its creation.
        if conversation is None and partition_of(conv_id, self._partitions) != self._partition:
            raise UndecodableRecord(WRONG_PARTITION)
        return conversation

    def _decide(self, conversation: Conversation | None, command: AnyCommand, at: int) -> Decision:
        try:
            return decide(self._limits, conversation, command, at, self._strangers)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - any failure because of one record
            raise _unexpected(error) from None

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
        if touched is not None:
            self._touched.append((conv_id, command.sender, device_of(command), touched))
        self._moved[conv_id] = conversation
        return written + (_log(conv_id, conversation, writer) if conversation.unlogged else 0)

    def _leave(
        self,
        conversation: Conversation | None,
        command: AnyCommand,
        decision: Mark | AnyReply,
        writer: RecordWriter,
    ) -> int:
        """Completes a command without an entry."""
        if isinstance(decision, Mark):
            return self._mark(decision, writer)
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
        touched = refuse.apply_to(conversation, strangers)
        if touched is not None:
            place = (command.conv_id, command.sender, device_of(command))
            self._touched.append((*place, touched))
        return _log(command.conv_id, conversation, writer)

    def _mark(self, mark: Mark, writer: RecordWriter) -> int:
        self.counts.accepted += 1
        record = mark.record
        conversation = self._conversations.get_or_make(record.conv_id)
        conversation.change(mark.change)
        writer.sync((record.sender,), encode(record))
        return 1 + _log(record.conv_id, conversation, writer)

    def _put_aside(self, record: SourceRecord, reason: str, writer: RecordWriter) -> int:
        offset, key = record.offset, record.key
        if isinstance(record, SkippedOffsets):
            self.progress.next_offset = record.last_offset + 1
            return 0
        letter = RejectedRecord(offset, key, record.value, reason)
        if isinstance(record, RejectedRecords):
            letter = RejectedRecord(
                offset, key, None, record.reason, record.content, record.last_offset
            )
            self.progress.next_offset = (record.last_offset or offset) + 1
        self.counts.dead_letters += 1
        writer.dead_letter(letter)
        return 1

    def _reply(self, reply: AnyReply, writer: RecordWriter) -> int:
        counts = self.counts
        if not isinstance(reply, Rejected):
            counts.duplicates += 1
        elif reply.code == "stale":
            counts.stale += 1
        else:
            counts.rejected += 1
        writer.sync((reply.sender,), encode(reply))
        return 1


def _log(conv_id: str, conversation: Conversation, writer: RecordWriter) -> int:
    """Writes the changes that need their own state records; returns the number of records."""
    unlogged = conversation.take_unlogged()
    for kept in unlogged:
        writer.state(*state_record(conv_id, kept))
    return len(unlogged)


def _encoded(accept: Accept) -> list[bytes]:
    """The entries of an accepted command.

    Raises:
        UndecodableRecord: An entry cannot be written.
    """
    try:
        values = [encode(delivery.entry) for delivery in accept.effect.deliveries]
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _unexpected(error) from None
    for value in values:
        if len(value) > MAX_ENTRY_BYTES:
            raise UndecodableRecord("its entry would be too long")
    return values


def _unexpected(error: Exception) -> UndecodableRecord:
    """The reason of a dead letter for an unexpected error, which is a defect of this program."""
    name = type(error).__name__
    # Without the error's message, which may quote the record.
    log.error("a record cannot be handled: %s\n%s", name, "".join(format_tb(error.__traceback__)))
    return UndecodableRecord(f"it cannot be handled: {name}")


def _command(record: SourceRecord) -> tuple[AnyCommand, int]:
    """The command in a record, and the time of the record.

    Raises:
        UndecodableRecord: The record is not a command.
    """
    command = decode_command(record.value)
    if record.key != command.conv_id.encode():
        raise UndecodableRecord("the key is not the conv_id")
    # One call for all ids, because every record is checked.
    if not is_valid_id(
        command.conv_id + command.sender + command.device_id + (command.installation or "")
    ):
        raise UndecodableRecord("an id has characters that cannot be printed")
    at = record.timestamp
    if at is None or not 0 <= at <= MAX_TIME_MS:
        raise UndecodableRecord("the time is out of its range")
    return command, at

"""The log of conversation timelines, folded into the expected content of every copy.

An entry takes 40 bytes of memory, so tens of millions of entries fit. Texts are not retained.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from audit.conversation import AuditedConversation
from audit.digests import ABSENT, audited_digest
from audit.report import AuditReport
from audit.rules import NO_LIMITS, broken_rules, entry_missing, repeated_commands
from backends.kafka.clients import partition_of
from schemas.codec import decode_entry
from schemas.errors import UndecodableRecord
from schemas.limits import MAX_ENTRY_BYTES, Limits
from schemas.number_types import NO_SEQ, Milliseconds, Offset, SeqId
from schemas.records import AnyEntry


class KafkaRecord(NamedTuple):
    """A record of a topic. The partition is a shard number for sync timelines."""

    partition: int
    offset: Offset
    key: bytes | None
    value: bytes | None


class Log:
    """All conversations of ``im.timeline``.

    Args:
        partitions: Number of partitions of the topic.
        limits: The present settings.
        settings_since: Entries of an earlier time (ms) are not compared with the settings.
    """

    def __init__(
        self,
        partitions: int,
        limits: Limits = NO_LIMITS,
        settings_since: Milliseconds = Milliseconds(0),
    ) -> None:
        self._partitions = partitions
        self._limits = limits
        self._settings_since = settings_since
        self.conversations: dict[str, AuditedConversation] = {}
        self.last_offsets: dict[int, Offset] = {}

    @property
    def entries(self) -> int:
        """The number of entries, including holes."""
        return sum(conversation.head for conversation in self.conversations.values())

    def source_partition_of(self, conv_id: str) -> int:
        """The partition of a conversation, whether or not the conversation exists."""
        conversation = self.conversations.get(conv_id)
        if conversation is None:
            return partition_of(conv_id, self._partitions)
        return conversation.partition

    def head(self, conv_id: str) -> SeqId:
        """The last SeqId of a conversation; 0 without entries."""
        conversation = self.conversations.get(conv_id)
        return NO_SEQ if conversation is None else conversation.head

    def digest(self, conv_id: str, seq: SeqId) -> int:
        """The digest of an entry's bytes; `ABSENT` without the entry."""
        conversation = self.conversations.get(conv_id)
        if conversation is None or not 0 < seq <= len(conversation.digests):
            return ABSENT
        return conversation.digests[seq - 1]

    def holds(self, conv_id: str, seq: SeqId, digest: int | None) -> bool:
        """Whether the log has the entry with this digest; None matches any digest."""
        found = self.digest(conv_id, seq)
        return found != ABSENT and digest in (None, found)

    def reference_digest(self, conv_id: str, seq: SeqId) -> int:
        """`digest` of the entry; a digest of (conversation, SeqId) if the log lacks it."""
        return self.digest(conv_id, seq) or audited_digest(f"{conv_id}\n{seq}".encode())

    def retracts(self, conv_id: str, user: str, target: SeqId) -> bool:
        """Whether a former member must be notified that a message was recalled."""
        conversation = self.conversations.get(conv_id)
        return conversation is not None and target in conversation.retractions.get(user, ())

    def read(self, records: Iterable[KafkaRecord], report: AuditReport) -> None:
        """Process records, in order within each partition, and report differences."""
        counts = report.section("log").counts
        for partition, offset, key, value in records:
            self.last_offsets[partition] = offset
            where = f"timeline[{partition}]@{offset}"
            try:
                entry = decode_entry(value)
            except UndecodableRecord as error:
                report.differ("log", "undecodable", where=where, detail=str(error))
                continue
            counts["entries"] += 1
            conversation = self._conversation(entry.conv_id)
            _check_place(conversation, partition, key, where, report)
            _check_length(entry, len(value or b""), where, report)
            if _check_next(conversation, entry, where, report):
                self._check_rules(conversation, entry, where, report)
                conversation.append(entry, offset, audited_digest(value or b""))
        counts["conversations"] = len(self.conversations)

    def finish(self, report: AuditReport) -> None:
        """Report the differences that need the whole log."""
        for conversation in self.conversations.values():
            place = {"conv_id": conversation.conv_id}
            for seq, first in repeated_commands(conversation.commands):
                detail = f"has the sender and client_msg_id of entry {first}"
                report.differ("log", "id_repeated", **place, seq=seq, detail=detail)
            self._check_following(conversation, None, report)

    def _conversation(self, conv_id: str) -> AuditedConversation:
        found = self.conversations.get(conv_id)
        if found is None:
            found = AuditedConversation(conv_id, partition_of(conv_id, self._partitions))
            self.conversations[conv_id] = found
        return found

    def _check_rules(
        self, conversation: AuditedConversation, entry: AnyEntry, where: str, report: AuditReport
    ) -> None:
        place = {"conv_id": entry.conv_id, "seq": entry.seq, "where": where}
        for rule, detail in broken_rules(conversation, entry, self._limits_at(entry.at)):
            report.differ("log", rule, **place, detail=detail)
        if conversation.command.has_changed_members or conversation.needs_owner:
            self._check_following(conversation, entry, report)

    def _check_following(
        self, conversation: AuditedConversation, following: AnyEntry | None, report: AuditReport
    ) -> None:
        """Report an entry that must follow the last entry and does not."""
        limits = self._limits_at(Milliseconds(conversation.times[-1]))
        for rule, detail in entry_missing(conversation, following, limits):
            place = {"conv_id": conversation.conv_id, "seq": conversation.head}
            report.differ("log", rule, **place, detail=detail)

    def _limits_at(self, at: Milliseconds) -> Limits:
        """The settings at a time, as far as known."""
        return self._limits if at >= self._settings_since else NO_LIMITS


def _check_place(
    conversation: AuditedConversation,
    partition: int,
    key: bytes | None,
    where: str,
    report: AuditReport,
) -> None:
    place = {"conv_id": conversation.conv_id, "where": where}
    if key != conversation.conv_id.encode():
        report.differ("log", "misplaced", **place, detail="the key is not the conv_id")
    if partition != conversation.partition:
        detail = f"belongs to partition {conversation.partition}"
        report.differ("log", "misplaced", **place, detail=detail)


def _check_length(entry: AnyEntry, length: int, where: str, report: AuditReport) -> None:
    if length > MAX_ENTRY_BYTES:
        place = {"conv_id": entry.conv_id, "seq": entry.seq, "where": where}
        detail = f"{length} bytes, at most {MAX_ENTRY_BYTES}"
        report.differ("log", "entry_too_long", **place, detail=detail)


def _check_next(
    conversation: AuditedConversation, entry: AnyEntry, where: str, report: AuditReport
) -> bool:
    """Whether the entry can be appended. Records a hole before the entry if SeqIds are missing."""
    due = conversation.head + 1
    if entry.seq == due:
        return True
    place = {"conv_id": entry.conv_id, "where": where}
    if entry.seq < due:
        report.differ("log", "double", **place, seq=entry.seq, detail=f"after entry {due - 1}")
        return False
    report.differ(
        "log", "missing", **place, seq=due, through=entry.seq - 1, records=entry.seq - due
    )
    conversation.skip_to(entry.seq)
    return True

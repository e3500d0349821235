"""The log of conversation timelines, folded into what every other place has to hold.

What is kept of an entry is small, so that tens of millions fit: 24 bytes each. Its text is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from backends.kafka import partition_of
from ops.verify.conversation import ABSENT, Conversation, digest_of
from ops.verify.report import Report
from ops.verify.rules import broken_rules, repeated_commands
from schemas.codec import decode_entry
from schemas.errors import UndecodableRecord
from schemas.limits import MAX_ENTRY_BYTES
from schemas.records import AnyEntry

KafkaRecord: TypeAlias = tuple[int, int, bytes | None, bytes | None]
"""(partition, offset, key, value). Of sync timelines the partition is the number of a shard."""


class Log:
    """All conversations of ``im.timeline``.

    Args:
        partitions: Of the topic.
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self.conversations: dict[str, Conversation] = {}
        self.last_offsets: dict[int, int] = {}

    @property
    def entries(self) -> int:
        """How many there are, holes counted."""
        return sum(conversation.head for conversation in self.conversations.values())

    def head(self, conv_id: str) -> int:
        """The last SeqId of a conversation, 0 where there is none."""
        conversation = self.conversations.get(conv_id)
        return 0 if conversation is None else conversation.head

    def digest(self, conv_id: str, seq: int) -> int:
        """Of an entry's bytes; `ABSENT` where there is none."""
        conversation = self.conversations.get(conv_id)
        if conversation is None or not 0 < seq <= len(conversation.digests):
            return ABSENT
        return conversation.digests[seq - 1]

    def holds(self, conv_id: str, seq: int, digest: int | None) -> bool:
        """Whether there is such an entry; a digest of None fits any, another one its bytes."""
        found = self.digest(conv_id, seq)
        return found != ABSENT and digest in (None, found)

    def is_recalled(self, conv_id: str, seq: int) -> bool:
        """Whether the text of an entry was taken back."""
        conversation = self.conversations.get(conv_id)
        return conversation is not None and seq in conversation.recalled

    def stored_digest(self, conv_id: str, seq: int) -> int:
        """Of the bytes of an entry that has to be stored; `ABSENT` of a recalled one, too."""
        return ABSENT if self.is_recalled(conv_id, seq) else self.digest(conv_id, seq)

    def retracts(self, conv_id: str, user: str, target: int) -> bool:
        """Whether somebody who has left has to learn that a message was recalled."""
        conversation = self.conversations.get(conv_id)
        return conversation is not None and target in conversation.retractions.get(user, ())

    def read(self, records: Iterable[KafkaRecord], report: Report) -> None:
        """Takes all records, those of a partition in their order, and reports what is wrong."""
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
                _check_rules(conversation, entry, where, report)
                conversation.append(entry, offset, digest_of(value or b""))
        counts["conversations"] = len(self.conversations)

    def finish(self, report: Report) -> None:
        """Reports what shows only when all records were read."""
        for conversation in self.conversations.values():
            for seq, first in repeated_commands(conversation.commands):
                report.differ(
                    "log",
                    "double",
                    conv_id=conversation.conv_id,
                    seq=seq,
                    detail=f"has the sender and client_msg_id of entry {first}",
                )

    def _conversation(self, conv_id: str) -> Conversation:
        found = self.conversations.get(conv_id)
        if found is None:
            found = Conversation(conv_id, partition_of(conv_id, self._partitions))
            self.conversations[conv_id] = found
        return found


def _check_place(
    conversation: Conversation, partition: int, key: bytes | None, where: str, report: Report
) -> None:
    place = {"conv_id": conversation.conv_id, "where": where}
    if key != conversation.conv_id.encode():
        report.differ("log", "misplaced", **place, detail="the key is not the conv_id")
    if partition != conversation.partition:
        detail = f"belongs on partition {conversation.partition}"
        report.differ("log", "misplaced", **place, detail=detail)


def _check_length(entry: AnyEntry, length: int, where: str, report: Report) -> None:
    if length > MAX_ENTRY_BYTES:
        place = {"conv_id": entry.conv_id, "seq": entry.seq, "where": where}
        detail = f"it has {length} bytes, an entry has at most {MAX_ENTRY_BYTES}"
        report.differ("log", "rule", **place, detail=detail)


def _check_next(conversation: Conversation, entry: AnyEntry, where: str, report: Report) -> bool:
    """Whether the entry can be appended, after a hole if need be."""
    due = conversation.head + 1
    if entry.seq == due:
        return True
    place = {"conv_id": entry.conv_id, "where": where}
    if entry.seq < due:
        report.differ(
            "log", "double", **place, seq=entry.seq, detail=f"comes after entry {due - 1}"
        )
        return False
    report.differ(
        "log", "missing", **place, seq=due, through=entry.seq - 1, records=entry.seq - due
    )
    conversation.skip_to(entry.seq)
    return True


def _check_rules(conversation: Conversation, entry: AnyEntry, where: str, report: Report) -> None:
    for broken in broken_rules(conversation, entry):
        report.differ(
            "log", "rule", conv_id=entry.conv_id, seq=entry.seq, where=where, detail=broken
        )

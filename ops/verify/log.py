"""The log of conversation timelines, folded into what every other place has to hold.

What is kept of an entry is small, so that tens of millions fit: 24 bytes each. Its text is not.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final, TypeAlias
from zlib import crc32

from backends.kafka import partition_of
from ops.verify.report import Report
from ops.verify.rules import broken_rules, repeated_commands
from schemas.codec import decode_entry, encode
from schemas.errors import UndecodableRecord
from schemas.limits import MAX_ENTRY_BYTES
from schemas.records import (
    AnyEntry,
    ConversationCreated,
    FanoutChanged,
    FanoutMode,
    HistoryRule,
    MembersAdded,
    MembersRemoved,
    MessageSent,
)
from schemas.visibility import Period

KafkaRecord: TypeAlias = tuple[int, int, bytes | None, bytes | None]
"""(partition, offset, key, value)."""

ABSENT: Final = 0
"""Stands where a digest is kept of an entry that is not there."""


def digest_of(value: bytes) -> int:
    """Tells contents apart: 32 bits, never `ABSENT`. Guards against faults, not against malice."""
    return crc32(value) or 1


def document_digest(sender: str, at: int, text: str) -> int:
    """`digest_of` for what the index holds of a message."""
    return digest_of(encode((sender, at, text)))


class Conversation:
    """One conversation as its entries so far make it.

    ``digests``, ``documents`` and ``offsets`` have one number for each SeqId, from 1 at index 0:
    of the entry's bytes, of what the index holds of it, and its offset in ``im.timeline``.
    ``changes`` has, for everybody who was ever in it, the SeqIds at which they came and went;
    ``pushed`` the ranges that went to all members, ``asides`` for each recipient the SeqIds that
    went to them and not to all; ``commands`` a hash of each entry's sender and client_msg_id.
    ``messages`` is what the last entry counts; None behind a hole. ``own`` has the last message of
    each person and what it counts, ``counts`` what each change of membership counts.
    """

    def __init__(self, conv_id: str, partition: int) -> None:
        self.conv_id = conv_id
        self.partition = partition
        self.owner = self.join = ""
        self.mode: FanoutMode = "push"
        self.history: HistoryRule = "since_join"
        self.messages: int | None = 0
        self.members: set[str] = set()
        self.digests = array("I")
        self.documents = array("I")
        self.offsets = array("q")
        self.commands = array("q")
        self.changes: dict[str, list[tuple[int, bool]]] = {}
        self.pushed: list[Period] = []
        self.asides: dict[str, array[int]] = {}
        self.own: dict[str, tuple[int, int]] = {}
        self.counts: dict[int, int] = {}

    @property
    def head(self) -> int:
        """The last SeqId, 0 before the first."""
        return len(self.digests)

    def skip_to(self, seq: int) -> None:
        """Leaves a hole in the log: the entries before ``seq`` are not there."""
        hole = seq - 1 - self.head
        self.messages = None
        for column in (self.digests, self.documents, self.commands):
            column.extend([ABSENT] * hole)
        self.offsets.extend([self.offsets[-1] if self.offsets else 0] * hole)

    def append(self, entry: AnyEntry, offset: int, digest: int) -> None:
        """Takes the next entry. Asides are found before the members change, and after."""
        self.digests.append(digest)
        self.offsets.append(offset)
        self.commands.append(hash((entry.sender, entry.client_msg_id)))
        self.messages = entry.messages
        match entry:
            case MessageSent(sender=sender, at=at, content=content):
                self.documents.append(document_digest(sender, at, content.text))
                self._tell(entry.seq, [sender, *entry.mentions])
                self.own[sender] = (entry.seq, entry.messages)
                return
            case ConversationCreated():
                self._create(entry)
                self.counts[entry.seq] = entry.messages
            case MembersAdded(members=members):
                self._change(entry.seq, members, joined=True)
                self.counts[entry.seq] = entry.messages
                self._tell(entry.seq, [*members, entry.sender])
            case MembersRemoved(members=members):
                self._tell(entry.seq, [*members, entry.sender])
                self._change(entry.seq, members, joined=False)
                self.counts[entry.seq] = entry.messages
            case FanoutChanged():
                self._switch(entry)
        self.documents.append(ABSENT)

    def _create(self, entry: ConversationCreated) -> None:
        self.owner, self.join, self.mode = entry.sender, entry.join, entry.mode
        self.history = entry.history
        self._change(entry.seq, entry.members, joined=True)
        self.pushed.append(Period(entry.seq, None if entry.mode == "push" else entry.seq))

    def _switch(self, entry: FanoutChanged) -> None:
        # The switch itself goes to all, in either direction.
        if entry.mode == "push":
            self.pushed.append(Period(entry.seq))
        elif self.pushed and self.pushed[-1].last is None:
            self.pushed[-1] = Period(self.pushed[-1].first, entry.seq)
        else:
            self.pushed.append(Period(entry.seq, entry.seq))
        self.mode = entry.mode

    def _change(self, seq: int, people: Iterable[str], *, joined: bool) -> None:
        for user in people:
            self.changes.setdefault(user, []).append((seq, joined))
        if joined:
            self.members.update(people)
        else:
            self.members.difference_update(people)

    def _tell(self, seq: int, people: Iterable[str]) -> None:
        if self.mode == "push":
            return
        for user in self.members.intersection(people):
            self.asides.setdefault(user, array("q")).append(seq)


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

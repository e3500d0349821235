"""One conversation of the log, folded into the expected content of every copy."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import itemgetter

from msgspec import UNSET

from audit.digests import (
    ABSENT,
    command_hash,
    description_digest,
    document_digest,
    entry_digest,
    name_digest,
)
from audit.numbered import NumberedPeople
from audit.open_command import OpenCommand
from audit.sent_entries import SentEntries
from schemas.limits import MAX_NOTICES
from schemas.number_types import NO_SEQ, Offset, SeqId
from schemas.records import (
    AnyCommand,
    AnyEntry,
    ConversationCreated,
    ConversationDescribed,
    FanoutChanged,
    FanoutMode,
    HistoryRule,
    MembersAdded,
    MembersRemoved,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    OwnershipTransferred,
)
from schemas.visibility import MembershipChange, periods, readable, visible


class AuditedConversation:
    """The state of one conversation after its entries so far.

    Attributes with one number for each SeqId; index 0 is SeqId 1:

    - ``digests``: digest of the entry's bytes. Edits and recalls do not change it.
    - ``documents``: digest of the message in the index. Edits and recalls change it.
    - ``offsets``: offset in ``im.timeline``.
    - ``contents``: `entry_digest` of the entry.
    - ``times``: time in ms. ``senders``: `name_digest` of the sender.
    - ``commands``: hash of sender and client_msg_id.

    Other attributes:

    - ``last_message``: SeqId of the last message.
    - ``command``: the command of the last entry.
    - ``changes``: for each present or former member, the SeqIds of joins and leaves.
    - ``numbered``: the numbers of the membership periods.
    - ``has_holes``: some changes may be missing.
    - ``sent``: the recipients of the entries.
    - ``messages``: message count of the last entry; None after a hole.
    - ``member_count``: the last count of members in an entry; None if no entry has one.
    - ``name``, ``metadata``: `description_digest` of each.
    - ``own``: for each person, their last message and its message count.
    - ``counts``: message count of each membership entry.
    - ``edits``: the SeqIds of a message's edits.
    - ``recalled``: for each recalled message or edit, the SeqId of the recall.
    - ``retractions``: for each former member, the recalled messages that they must be notified of.
    """

    def __init__(self, conv_id: str, partition: int) -> None:
        self.conv_id = conv_id
        self.partition = partition
        self.owner = self.join = ""
        self.mode: FanoutMode = "push"
        self.history: HistoryRule = "since_join"
        self.messages: int | None = 0
        self.member_count: int | None = None
        self.name = self.metadata = ABSENT
        self.members: set[str] = set()
        self.digests = array("I")
        self.documents = array("I")
        self.offsets = array("q")
        self.commands = array("q")
        self.contents = array("I")
        self.times = array("q")
        self.senders = array("I")
        self.last_message = NO_SEQ
        self.command = OpenCommand()
        self.changes: dict[str, list[tuple[SeqId, bool]]] = {}
        self.numbered = NumberedPeople()
        self.has_holes = False
        self.sent = SentEntries()
        self.own: dict[str, tuple[SeqId, int]] = {}
        self.counts: dict[SeqId, int] = {}
        self.edits: dict[SeqId, list[SeqId]] = {}
        self.recalled: dict[SeqId, SeqId] = {}
        self.retractions: dict[str, set[SeqId]] = {}
        self._left: dict[str, SeqId] = {}

    @property
    def head(self) -> SeqId:
        """The last SeqId; 0 before the first entry."""
        return SeqId(len(self.digests))

    def skip_to(self, seq: SeqId) -> None:
        """Record a hole in the log: the entries before ``seq`` are missing."""
        hole = seq - 1 - self.head
        self.messages = None
        self.has_holes = True
        columns = (self.digests, self.documents, self.commands, self.contents, self.times)
        for column in (*columns, self.senders):
            column.extend([ABSENT] * hole)
        self.command.close()
        self.offsets.extend([self.offsets[-1] if self.offsets else 0] * hole)

    def append(self, entry: AnyEntry, offset: Offset, digest: int) -> None:
        """Append the next entry. Recipients are found before a leave, and after a join."""
        self.command.note(entry)
        self.digests.append(digest)
        self.offsets.append(offset)
        self.commands.append(command_hash(entry))
        self.contents.append(entry_digest(entry))
        self.times.append(entry.at)
        self.senders.append(name_digest(entry.sender))
        self.messages = entry.messages
        if isinstance(entry, ConversationCreated | MembersAdded | MembersRemoved):
            self.counts[entry.seq] = entry.messages
            self._count_members(entry)
        match entry:
            case MessageSent(sender=sender, at=at, content=content):
                self.documents.append(document_digest(sender, at, content.text))
                self._add_single_recipients(entry.seq, [sender, *entry.mentions])
                self.own[sender] = (entry.seq, entry.messages)
                self.last_message = entry.seq
                return
            case ConversationCreated():
                self._create(entry)
            case MembersAdded(members=members):
                self._change(entry.seq, members, joined=True)
                self._add_single_recipients(entry.seq, [*members, entry.sender])
            case MembersRemoved(members=members):
                self._add_single_recipients(entry.seq, [*members, entry.sender])
                self._change(entry.seq, members, joined=False)
            case OwnershipTransferred() | ConversationDescribed() | FanoutChanged():
                self._set(entry)
            case MessageEdited():
                self._edit(entry)
            case MessageRecalled():
                self._recall(entry)
        self.documents.append(ABSENT)

    def has(self, seq: SeqId) -> bool:
        """Whether the log has an entry with this SeqId."""
        return 0 < seq <= self.head and self.digests[seq - 1] != ABSENT

    def may_be_message(self, seq: SeqId) -> bool:
        """Whether the entry is a message, or is missing and may be one."""
        return 0 < seq <= self.head and (
            self.documents[seq - 1] != ABSENT or self.digests[seq - 1] == ABSENT
        )

    def is_by_other(self, seq: SeqId, user: str) -> bool:
        """Whether the entry exists and has another sender."""
        return self.has(seq) and self.senders[seq - 1] != name_digest(user)

    @property
    def needs_owner(self) -> bool:
        """Whether the last command left the conversation with members but without an owner."""
        return self.command.is_open and bool(self.members) and self.owner not in self.members

    def longest_standing(self) -> str:
        """The member with the oldest present membership; the lowest id if there are several.

        There must be a member.
        """
        return min(self.members, key=lambda user: (periods(self.changes[user])[-1].first, user))

    def was_member(self, user: str, head: SeqId) -> bool:
        """Whether a person was a member after the entry ``head``."""
        changes = self.changes.get(user, ())
        place = bisect_right(changes, head, key=itemgetter(0))
        return place > 0 and changes[place - 1][1]

    def may_mark(self, user: str, seq: SeqId) -> bool:
        """Whether a member may have marked an entry as read.

        The join itself marks the entry that adds the person. The entry that removes a person ends
        the membership, so the person cannot mark it.
        """
        return self.was_member(user, seq) and self.was_member(user, SeqId(seq - 1))

    def may_have_made(self, command: AnyCommand, head: int | None) -> bool:
        """Whether a command has an entry up to ``head``, or may be a missing entry there."""
        made = self.commands[:head]
        return command_hash(command) in made or ABSENT in made

    def edited_by(self, seq: SeqId) -> SeqId | None:
        """The SeqId of the last edit of a message; None without an edit."""
        edits = self.edits.get(seq)
        return edits[-1] if edits else None

    def altered_by(self, seq: SeqId) -> SeqId:
        """The SeqId of a message's last edit or recall; without one, its own SeqId."""
        return self.recalled.get(seq) or self.edited_by(seq) or seq

    def _edit(self, entry: MessageEdited) -> None:
        target = entry.target
        self._add_single_recipients(
            entry.seq, [entry.sender, *entry.mentions, *self._holders(target)]
        )
        self.edits.setdefault(target, []).append(entry.seq)
        document = document_digest(entry.sender, entry.target_at, entry.content.text)
        self._set_document(target, document)

    def _set_document(self, seq: SeqId, digest: int) -> None:
        if self.has(seq) and seq <= len(self.documents):
            self.documents[seq - 1] = digest

    def _recall(self, entry: MessageRecalled) -> None:
        holders = self._holders(entry.target)
        self._add_single_recipients(entry.seq, [entry.sender, *holders])
        for user in self._to_notify(entry, holders):
            self.retractions.setdefault(user, set()).add(entry.target)
        for seq in (entry.target, *entry.edits):
            self.recalled[seq] = entry.seq
        self._set_document(entry.target, document_digest("", entry.target_at, ""))

    def _to_notify(self, entry: MessageRecalled, holders: set[str]) -> Iterator[str]:
        """Former members to notify: all who received a text, and the latest who could read one."""
        room = MAX_NOTICES - len(holders - self.members)
        for user in reversed(self._left):
            if user in self.members:
                continue
            if user in holders:
                yield user
                continue
            rule = [
                MembershipChange(seq, joined, self.history) for seq, joined in self.changes[user]
            ]
            parts = readable(rule)
            if room > 0 and any(visible(parts, seq) for seq in (entry.target, *entry.edits)):
                room -= 1
                yield user

    def _holders(self, target: SeqId) -> set[str]:
        """Everybody who received a message or one of its edits."""
        return self.sent.recipients_of([target, *self.edits.get(target, ())], self.changes)

    def _count_members(self, entry: ConversationCreated | MembersAdded | MembersRemoved) -> None:
        if entry.member_count is not UNSET:
            self.member_count = entry.member_count

    def _set(self, entry: OwnershipTransferred | ConversationDescribed | FanoutChanged) -> None:
        """Apply a change of the conversation that is not a change of its members."""
        match entry:
            case OwnershipTransferred(owner=owner):
                self._add_single_recipients(entry.seq, [owner, self.owner, entry.sender])
                self.owner = owner
            case ConversationDescribed():
                self._add_single_recipients(entry.seq, [entry.sender])
                self._describe(entry)
            case FanoutChanged():
                self.sent.switch(entry)
                self.mode = entry.mode

    def _describe(self, entry: ConversationDescribed) -> None:
        if entry.name is not UNSET:
            self.name = description_digest(entry.name)
        if entry.metadata is not UNSET:
            self.metadata = description_digest(entry.metadata)

    def _create(self, entry: ConversationCreated) -> None:
        self.owner, self.join, self.mode = entry.sender, entry.join, entry.mode
        self.history = entry.history
        self._change(entry.seq, entry.members, joined=True)
        self.sent.create(entry)

    def _change(self, seq: SeqId, people: Iterable[str], *, joined: bool) -> None:
        for user in people:
            changes = self.changes.setdefault(user, [])
            changes.append((seq, joined))
            self.numbered.note(user, changes)
        if joined:
            self.members.update(people)
        else:
            self.members.difference_update(people)
            for user in people:
                self._left.pop(user, None)
                self._left[user] = seq

    def _add_single_recipients(self, seq: SeqId, people: Iterable[str]) -> None:
        if self.mode != "push":
            self.sent.add_single(seq, self.members.intersection(people))

"""One conversation of the log, folded into what every other place has to hold of it."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Final, TypeAlias
from zlib import crc32

from ops.verify.numbered import NumberedPeople
from schemas.codec import encode
from schemas.limits import MAX_NOTICES
from schemas.records import (
    AnyCommand,
    AnyEntry,
    ConversationCreated,
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
from schemas.visibility import Change, Period, periods, readable, visible

ABSENT: Final = 0
"""In place of the digest of an entry that is not there."""

CommandKind: TypeAlias = type[MembersAdded] | type[MembersRemoved]


def digest_of(value: bytes) -> int:
    """Tells contents apart: 32 bits, never `ABSENT`. Guards against faults, not against malice."""
    return crc32(value) or 1


def document_digest(sender: str, at: int, text: str) -> int:
    """`digest_of` for what the index holds of a message; of a recalled one its time alone."""
    return digest_of(encode((sender, at, text)))


def command_hash(record: AnyEntry | AnyCommand) -> int:
    """`hash_of_id` of a record."""
    return hash_of_id(record.sender, record.client_msg_id)


def hash_of_id(sender: str, client_msg_id: str) -> int:
    """64 bits of both; never `ABSENT`."""
    return hash((sender, client_msg_id)) or 1


def name_digest(name: str) -> int:
    """32 bits of a person's id; never `ABSENT`."""
    return crc32(name.encode()) or 1


def content_digest(*content: object) -> int:
    """32 bits of what an entry says beside its place, its time and its sender."""
    return crc32(encode(content))


class Conversation:
    """One conversation as its entries so far make it.

    ``digests``, ``documents`` and ``offsets`` have one number for each SeqId, from 1 at index 0:
    of the entry's bytes, of what the index holds of it, and its offset in ``im.timeline``.
    ``contents`` has the `content_digest` of an entry, or the number of people that it names.
    ``times`` and ``senders`` have the time of each entry (ms) and the `name_digest` of its sender.
    ``last_message`` is the SeqId of the last message, ``has_changed_members`` says whether the
    last entry changed the members.
    ``changes`` has, for everybody who was ever in it, the SeqIds at which they came and went;
    ``numbered`` the numbers of their periods; ``has_holes``: some changes may be missing;
    ``pushed`` the ranges that went to all members, ``asides`` for each recipient the SeqIds that
    went to them and not to all; ``commands`` a hash of each entry's sender and client_msg_id.
    ``messages`` is what the last entry counts; None behind a hole. ``own`` has the last message of
    each person and what it counts, ``counts`` what each change of membership counts.
    ``documents`` follow edits and recalls, ``digests`` do not. ``edits`` has the SeqIds of the
    edits of each message that has some, ``recalled`` for each entry whose text was taken back the
    SeqId of the recall, ``retractions`` for each person who had left by then the messages that
    were.
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
        self.contents = array("I")
        self.times = array("q")
        self.senders = array("I")
        self.last_message = 0
        self.has_changed_members = False
        self._goes_on_with: CommandKind | None = None
        self.changes: dict[str, list[tuple[int, bool]]] = {}
        self.numbered = NumberedPeople()
        self.has_holes = False
        self.pushed: list[Period] = []
        self.asides: dict[str, array[int]] = {}
        self.own: dict[str, tuple[int, int]] = {}
        self.counts: dict[int, int] = {}
        self.edits: dict[int, list[int]] = {}
        self.recalled: dict[int, int] = {}
        self.retractions: dict[str, set[int]] = {}
        self._left: dict[str, int] = {}

    @property
    def head(self) -> int:
        """The last SeqId, 0 before the first."""
        return len(self.digests)

    def skip_to(self, seq: int) -> None:
        """Leaves a hole in the log: the entries before ``seq`` are not there."""
        hole = seq - 1 - self.head
        self.messages = None
        self.has_holes = True
        columns = (self.digests, self.documents, self.commands, self.contents, self.times)
        for column in (*columns, self.senders):
            column.extend([ABSENT] * hole)
        self.has_changed_members = False
        self._goes_on_with = None
        self.offsets.extend([self.offsets[-1] if self.offsets else 0] * hole)

    def append(self, entry: AnyEntry, offset: int, digest: int) -> None:
        """Takes the next entry. Asides are found before the members change, and after."""
        self._note_command(entry)
        self.digests.append(digest)
        self.offsets.append(offset)
        self.commands.append(command_hash(entry))
        self.contents.append(_content_of(entry))
        self.times.append(entry.at)
        self.senders.append(name_digest(entry.sender))
        self.messages = entry.messages
        match entry:
            case MessageSent(sender=sender, at=at, content=content):
                self.documents.append(document_digest(sender, at, content.text))
                self._tell(entry.seq, [sender, *entry.mentions])
                self.own[sender] = (entry.seq, entry.messages)
                self.last_message = entry.seq
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
            case OwnershipTransferred(owner=owner):
                self._tell(entry.seq, [owner, self.owner, entry.sender])
                self.owner = owner
            case FanoutChanged():
                self._switch(entry)
            case MessageEdited():
                self._edit(entry)
            case MessageRecalled():
                self._recall(entry)
        self.documents.append(ABSENT)

    def has(self, seq: int) -> bool:
        """Whether there is such an entry."""
        return 0 < seq <= self.head and self.digests[seq - 1] != ABSENT

    def may_be_message(self, seq: int) -> bool:
        """Whether that entry is one, or not there."""
        return 0 < seq <= self.head and (
            self.documents[seq - 1] != ABSENT or self.digests[seq - 1] == ABSENT
        )

    def is_by_other(self, seq: int, user: str) -> bool:
        """Whether an entry is there and has another sender."""
        return self.has(seq) and self.senders[seq - 1] != name_digest(user)

    @property
    def needs_owner(self) -> bool:
        """Whether the last command has left members without an owner among them."""
        is_open = self._goes_on_with is not None
        return is_open and bool(self.members) and self.owner not in self.members

    def longest_standing(self) -> str:
        """The member whose present membership is the oldest; of several the lowest id.

        There must be a member.
        """
        return min(self.members, key=lambda user: (periods(self.changes[user])[-1].first, user))

    def was_member(self, user: str, head: int) -> bool:
        """Whether somebody was a member after the entry ``head``."""
        changes = self.changes.get(user, ())
        place = bisect_right(changes, head, key=itemgetter(0))
        return place > 0 and changes[place - 1][1]

    def may_mark(self, user: str, seq: int) -> bool:
        """Whether a member may have marked an entry as read.

        The entry that lets a person in is marked by the join itself. A person whom the entry lets
        out is no member when it is there.
        """
        return self.was_member(user, seq) and self.was_member(user, seq - 1)

    def may_have_made(self, command: AnyCommand, head: int | None) -> bool:
        """Whether a command has an entry up to ``head``, or an entry is absent there."""
        made = self.commands[:head]
        return command_hash(command) in made or ABSENT in made

    def continues(self, entry: AnyEntry) -> bool:
        """Whether an entry is one more of the command that the last entry belongs to."""
        kind = self._goes_on_with
        if kind is None or self.commands[-1] != command_hash(entry):
            return False
        return isinstance(entry, FanoutChanged | OwnershipTransferred | kind)

    def _note_command(self, entry: AnyEntry) -> None:
        """Notes which entries of the same command may follow."""
        self.has_changed_members = False
        match entry:
            case ConversationCreated() | MembersAdded():
                self._goes_on_with, self.has_changed_members = MembersAdded, True
            case MembersRemoved():
                self._goes_on_with, self.has_changed_members = MembersRemoved, True
            case FanoutChanged():
                pass
            case _:
                self._goes_on_with = None

    def edited_by(self, seq: int) -> int | None:
        """The SeqId of the last edit of a message, if there is one."""
        edits = self.edits.get(seq)
        return edits[-1] if edits else None

    def altered_by(self, seq: int) -> int:
        """The SeqId of the entry that made a message what it is now: its own, if no other did."""
        return self.recalled.get(seq) or self.edited_by(seq) or seq

    def _edit(self, entry: MessageEdited) -> None:
        target = entry.target
        self._tell(entry.seq, [entry.sender, *entry.mentions, *self._holders(target)])
        self.edits.setdefault(target, []).append(entry.seq)
        document = document_digest(entry.sender, entry.target_at, entry.content.text)
        self._set_document(target, document)

    def _set_document(self, seq: int, digest: int) -> None:
        if self.has(seq) and seq <= len(self.documents):
            self.documents[seq - 1] = digest

    def _recall(self, entry: MessageRecalled) -> None:
        holders = self._holders(entry.target)
        self._tell(entry.seq, [entry.sender, *holders])
        for user in self._noticed(entry, holders):
            self.retractions.setdefault(user, set()).add(entry.target)
        for seq in (entry.target, *entry.edits):
            self.recalled[seq] = entry.seq
        self._set_document(entry.target, document_digest("", entry.target_at, ""))

    def _noticed(self, entry: MessageRecalled, holders: set[str]) -> Iterator[str]:
        """Former members who get a notice: who has the text, and the last who could read it."""
        room = MAX_NOTICES - len(holders - self.members)
        for user in reversed(self._left):
            if user in self.members:
                continue
            if user in holders:
                yield user
                continue
            rule = [Change(seq, joined, self.history) for seq, joined in self.changes[user]]
            parts = readable(rule)
            if room > 0 and any(visible(parts, seq) for seq in (entry.target, *entry.edits)):
                room -= 1
                yield user

    def _holders(self, target: int) -> set[str]:
        """Who was told a message, or one of its edits."""
        texts = [target, *self.edits.get(target, ())]
        pushed = [seq for seq in texts if visible(self.pushed, seq)]
        found = {user for user, seqs in self.asides.items() if not set(texts).isdisjoint(seqs)}
        for user, changes in self.changes.items():
            stays = periods(changes)
            if any(visible(stays, seq) for seq in pushed):
                found.add(user)
        return found

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

    def _tell(self, seq: int, people: Iterable[str]) -> None:
        if self.mode == "push":
            return
        for user in self.members.intersection(people):
            self.asides.setdefault(user, array("q")).append(seq)


def _content_of(entry: AnyEntry) -> int:
    match entry:
        case MessageSent():
            return content_digest("message_sent", entry.content, entry.mentions)
        case MessageEdited():
            return content_digest("message_edited", entry.target, entry.content, entry.mentions)
        case MessageRecalled():
            return content_digest("message_recalled", entry.target)
        case ConversationCreated() | MembersAdded() | MembersRemoved():
            return len(entry.members)
        case OwnershipTransferred():
            return content_digest("ownership_transferred", entry.owner)
        case FanoutChanged():
            return 0

"""What must be so of each entry, given the entries before it in its conversation."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from schemas.records import (
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
)


class Before(Protocol):
    """A conversation as the entries before the one in question left it."""

    @property
    def head(self) -> int:
        """The last SeqId, 0 before the first."""

    @property
    def mode(self) -> FanoutMode:
        """How the next entry is fanned out."""

    @property
    def history(self) -> HistoryRule:
        """What newcomers may read of what was said before they came."""

    @property
    def messages(self) -> int | None:
        """How many messages there are, by their own count; None behind a hole of the log."""

    @property
    def members(self) -> Collection[str]:
        """Who is in it."""

    @property
    def edits(self) -> Mapping[int, Sequence[int]]:
        """The SeqIds of the edits of each message that has some."""

    @property
    def recalled(self) -> Collection[int]:
        """The SeqIds whose text was taken back."""

    def may_be_message(self, seq: int) -> bool:
        """Whether that entry is one, or not there."""

    def has(self, seq: int) -> bool:
        """Whether there is such an entry."""

    @property
    def commands(self) -> Sequence[int]:
        """A hash of (sender, client_msg_id) for each entry."""


def broken_rules(before: Before, entry: AnyEntry) -> Iterator[str]:
    """Says in words each rule that an entry breaks. Names no one and quotes nothing."""
    if (before.head == 0) != isinstance(entry, ConversationCreated):
        yield "a conversation begins with conversation_created, and has it once"
    if before.messages is not None:
        yield from _count(before.messages, entry)
    match entry:
        case ConversationCreated():
            yield from _created(entry)
        case MessageSent():
            yield from _by_member(before, entry)
        case MessageEdited() | MessageRecalled():
            yield from _by_member(before, entry)
            yield from _altered(before, entry)
        case MembersAdded() | MembersRemoved():
            yield from _membership(before, entry)
        case FanoutChanged():
            yield from _fanout(before, entry)


def repeated_commands(commands: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The entries whose command was accepted before, apart from the ones that follow each other.

    One command may become several entries, side by side.

    Args:
        commands: A hash of each command, from SeqId 1; 0 where the entry is not there.

    Yields:
        (SeqId, SeqId of the first entry of that command).
    """
    if len(set(commands)) == len(commands):
        return
    first_of: dict[int, int] = {}
    previous = 0
    for seq, command in enumerate(commands, start=1):
        first = first_of.setdefault(command, seq)
        if first != seq and command not in (0, previous):
            yield seq, first
        previous = command


def _count(before: int, entry: AnyEntry) -> Iterator[str]:
    due = before + isinstance(entry, MessageSent)
    # Entries of before messages were counted have no count, and are followed by none or by 1.
    if entry.messages not in ({0, due} if before == 0 else {due}):
        yield f"it counts {entry.messages} messages in place of {due}"


def _by_member(before: Before, entry: AnyEntry) -> Iterator[str]:
    if entry.sender not in before.members:
        yield "its sender is not a member"


def _altered(before: Before, entry: MessageEdited | MessageRecalled) -> Iterator[str]:
    if not before.may_be_message(entry.target):
        yield "its target is not a message before it"
    if entry.target in before.recalled:
        yield "its target was recalled before"
    edits = list(before.edits.get(entry.target, ()))
    if isinstance(entry, MessageRecalled) and edits != list(filter(before.has, entry.edits)):
        yield f"it names {len(entry.edits)} edits, and not the {len(edits)} that there are"


def _created(entry: ConversationCreated) -> Iterator[str]:
    if entry.sender not in entry.members:
        yield "who creates a conversation is a member of it"
    if len(set(entry.members)) != len(entry.members):
        yield "it names a member twice"


def _membership(before: Before, entry: MembersAdded | MembersRemoved) -> Iterator[str]:
    people = set(entry.members)
    if not people or len(people) != len(entry.members):
        yield "it names nobody, or a member twice"
    if isinstance(entry, MembersAdded) and not people.isdisjoint(before.members):
        yield "it adds somebody who is a member"
    if isinstance(entry, MembersAdded) and entry.history != before.history:
        yield f"its history rule is {entry.history} while the conversation's is {before.history}"
    if isinstance(entry, MembersRemoved) and not people.issubset(before.members):
        yield "it removes somebody who is not a member"
    if entry.mode != before.mode:
        yield f"its mode is {entry.mode} while the conversation's is {before.mode}"
    # The first of several entries of one command may have removed the sender.
    knows = entry.sender in before.members or entry.sender in people
    if not knows and not _goes_on(before, entry):
        yield "its sender is not a member"


def _fanout(before: Before, entry: FanoutChanged) -> Iterator[str]:
    if entry.member_count != len(before.members):
        yield f"it counts {entry.member_count} members, there are {len(before.members)}"
    if entry.mode == before.mode:
        yield f"the mode was {entry.mode} before"
    if entry.push_again_below > entry.push_limit:
        yield "its limits overlap"
    if entry.mode == "pull" and entry.member_count <= entry.push_limit:
        yield "to pull, with no more members than the limit"
    if entry.mode == "push" and entry.member_count >= entry.push_again_below:
        yield "to push, with no fewer members than the limit"
    if not _goes_on(before, entry):
        yield "it does not follow an entry of the same command"


def _goes_on(before: Before, entry: AnyEntry) -> bool:
    command = hash((entry.sender, entry.client_msg_id))
    return bool(before.commands) and before.commands[-1] == command

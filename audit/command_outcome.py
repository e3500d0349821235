"""Whether entries have the content of their command."""

from __future__ import annotations

from bisect import bisect_left

from msgspec import UNSET

from audit.conversation import AuditedConversation
from audit.digests import content_digest, described_digest
from schemas.number_types import SeqId
from schemas.records import (
    AddMembers,
    AnyCommand,
    CreateConversation,
    DescribeConversation,
    EditMessage,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    TransferOwnership,
)


def is_made_of(conversation: AuditedConversation, entries: range, command: AnyCommand) -> bool:
    """Whether a command makes these entries.

    Args:
        conversation: The conversation, with all its entries.
        entries: The places (from 0) of the entries with the command's id and time.
        command: The command.
    """
    match command:
        case CreateConversation(sender=sender, members=members):
            rules = (conversation.join, conversation.history)
            has_rules = entries.start > 0 or rules == (command.join, command.history)
            has_rules = has_rules and _is_described(conversation, entries, command)
            return has_rules and _change(conversation, entries, {sender, *members}, joined=True)
        case AddMembers(members=members):
            return _change(conversation, entries, set(members), joined=True)
        case RemoveMembers(members=members):
            return _change(conversation, entries, set(members), joined=False)
        case _:
            due = _digest(command)
            return due is None or conversation.contents[entries.start] == due


def _digest(command: AnyCommand) -> int | None:
    """The `content_digest` of a command's entry; None if the entry has no content."""
    match command:
        case SendMessage():
            return content_digest("message_sent", command.content, command.mentions)
        case EditMessage():
            return content_digest("message_edited", command.seq, command.content, command.mentions)
        case RecallMessage():
            return content_digest("message_recalled", command.seq)
        case TransferOwnership():
            return content_digest("ownership_transferred", command.to)
        case DescribeConversation():
            return described_digest(command.name, command.metadata)
        case _:
            return None


def _is_described(
    conversation: AuditedConversation, entries: range, command: CreateConversation
) -> bool:
    """Whether the entries of a creation have the command's name and metadata, if it has any."""
    if entries.stop < conversation.head and not conversation.has(SeqId(entries.stop + 1)):
        return True  # the missing entry may have them
    found = [
        content
        for place in entries
        if place + 1 not in conversation.counts and (content := conversation.contents[place])
    ]
    if not command.name and not command.metadata:
        return not found
    return found == [described_digest(command.name or UNSET, command.metadata or UNSET)]


def _change(
    conversation: AuditedConversation, entries: range, named: set[str], *, joined: bool
) -> bool:
    """Whether the entries add (or remove) all named people, except those added (removed) before.

    The entries must not name anybody else.
    """
    first, last = entries.start + 1, entries.stop
    changed = 0
    for user in named:
        changes = conversation.changes.get(user, [])
        place = bisect_left(changes, (first,))
        if place < len(changes) and changes[place][0] <= last:
            if changes[place][1] != joined:
                return False
            changed += 1
        elif (place > 0 and changes[place - 1][1]) != joined:
            return False
    count = sum(
        conversation.contents[place] for place in entries if place + 1 in conversation.counts
    )
    return changed == count

"""The rules of each entry, given the entries before it in its conversation.

The rules are those of `docs/conversations.md`. They are an independent model: this module imports
nothing from the sequencer, which enforces the rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from audit.conversation import AuditedConversation
from audit.digests import command_hash
from audit.member_rules import (
    description_rules,
    direct_chat_rules,
    fanout_rules,
    membership_rules,
    switch_due,
    transfer_rules,
)
from audit.rule_names import Broken
from schemas.direct_chats import is_direct_chat
from schemas.ids import is_client_msg_id, is_valid_id
from schemas.limits import MAX_EDITS, MAX_MESSAGE_BYTES, RECENT_PAGE, RECENT_PAGES, Limits
from schemas.number_types import Milliseconds
from schemas.records import (
    MAX_ID_LENGTH,
    AnyEntry,
    ConversationCreated,
    ConversationDescribed,
    FanoutChanged,
    MembersAdded,
    MembersRemoved,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    OwnershipTransferred,
)
from schemas.texts import SURELY_FITS, is_blank, message_bytes

NO_LIMITS: Final = Limits(
    push_limit=1 << 62,
    push_again_below=0,
    max_text_bytes=1 << 62,
    members_per_entry=1 << 62,
    recall_within_ms=Milliseconds(1 << 62),
    edit_within_ms=Milliseconds(1 << 62),
    owner_recalls=True,
)
"""For entries made when the settings may have been different."""


def broken_rules(before: AuditedConversation, entry: AnyEntry, limits: Limits) -> Iterator[Broken]:
    """Each rule that an entry breaks.

    Args:
        before: The conversation before this entry.
        entry: The next entry.
        limits: The settings at the time of the entry, or `NO_LIMITS`.
    """
    if before.head == 0 and not isinstance(entry, ConversationCreated):
        yield Broken("no_creation", "a conversation begins with conversation_created")
    if before.head > 0 and isinstance(entry, ConversationCreated):
        yield Broken("created_twice", f"the conversation has {before.head} entries")
    yield from _common_rules(before, entry)
    yield from direct_chat_rules(entry)
    match entry:
        case MessageSent():
            yield from _by_member(before, entry)
            yield from _said_rules(entry, limits)
        case MessageEdited():
            yield from _by_member(before, entry)
            yield from _said_rules(entry, limits)
            yield from _target_rules(before, entry)
            yield from _edit_rules(before, entry, limits)
        case MessageRecalled():
            yield from _by_member(before, entry)
            yield from _target_rules(before, entry)
            yield from _recall_rules(before, entry, limits)
        case OwnershipTransferred():
            yield from transfer_rules(before, entry)
        case ConversationDescribed():
            yield from _by_member(before, entry)
            yield from description_rules(before, entry)
        case FanoutChanged():
            yield from fanout_rules(before, entry, limits)
        case ConversationCreated() | MembersAdded() | MembersRemoved():
            yield from membership_rules(before, entry, limits)


def entry_missing(
    before: AuditedConversation, entry: AnyEntry | None, limits: Limits
) -> Iterator[Broken]:
    """A required entry of the last command that does not follow.

    The required entry is a change of mode, or the succession after the owner left.

    Args:
        before: A conversation.
        entry: The next entry of the conversation; None at the end of the log.
        limits: The settings at the time of the last entry.
    """
    due = switch_due(before, limits)
    if due is not None and not isinstance(entry, FanoutChanged):
        detail = f"to {due}, with {len(before.members)} members, before the next entry"
        yield Broken("switch_missing", detail)
    if before.needs_owner and (entry is None or not before.command.continues(entry)):
        detail = f"the owner is not one of the {len(before.members)} members"
        yield Broken("succession_missing", detail)


def repeated_commands(commands: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The entries whose command has an earlier entry that is not adjacent.

    One command may have several adjacent entries; `broken_rules` checks adjacent entries.

    Args:
        commands: A hash of each command, from SeqId 1; 0 for a missing entry.

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


def _common_rules(before: AuditedConversation, entry: AnyEntry) -> Iterator[Broken]:
    if before.messages is not None:
        due = before.messages + isinstance(entry, MessageSent)
        if entry.messages != due:
            yield Broken("wrong_count", f"{entry.messages} messages, expected {due}")
    if not is_client_msg_id(entry.client_msg_id):
        yield Broken("invalid_id", "client_msg_id is not a UUIDv7")
    if not _are_ids(entry.conv_id, entry.sender, *_named(entry)):
        yield Broken("invalid_id", "an id is empty, too long, or not printable")
    if before.head and before.commands[-1] == command_hash(entry):
        if not before.command.continues(entry):
            yield Broken("id_repeated", f"has the sender and client_msg_id of entry {before.head}")
        elif before.times[-1] != entry.at:
            yield Broken("wrong_time", f"entry {before.head} of the same command has another time")


def _named(entry: AnyEntry) -> Sequence[str]:
    if isinstance(entry, OwnershipTransferred):
        return [entry.owner]
    if isinstance(entry, ConversationCreated | MembersAdded | MembersRemoved):
        return entry.members
    return ()


def _are_ids(*ids: str) -> bool:
    return is_valid_id("".join(ids)) and all(0 < len(each) <= MAX_ID_LENGTH for each in ids)


def _by_member(before: AuditedConversation, entry: AnyEntry) -> Iterator[Broken]:
    if entry.sender not in before.members:
        yield Broken("sender_not_a_member", "only a member sends, edits, recalls, describes")


def _said_rules(entry: MessageSent | MessageEdited, limits: Limits) -> Iterator[Broken]:
    text = entry.content.text
    if is_blank(text):
        yield Broken("empty_text", "the text has no visible character")
    length = len(text.encode())
    if length > limits.max_text_bytes:
        yield Broken("text_too_long", f"{length} bytes, at most {limits.max_text_bytes}")
    if len(entry.mentions) > limits.max_mentions:
        detail = f"{len(entry.mentions)} mentions, at most {limits.max_mentions}"
        yield Broken("too_many_mentions", detail)
    if not entry.mentions and len(text) <= SURELY_FITS:
        return
    size = message_bytes(entry.conv_id, entry.sender, entry.content, entry.mentions)
    if size > MAX_MESSAGE_BYTES:
        detail = f"text and mentions have {size} bytes, at most {MAX_MESSAGE_BYTES}"
        yield Broken("entry_too_long", detail)


def _target_rules(
    before: AuditedConversation, entry: MessageEdited | MessageRecalled
) -> Iterator[Broken]:
    target = entry.target
    if not before.may_be_message(target):
        yield Broken("not_a_message", f"the target {target} is not an earlier message")
        return
    if target in before.recalled:
        detail = f"the target {target} was recalled by entry {before.recalled[target]}"
        yield Broken("recalled_before", detail)
    if before.has(target) and before.times[target - 1] != entry.target_at:
        detail = f"target_at is {entry.target_at}, the target has {before.times[target - 1]}"
        yield Broken("wrong_target_time", detail)
    if target // RECENT_PAGE <= before.last_message // RECENT_PAGE - RECENT_PAGES:
        yield Broken("too_far_back", f"the target {target} is no longer in the sequencer's state")


def _edit_rules(
    before: AuditedConversation, entry: MessageEdited, limits: Limits
) -> Iterator[Broken]:
    if before.is_by_other(entry.target, entry.sender):
        yield Broken("no_right_to_edit", "only the sender of a message edits it")
    if _age(before, entry) > limits.edit_within_ms or not limits.edit_within_ms:
        detail = f"after {_age(before, entry)} ms, at most {limits.edit_within_ms}"
        yield Broken("edited_too_late", detail)
    edits = len(before.edits.get(entry.target, ()))
    if edits >= MAX_EDITS:
        yield Broken("too_many_edits", f"the message has {edits} edits, at most {MAX_EDITS}")


def _recall_rules(
    before: AuditedConversation, entry: MessageRecalled, limits: Limits
) -> Iterator[Broken]:
    by_owner = limits.owner_recalls and entry.sender == before.owner
    by_owner = by_owner and not is_direct_chat(entry.conv_id)
    if before.is_by_other(entry.target, entry.sender) and not by_owner:
        yield Broken("no_right_to_recall", "not the sender of the message, nor a permitted owner")
    if _age(before, entry) > limits.recall_within_ms or not limits.recall_within_ms:
        detail = f"after {_age(before, entry)} ms, at most {limits.recall_within_ms}"
        yield Broken("recalled_too_late", detail)
    edits = list(before.edits.get(entry.target, ()))
    if edits != list(filter(before.has, entry.edits)):
        detail = f"names {len(entry.edits)} edits, which are not the message's {len(edits)}"
        yield Broken("wrong_edits", detail)


def _age(before: AuditedConversation, entry: MessageEdited | MessageRecalled) -> Milliseconds:
    """Milliseconds from a message to its edit or recall; 0 if the message is missing."""
    if not before.has(entry.target):
        return Milliseconds(0)
    return Milliseconds(entry.at - before.times[entry.target - 1])

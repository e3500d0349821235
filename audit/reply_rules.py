"""The rules of each reply on a sync timeline, given the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from audit.conversation import AuditedConversation
from audit.digests import hash_of_id
from audit.sync_shards import SyncPosition
from schemas.number_types import SeqId

ReplyRuleName: TypeAlias = Literal[
    "wrong_duplicate",
    "refused_after_entry",
    "mark_went_back",
    "mark_of_a_stranger",
    "mute_of_a_stranger",
]

_CODES_OF_ANOTHER: Final = frozenset({"conflict", "stale"})
"""Rejections of a second command with the id of an accepted one."""


class BrokenReply(NamedTuple):
    """A broken rule of a reply. ``detail`` names no person."""

    rule: ReplyRuleName
    detail: str


def broken_reply(
    conversation: AuditedConversation | None, reply: SyncPosition, marked: SeqId
) -> Iterator[BrokenReply]:
    """Each rule that a reply breaks.

    Args:
        conversation: The conversation of the reply, as far as the log was read.
        reply: The reply.
        marked: The read mark of the recipient before the reply, 0 if there is none.
    """
    if conversation is None:
        return
    match reply.kind:
        case "read_marked":
            yield from _mark_rules(conversation, reply, marked)
        case "conversation_muted":
            yield from _mute_rules(conversation, reply)
        case "duplicate":
            yield from _duplicate_rules(conversation, reply)
        case _:
            yield from _rejection_rules(conversation, reply)


def _mark_rules(
    conversation: AuditedConversation, reply: SyncPosition, marked: SeqId
) -> Iterator[BrokenReply]:
    if reply.seq <= marked:
        yield BrokenReply("mark_went_back", f"the previous mark is {marked}")
    if reply.seq <= conversation.head and not conversation.may_mark(reply.sender, reply.seq):
        yield BrokenReply("mark_of_a_stranger", "the entry is not after a join of the reader")


def _mute_rules(conversation: AuditedConversation, reply: SyncPosition) -> Iterator[BrokenReply]:
    if reply.seq <= conversation.head and not conversation.was_member(reply.sender, reply.seq):
        yield BrokenReply("mute_of_a_stranger", "the sender was not a member")


def _duplicate_rules(
    conversation: AuditedConversation, reply: SyncPosition
) -> Iterator[BrokenReply]:
    """A duplicate of a read mark or a mute, which have no entry, may name any person's entry."""
    own = hash_of_id(reply.sender, reply.client_msg_id)
    if not conversation.has(reply.seq) or conversation.commands[reply.seq - 1] == own:
        return
    if own in conversation.commands:
        yield BrokenReply("wrong_duplicate", "the entry belongs to another command")


def _rejection_rules(
    conversation: AuditedConversation, reply: SyncPosition
) -> Iterator[BrokenReply]:
    own = hash_of_id(reply.sender, reply.client_msg_id)
    if reply.code in _CODES_OF_ANOTHER or own not in conversation.commands:
        return
    seq = conversation.commands.index(own) + 1
    if conversation.times[seq - 1] <= reply.at:
        yield BrokenReply("refused_after_entry", f"the command has entry {seq}")

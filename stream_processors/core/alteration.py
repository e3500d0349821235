"""The decisions about the recall or the edit of an earlier message.

Order of the checks: is the sender a member? is the message known and remembered? may the sender
recall or edit it? was it recalled before? is it young enough?

Every person whose sync timeline has the text is notified of the recall, in either mode and also
after having left: otherwise the text would remain in that timeline. A former member gets a notice
in place of the entry, because the former member may not see the entry. A former member who could
read the text in the store gets a notice as well, because a device may have a copy; the number of
these notices is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec.structs import replace

from schemas.direct_chats import is_direct_chat
from schemas.limits import MAX_EDITS, Limits
from schemas.number_types import Milliseconds, SeqId
from schemas.records import (
    EditMessage,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    RecallMessage,
    Retracted,
)
from stream_processors.core.outcome import AddressedEntry, Effect, Notice
from stream_processors.core.recent import RememberedMessage
from stream_processors.core.refusal import Refused, check_content, existing
from stream_processors.core.state import Conversation, ConversationState, Leaver

MAX_NOTIFIED_MENTIONS: Final = 2
"""Maximum number of people that all pulled versions of a message mention, as a multiple of
`Limits.max_mentions`. Their ids are in the state record of the message."""


def recall(
    limits: Limits, conversation: Conversation | None, command: RecallMessage, at: Milliseconds
) -> Effect:
    """Recalls a message and its edits.

    Raises:
        Refused: The sender may not recall, it is too late, or there is no such message.
    """
    conversation, head = existing(conversation)
    remembered = _message(conversation, head, command)
    by_owner = limits.owner_recalls and command.sender == head.owner
    by_owner = by_owner and not is_direct_chat(command.conv_id)
    if command.sender != remembered.sender and not by_owner:
        raise Refused("not_allowed")
    _check_age(remembered, at, limits.recall_within_ms)
    entry = MessageRecalled(**_common(command, at, head, remembered), edits=list(remembered.edits))
    delivery = AddressedEntry(entry, _recipients(conversation, head, entry, remembered))
    former_members = _noticed(limits, conversation, head, command.seq, remembered)
    notice = Notice(_retraction(entry), former_members) if former_members else None
    recalled_message = replace(remembered, recalled=True)
    return Effect((delivery,), _moved(head), (), recalled_message, command.seq, notice)


def edit(
    limits: Limits, conversation: Conversation | None, command: EditMessage, at: Milliseconds
) -> Effect:
    """Replaces the text of a message.

    Raises:
        Refused: The sender may not edit, it is too late, or there is no such message.
    """
    check_content(limits, command)
    conversation, head = existing(conversation)
    remembered = _message(conversation, head, command)
    if command.sender != remembered.sender:
        raise Refused("not_allowed")
    _check_age(remembered, at, limits.edit_within_ms)
    if len(remembered.edits) >= MAX_EDITS:
        raise Refused("too_many_edits")
    entry = MessageEdited(
        **_common(command, at, head, remembered),
        content=command.content,
        mentions=command.mentions,
    )
    edited = replace(remembered, edits=(*remembered.edits, entry.seq))
    if head.mode == "pull":
        notified = tuple(dict.fromkeys((*remembered.notified, *mentioned(conversation, entry))))
        if len(notified) > MAX_NOTIFIED_MENTIONS * limits.max_mentions:
            raise Refused("too_large")
        edited = replace(edited, pulled=(*remembered.pulled, entry.seq), notified=notified)
    delivery = AddressedEntry(entry, _recipients(conversation, head, entry, edited))
    return Effect((delivery,), _moved(head), (), edited, command.seq)


def mentioned(conversation: Conversation, entry: MessageSent | MessageEdited) -> tuple[str, ...]:
    """The other members that a version of a message mentions, who get it even in pull mode."""
    named = dict.fromkeys(entry.mentions)
    return tuple(u for u in named if u in conversation.members and u != entry.sender)


def _message(
    conversation: Conversation, head: ConversationState, command: RecallMessage | EditMessage
) -> RememberedMessage:
    if command.sender not in conversation.members:
        raise Refused("not_a_member")
    if not 0 < command.seq <= head.last_seq:
        raise Refused("unknown_message")
    if not conversation.recent.remembers(command.seq):
        raise Refused("too_late")
    remembered = conversation.recent.find(command.seq)
    if remembered is None:
        raise Refused("unknown_message")
    return remembered


def _check_age(remembered: RememberedMessage, at: Milliseconds, within_ms: Milliseconds) -> None:
    if not within_ms:
        raise Refused("not_allowed")
    if remembered.recalled:
        raise Refused("already_recalled")
    if at - remembered.at > within_ms:
        raise Refused("too_late")


def _common(
    command: RecallMessage | EditMessage,
    at: Milliseconds,
    head: ConversationState,
    remembered: RememberedMessage,
) -> dict[str, Any]:
    """The common fields of entries that alter a message: the next entry of the conversation."""
    return {
        "conv_id": command.conv_id,
        "seq": head.last_seq + 1,
        "sender": command.sender,
        "client_msg_id": command.client_msg_id,
        "at": at,
        "messages": head.messages,
        "target": command.seq,
        "target_at": remembered.at,
    }


def _recipients(
    conversation: Conversation,
    head: ConversationState,
    entry: MessageRecalled | MessageEdited,
    remembered: RememberedMessage,
) -> tuple[str, ...]:
    """All members in push mode; otherwise the sender, and the members who were sent a version."""
    if head.mode == "push":
        return conversation.recipients()
    holders = dict.fromkeys((entry.sender, *_holders(conversation, entry.target, remembered)))
    return tuple(user for user in holders if user in conversation.members)


def _holders(
    conversation: Conversation, target: SeqId, remembered: RememberedMessage
) -> Iterator[str]:
    """The people whose sync timelines have the text of the message or of one of its edits."""
    yield from (remembered.sender, *remembered.notified)
    pushed = [seq for seq in (target, *remembered.edits) if seq not in remembered.pulled]
    if not pushed:
        return
    yield from (user for user, since in conversation.members.items() if since <= pushed[-1])
    yield from _back(conversation, pushed)


def _back(conversation: Conversation, seqs: Sequence[SeqId]) -> Iterator[str]:
    """Members who were members at one of these SeqIds in an earlier period."""
    for leaver in reversed(conversation.leavers.values()):
        is_member = leaver.user in conversation.members
        if not is_member and leaver.until < seqs[0]:
            return
        if is_member and _was_member_at(leaver, seqs):
            yield leaver.user


def _former(conversation: Conversation, since: SeqId) -> Iterator[Leaver]:
    """Former members who left at or after SeqId ``since``, the latest first."""
    for leaver in reversed(conversation.leavers.values()):
        if leaver.user in conversation.members:
            continue
        if leaver.until < since:
            return
        yield leaver


def _noticed(
    limits: Limits,
    conversation: Conversation,
    head: ConversationState,
    target: SeqId,
    remembered: RememberedMessage,
) -> list[str]:
    """Former members who get a notice.

    All whose sync timeline has the text, and the latest leavers among those who could read it in
    the store, up to the bound.
    """
    seqs = (target, *remembered.edits)
    pushed = [seq for seq in seqs if seq not in remembered.pulled]
    notified = {remembered.sender, *remembered.notified}
    holders: list[str] = []
    readers: list[str] = []
    for leaver in _former(conversation, target):
        if leaver.user in notified or _was_member_at(leaver, pushed):
            holders.append(leaver.user)
        elif len(readers) < limits.max_notices and (
            _was_member_at(leaver, seqs) or (head.history == "all" and target <= leaver.until)
        ):
            readers.append(leaver.user)
    return holders + readers[: max(0, limits.max_notices - len(holders))]


def _was_member_at(leaver: Leaver, seqs: Sequence[SeqId]) -> bool:
    return any(period.first <= seq <= period.last for period in leaver.stays for seq in seqs)


def _retraction(entry: MessageRecalled) -> Retracted:
    return Retracted(conv_id=entry.conv_id, target=entry.target, edits=entry.edits, at=entry.at)


def _moved(head: ConversationState) -> ConversationState:
    return replace(head, last_seq=SeqId(head.last_seq + 1))

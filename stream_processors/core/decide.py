"""The decision about one command: `decide`.

Order of the questions, because each answer hides the later ones:

1. Is the id one that can be remembered?               no: rejected ``invalid``
2. Was it accepted before?                             duplicate, ``conflict`` or ``stale``
3. Is the command within the limits?                   no: ``too_large``, ``empty``, ``invalid``
4. Is the conversation there?                          no: ``unknown_conversation``
5. May the sender do this, and would it change a thing? no: ``not_a_member``, ``not_allowed``, …

The second comes before the others so that sending again gives the first answer again, whatever
has changed since: the sender may have left, a limit may have been lowered. It is not asked of a
read mark (`stream_processors.core.marks`).
"""

from __future__ import annotations

from schemas.ids import is_client_msg_id, is_valid_id
from schemas.limits import Limits
from schemas.records import (
    AddMembers,
    AnyCommand,
    AnyReply,
    CreateConversation,
    EditMessage,
    MarkRead,
    MessageSent,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    TransferOwnership,
)
from stream_processors.core.alteration import edit, mentioned, recall
from stream_processors.core.digest import digest_of
from stream_processors.core.marks import decide_mark
from stream_processors.core.membership import Draft, MembershipCommand
from stream_processors.core.outcome import Accept, Decision, Delivery, Effect
from stream_processors.core.recent import Said
from stream_processors.core.refusal import Refused, check_said, existing
from stream_processors.core.replies import duplicate, rejected
from stream_processors.core.state import Conversation, Head, MarkForgotten
from stream_processors.core.window import Accepted, Window

_NO_WINDOW = Window()


def decide(
    limits: Limits, conversation: Conversation | None, command: AnyCommand, at: int
) -> Decision:
    """Decides what a command does to a conversation. Changes nothing itself.

    Args:
        limits: What this deployment allows.
        conversation: The state that all earlier commands led to; None if there is none.
        command: What somebody wants.
        at: The broker's time of the command, milliseconds since 1970.

    Returns:
        What is to be written and changed, or the reply to the sender.
    """
    if not is_client_msg_id(command.client_msg_id):
        return rejected(command, at, "invalid")
    if type(command) is MarkRead:  # a third of the cost of isinstance
        return decide_mark(conversation, command, at)
    window = _window(conversation, command)
    digest = digest_of(command)
    known = window.known(command.client_msg_id)
    if known is not None:
        return _again(command, known, digest, at)
    slot = window.slot_for(command.client_msg_id)
    if slot is None:
        return rejected(command, at, "stale")
    try:
        effect = _effect(limits, conversation, command, at)
    except Refused as refused:
        return rejected(command, at, refused.code)
    return Accept(effect, command, Accepted(slot, effect.deliveries[0].entry.seq, digest))


def _window(conversation: Conversation | None, command: AnyCommand) -> Window:
    if conversation is None:
        return _NO_WINDOW
    return conversation.windows.get((command.sender, command.device_id), _NO_WINDOW)


def _again(command: AnyCommand, accepted: Accepted, digest: int, at: int) -> AnyReply:
    if accepted.digest != digest:
        return rejected(command, at, "conflict")
    return duplicate(command, at, accepted.seq)


def _effect(
    limits: Limits,
    conversation: Conversation | None,
    command: SendMessage | RecallMessage | EditMessage | MembershipCommand,
    at: int,
) -> Effect:
    if isinstance(command, SendMessage):  # first, and by the cheaper test: nearly all are
        return _send(limits, conversation, command, at)
    if isinstance(command, RecallMessage):
        return recall(limits, conversation, command, at)
    if isinstance(command, EditMessage):
        return edit(limits, conversation, command, at)
    return _membership(limits, conversation, command, at)


def _membership(
    limits: Limits, conversation: Conversation | None, command: MembershipCommand, at: int
) -> Effect:
    match command:
        case CreateConversation():
            return _create(limits, conversation, command, at)
        case AddMembers():
            return _add(limits, conversation, command, at)
        case RemoveMembers():
            return _remove(limits, conversation, command, at)
        case TransferOwnership():
            return _transfer(limits, conversation, command, at)


def _send(
    limits: Limits, conversation: Conversation | None, command: SendMessage, at: int
) -> Effect:
    check_said(limits, command)
    conversation, head = existing(conversation)
    if command.sender not in conversation.members:
        raise Refused("not_a_member")
    entry = MessageSent(
        conv_id=command.conv_id,
        seq=head.last_seq + 1,
        sender=command.sender,
        client_msg_id=command.client_msg_id,
        at=at,
        messages=head.messages + 1,
        content=command.content,
        mentions=command.mentions,
    )
    moved = Head(head.owner, head.join, head.mode, entry.seq, head.history, entry.messages)
    if head.mode == "push":
        said = (entry.sender, at)
        return Effect((Delivery(entry, conversation.recipients()),), moved, (), said)
    told = mentioned(conversation, entry)
    pulled = Said(entry.sender, at, (entry.seq,), told)
    return Effect((Delivery(entry, (entry.sender, *told)),), moved, (), pulled)


def _transfer(
    limits: Limits, conversation: Conversation | None, command: TransferOwnership, at: int
) -> Effect:
    if command.to == command.sender or not is_valid_id(command.to):
        raise Refused("invalid")
    conversation, head = existing(conversation)
    if command.sender not in conversation.members:
        raise Refused("not_a_member")
    if command.sender != head.owner:
        raise Refused("not_allowed")
    if command.to not in conversation.members:
        raise Refused("not_a_member")
    draft = Draft(limits, command, at, head, conversation.members)
    draft.transfer(command.to)
    return draft.effect()


def _create(
    limits: Limits, conversation: Conversation | None, command: CreateConversation, at: int
) -> Effect:
    people = _people(limits, [command.sender, *command.members])
    if conversation is not None and conversation.head is not None:
        raise Refused("already_exists")
    head = Head(command.sender, command.join, "push", 0, command.history)
    draft = Draft(limits, command, at, head, {})
    draft.create(people)
    return draft.effect()


def _add(
    limits: Limits, conversation: Conversation | None, command: AddMembers, at: int
) -> Effect:
    people = _people(limits, command.members)
    conversation, head = existing(conversation)
    adds_only_self = people == [command.sender]
    if command.sender not in conversation.members and not adds_only_self:
        raise Refused("not_a_member")
    newcomers = [user for user in people if user not in conversation.members]
    if not newcomers:
        raise Refused("already_a_member")
    if command.sender not in conversation.members and not _may_enter(conversation, head, command):
        raise Refused("not_allowed")
    draft = Draft(limits, command, at, head, conversation.members)
    draft.add(newcomers)
    return draft.effect()


def _may_enter(conversation: Conversation, head: Head, command: AddMembers) -> bool:
    """Whether somebody may add themselves: an empty conversation is open to its last owner."""
    if head.join == "open":
        return True
    return not conversation.members and command.sender == head.owner


def _remove(
    limits: Limits, conversation: Conversation | None, command: RemoveMembers, at: int
) -> Effect:
    people = _people(limits, command.members)
    conversation, head = existing(conversation)
    if command.sender not in conversation.members:
        raise Refused("not_a_member")
    if command.sender != head.owner and people != [command.sender]:
        raise Refused("not_allowed")
    leavers = [user for user in people if user in conversation.members]
    if not leavers:
        raise Refused("not_a_member")
    draft = Draft(limits, command, at, head, conversation.members)
    draft.remove(leavers)
    return draft.effect([MarkForgotten(user) for user in leavers if user in conversation.marks])


def _people(limits: Limits, people: list[str]) -> list[str]:
    """The people named, each once.

    An empty list is refused, and one beyond the limit.
    """
    unique = list(dict.fromkeys(people))
    if not unique or not all(map(is_valid_id, unique)):
        raise Refused("invalid")
    if len(unique) > limits.max_members_per_command:
        raise Refused("too_large")
    return unique

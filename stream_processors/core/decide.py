"""The decision about one command: `decide`.

Order of the checks; the first failed check determines the outcome:

1. Is the id valid, so that it can be remembered?        no: rejected ``invalid``
2. Is the id above all earlier ids of its device?        no: the first outcome, or ``stale``
3. Is the command within the limits?                     no: ``too_large``, ``empty``, ``invalid``
4. Does the conversation exist?                          no: ``unknown_conversation``
5. May the sender do this, and would it have an effect?  no: ``not_a_member``, ``not_allowed``, …

Check 2 is early so that a repeated command has the same outcome again, accepted or rejected, even
if the sender has joined or left since, or a limit has changed. Read marks differ
(`stream_processors.core.marks`).
"""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from schemas.direct_chats import breaks_direct_chat
from schemas.ids import is_client_msg_id, is_valid_id
from schemas.limits import Limits
from schemas.number_types import NO_SEQ, Milliseconds, SeqId
from schemas.records import (
    AddMembers,
    AnyCommand,
    AnyReply,
    CreateConversation,
    DescribeConversation,
    EditMessage,
    MarkRead,
    MessageSent,
    MuteConversation,
    RecallMessage,
    Rejected,
    RemoveMembers,
    SendMessage,
    TransferOwnership,
)
from stream_processors.core.alteration import edit, mentioned, recall
from stream_processors.core.digest import digest_of
from stream_processors.core.marks import decide_mark
from stream_processors.core.membership import Draft, MembershipCommand
from stream_processors.core.mutes import decide_mute
from stream_processors.core.outcome import Accept, AddressedEntry, Decision, Effect, Refuse
from stream_processors.core.recent import RememberedMessage
from stream_processors.core.refusal import Refused, check_content, check_described, existing
from stream_processors.core.replies import rejected, repeated_outcome
from stream_processors.core.state import Conversation, ConversationState, MarkForgotten
from stream_processors.core.strangers import Strangers
from stream_processors.core.window import Window

_NOBODY: Final = Strangers()


def decide(
    limits: Limits,
    conversation: Conversation | None,
    command: AnyCommand,
    at: Milliseconds,
    strangers: Strangers = _NOBODY,
) -> Decision:
    """Decides the effect of a command on a conversation. Has no side effects.

    Args:
        limits: The limits of the deployment.
        conversation: The state after all earlier commands; None if there is none.
        command: The command.
        at: The broker's time of the command, milliseconds since 1970.
        strangers: The lane's memory of refused commands of strangers.

    Returns:
        The records to write and the changes, or the reply to the sender.
    """
    if not is_client_msg_id(command.client_msg_id):
        return rejected(command, at, "invalid")
    window = None if conversation is None else conversation.window_of(command)
    past = _past_without_window(conversation, command, strangers) if window is None else window
    if type(command) is MarkRead:  # a third of the cost of isinstance
        return decide_mark(conversation, past, command, at)
    if type(command) is MuteConversation:
        return decide_mute(conversation, past, command, at)
    digest = digest_of(command)
    if command.client_msg_id <= past.newest:
        return repeated_outcome(command, past, digest, at)
    try:
        if isinstance(command, SendMessage):  # nearly all commands are
            effect = _send(limits, conversation, command, at)
        else:
            effect = _effect(limits, conversation, command, at)
    except Refused as refused:
        return rejected(command, at, refused.code)
    return Accept(effect, command, digest, window)


def refusal_to_remember(
    conversation: Conversation | None, command: AnyCommand, reply: AnyReply, strangers: Strangers
) -> Refuse | None:
    """The refusal that the state must remember after a reply of `decide`, or None.

    A rejection of a new id is remembered. Other replies, and replies to an id that is not above
    the newest, are not.
    """
    if not isinstance(reply, Rejected) or not is_client_msg_id(command.client_msg_id):
        return None
    past = None if conversation is None else conversation.window_of(command)
    if past is None:
        past = _past_without_window(conversation, command, strangers)
    if command.client_msg_id <= past.newest:
        return None
    return Refuse(reply, command, digest_of(command))


def _past_without_window(
    conversation: Conversation | None, command: AnyCommand, strangers: Strangers
) -> Window:
    """The decided ids of a device without a window in the conversation."""
    devices = None if conversation is None else conversation.devices.get(command.sender)
    return strangers.window(command, devices.floor if devices else "")


def _effect(
    limits: Limits,
    conversation: Conversation | None,
    command: RecallMessage | EditMessage | MembershipCommand,
    at: Milliseconds,
) -> Effect:
    if isinstance(command, RecallMessage):
        return recall(limits, conversation, command, at)
    if isinstance(command, EditMessage):
        return edit(limits, conversation, command, at)
    return _membership(limits, conversation, command, at)


def _membership(
    limits: Limits, conversation: Conversation | None, command: MembershipCommand, at: Milliseconds
) -> Effect:
    if breaks_direct_chat(command):
        raise Refused("invalid" if isinstance(command, CreateConversation) else "not_allowed")
    match command:
        case CreateConversation():
            return _create(limits, conversation, command, at)
        case AddMembers():
            return _add(limits, conversation, command, at)
        case RemoveMembers():
            return _remove(limits, conversation, command, at)
        case TransferOwnership():
            return _transfer(limits, conversation, command, at)
        case DescribeConversation():
            return _describe(limits, conversation, command, at)


def _send(
    limits: Limits, conversation: Conversation | None, command: SendMessage, at: Milliseconds
) -> Effect:
    check_content(limits, command)
    conversation, head = existing(conversation)
    if command.sender not in conversation.members:
        raise Refused("not_a_member")
    entry = MessageSent(
        conv_id=command.conv_id,
        seq=SeqId(head.last_seq + 1),
        sender=command.sender,
        client_msg_id=command.client_msg_id,
        at=at,
        messages=head.messages + 1,
        content=command.content,
        mentions=command.mentions,
    )
    moved = ConversationState(
        head.owner, head.join, head.mode, entry.seq, head.history, entry.messages
    )
    if head.mode == "push":
        remembered = (entry.sender, at)
        return Effect((AddressedEntry(entry, conversation.recipients()),), moved, (), remembered)
    notified = mentioned(conversation, entry)
    pulled = RememberedMessage(entry.sender, at, (entry.seq,), notified)
    return Effect((AddressedEntry(entry, (entry.sender, *notified)),), moved, (), pulled)


def _transfer(
    limits: Limits, conversation: Conversation | None, command: TransferOwnership, at: Milliseconds
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
    draft = Draft(limits, command, at, head, conversation)
    draft.transfer(command.to)
    return draft.effect()


def _describe(
    limits: Limits,
    conversation: Conversation | None,
    command: DescribeConversation,
    at: Milliseconds,
) -> Effect:
    if command.name is UNSET and command.metadata is UNSET:
        raise Refused("invalid")
    check_described(command)
    conversation, head = existing(conversation)
    if command.sender not in conversation.members:
        raise Refused("not_a_member")
    if command.sender != head.owner:
        raise Refused("not_allowed")
    draft = Draft(limits, command, at, head, conversation)
    draft.describe(command.name, command.metadata)
    return draft.effect()


def _create(
    limits: Limits,
    conversation: Conversation | None,
    command: CreateConversation,
    at: Milliseconds,
) -> Effect:
    people = _people(limits, [command.sender, *command.members])
    check_described(command)
    if conversation is not None and conversation.head is not None:
        raise Refused("already_exists")
    head = ConversationState(command.sender, command.join, "push", NO_SEQ, command.history)
    draft = Draft(limits, command, at, head, Conversation())
    draft.create(people)
    if command.name or command.metadata:
        draft.describe(command.name or UNSET, command.metadata or UNSET)
    return draft.effect()


def _add(
    limits: Limits, conversation: Conversation | None, command: AddMembers, at: Milliseconds
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
    draft = Draft(limits, command, at, head, conversation)
    draft.add(newcomers)
    return draft.effect()


def _may_enter(conversation: Conversation, head: ConversationState, command: AddMembers) -> bool:
    """Whether the sender may add themselves: an empty conversation is open to its last owner."""
    if head.join == "open":
        return True
    return not conversation.members and command.sender == head.owner


def _remove(
    limits: Limits, conversation: Conversation | None, command: RemoveMembers, at: Milliseconds
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
    draft = Draft(limits, command, at, head, conversation)
    draft.remove(leavers)
    return draft.effect([MarkForgotten(user) for user in leavers if user in conversation.marks])


def _people(limits: Limits, people: list[str]) -> list[str]:
    """The named people without duplicates.

    An empty list, and a list beyond the limit, is refused.
    """
    unique = list(dict.fromkeys(people))
    if not unique or not all(map(is_valid_id, unique)):
        raise Refused("invalid")
    if len(unique) > limits.max_members_per_command:
        raise Refused("too_large")
    return unique

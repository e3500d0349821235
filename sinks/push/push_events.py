"""The effect of one sync record on the state of one recipient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from schemas.records import (
    AnySyncRecord,
    ConversationMuted,
    MembersRemoved,
    MessageRecalled,
    MessageSent,
    ReadMarked,
)
from sinks.push.push_drops import DropReason, dropped
from sinks.push.push_state import (
    PushState,
    WaitingMessage,
    message_arrived,
    muted,
    read_up_to,
    recalled,
)


class PushEffect(NamedTuple):
    """The change of a state.

    ``drops``: why the change removes messages. ``begins``: the change may begin a state that did
    not exist.
    """

    change: Callable[[PushState], PushState]
    drops: DropReason
    begins: bool = False


def effect_of(user: str, record: AnySyncRecord) -> PushEffect | None:
    """The effect of a record; None if the record changes no state.

    An edit has no effect, because the text of a notification is read when it is delivered.

    Args:
        user: The recipient.
        record: The record.
    """
    match record:
        case MessageSent(sender=sender) if sender != user:
            message = WaitingMessage(record.seq, record.at, sender, record.messages)
            # Beyond the maximum, the oldest message is removed.
            return PushEffect(partial(message_arrived, message=message), "collapsed", begins=True)
        case MessageSent(seq=seq) | ReadMarked(seq=seq):
            return PushEffect(partial(read_up_to, seq=seq), "read")
        case MembersRemoved(seq=seq, members=members) if user in members:
            return PushEffect(partial(read_up_to, seq=seq), "read")
        case MessageRecalled(target=target):
            return PushEffect(partial(recalled, seq=target), "recalled")
        case ConversationMuted(until=until, at=at):
            return PushEffect(partial(muted, until=until, at=at), "muted", begins=True)
        case _:
            return None


def drops_of(effect: PushEffect, before: PushState, after: PushState) -> tuple[DropReason, int]:
    """The number of messages that an effect leaves without a notification, and the reason.

    A message that changes no state is a message to a muted conversation.
    """
    if effect.drops == "collapsed" and after == before:
        return "muted", 1
    return effect.drops, dropped(before, after)

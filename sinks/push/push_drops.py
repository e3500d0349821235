"""Which messages cause no notification of their own, for the metrics. Pure.

Each message counts at most once: not if a device was notified of it or of a later message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from schemas.number_types import NO_SEQ, SeqId
from sinks.push.push_state import PushState

DropReason: TypeAlias = Literal["muted", "live", "read", "recalled", "collapsed", "no_device"]
"""Why a message causes no notification of its own: see `im_notifications_dropped_total`."""

NoteDrops: TypeAlias = Callable[[DropReason, int], None]
"""Receives the number of such messages. Called under the lock of the planner."""


def dropped(before: PushState, after: PushState) -> int:
    """The messages that wait no more, and of which no device was notified."""
    kept = {message.seq for message in after.waiting}
    newest = _notified(before)
    return sum(each.seq > newest and each.seq not in kept for each in before.waiting)


def collapsed(state: PushState, seq: SeqId) -> int:
    """The messages that a notification of ``seq`` stands for, without ``seq`` itself."""
    newest = _notified(state)
    return sum(newest < each.seq < seq for each in state.waiting)


def _notified(state: PushState) -> SeqId:
    """The newest message of which a device was notified."""
    return max(state.notified.values(), default=NO_SEQ)

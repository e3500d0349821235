"""What a decision consists of."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from schemas.records import AnyCommand, AnyEntry, AnyReply, ReadMarked, Retracted
from stream_processors.core.recent import Plain, Said
from stream_processors.core.state import Change, Conversation, Head, MemberRead
from stream_processors.core.window import Accepted, Window


class Delivery(Struct, frozen=True, gc=False):
    """One new entry, and whose sync timelines it goes to."""

    entry: AnyEntry
    recipients: Sequence[str]


class Notice(Struct, frozen=True, gc=False):
    """What people learn who have left."""

    record: Retracted
    recipients: Sequence[str]


class Effect(Struct, frozen=True, gc=False):
    """What an accepted command does.

    At least one new entry, the head after them, and what else changes: memberships, or a message:
    that of the new entry, or the one whose SeqId is ``altered``.
    """

    deliveries: Sequence[Delivery]
    head: Head
    changes: Sequence[Change] = ()
    said: Said | Plain | None = None
    altered: int = 0
    notice: Notice | None = None


class Accept(Struct, frozen=True, gc=False):
    """The command takes effect, and its id is remembered."""

    effect: Effect
    command: AnyCommand
    accepted: Accepted

    def apply_to(self, conversation: Conversation) -> Window | None:
        """Moves the state forward.

        Returns:
            The device's window, if this is the first id that it accepted since its touched pages
            were taken.
        """
        command, effect = self.command, self.effect
        conversation.head = effect.head
        window = conversation.window(command.sender, command.device_id)
        first = window.accept(command.client_msg_id, self.accepted)
        said = effect.said
        if effect.altered and isinstance(said, Said):
            conversation.alter(effect.altered, said)
        elif said is not None:
            conversation.say(effect.head.last_seq, said)
        for change in effect.changes:
            conversation.change(change)
        return window if first else None


class Mark(Struct, frozen=True, gc=False):
    """A read mark goes forward. No entry tells of it, and no id needs to be remembered."""

    record: ReadMarked
    change: MemberRead


Decision = Accept | Mark | AnyReply
"""Either the command takes effect, or its sender gets a reply."""

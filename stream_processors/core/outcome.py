"""What a decision consists of."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from schemas.records import AnyEntry, AnyReply
from stream_processors.core.state import Change, Conversation, Head, IdAccepted


class Delivery(Struct, frozen=True, gc=False):
    """One new entry, and whose sync timelines it goes to."""

    entry: AnyEntry
    recipients: Sequence[str]


class Effect(Struct, frozen=True, gc=False):
    """What an accepted command does.

    At least one new entry, the head after them, and what else changes.
    """

    deliveries: Sequence[Delivery]
    head: Head
    changes: Sequence[Change] = ()


class Accept(Struct, frozen=True, gc=False):
    """The command takes effect, and its id is remembered."""

    effect: Effect
    id: IdAccepted

    def apply_to(self, conversation: Conversation) -> None:
        """Moves the state forward."""
        conversation.head = self.effect.head
        conversation.accept(self.id)
        for change in self.effect.changes:
            conversation.change(change)


Decision = Accept | AnyReply
"""Either the command takes effect, or its sender gets a reply."""

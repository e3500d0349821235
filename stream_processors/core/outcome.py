"""The parts of a decision."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from schemas.errors import RejectionCode
from schemas.number_types import NO_SEQ, SeqId
from schemas.records import (
    AnyCommand,
    AnyEntry,
    AnyReply,
    ConversationMuted,
    MuteConversation,
    ReadMarked,
    Rejected,
    Retracted,
)
from stream_processors.core.recent import RememberedMessage, UnalteredMessage
from stream_processors.core.state import Conversation, ConversationState, MemberRead, StateChange
from stream_processors.core.strangers import Strangers
from stream_processors.core.window import Window


class AddressedEntry(Struct, frozen=True, gc=False):
    """One new entry, and the recipients whose sync timelines get it."""

    entry: AnyEntry
    recipients: Sequence[str]


class Notice(Struct, frozen=True, gc=False):
    """A retraction, and the former members who get it."""

    record: Retracted
    recipients: Sequence[str]


class Effect(Struct, frozen=True, gc=False):
    """The effect of an accepted command.

    At least one new entry, the head after the entries, and further changes: of memberships, or of
    a message, which is the new entry or the message with SeqId ``altered``.
    """

    deliveries: Sequence[AddressedEntry]
    head: ConversationState
    changes: Sequence[StateChange] = ()
    remembered: RememberedMessage | UnalteredMessage | None = None
    altered: SeqId = NO_SEQ
    notice: Notice | None = None


class Accept(Struct, frozen=True, gc=False):
    """The command takes effect, and its id is remembered.

    ``window``: the window of the command's device in the conversation, or None. A second look-up
    would cost a tenth of the core.
    """

    effect: Effect
    command: AnyCommand
    digest: int
    window: Window | None

    def apply_to(
        self, conversation: Conversation, strangers: Strangers | None = None
    ) -> Window | None:
        """Applies the effect to the state.

        Args:
            conversation: The state for which the command was decided.
            strangers: The lane's memory of strangers; the sender may have been one.

        Returns:
            The device's window, if this is the first id that was decided since its touched pages
            were taken.
        """
        command, effect = self.command, self.effect
        conversation.head = effect.head
        window = self.window
        if window is None:
            window = conversation.open_window(command, strangers)
        seq = effect.deliveries[0].entry.seq
        first = window.append(command.client_msg_id, seq, self.digest)
        remembered = effect.remembered
        if effect.altered and isinstance(remembered, RememberedMessage):
            conversation.alter(effect.altered, remembered)
        elif remembered is not None:
            conversation.remember(effect.head.last_seq, remembered)
        for change in effect.changes:
            conversation.change(change)
        return window if first else None


class Refuse(Struct, frozen=True, gc=False):
    """A rejection whose id is remembered, so that the repeated command is rejected again."""

    reply: Rejected
    command: AnyCommand
    digest: int

    def apply_to(self, conversation: Conversation, strangers: Strangers) -> Window | None:
        """Remembers the id in a conversation in which its sender has a place.

        Returns:
            As `Accept.apply_to`.
        """
        code = self.reply.code
        return _remember(conversation, strangers, self.command, NO_SEQ, self.digest, code)


class Mark(Struct, frozen=True, gc=False):
    """A read mark moves forward. It has no entry, and its id need not be remembered."""

    record: ReadMarked
    change: MemberRead


class Mute(Struct, frozen=True, gc=False):
    """A mute takes effect. It has no entry, but its id is remembered."""

    record: ConversationMuted
    command: MuteConversation
    digest: int

    def apply_to(self, conversation: Conversation, strangers: Strangers) -> Window | None:
        """Remembers the id. Returns as `Accept.apply_to`."""
        return _remember(conversation, strangers, self.command, self.record.seq, self.digest)


def _remember(  # noqa: PLR0913, PLR0917 - the fields of a decided id
    conversation: Conversation,
    strangers: Strangers,
    command: AnyCommand,
    seq: SeqId,
    digest: int,
    code: RejectionCode | None = None,
) -> Window | None:
    """Remembers a decided id; returns the window if this is its first touched id."""
    window = conversation.window_of(command)
    if window is None:
        window = conversation.open_window(command, strangers)
    return window if window.append(command.client_msg_id, seq, digest, code) else None


Decision = Accept | Mark | Mute | AnyReply
"""Either the command takes effect, or its sender gets a reply."""

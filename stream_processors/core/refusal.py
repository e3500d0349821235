"""How a decision ends without an effect, and the questions that several commands ask."""

from __future__ import annotations

from schemas.errors import RejectionCode
from schemas.limits import Limits
from stream_processors.core.state import Conversation, Head


class Refused(Exception):
    """Ends a decision with a rejection."""

    def __init__(self, code: RejectionCode) -> None:
        super().__init__(code)
        self.code: RejectionCode = code


def existing(conversation: Conversation | None) -> tuple[Conversation, Head]:
    """The conversation and its head.

    Raises:
        Refused: Nobody has created it.
    """
    if conversation is None or conversation.head is None:
        raise Refused("unknown_conversation")
    return conversation, conversation.head


def check_text(limits: Limits, text: str) -> None:
    """Passes a text that is not too long.

    Raises:
        Refused: It is.
    """
    # The bytes are counted only where the characters alone do not settle it.
    if len(text) * 4 > limits.max_text_bytes and len(text.encode()) > limits.max_text_bytes:
        raise Refused("too_large")

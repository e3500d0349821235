"""How a decision ends without an effect, and the questions that several commands ask."""

from __future__ import annotations

from schemas.errors import RejectionCode
from schemas.limits import MAX_SAID_BYTES, Limits
from schemas.records import EditMessage, SendMessage
from schemas.texts import SURELY_FITS, is_blank, said_bytes
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


def check_said(limits: Limits, command: SendMessage | EditMessage) -> None:
    """Passes a text and mentions that a message may have, and an edit alike.

    Raises:
        Refused: The text shows nothing, or there is too much of something.
    """
    text, mentions = command.content.text, command.mentions
    if is_blank(text):
        raise Refused("empty")
    # Bytes are counted only where the number of characters does not decide.
    if len(text) * 4 > limits.max_text_bytes and len(text.encode()) > limits.max_text_bytes:
        raise Refused("too_large")
    if len(mentions) > limits.max_mentions:
        raise Refused("too_large")
    if not mentions and len(text) <= SURELY_FITS:
        return
    if said_bytes(command.conv_id, command.sender, command.content, mentions) > MAX_SAID_BYTES:
        raise Refused("too_large")

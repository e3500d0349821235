"""The error that ends a decision without an effect, and checks that several commands share."""

from __future__ import annotations

from schemas.descriptions import description_fault
from schemas.errors import RejectionCode
from schemas.limits import MAX_MESSAGE_BYTES, Limits
from schemas.records import CreateConversation, DescribeConversation, EditMessage, SendMessage
from schemas.texts import SURELY_FITS, is_blank, message_bytes
from stream_processors.core.state import Conversation, ConversationState


class Refused(Exception):
    """Ends a decision with a rejection."""

    def __init__(self, code: RejectionCode) -> None:
        super().__init__(code)
        self.code: RejectionCode = code


def existing(conversation: Conversation | None) -> tuple[Conversation, ConversationState]:
    """The conversation and its head.

    Raises:
        Refused: The conversation was not created.
    """
    if conversation is None or conversation.head is None:
        raise Refused("unknown_conversation")
    return conversation, conversation.head


def check_content(limits: Limits, command: SendMessage | EditMessage) -> None:
    """Checks the text and the mentions of a message or an edit.

    Raises:
        Refused: The text has no visible character, or a limit is exceeded.
    """
    text, mentions = command.content.text, command.mentions
    if is_blank(text):
        raise Refused("empty")
    # Bytes are counted only if the number of characters is not conclusive.
    if len(text) * 4 > limits.max_text_bytes and len(text.encode()) > limits.max_text_bytes:
        raise Refused("too_large")
    if len(mentions) > limits.max_mentions:
        raise Refused("too_large")
    if not mentions and len(text) <= SURELY_FITS:
        return
    if (
        message_bytes(command.conv_id, command.sender, command.content, mentions)
        > MAX_MESSAGE_BYTES
    ):
        raise Refused("too_large")


def check_described(command: CreateConversation | DescribeConversation) -> None:
    """Checks the name and the metadata of a conversation.

    Raises:
        Refused: The name or the metadata is outside its rules.
    """
    fault = description_fault(command.conv_id, command.sender, command.name, command.metadata)
    if fault is not None:
        raise Refused(fault.code)

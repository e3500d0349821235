"""The decision about a mute.

The state has no mutes: the reply on the sender's sync timeline has the mute, and the reply with
the highest sync SeqId wins. A late repetition of an old mute would win over a later one, so the
ids of mutes are remembered like those of messages.
"""

from __future__ import annotations

from schemas.limits import is_end_of_mute
from schemas.number_types import Milliseconds
from schemas.records import AnyReply, ConversationMuted, MuteConversation
from stream_processors.core.digest import digest_of
from stream_processors.core.outcome import Mute
from stream_processors.core.refusal import Refused, existing
from stream_processors.core.replies import rejected, repeated_outcome
from stream_processors.core.state import Conversation
from stream_processors.core.window import Window


def decide_mute(
    conversation: Conversation | None, past: Window, command: MuteConversation, at: Milliseconds
) -> Mute | AnyReply:
    """Mutes the conversation for a member, or refuses the command.

    Args:
        conversation: The state after all earlier commands; None if there is none.
        past: The earlier decided ids of the device.
        command: The command.
        at: The broker's time of the command, milliseconds since 1970.
    """
    digest = digest_of(command)
    if command.client_msg_id <= past.newest:
        return repeated_outcome(command, past, digest, at)
    try:
        return _mute(conversation, command, digest, at)
    except Refused as refused:
        return rejected(command, at, refused.code)


def _mute(
    conversation: Conversation | None, command: MuteConversation, digest: int, at: Milliseconds
) -> Mute:
    if not is_end_of_mute(command.until):
        raise Refused("invalid")
    conversation, head = existing(conversation)
    if command.sender not in conversation.members:
        raise Refused("not_a_member")
    record = ConversationMuted(
        conv_id=command.conv_id,
        sender=command.sender,
        device_id=command.device_id,
        client_msg_id=command.client_msg_id,
        at=at,
        seq=head.last_seq,
        until=command.until,
    )
    return Mute(record, command, digest)

"""The decision about a read mark.

A mark is a maximum: one that comes again, late or in another order moves nothing, so its id need
not be remembered. It lies within the reader's membership period, because joining marks the
entry that let them in. What somebody says themselves is read by definition; that is not noted
here, where it would be one more thing to do for every message: whoever counts what is unread
takes the highest of the three (`schemas.unread`).
"""

from __future__ import annotations

from schemas.records import AnyReply, MarkRead, ReadMarked
from stream_processors.core.outcome import Mark
from stream_processors.core.replies import duplicate, rejected
from stream_processors.core.state import Conversation, MemberRead


def decide_mark(conversation: Conversation | None, command: MarkRead, at: int) -> Mark | AnyReply:
    """Moves the mark of a member up to an entry that is there, or tells why not.

    Args:
        conversation: The state that all earlier commands led to; None if there is none.
        command: Up to where its sender has read.
        at: The broker's time of the command, milliseconds since 1970.
    """
    if conversation is None or conversation.head is None:
        return rejected(command, at, "unknown_conversation")
    reader, seq = command.sender, command.seq
    since = conversation.members.get(reader)
    if since is None:
        return rejected(command, at, "not_a_member")
    if not 0 < seq <= conversation.head.last_seq:
        return rejected(command, at, "invalid")
    marked = conversation.marks.get(reader, since)
    if seq <= marked:
        return duplicate(command, at, marked)
    record = ReadMarked(
        conv_id=command.conv_id,
        sender=reader,
        device_id=command.device_id,
        client_msg_id=command.client_msg_id,
        at=at,
        seq=seq,
    )
    return Mark(record, MemberRead(reader, seq))

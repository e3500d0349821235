"""The decision about a read mark.

A mark is a maximum: a repeated, late or reordered mark has no effect, so the id of an accepted
mark is not remembered. The id of a refused mark is remembered if it is above all earlier ids of
its device, so that a repeated refused mark is refused again.

A join marks its own entry as read, so a later mark is always within the reader's membership
period. A person's own messages count as read. The state does not record own messages as marks,
because this would cost time for every message: readers take the highest of the three values
(`schemas.unread`).
"""

from __future__ import annotations

from schemas.number_types import Milliseconds
from schemas.records import AnyReply, Duplicate, MarkRead, ReadMarked
from stream_processors.core.digest import digest_of
from stream_processors.core.outcome import Mark
from stream_processors.core.refusal import Refused, existing
from stream_processors.core.replies import duplicate, rejected, repeated_outcome
from stream_processors.core.state import Conversation, MemberRead
from stream_processors.core.window import Window


def decide_mark(
    conversation: Conversation | None, past: Window, command: MarkRead, at: Milliseconds
) -> Mark | AnyReply:
    """Moves the mark of a member to an existing entry, or refuses the command.

    Args:
        conversation: The state after all earlier commands; None if there is none.
        past: The earlier decided ids of the device.
        command: The command.
        at: The broker's time of the command, milliseconds since 1970.
    """
    client_msg_id = command.client_msg_id
    if past.known(client_msg_id) is not None or past.has_dropped(client_msg_id):
        return repeated_outcome(command, past, digest_of(command), at)
    try:
        return _mark(conversation, command, at)
    except Refused as refused:
        return rejected(command, at, refused.code)


def _mark(
    conversation: Conversation | None, command: MarkRead, at: Milliseconds
) -> Mark | Duplicate:
    conversation, head = existing(conversation)
    reader, seq = command.sender, command.seq
    since = conversation.members.get(reader)
    if since is None:
        raise Refused("not_a_member")
    if not 0 < seq <= head.last_seq:
        raise Refused("invalid")
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

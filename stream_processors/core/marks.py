"""The decision about a read mark.

A mark is a maximum: a mark that is sent again, late or in another order moves nothing, so the id
of an accepted mark is not remembered. The id of a refused mark is remembered if it is above all
ids that its device has sent before: sent again, the mark is refused again.

A mark lies within the reader's membership period, because joining marks the entry that let them
in. What somebody says themselves is read by definition. That is not noted here, where it would be
one more step for every message: whoever counts what is unread takes the highest of the three
(`schemas.unread`).
"""

from __future__ import annotations

from schemas.records import AnyReply, Duplicate, MarkRead, ReadMarked
from stream_processors.core.digest import digest_of
from stream_processors.core.outcome import Mark
from stream_processors.core.refusal import Refused, existing
from stream_processors.core.replies import answer_again, duplicate, rejected
from stream_processors.core.state import Conversation, MemberRead
from stream_processors.core.window import Window


def decide_mark(
    conversation: Conversation | None, past: Window, command: MarkRead, at: int
) -> Mark | AnyReply:
    """Moves the mark of a member up to an entry that is there, or refuses to.

    Args:
        conversation: The state that all earlier commands led to; None if there is none.
        past: What was decided of the device before.
        command: Up to where its sender has read.
        at: The broker's time of the command, milliseconds since 1970.
    """
    client_msg_id = command.client_msg_id
    if past.known(client_msg_id) is not None or past.has_dropped(client_msg_id):
        return answer_again(command, past, digest_of(command), at)
    try:
        return _mark(conversation, command, at)
    except Refused as refused:
        return rejected(command, at, refused.code)


def _mark(conversation: Conversation | None, command: MarkRead, at: int) -> Mark | Duplicate:
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

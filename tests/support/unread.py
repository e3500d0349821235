"""The unread count by a plain walk over a log, as the expected value for the real counts."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.records import (
    AnyEntry,
    AnySyncRecord,
    ConversationCreated,
    MembersAdded,
    MembersRemoved,
    MessageSent,
    ReadMarked,
)


def walked(timeline: Iterable[AnyEntry], synced: Iterable[AnySyncRecord], user: str) -> int:
    """The number of messages that a person has not read; 0 for a person who is not a member.

    Args:
        timeline: The whole conversation, in order.
        synced: The sync timeline of ``user``.
        user: The reader.
    """
    waiting: set[int] = set()
    inside, conv_id = False, ""
    for entry in timeline:
        conv_id = entry.conv_id
        if isinstance(entry, ConversationCreated | MembersAdded) and user in entry.members:
            waiting, inside = set(), True
        elif isinstance(entry, MembersRemoved) and user in entry.members:
            waiting, inside = set(), False
        elif isinstance(entry, MessageSent) and inside:
            waiting = set() if entry.sender == user else waiting | {entry.seq}
    for record in synced:
        if isinstance(record, ReadMarked) and record.conv_id == conv_id:
            waiting = {seq for seq in waiting if seq > record.seq}
    return len(waiting)

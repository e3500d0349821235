"""The number of unread messages of a person in a conversation.

Every entry has the number of messages up to the entry. So the number of unread messages is one
subtraction, however long the conversation is: messages up to the *end* less messages up to the
*mark*.

    the end     the last entry that the person may see: the head; for a former member, the entry
                with which the last membership period ended
    the mark    the highest of: the person's last join, the person's last leave, the person's own
                last message, and the SeqId that the person's devices marked as read

So a person's own messages count as read, and so do all entries from before a join, after any
number of leaves and joins. A person who is not a member has no unread messages. A recalled message
keeps its SeqId and its count.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.number_types import SeqId


class Counted(NamedTuple):
    """Entry ``seq``, and the number of messages among the entries 1 to ``seq``.

    Values of one conversation are ordered by SeqId, so `max` returns the last one.
    """

    seq: SeqId
    messages: int


def unread(end: Counted, mark: Counted) -> int:
    """The number of messages above the mark, up to the end.

    A mark may be above an end that was read before the mark: then the number is 0.
    """
    return max(0, end.messages - mark.messages) if mark.seq < end.seq else 0

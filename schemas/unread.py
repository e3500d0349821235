"""How many messages of a conversation somebody has not read.

Every entry says how many messages there are up to it, so the number is one subtraction, however
long the conversation is: those up to the *end* less those up to the *mark*.

    the end     the last entry that they may see of what goes on: the head, or, of who left, the
                entry that let them out
    the mark    the highest of: the entry that let them in last, the entry that let them out last,
                their own last message, and what their devices have marked as read

So a person's own messages are read by definition, and so is everything from before they joined,
however often they leave and join again. A person who is not a member has nothing unread. A
recalled message keeps its place and its count.
"""

from __future__ import annotations

from typing import NamedTuple


class Counted(NamedTuple):
    """Entry ``seq``, and how many of the entries 1 to ``seq`` are messages.

    Of one conversation they are in the order of their SeqIds, so `max` is the furthest.
    """

    seq: int
    messages: int


def unread(end: Counted, mark: Counted) -> int:
    """How many messages lie above the mark, up to the end.

    A mark may be ahead of an end that is known a moment later: then there are none.
    """
    return max(0, end.messages - mark.messages) if mark.seq < end.seq else 0

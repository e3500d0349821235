"""Where the memberships of a person lie in ``membership_by_user``.

A conversation lies in the same bucket for all its people. In it, each period of a person has two
places, one for its join and one for its leave, by the number that the entry gives the period. The
row of the join has the SeqId of the last join (``seq``) and the first SeqId of the period
(``since``), which differ where a period goes on. Rows are written with their SeqId as timestamp. A
leave counts if its SeqId is above that of the join: otherwise it is of an earlier period of the
same number, or the period went on after it.
"""

from __future__ import annotations

from backends.kafka import partition_of
from schemas.limits import USER_BUCKETS


def user_bucket(conv_id: str) -> int:
    """The bucket, from 0 to `USER_BUCKETS` - 1."""
    return partition_of(conv_id, USER_BUCKETS)


def join_place(number: int) -> int:
    """The place of the join of a period."""
    return 2 * number


def leave_place(number: int) -> int:
    """The place of the leave of a period."""
    return 2 * number + 1

"""Buckets and places of memberships in the two tables of memberships.

``membership_by_user``: A conversation has the same bucket for all its members. In the bucket, each
membership period of a person has two places, one for the join and one for the leave, by the number
that the entry gives the period. The row of the join has the SeqId of the last join (``seq``) and
the first SeqId of the period (``since``); they differ when a join continued the period. The SeqId
of a row is its timestamp. A leave ends the period only if its SeqId is above the SeqId of the
join. Otherwise the leave ended an earlier period with the same number, or a later join has
continued the period.

``membership_by_conversation``: Each person who is or was a member has one row, with the last entry
that added or removed them. The bucket depends on the person.
"""

from __future__ import annotations

from backends.kafka.clients import partition_of
from schemas.limits import MEMBER_BUCKETS, USER_BUCKETS
from schemas.number_types import BucketNumber


def user_bucket(conv_id: str) -> BucketNumber:
    """The bucket, from 0 to `USER_BUCKETS` - 1."""
    return BucketNumber(partition_of(conv_id, USER_BUCKETS))


def member_bucket(user: str) -> BucketNumber:
    """The bucket of a person in ``membership_by_conversation``, below `MEMBER_BUCKETS`."""
    return BucketNumber(partition_of(user, MEMBER_BUCKETS))


def join_place(number: int) -> int:
    """The place of the join of a period."""
    return 2 * number


def leave_place(number: int) -> int:
    """The place of the leave of a period."""
    return 2 * number + 1

"""In which bucket of ``membership_by_user`` a conversation lies, the same for all its people.

The bucket comes from the same hash as the partition of the topics, so that few lanes write to one
bucket: `schemas.limits.joins_of_a_lane` has the share of each.
"""

from __future__ import annotations

from backends.kafka import partition_of
from schemas.limits import USER_BUCKETS


def user_bucket(conv_id: str) -> int:
    """The bucket, from 0 to `USER_BUCKETS` - 1."""
    return partition_of(conv_id, USER_BUCKETS)

"""In which bucket of ``membership_by_user`` a conversation lies, the same for all its people."""

from __future__ import annotations

from backends.kafka import partition_of
from schemas.limits import USER_BUCKETS


def user_bucket(conv_id: str) -> int:
    """The bucket, from 0 to `USER_BUCKETS` - 1."""
    return partition_of(conv_id, USER_BUCKETS)

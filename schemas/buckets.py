"""Buckets: the parts of timelines that share one partition of a Cassandra table."""

from __future__ import annotations

from schemas.limits import MESSAGE_BUCKET, SYNC_BUCKET
from schemas.number_types import BucketNumber, SeqId, SyncSeqId


def message_bucket(seq: SeqId) -> BucketNumber:
    """The bucket of an entry in the table ``message``."""
    return BucketNumber(seq // MESSAGE_BUCKET)


def sync_bucket(place: SyncSeqId) -> BucketNumber:
    """The bucket of a record in the table ``sync``."""
    return BucketNumber(place // SYNC_BUCKET)


def first_place(bucket: BucketNumber) -> SyncSeqId:
    """The first sync SeqId in a bucket of the table ``sync``."""
    return SyncSeqId(bucket * SYNC_BUCKET)

"""Types of numbers: a type checker refuses one kind of number in place of another.

At run time, the numbers are plain integers, and so they are on topics, in tables and in JSON.
Arithmetic returns `int`: the function that knows the meaning of the result converts the result.
"""

from __future__ import annotations

from typing import Final, NewType

SeqId = NewType("SeqId", int)
"""The place of an entry in a conversation timeline: 1, 2, 3 … without gaps. 0: before all."""

NO_SEQ: Final = SeqId(0)
"""The SeqId before the first entry: a conversation without entries ends here."""

FIRST_SEQ: Final = SeqId(1)
"""The SeqId of the first entry of every conversation."""

SyncSeqId = NewType("SyncSeqId", int)
"""The place of a record in a sync timeline, growing with gaps: (epoch, offset) in 63 bits, see
`schemas.sync_seq`. -1: before all."""

Offset = NewType("Offset", int)
"""The place of a record in a Kafka partition: 0 or more, and below 2**48 on sync topics. An end
is the offset behind the last record."""

ShardNumber = NewType("ShardNumber", int)
"""Names a shard of the sync timelines, in every process: (epoch, index) in 63 bits, see
`schemas.sync_seq`. In epoch 0, the number is the Kafka partition."""

EpochNumber = NewType("EpochNumber", int)
"""Names an epoch of the sync timelines: 0, 1, 2 … below 2**15."""

FIRST_EPOCH: Final = EpochNumber(0)
"""The epoch that exists from the beginning."""

BucketNumber = NewType("BucketNumber", int)
"""The part of a Cassandra partition key that limits the size of a partition: 0 or more. See
`schemas.buckets` and `backends.cassandra.memberships`."""

Milliseconds = NewType("Milliseconds", int)
"""A time in milliseconds since 1970 (UTC), as the broker notes it, or a duration."""

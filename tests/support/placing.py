"""The shards of the sync records of a deployment that consists of lists, for each layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from backends.kafka.clients import partition_of
from backends.sync_layout.layouts import OWN_EPOCH, Sharded, SyncShards, TopicPerRecipient
from schemas.codec import decode_sync_record
from schemas.records import Reply

TIMELINE_PARTITIONS: Final = 2
SYNC_PARTITIONS: Final = 3
EPOCHS: Final = {"im.sync": SYNC_PARTITIONS, "im.sync-1": 5, "im.sync-2": 2}
"""The number of shards grows, then shrinks, so that people change shards."""

Pairs: TypeAlias = Sequence[tuple[str, bytes]]
"""(recipient, value), in the order of writing."""


class Placed(NamedTuple):
    """The shards, and the epoch in which each record was written."""

    shards: SyncShards
    epochs: list[int]


Placing: TypeAlias = Callable[[Pairs], Placed]


def in_one_epoch(syncs: Pairs) -> Placed:
    """The layout ``sharded``, without any reshard."""
    return Placed(SyncShards(Sharded("im.sync"), {"im.sync": SYNC_PARTITIONS}), [0] * len(syncs))


def in_epochs(syncs: Pairs) -> Placed:
    """The layout ``sharded`` after two changes of the number of shards.

    Each lane writes a third of its records in each epoch, so the lanes switch at different times.
    """
    lanes = [_lane(value) for _, value in syncs]
    total, written, epochs = Counter(lanes), Counter[int](), []
    for lane in lanes:
        epochs.append(written[lane] * len(EPOCHS) // total[lane])
        written[lane] += 1
    return Placed(SyncShards(Sharded("im.sync"), EPOCHS), epochs)


def in_own_topics(syncs: Pairs) -> Placed:
    """The layout ``topic-per-recipient``. Replies before the first entry are in epoch 0."""
    layout = TopicPerRecipient("im.sync")
    owners: set[str] = set()
    epochs = []
    for user, value in syncs:
        if not isinstance(decode_sync_record(value), Reply):
            owners.add(user)
        epochs.append(OWN_EPOCH if user in owners else 0)
    topics = {layout.recipient_topic(user): 1 for user in owners}
    return Placed(SyncShards(layout, {"im.sync": SYNC_PARTITIONS} | topics), epochs)


PLACINGS: Final[dict[str, Placing]] = {
    "one epoch": in_one_epoch,
    "later epochs": in_epochs,
    "own topics": in_own_topics,
}


def _lane(value: bytes) -> int:
    return partition_of(decode_sync_record(value).conv_id, TIMELINE_PARTITIONS)

"""The destinations in the layout ``sharded``: one record for each shard that has recipients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from backends.kafka.clients import partition_of
from backends.sync_layout.layouts import Sharded
from schemas.errors import FatalFailure
from schemas.number_types import FIRST_EPOCH, EpochNumber
from schemas.recipients import key_parts
from stream_processors.commit.sync_destinations import CheckedCopy, Destination, PreparedRecords
from stream_processors.core.audience import Audience
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.sequencing.source_record import SourceRecord

_CACHED_RECIPIENTS: Final = 200_000
"""Number of recipients in the cache of partitions, some 30 MB: murmur2 in Python takes
microseconds."""

_partition_of = lru_cache(_CACHED_RECIPIENTS)(partition_of)


class AudienceDestinations(NamedTuple):
    """The destinations of an audience in one topic."""

    topic: str
    destinations: Sequence[Destination]


class ShardDestinations:
    """A `SyncDestinations`: the topic of an epoch.

    Args:
        layout: Names the topics of epochs.
        partition_count: Returns the number of partitions of a topic; 0 if the topic does not
            exist.
    """

    def __init__(self, layout: Sharded, partition_count: Callable[[str], int]) -> None:
        self._layout = layout
        self._partition_count = partition_count
        self._topic = layout.topic_of(FIRST_EPOCH)
        self._shards = 0

    def use_epoch(self, epoch: EpochNumber) -> None:
        """See `SyncDestinations.use_epoch`."""
        self._topic = self._layout.topic_of(epoch)
        self._shards = self._partition_count(self._topic)
        if not self._shards:
            raise FatalFailure(f"there is no topic {self._topic}")

    def prepare(
        self,
        sequencer: Sequencer,  # noqa: ARG002 - the port's
        records: Sequence[SourceRecord],
    ) -> PreparedRecords:
        """See `SyncDestinations.prepare`. All shards exist."""
        return PreparedRecords(records)

    def of(
        self,
        recipients: Sequence[str],
        value: bytes,  # noqa: ARG002 - the port's
    ) -> Sequence[Destination]:
        """See `SyncDestinations.of`. The result for an `Audience` is cached in it."""
        topic = self._topic
        if type(recipients) is not Audience:
            return destinations_in(recipients, topic, self._shards)
        cached: AudienceDestinations | None = recipients.cached_destinations
        if cached is None or cached.topic != topic:
            cached = recipients.cached_destinations = AudienceDestinations(
                topic, destinations_in(recipients, topic, self._shards)
            )
        return cached.destinations

    needs_check: Final = False

    def checked_copies(self) -> Iterator[CheckedCopy]:
        """See `SyncDestinations.checked_copies`. There is nothing to check."""
        return iter(())


def destinations_in(
    recipients: Iterable[str], topic: str, partitions: int
) -> Sequence[Destination]:
    """The destinations of a sync record in a topic with this number of partitions."""
    by_partition: defaultdict[int, list[str]] = defaultdict(list)
    for user in recipients:
        by_partition[_partition_of(user, partitions)].append(user)
    return [
        (topic, partition, key)
        for partition, users in by_partition.items()
        for key in key_parts(users)
    ]

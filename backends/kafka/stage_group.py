"""The broker's state of a stage's consumer group, for the watchdog of the stage."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from backends.kafka.clients import admin_client
from backends.kafka.groups import described_group
from backends.kafka.partition_ends import PartitionPlace, stable_ends
from schemas.settings import Settings

ANSWER_SECONDS: Final = 10.0


class StageGroup:
    """A `backends.processes.watchdog.GroupProbe`. Each request uses a new client.

    Args:
        settings: The settings of the deployment.
        stage: The name of the stage, which names the group.
        topics: The subscription of the stage; a name that begins with ^ is a pattern.
        places: Returns the position of the stage in each of its partitions that has a position.
    """

    def __init__(
        self,
        settings: Settings,
        stage: str,
        topics: Callable[[], Sequence[str]],
        places: Callable[[], Sequence[TopicPartition]],
    ) -> None:
        self._settings = settings
        self._group = settings.group(stage)
        self._topics = topics
        self._places = places

    def leaves_partitions(self) -> bool | None:
        """See `backends.processes.watchdog.GroupProbe`."""
        admin = admin_client(self._settings)
        try:
            described = described_group(admin, self._group, ANSWER_SECONDS)
            wanted = _partitions(admin, self._topics())
        except (KafkaException, TimeoutError):
            return None
        owned = {
            (place.topic, place.partition)
            for member in described.members
            for place in member.assignment.topic_partitions
        }
        return not wanted <= owned

    def has_records_left(self) -> bool | None:
        """See `backends.processes.watchdog.GroupProbe`."""
        places = self._places()
        try:
            ends = stable_ends(admin_client(self._settings), places, ANSWER_SECONDS)
        except (KafkaException, TimeoutError):
            return None
        return any(ends[place.topic, place.partition] > place.offset for place in places)


def _partitions(admin: AdminClient, topics: Sequence[str]) -> set[PartitionPlace]:
    existing = admin.list_topics(timeout=ANSWER_SECONDS).topics
    return {
        (name, partition)
        for name, topic in existing.items()
        if any(_matches(wanted, name) for wanted in topics)
        for partition in topic.partitions
    }


def _matches(wanted: str, name: str) -> bool:
    return bool(re.match(wanted, name)) if wanted.startswith("^") else wanted == name

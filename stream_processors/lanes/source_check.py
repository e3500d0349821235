"""Checks that a restored state, the group's commit and the source partition belong together.

The check fails if topics were deleted, reset or mixed up, or if retention removed unread records.
A sequencer that continued would number messages from 1 again, or lose some silently.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from backends.kafka.clients import REQUEST_SECONDS, admin_client
from backends.kafka.groups import committed_places
from backends.kafka.partition_ends import OffsetQuery, begin_offsets, written_ends
from schemas.errors import FatalFailure, ServerUnavailable, SourceGap
from schemas.number_types import Offset
from schemas.settings import Settings
from schemas.topics import Topic

NEVER: Final = -1
"""The commit of a group that has committed nothing, or whose commits have expired."""


class LaneSource(NamedTuple):
    """A source partition: its offsets, and the group's committed offset.

    ``begin``: the oldest offset that the broker holds. ``end``: the offset after the last record,
    including records of open transactions.
    """

    name: str
    begin: Offset
    end: Offset
    committed: Offset


def check_start(source: LaneSource, next_offset: Offset | None) -> None:
    """Checks that a state matches its source.

    Args:
        source: The present state of the source.
        next_offset: The next offset of the restored state; None if there is no state.

    Raises:
        SourceGap: Records that the state has not seen are gone.
        FatalFailure: The state and the source do not belong together.
    """
    name, begin, end, committed = source
    if next_offset is None and committed > NEVER:
        raise FatalFailure(
            f"{name} is committed up to offset {committed}, but there is no state of it: "
            "the topic of states was deleted; restore it, or use another IM_NAMESPACE"
        )
    following = next_offset or Offset(0)
    if following > end:
        raise FatalFailure(
            f"{name} ends at {end}, but the state has seen {following} records of it: the topic "
            "was made anew, or topics of two deployments are mixed; use another IM_NAMESPACE"
        )
    if NEVER < committed != following:
        raise FatalFailure(
            f"{name} is committed up to offset {committed}, but the state is at {following}: "
            "the group's offsets or the topic of states were changed from outside"
        )
    check_begin(name, begin, following)


def check_begin(name: str, begin: Offset, next_offset: Offset) -> None:
    """Checks that a partition has all records from the next offset on.

    Raises:
        SourceGap: Records are missing.
    """
    if begin > next_offset:
        raise SourceGap(
            f"{name} starts at {begin}, the next is {next_offset}: "
            "its retention is shorter than the lag of the sequencer"
        )


class SourcePartition:
    """Reads the state of one source partition from the broker.

    Args:
        settings: The settings of the deployment.
        partition: The number of the partition.
        group: A consumer of the group of the source offsets.
    """

    def __init__(self, settings: Settings, partition: int, group: Consumer) -> None:
        self._place = TopicPartition(settings.topic(Topic.MESSAGES), partition)
        self.name = f"{self._place.topic}[{partition}]"
        self._admin = admin_client(settings)
        self._group = group

    def read(self) -> LaneSource:
        """The state of the partition.

        Raises:
            ServerUnavailable: The broker does not answer.
        """
        begin, end = self.begin(), self._offset(written_ends)
        try:
            (committed,) = committed_places(self._group, [self._place])
        except KafkaException as error:
            raise ServerUnavailable(f"the commit of {self.name} is not known: {error}") from error
        return LaneSource(self.name, begin, end, Offset(max(NEVER, committed.offset)))

    def begin(self) -> Offset:
        """The oldest offset that the broker holds.

        Raises:
            ServerUnavailable: The broker does not answer.
        """
        return self._offset(begin_offsets)

    def _offset(self, request_offsets: OffsetQuery) -> Offset:
        try:
            (offset,) = request_offsets(self._admin, [self._place], REQUEST_SECONDS).values()
        except (KafkaException, TimeoutError) as error:
            raise ServerUnavailable(
                f"the offsets of {self.name} are not known: {error}"
            ) from error
        return offset

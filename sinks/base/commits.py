"""Asynchronous offset commits, so that an unresponsive broker does not stop the polling.

A synchronous commit of the client library has no timeout. While it waits for a lost coordinator,
the member does not poll, so the group takes away its partitions.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from backends.kafka.groups import committed_places
from backends.processes.minute_log import MinuteLog
from sinks.base.consumer import SourceConsumer, names_of
from sinks.base.progress import SinkProgress

ANSWER_SECONDS: Final = 15.0
"""A commit without a response within this time is repeated; the response may still arrive."""

COMMITTED_SECONDS: Final = 2.0
"""Timeout of a request for the committed offsets of new partitions."""

COMMITTED_RETRY_SECONDS: Final = 2.0
"""Time for which the loop reads on before it repeats the request."""

_logger = logging.getLogger(__name__)


class Commits:
    """The asynchronous commits of one consumer, one at a time.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun_at: float | None = None
        self._committed: list[TopicPartition] = []
        self._has_failed = False
        self._failures = MinuteLog(_logger)

    @property
    def is_running(self) -> bool:
        """Whether a commit is in flight, for less than `ANSWER_SECONDS`."""
        return self._begun_at is not None and self._clock() - self._begun_at < ANSWER_SECONDS

    def begin(self, consumer: SourceConsumer, offsets: Sequence[TopicPartition]) -> None:
        """Begins a commit. A later poll, or `close`, calls `answered`."""
        self._begun_at = self._clock()
        try:
            consumer.commit(offsets=list(offsets), asynchronous=True)
        except KafkaException as error:
            self._fail(error)

    def answered(self, error: KafkaError | None, places: Sequence[TopicPartition]) -> None:
        """The consumer's ``on_commit``. Raises nothing."""
        self._begun_at = None
        errors = [place.error for place in places if place.error is not None]
        if error is not None or errors:
            self._fail(error or errors[0])
        else:
            self._failures.end_condition()
        if error is None:
            self._committed += [place for place in places if place.error is None]

    def settled(self) -> tuple[list[TopicPartition], bool]:
        """The offsets committed since the last call, and whether a commit failed since then.

        The next commit repeats a failed one; a failure costs at most a replay.
        """
        committed, has_failed = self._committed, self._has_failed
        self._committed, self._has_failed = [], False
        return committed, has_failed

    def _fail(self, error: object) -> None:
        self._begun_at = None
        self._has_failed = True
        self._failures.warning("the commit failed: %s", error)


class LastCommits:
    """Requests the group's committed offsets of newly assigned partitions.

    Args:
        consumer: Sends the requests.
        clock: Monotonic time in seconds.
    """

    def __init__(self, consumer: SourceConsumer, clock: Callable[[], float]) -> None:
        self._consumer = consumer
        self._clock = clock
        self._retry_at = 0.0
        self._failures = MinuteLog(_logger)

    def learn(self, progress: SinkProgress) -> None:
        """Sends a request if there are new partitions; repeats it later without a response."""
        new = progress.unknown()
        if not new or self._clock() < self._retry_at:
            return
        try:
            progress.learn(committed_places(self._consumer, new, COMMITTED_SECONDS))
        except KafkaException as error:
            self._retry_at = self._clock() + COMMITTED_RETRY_SECONDS
            names = names_of(new)
            self._failures.warning("the last commits of %s are not known: %s", names, error)
        else:
            self._failures.end_condition()

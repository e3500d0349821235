"""Wait for a stage while the stage makes progress, and for a bounded time without progress."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import stamina
from confluent_kafka import KafkaException

from backends.kafka.clients import admin_client
from backends.stages.stage_health import committed
from backends.stages.stage_names import SOURCES
from backends.sync_layout.topic_creation import places_of
from consumers.timeline_tail import Positions, ends
from schemas.errors import ServerUnavailable, Stalled
from schemas.settings import Settings
from schemas.topics import Topic

PROGRESS_READ_SECONDS: Final = 0.2
"""Between two reads of a stage's progress."""


class Patience:
    """Ends a wait without progress.

    Args:
        stage: The name of the stage in messages.
        seconds: Maximum time without progress.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self, stage: str, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stage = stage
        self._seconds = seconds
        self._clock = clock
        self._mark: object = None
        self._since = clock()

    def check(self, mark: object, where: str) -> None:
        """Compare the progress. Any change of ``mark`` is progress.

        Raises:
            Stalled: No progress for too long. The message contains ``where``.
        """
        now = self._clock()
        if mark != self._mark:
            self._mark, self._since = mark, now
        elif now - self._since > self._seconds:
            raise Stalled(
                f"{self._stage} has made no progress for {self._seconds:.0f} s, {where}; "
                "`im status` shows what runs; run the load again to continue"
            )


class StageOffsets:
    """The progress of a stage in its source topic, from its committed offsets.

    Args:
        settings: The deployment.
        stage: One of `backends.stages.stage_names.SOURCES`.
    """

    def __init__(self, settings: Settings, stage: str) -> None:
        self._settings = settings
        self._admin = admin_client(settings)
        self._group = settings.group(stage)
        self._topic = SOURCES[stage]
        self._known: Mapping[int, int] = defaultdict(int)

    def now(self) -> Mapping[int, int]:
        """The next offset to read, by partition. Unchanged while the broker is unreachable.

        Keys are shard numbers for ``im.sync``.
        """
        with broker_may_be_away():
            places = places_of(self._admin, self._settings, self._topic)
            offsets = committed(self._admin, self._settings, self._group, list(places.values()))
            numbers = {(p.topic, p.partition): number for number, p in places.items()}
            now = {numbers[p.topic, p.partition]: p.offset for p in offsets}
            self._known = defaultdict(int, now)
        return self._known


def patient_ends(settings: Settings, topic: Topic, patience_seconds: float) -> Positions:
    """The end of a topic now, including open transactions.

    Raises:
        ServerUnavailable: The broker did not answer for ``patience_seconds``.
    """
    for attempt in stamina.retry_context(
        on=ServerUnavailable, attempts=None, timeout=patience_seconds
    ):
        with attempt:
            positions = ends(settings, topic)
    return positions


def is_past(positions: Mapping[int, int], ends: Mapping[int, int]) -> bool:
    """Whether every position has reached its end."""
    return all(positions[partition] >= end for partition, end in ends.items())


@contextmanager
def broker_may_be_away() -> Iterator[None]:
    """Treat an unreachable broker as no progress: `Patience` bounds the wait."""
    try:
        yield
    except (KafkaException, TimeoutError, ServerUnavailable):
        time.sleep(PROGRESS_READ_SECONDS)

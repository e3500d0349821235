"""Waiting for a stage: as long as it moves, and no longer than a bound when it does not."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import stamina
from confluent_kafka import KafkaException

from backends.kafka import admin_client
from backends.shards import places_of
from consumers.tail import Positions, ends
from ops.health import committed
from ops.stages import SOURCES
from schemas.errors import ServerUnavailable, Stalled
from schemas.settings import Settings
from schemas.topics import Topic

PAUSE_SECONDS: Final = 0.2
"""Between two looks at a stage."""


class Patience:
    """Ends a wait in which nothing moves.

    Args:
        stage: What is waited for, as a person knows it.
        seconds: How long it may stand still.
        clock: Seconds, of any beginning.
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
        """Looks at how far the stage is; any change of ``mark`` is a move.

        Raises:
            Stalled: It has been standing still for too long; says ``where``.
        """
        now = self._clock()
        if mark != self._mark:
            self._mark, self._since = mark, now
        elif now - self._since > self._seconds:
            raise Stalled(
                f"{self._stage} has been standing still for {self._seconds:.0f} s, {where}; "
                "`im status` shows what runs; the load goes on where it was when it is run again"
            )


class StageOffsets:
    """How far a stage has come in its source, as the broker knows it.

    Args:
        settings: The deployment.
        stage: One of `ops.stages.SOURCES`.
    """

    def __init__(self, settings: Settings, stage: str) -> None:
        self._settings = settings
        self._admin = admin_client(settings)
        self._group = settings.group(stage)
        self._topic = SOURCES[stage]
        self._known: Mapping[int, int] = defaultdict(int)

    def now(self) -> Mapping[int, int]:
        """By partition, the next offset that it reads. While the broker is away, as before.

        Of ``im.sync`` by the number of a shard.
        """
        with broker_may_be_away():
            places = places_of(self._admin, self._settings, self._topic)
            found = committed(self._admin, self._group, list(places.values()))
            numbers = {(p.topic, p.partition): number for number, p in places.items()}
            now = {numbers[p.topic, p.partition]: p.offset for p in found}
            self._known = defaultdict(int, now)
        return self._known


def patient_ends(settings: Settings, topic: Topic, patience_seconds: float) -> Positions:
    """Where a topic ends now, all that is written included.

    Raises:
        ServerUnavailable: The broker did not answer for so long.
    """
    for attempt in stamina.retry_context(
        on=ServerUnavailable, attempts=None, timeout=patience_seconds
    ):
        with attempt:
            found = ends(settings, topic)
    return found


def is_past(positions: Mapping[int, int], ends: Mapping[int, int]) -> bool:
    """Whether all before the ends is done."""
    return all(positions[partition] >= end for partition, end in ends.items())


@contextmanager
def broker_may_be_away() -> Iterator[None]:
    """A look that fails is a look at which nothing has moved: `Patience` bounds them."""
    try:
        yield
    except (KafkaException, TimeoutError, ServerUnavailable):
        time.sleep(PAUSE_SECONDS)

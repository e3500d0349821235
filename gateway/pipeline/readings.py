"""Readings of the pipeline, and what they say together. Without I/O and clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from backends.stages.letters import Letter
from backends.stages.stage_health import StageHealth
from schemas.http.pipeline_answers import (
    DeadLetterShown,
    PipelinePoint,
    StageShown,
    StageState,
    TrafficShown,
)
from schemas.http.queries import MAX_POINTS
from schemas.number_types import Milliseconds

RATE_MS: Final = 5_000
"""The time over which a rate is computed. A stage commits in steps, so a shorter time flickers."""

STALLED_MS: Final = 10_000
"""A stage with waiting records and without progress for this time is stalled. A rebalance takes
less."""

BEHIND_MS: Final = 10_000
"""A stage whose oldest record has waited for this time is behind. It takes below a second."""

_BY_OUTCOME: Final = ("accepted", "duplicates", "stale", "rejected", "dead_letters")
"""The counts of the sequencer, whose sum is the number of its commands."""


class Traffic(Struct, frozen=True, kw_only=True):
    """The work of this gateway. ``requests``: their number since the start."""

    requests: int = 0
    connections: int = 0
    waiting: int = 0
    in_progress: int = 0


class Reading(Struct, frozen=True, kw_only=True):
    """The pipeline at one time, ``at``, and the time ``ticks_ms`` on a monotonic clock."""

    at: Milliseconds
    ticks_ms: int
    stages: Mapping[str, StageHealth]
    letters: Sequence[Letter]
    traffic: Traffic


class Readings:
    """The readings of the last minutes, with the values that need several of them."""

    def __init__(self) -> None:
        self._readings: deque[Reading] = deque(maxlen=MAX_POINTS)
        self._points: deque[PipelinePoint] = deque(maxlen=MAX_POINTS)
        self._moved: dict[str, tuple[int, int]] = {}
        """By stage, its last position, and the ticks at which it last moved or had no lag."""

    def add(self, reading: Reading) -> None:
        """Add a reading, which is later than all others."""
        self._readings.append(reading)
        if self._before(reading) is None:
            self._moved.clear()  # nothing is known about the time before
        for name, stage in reading.stages.items():
            position, _ = self._moved.get(name, (None, 0))
            if position != stage.position or not stage.lag:
                self._moved[name] = stage.position, reading.ticks_ms
        self._points.append(self._point(reading))

    @property
    def last(self) -> Reading | None:
        """The last reading."""
        return self._readings[-1] if self._readings else None

    def points(self, most: int) -> list[PipelinePoint]:
        """The last points, the last one last."""
        return list(self._points)[len(self._points) - most :] if most else []

    def stages(self) -> list[StageShown]:
        """The stages at the last reading."""
        reading = self.last
        if reading is None:
            return []
        return [self._stage(reading, name, stage) for name, stage in reading.stages.items()]

    def letters(self) -> list[DeadLetterShown]:
        """The newest dead letters at the last reading."""
        newest = self.last.letters if self.last is not None else []
        return [
            DeadLetterShown(
                stage=each.stage, reason=each.reason, topic=each.topic, partition=each.partition,
                offset=each.offset, size=each.size, at=each.at,
            )
            for each in newest
        ]  # fmt: skip

    def dead_letters(self) -> int:
        """The number of dead letters of all stages."""
        stages = self.last.stages.values() if self.last is not None else []
        return sum(stage.counts.get("dead_letters", 0) for stage in stages)

    def traffic(self, now: Traffic) -> TrafficShown:
        """The work of the gateway, with the rate at the last reading."""
        return TrafficShown(
            connections=now.connections,
            waiting=now.waiting,
            in_progress=now.in_progress,
            rate=self._points[-1].requests if self._points else None,
        )

    def _stage(self, reading: Reading, name: str, stage: StageHealth) -> StageShown:
        return StageShown(
            name=name,
            state=self._state(reading, name, stage),
            processes=stage.members,
            rate=self._rate(reading, name),
            lag=stage.lag,
            delay_ms=_delay_now(stage),
            last_delay_ms=stage.delay_ms,
            last_at=stage.measured_at,
            counts=stage.counts,
        )

    def _state(self, reading: Reading, name: str, stage: StageHealth) -> StageState:
        if not stage.assigned:
            return "unowned"
        _, since = self._moved[name]
        if stage.lag and reading.ticks_ms - since >= STALLED_MS:
            return "stalled"
        waited = 0 if stage.oldest_at is None else stage.read_at - stage.oldest_at
        return "behind" if waited >= BEHIND_MS else "ok"

    def _point(self, reading: Reading) -> PipelinePoint:
        stages = reading.stages
        return PipelinePoint(
            at=reading.at,
            rates=[self._rate(reading, name) for name in stages],
            lags=[stage.lag for stage in stages.values()],
            delays=[_delay_now(stage) for stage in stages.values()],
            requests=self._request_rate(reading),
        )

    def _rate(self, reading: Reading, name: str) -> float | None:
        before = self._before(reading)
        if before is None or name not in before.stages:
            return None
        now, then = reading.stages[name], before.stages[name]
        return _per_second(finished(now) - finished(then), now.read_at - then.read_at)

    def _request_rate(self, reading: Reading) -> float | None:
        before = self._before(reading)
        if before is None:
            return None
        requests = reading.traffic.requests - before.traffic.requests
        return _per_second(requests, reading.ticks_ms - before.ticks_ms)

    def _before(self, reading: Reading) -> Reading | None:
        """The oldest reading of the time over which a rate is computed."""
        begin = reading.ticks_ms - RATE_MS
        recent = (each for each in self._readings if begin <= each.ticks_ms < reading.ticks_ms)
        return next(recent, None)


def finished(stage: StageHealth) -> int:
    """The number of records that a stage has finished since it counts them."""
    records = stage.counts.get("records")
    if records is not None:
        return records
    return sum(stage.counts.get(outcome, 0) for outcome in _BY_OUTCOME)


def _delay_now(stage: StageHealth) -> Milliseconds | None:
    """The longer one of the wait of the oldest record and the delay of a record finished now."""
    delays = []
    if stage.oldest_at is not None:
        delays.append(max(0, stage.read_at - stage.oldest_at))
    if stage.delay_ms is not None and stage.read_at - (stage.measured_at or 0) < RATE_MS:
        delays.append(stage.delay_ms)
    return Milliseconds(max(delays)) if delays else None


def _per_second(count: int, ms: int) -> float | None:
    return round(max(0, count) * 1000 / ms, 2) if ms > 0 else None

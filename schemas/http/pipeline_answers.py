"""The answer about the pipeline, for operators. No field has a part of a record."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from schemas.http.answers import HealthShown
from schemas.number_types import Milliseconds, Offset

StageState: TypeAlias = Literal["ok", "behind", "stalled", "unowned"]
"""``unowned``: a partition of the stage has no process. ``stalled``: records wait, and the stage
has finished none for some time. ``behind``: its oldest record has waited for long."""


class StageShown(Struct, frozen=True, kw_only=True):
    """A stage of the pipeline.

    ``processes``: the number of its processes. ``rate``: finished records in a second, over the
    last seconds; null before the second reading. ``lag``: records that wait; an upper bound if
    there are many. ``delay_ms``: the present delay, which is the time that the oldest waiting
    record has waited, or the time from a command to the end of its newest finished record; null
    while nothing happens. ``last_delay_ms`` is the delay of the newest record, finished at
    ``last_at``, in milliseconds since 1970; null before the first record. ``counts``: numbers of
    records by outcome.
    """

    name: str
    state: StageState
    processes: int
    rate: float | None
    lag: int
    delay_ms: Milliseconds | None
    last_delay_ms: Milliseconds | None
    last_at: Milliseconds | None
    counts: dict[str, int]


class DeadLetterShown(Struct, frozen=True, kw_only=True):
    """The place of a record that a stage put aside, and the ``reason``.

    A number of -1 is unknown.

    ``at``: the time of the dead letter, in milliseconds since 1970. ``size``: the bytes of the
    record's value.
    """

    stage: str
    reason: str
    topic: str
    partition: int
    offset: Offset
    size: int
    at: Milliseconds


class TrafficShown(Struct, frozen=True, kw_only=True):
    """The work of this gateway alone, without requests about the pipeline.

    ``connections``: open connections. ``waiting``: live connections, and requests that wait for
    records. ``in_progress``: requests in flight. ``rate``: requests in a second, and frames of
    live connections; null before the second reading.
    """

    connections: int
    waiting: int
    in_progress: int
    rate: float | None


class PipelinePoint(Struct, frozen=True, kw_only=True):
    """A reading in the past, at ``at`` (milliseconds since 1970).

    ``rates``, ``lags`` and ``delays``: the values of the stages, in their order. ``requests``: the
    rate of requests.
    """

    at: Milliseconds
    rates: list[float | None]
    lags: list[int]
    delays: list[Milliseconds | None]
    requests: float | None


class PipelineShown(Struct, frozen=True, kw_only=True):
    """The pipeline at ``at``, the time of the last reading, in milliseconds since 1970.

    ``at`` is null before the first reading. ``trouble``: why the pipeline cannot be read now; then
    all other fields except ``servers`` are from the last reading. ``stages``: in the order of the
    pipeline. ``dead_letters``: their number in all; ``newest_letters``: some of them, the last one
    first. ``points``: readings of the last minutes, the last one last. The gateway reads only
    while somebody asks, so there may be gaps.
    """

    at: Milliseconds | None
    trouble: str | None
    servers: HealthShown
    stages: list[StageShown]
    dead_letters: int
    newest_letters: list[DeadLetterShown]
    gateway: TrafficShown
    points: list[PipelinePoint]

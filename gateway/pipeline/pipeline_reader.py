"""Reads the pipeline while somebody looks: one reader for all viewers, once a second.

The reader has a thread, because the clients of Kafka block. The thread starts with the first
request, and ends some seconds after the last one, together with its clients. So the load of the
servers does not depend on the number of viewers, and without viewers there is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from threading import Event, Thread
from typing import Final, Protocol

from confluent_kafka import KafkaException

from backends.stages.dead_letter_log import NewestLetters
from backends.stages.letters import Letter
from backends.stages.stage_health import StageHealth, StageProbe, webhooks_together
from gateway.pipeline.readings import Reading, Readings, Traffic
from schemas.errors import ImError
from schemas.number_types import Milliseconds
from schemas.settings import Settings

READ_INTERVAL_SECONDS: Final = 1.0
"""From the begin of a reading to the next one: the age of an answer, if the servers are fast."""

WATCHED_SECONDS: Final = 10.0
"""The reader ends this time after the last request. A viewer asks once a second."""

FIRST_SECONDS: Final = 5.0
"""Maximum wait of a request for the first reading. Afterwards, requests do not wait."""

SHOWN_LETTERS: Final = 20
"""Dead letters in an answer."""

_SHORTEST_PAUSE_SECONDS: Final = 0.2
"""With slow servers, the thread pauses at least this time between two readings."""

_JOIN_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


class PipelineState(Protocol):
    """The state of the pipeline, for a viewer."""

    readings: Readings
    trouble: str | None
    traffic: Callable[[], Traffic]
    """The work of the gateway now. Called on the event loop."""

    async def watch(self) -> None:
        """Note that somebody looks. Returns when there is a recent reading or a trouble."""


class NoPipeline:
    """The state of a pipeline that is not there: for a gateway without Kafka."""

    def __init__(self) -> None:
        self.readings = Readings()
        self.trouble: str | None = "there is no pipeline"
        self.traffic: Callable[[], Traffic] = Traffic

    async def watch(self) -> None:
        """See `PipelineState`."""


class PipelineReader:
    """Reads the pipeline while somebody looks. Created on the event loop.

    Args:
        settings: The deployment.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.readings = Readings()
        self.trouble: str | None = None
        self.traffic: Callable[[], Traffic] = Traffic
        self._settings = settings
        self._clock = clock
        self._asked_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._is_fresh = asyncio.Event()
        self._stopping = Event()
        self._thread: Thread | None = None

    async def watch(self) -> None:
        """See `PipelineState`."""
        self._asked_at = self._clock()
        if self._thread is None:
            self._start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                await self._is_fresh.wait()

    async def stop(self) -> None:
        """End the thread. Waits for its end within a bound."""
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _JOIN_SECONDS)

    def _start(self) -> None:
        if self._is_watched():
            self._is_fresh.clear()
            self._thread = Thread(target=self._run, name="pipeline-reader", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self._is_watched():
            try:
                self._read_while_watched()
            except Exception as error:  # noqa: BLE001 - any failure is shown, and tried again
                self._call_soon(self._fail, _reason(error))
                self._stopping.wait(READ_INTERVAL_SECONDS)
        self._call_soon(self._end)

    def _is_watched(self) -> bool:
        return not self._stopping.is_set() and self._clock() - self._asked_at < WATCHED_SECONDS

    def _read_while_watched(self) -> None:
        with ExitStack() as clients:
            probe = clients.enter_context(closing(StageProbe(self._settings)))
            newest = clients.enter_context(closing(NewestLetters(self._settings, SHOWN_LETTERS)))
            while self._is_watched():
                began = self._clock()
                probe.follow_webhooks()
                stages, letters = webhooks_together(probe.health()), newest.read()
                at, ticks_ms = time.time_ns() // 1_000_000, int(self._clock() * 1000)
                self._call_soon(self._take, Milliseconds(at), ticks_ms, stages, letters)
                pause = READ_INTERVAL_SECONDS - (self._clock() - began)
                self._stopping.wait(max(_SHORTEST_PAUSE_SECONDS, pause))

    def _call_soon(self, call: Callable[..., None], *values: object) -> None:
        """Call a function on the event loop, unless the loop has ended."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *values)

    def _take(
        self,
        at: Milliseconds,
        ticks_ms: int,
        stages: Mapping[str, StageHealth],
        letters: Sequence[Letter],
    ) -> None:
        traffic = self.traffic()
        reading = Reading(
            at=at, ticks_ms=ticks_ms, stages=stages, letters=letters, traffic=traffic
        )
        self.trouble = None
        self.readings.add(reading)
        self._is_fresh.set()

    def _fail(self, reason: str) -> None:
        if reason != self.trouble:
            log.warning("the pipeline cannot be read: %s", reason)
        self.trouble = reason
        self._is_fresh.set()

    def _end(self) -> None:
        self._thread = None
        self._start()  # a request may have arrived meanwhile


def _reason(error: Exception) -> str:
    match error:
        case ImError():
            return str(error)
        case KafkaException():
            return f"Kafka: {error.args[0].str()}"
        case TimeoutError():
            return "Kafka does not answer in time"
    return type(error).__name__

"""Wait until the sinks have stored the sequencer's output."""

from __future__ import annotations

import time
from collections.abc import Mapping

from backends.stages.stage_names import SINKS, SOURCES
from consumers.timeline_tail import last_records
from ops.load.display import Display
from ops.load.waiting import PROGRESS_READ_SECONDS, Patience, StageOffsets, is_past, patient_ends
from schemas.settings import Settings
from schemas.topics import Topic


class _Storing:
    """The progress of one sink to a fixed end."""

    def __init__(
        self, settings: Settings, sink: str, end: Mapping[int, int], patience_seconds: float
    ) -> None:
        self.sink = sink
        self._end = end
        self._offsets = StageOffsets(settings, sink)
        self._patience = Patience(sink, patience_seconds)
        self._first_left: int | None = None

    def is_done(self, display: Display) -> bool:
        """Read the sink's progress, show it, and return whether the sink has reached the end.

        Raises:
            Stalled: The sink made no progress for too long.
        """
        now = self._offsets.now()
        left = sum(max(0, end - now[partition]) for partition, end in self._end.items())
        if self._first_left is None:
            self._first_left = left
        display.show(self.sink, self._first_left - left, self._first_left)
        done = is_past(now, self._end)
        if not done:
            self._patience.check(sum(now.values()), f"with {left} records not stored")
        return done


def wait_until_stored(
    settings: Settings, patience_seconds: float, display: Display
) -> dict[str, float]:
    """Wait until every sink has stored all records that are written now.

    Returns:
        The duration of each sink in seconds.

    Raises:
        Stalled: A sink made no progress for too long.
        ServerUnavailable: The broker did not answer for ``patience_seconds``.
    """
    begin = time.monotonic()
    written = {
        topic: _last_ends(settings, topic, patience_seconds)
        for topic in {SOURCES[sink] for sink in SINKS}
    }
    open_ones = [
        _Storing(settings, sink, written[SOURCES[sink]], patience_seconds) for sink in SINKS
    ]
    seconds: dict[str, float] = {}
    while open_ones:
        for storing in list(open_ones):
            if storing.is_done(display):
                open_ones.remove(storing)
                seconds[storing.sink] = time.monotonic() - begin
        if open_ones:
            time.sleep(PROGRESS_READ_SECONDS)
    return seconds


def _last_ends(settings: Settings, topic: Topic, patience_seconds: float) -> dict[int, int]:
    """The offset after the last record of each partition. Sinks ignore transaction marks."""
    written = patient_ends(settings, topic, patience_seconds)
    return {p: offset + 1 for p, offset in last_records(settings, topic, written).items()}

"""Passes a whole fetched chunk to Faust as one event.

Faust has a fixed cost for each event. `ConsumerScheduler` is its documented setting for the order
of events; this scheduler yields one record for each fetched partition, with the list of records as
its value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from faust.types import TP
from faust.types.transports import SchedulingStrategyT

from schemas.number_types import Milliseconds, Offset


class Chunk(NamedTuple):
    """A record for Faust whose value is the list of the fetched records."""

    topic: str
    partition: int
    offset: Offset
    timestamp: Milliseconds | None
    timestamp_type: int
    headers: Any
    key: bytes | None
    value: list[Any]
    checksum: int | None = None
    serialized_key_size: int = 0
    serialized_value_size: int = 0


class ChunkScheduler(SchedulingStrategyT):
    """One event for each fetched partition."""

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Any]]:
        """Yields the chunk of each partition that has any records."""
        for tp, fetched in records.items():
            if fetched:
                yield tp, _chunk(tp, fetched)


def _chunk(tp: TP, fetched: list[Any]) -> Chunk:
    first = fetched[0]
    return Chunk(
        tp.topic, tp.partition, first.offset, first.timestamp, timestamp_type=1,
        headers=(), key=None, value=fetched,
    )  # fmt: skip

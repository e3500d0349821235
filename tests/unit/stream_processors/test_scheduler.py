"""The event that Faust gets for a fetched chunk, for each kind of first record."""

from __future__ import annotations

from typing import Any

import pytest
from faust.types import TP

from schemas.dead_letters import ContentDigest
from schemas.number_types import Milliseconds, Offset
from stream_processors.faust_app.scheduler import ChunkScheduler
from stream_processors.sequencing.headerless_records import (
    RecordWithoutHeaders,
    RejectedRecords,
    SkippedOffsets,
)

FIRST = [
    RecordWithoutHeaders(Offset(3), Milliseconds(1), b"k", b"v"),
    RecordWithoutHeaders(Offset(3), None, None, None),
    SkippedOffsets(Offset(3), Offset(4)),
    RejectedRecords(Offset(3), None, None, "too long", ContentDigest(0, "")),
]


@pytest.mark.parametrize("first", FIRST)
def test_a_chunk_is_one_event(first: Any) -> None:
    """A chunk is one event with the records as its value and the offset of the first record."""
    scheduler: Any = ChunkScheduler
    ((place, chunk),) = scheduler().iterate({TP("t", 1): [first], TP("t", 2): []})
    assert (place, chunk.offset, chunk.value) == (TP("t", 1), 3, [first])

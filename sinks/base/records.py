"""The records of a sink, and the bounded buffer in which they wait for the writer."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from msgspec import Struct

from schemas.number_types import Offset


class Record(Struct, frozen=True, gc=False):
    """One record of a sink's source, with unmodified bytes.

    ``partition`` is the number of its partition, see `sinks.base.source.SinkSource`.

    Not tracked by the garbage collector, because hundreds of thousands exist at a time, without
    cycles.
    """

    partition: int
    offset: Offset
    key: bytes | None
    value: bytes | None


class Bounds(NamedTuple):
    """The maximum size of one batch, in records and in bytes of keys and values.

    ``gulp``: maximum number of records in one read from the client library. A batch can exceed its
    bound in bytes by one such read.
    """

    max_records: int
    max_bytes: int
    gulp: int


class Batch(NamedTuple):
    """Records in the order of each partition, and the offsets to commit when they are durable.

    ``next_offsets``: the offset after the records, by partition. A partition without records can
    have one, if only markers of transactions were read. ``newest``: the last record by partition.
    """

    records: list[Record]
    next_offsets: dict[int, Offset]
    newest: dict[int, Record]

    def forget(self, partitions: Collection[int]) -> None:
        """Removes partitions from the offsets to commit."""
        for partition in partitions:
            self.next_offsets.pop(partition, None)
            self.newest.pop(partition, None)


class Buffer:
    """Collects the next batch while one is being written."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._records: list[Record] = []
        self._ends: dict[int, Offset] = {}
        self._bytes = 0

    def add(self, record: Record) -> None:
        """Appends a record; the caller checks `room` before."""
        self._records.append(record)
        self._bytes += len(record.key or b"") + len(record.value or b"")

    def reached(self, partition: int, offset: Offset) -> None:
        """Notes that all records of a partition below ``offset`` have been read."""
        self._ends[partition] = offset

    def drop(self, partitions: Collection[int]) -> None:
        """Removes the records of these partitions."""
        remaining = [record for record in self._records if record.partition not in partitions]
        ends = {p: end for p, end in self._ends.items() if p not in partitions}
        self._clear()
        self._ends = ends
        for record in remaining:
            self.add(record)

    @property
    def room(self) -> int:
        """The number of records that may be added next; 0 when a bound is reached."""
        if self._bytes >= self._bounds.max_bytes:
            return 0
        return max(0, min(self._bounds.gulp, self._bounds.max_records - len(self._records)))

    @property
    def count(self) -> int:
        """The number of records."""
        return len(self._records)

    def __bool__(self) -> bool:
        return bool(self._records or self._ends)

    def take(self) -> Batch:
        """Empties the buffer into a batch."""
        newest = {record.partition: record for record in self._records}
        next_offsets = {p: Offset(record.offset + 1) for p, record in newest.items()}
        for partition, end in self._ends.items():
            next_offsets[partition] = max(end, next_offsets.get(partition, end))
        batch = Batch(self._records, next_offsets, newest)
        self._clear()
        return batch

    def _clear(self) -> None:
        self._records, self._ends, self._bytes = [], {}, 0

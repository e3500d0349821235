"""Unpacks fetched batches within bounds of memory and time, also those of a hostile producer.

These classes are between the fetched bytes and the Kafka client's own classes, which

- unpack a compressed batch as a whole: a batch of 4 MiB may have gigabytes;
- fail forever at a record with header names that are not UTF-8;
- make an object for each header: a batch of 4 MiB may have two million.

A batch is unpacked up to `MAX_UNPACKED_BYTES`. A longer batch, and a batch that cannot be
unpacked, becomes a dead letter as a whole. In a batch of more than `PLAIN_BATCH_BYTES`, and in a
batch with a record that the client cannot read, headers are skipped.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch

from schemas.dead_letters import content_of
from stream_processors.sequencing.batch_codecs import (
    BATCH_HEADER,
    MAX_UNPACKED_BYTES,
    BatchTooLong,
    decompressed,
)
from stream_processors.sequencing.headerless_records import (
    NO_TIMESTAMP,
    RecordWithoutHeaders,
    RejectedRecords,
    SkippedOffsets,
    records_without_headers,
    without_headers,
)

PLAIN_BATCH_BYTES: Final = 1024 * 1024
"""Maximum size of a batch that the client's own class reads. Its headers take at most 37 MB."""

FETCH_BYTES: Final = 8 * 1024 * 1024
"""Maximum unpacked bytes of one partition at a time; further records are fetched again."""

_LENGTH: Final = struct.Struct(">qi")
"""The base offset and the length at the begin of a batch."""


class FetchedBatches:
    """The batches of one partition in one response of the broker.

    Replaces the client's `MemoryRecords`.

    Args:
        fetched: The bytes. The last batch may be incomplete.
    """

    def __init__(self, fetched: bytes) -> None:
        self._fetched = memoryview(fetched)
        self._position = 0
        self._unpacked = 0

    def size_in_bytes(self) -> int:
        """The size of the fetched bytes."""
        return len(self._fetched)

    def has_next(self) -> bool:
        """Whether there is another batch, and room for it."""
        return self._unpacked < FETCH_BYTES and self._end() <= len(self._fetched)

    def next_batch(self) -> FetchedBatch | None:
        """The next batch."""
        if not self.has_next():
            return None
        end = self._end()
        batch = FetchedBatch(self._fetched[self._position : end], self._count)
        self._position = end
        return batch

    def _end(self) -> int:
        if self._position + BATCH_HEADER.size > len(self._fetched):
            return len(self._fetched) + 1
        _, length = _LENGTH.unpack_from(self._fetched, self._position)
        return self._position + _LENGTH.size + int(length)

    def _count(self, unpacked: int) -> None:
        self._unpacked += unpacked


class FetchedBatch:
    """One batch. Replaces the client's `DefaultRecordBatch`.

    Args:
        packed: The bytes of the batch.
        count: Receives the unpacked size.
    """

    def __init__(self, packed: memoryview, count: Callable[[int], None]) -> None:
        batch = DefaultRecordBatch(packed)
        self._packed = packed
        self._batch = batch
        self._count = count
        self.base_offset = batch.base_offset
        self.next_offset = batch.next_offset
        self.producer_id = batch.producer_id
        self.is_control_batch = batch.is_control_batch
        self.is_transactional = batch.is_transactional

    def validate_crc(self) -> bool:
        """Whether the checksum matches the bytes."""
        return bool(self._batch.validate_crc())

    def __next__(self) -> Any:
        """The only record of a control batch."""
        return next(iter(self._batch))

    def __iter__(self) -> Iterator[Any]:
        """The records."""
        try:
            unpacked = decompressed(self._packed)
        except BatchTooLong:
            return iter((self._rejected(f"the batch has more than {MAX_UNPACKED_BYTES} bytes"),))
        except Exception as error:  # noqa: BLE001 - codecs raise various errors
            return iter((self._rejected(f"the batch cannot be unpacked: {type(error).__name__}"),))
        self._count(len(unpacked))
        if len(unpacked) > PLAIN_BATCH_BYTES:
            return self._read_without_headers(unpacked)
        return self._read(unpacked)

    def _read(self, unpacked: memoryview) -> Iterator[Any]:
        batch = self._batch if unpacked is self._packed else DefaultRecordBatch(unpacked)
        try:
            for record in batch:
                yield record if not record.headers else without_headers(record)
        except (CorruptRecordException, ValueError):
            # The client skips records that it has had already.
            yield from self._read_without_headers(unpacked)

    def _read_without_headers(
        self, unpacked: memoryview
    ) -> Iterator[RecordWithoutHeaders | RejectedRecords]:
        try:
            yield from records_without_headers(unpacked)
        except (CorruptRecordException, IndexError):
            yield self._rejected("the batch cannot be read")

    def skipped_from(self, first: int) -> SkippedOffsets:
        """The batch's offsets from ``first`` on, for a batch without committed records."""
        return SkippedOffsets(max(first, self.base_offset), self.next_offset - 1)

    def _rejected(self, reason: str) -> RejectedRecords:
        timestamp = self._batch.max_timestamp
        at = None if timestamp == NO_TIMESTAMP else timestamp
        content, last = content_of(self._packed), self.next_offset - 1
        return RejectedRecords(self.base_offset, at, None, reason, content, last)

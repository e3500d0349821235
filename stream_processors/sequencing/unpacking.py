"""Unpacks fetched batches of records within bounds, whatever a producer has put into them.

These classes are between the fetched bytes and the Kafka client's own classes, which

- unpack a compressed batch as a whole: a batch of 4 MiB may have gigabytes;
- fail forever at a record with header names that are not UTF-8;
- make an object for each header: a batch of 4 MiB may have two million.

A batch is unpacked up to `MAX_UNPACKED_BYTES`. A longer batch, and a batch that cannot be
unpacked, becomes a dead letter as a whole. In a batch of more than `PLAIN_BATCH_BYTES`, and in a
batch with a record that the client cannot read, headers are skipped.
"""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import cramjam
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch

from schemas.dead_letters import ContentDigest, content_of
from schemas.limits import MAX_RECORD_BYTES

MAX_UNPACKED_BYTES: Final = 16 * 1024 * 1024
"""Maximum size of an unpacked batch: four times the topic's limit of a packed batch. Producers
rarely exceed 1 MB."""

PLAIN_BATCH_BYTES: Final = 1024 * 1024
"""Maximum size of a batch that the client's own class reads. Its headers take at most 37 MB."""

FETCH_BYTES: Final = 8 * 1024 * 1024
"""Maximum unpacked bytes of one partition at a time; further records are fetched again."""

MAX_COMMAND_KEY_BYTES: Final = 64 * 1024
"""A record with a longer key becomes a dead letter without the key."""

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
"""The header of a batch: base offset, length, leader epoch, magic, CRC, attributes, last offset
delta, first and last time, producer's id and epoch, base sequence, number of records."""

_ATTRIBUTES_AT: Final = 21
_CODECS: Final = 0b111
_BY_BROKERS_TIME: Final = 0b1000
_LENGTH: Final = struct.Struct(">qi")
_NO_TIME: Final = -1


class RejectedRecords(NamedTuple):
    """Unread records that become a dead letter: one, or a whole batch up to ``last_offset``.

    Has the fields of a record without a value.
    """

    offset: int
    timestamp: int | None
    key: bytes | None
    reason: str
    content: ContentDigest
    last_offset: int | None = None
    value: None = None


class SkippedOffsets(NamedTuple):
    """Offsets without a committed record: transaction markers and aborted records.

    Has the fields of a record without a value.
    """

    offset: int
    last_offset: int
    timestamp: int | None = None
    key: bytes | None = None
    value: None = None


class RecordWithoutHeaders(NamedTuple):
    """A record without its headers."""

    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None


class TooLong(Exception):
    """A batch has more than `MAX_UNPACKED_BYTES`. Private to this module."""


class FetchedBatches:
    """The batches of one partition in one response of the broker.

    Replaces the client's `MemoryRecords`.

    Args:
        fetched: The bytes. The last batch may be incomplete.
    """

    def __init__(self, fetched: bytes) -> None:
        self._fetched = memoryview(fetched)
        self._at = 0
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
        batch = FetchedBatch(self._fetched[self._at : end], self._count)
        self._at = end
        return batch

    def _end(self) -> int:
        if self._at + _HEADER.size > len(self._fetched):
            return len(self._fetched) + 1
        _, length = _LENGTH.unpack_from(self._fetched, self._at)
        return self._at + _LENGTH.size + int(length)

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
            whole = unpack(self._packed)
        except TooLong:
            return iter((self._aside(f"the batch has more than {MAX_UNPACKED_BYTES} bytes"),))
        except Exception as error:  # noqa: BLE001 - codecs raise various errors
            return iter((self._aside(f"the batch cannot be unpacked: {type(error).__name__}"),))
        self._count(len(whole))
        if len(whole) > PLAIN_BATCH_BYTES:
            return self._read_bare(whole)
        return self._read(whole)

    def _read(self, whole: memoryview) -> Iterator[Any]:
        batch = self._batch if whole is self._packed else DefaultRecordBatch(whole)
        try:
            for record in batch:
                yield record if not record.headers else _without_headers(record)
        except (CorruptRecordException, ValueError):
            # The client skips records that it has had already.
            yield from self._read_bare(whole)

    def _read_bare(self, whole: memoryview) -> Iterator[RecordWithoutHeaders | RejectedRecords]:
        try:
            yield from bare_records(whole)
        except (CorruptRecordException, IndexError):
            yield self._aside("the batch cannot be read")

    def passed(self, first: int) -> SkippedOffsets:
        """The batch's offsets from ``first`` on, for a batch without committed records."""
        return SkippedOffsets(max(first, self.base_offset), self.next_offset - 1)

    def _aside(self, reason: str) -> RejectedRecords:
        timestamp = self._batch.max_timestamp
        at = None if timestamp == _NO_TIME else timestamp
        content, last = content_of(self._packed), self.next_offset - 1
        return RejectedRecords(self.base_offset, at, None, reason, content, last)


def _without_headers(record: Any) -> RecordWithoutHeaders:
    return RecordWithoutHeaders(record.offset, record.timestamp, record.key, record.value)


def unpack(batch: memoryview) -> memoryview:
    """The batch without compression; an uncompressed batch is returned unchanged.

    Raises:
        TooLong: The unpacked batch has more than `MAX_UNPACKED_BYTES`.
        Exception: The codec cannot read the batch; codecs have no common error.
    """
    (attributes,) = struct.unpack_from(">h", batch, _ATTRIBUTES_AT)
    codec = attributes & _CODECS
    if not codec:
        return batch
    packed = batch[_HEADER.size :]
    whole = _UNPACK[codec](packed)
    whole[: _HEADER.size] = batch[: _HEADER.size]
    struct.pack_into(">h", whole, _ATTRIBUTES_AT, attributes & ~_CODECS)
    return whole


def _by_cramjam(module: Any, packed: memoryview) -> memoryview:
    guess = min(MAX_UNPACKED_BYTES, max(64 * 1024, 16 * len(packed)))
    for room in (guess, MAX_UNPACKED_BYTES):
        whole = memoryview(bytearray(_HEADER.size + room))
        try:
            size = module.decompress_into(packed, whole[_HEADER.size :])
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):
                raise
        else:
            return whole[: _HEADER.size + size]
    raise TooLong


def _gzip(packed: memoryview) -> memoryview:
    with gzip.open(io.BytesIO(packed)) as file:
        unpacked = file.read(MAX_UNPACKED_BYTES + 1)
    return _whole(unpacked)


def _snappy(packed: memoryview) -> memoryview:
    blocks = list(_snappy_blocks(packed))
    if sum(cramjam.snappy.decompress_raw_len(block) for block in blocks) > MAX_UNPACKED_BYTES:
        raise TooLong
    return _whole(b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks))


_XERIAL: Final = b"\x82SNAPPY\0"
_XERIAL_HEADER_BYTES: Final = 16


def _snappy_blocks(packed: memoryview) -> Iterator[memoryview]:
    """The whole bytes, or the blocks into which Java clients divide them."""
    if bytes(packed[: len(_XERIAL)]) != _XERIAL:
        yield packed
        return
    at = _XERIAL_HEADER_BYTES
    while at < len(packed):
        (size,) = struct.unpack_from(">i", packed, at)
        if size < 0:
            raise CorruptRecordException("a block has a negative size")
        yield packed[at + 4 : at + 4 + size]
        at += 4 + size


def _whole(unpacked: bytes) -> memoryview:
    if len(unpacked) > MAX_UNPACKED_BYTES:
        raise TooLong
    return memoryview(bytearray(_HEADER.size) + unpacked)


_UNPACK: Final[dict[int, Callable[[memoryview], memoryview]]] = {
    1: _gzip,
    2: _snappy,
    3: lambda packed: _by_cramjam(cramjam.lz4, packed),
    4: lambda packed: _by_cramjam(cramjam.zstd, packed),
}
"""By the codec in the attributes of a batch."""


def bare_records(batch: memoryview) -> Iterator[RecordWithoutHeaders | RejectedRecords]:
    """The records of an uncompressed batch, without their headers.

    Raises:
        CorruptRecordException: A length is out of its range.
        IndexError: The batch ends too early.
    """
    base, _, _, _, _, attributes, _, first, last, _, _, _, count = _HEADER.unpack_from(batch)
    at = _HEADER.size
    for _ in range(count):
        size, at = _varint(batch, at)
        end = at + size
        if size < 0 or end > len(batch):
            raise CorruptRecordException("a record has an impossible size")
        later, at = _varint(batch, at + 1)  # after its attributes, which are unused
        delta, at = _varint(batch, at)
        key, at = _field(batch, at, end)
        value, at = _field(batch, at, end)
        time = last if attributes & _BY_BROKERS_TIME else first + later
        yield _record(base + delta, None if time == _NO_TIME else time, key, value)
        at = end


def _record(
    offset: int, time: int | None, key: memoryview | None, value: memoryview | None
) -> RecordWithoutHeaders | RejectedRecords:
    if key is not None and len(key) > MAX_COMMAND_KEY_BYTES:
        reason = f"the key has more than {MAX_COMMAND_KEY_BYTES} bytes"
        return RejectedRecords(offset, time, None, reason, content_of(value))
    own_key = None if key is None else bytes(key)
    if value is not None and len(value) > MAX_RECORD_BYTES:
        reason = f"the value has more than {MAX_RECORD_BYTES} bytes"
        return RejectedRecords(offset, time, own_key, reason, content_of(value))
    return RecordWithoutHeaders(offset, time, own_key, None if value is None else bytes(value))


def _field(batch: memoryview, at: int, end: int) -> tuple[memoryview | None, int]:
    size, at = _varint(batch, at)
    if size < 0:
        return None, at
    if at + size > end:
        raise CorruptRecordException("a field has an impossible size")
    return batch[at : at + size], at + size


def _varint(batch: memoryview, at: int) -> tuple[int, int]:
    """A number in zigzag encoding, seven bits a byte, and the position after it."""
    number = shift = 0
    while True:
        byte = batch[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the eighth bit: another byte follows
            return number >> 1 ^ -(number & 1), at
        shift += 7
        if shift > 63:  # noqa: PLR2004 - bits of the longest number
            raise CorruptRecordException("a number has too many bytes")

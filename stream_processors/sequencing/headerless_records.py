"""The records of an uncompressed batch without their headers, and references to unread records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from aiokafka.errors import CorruptRecordException
from msgspec import Struct

from backends.processes.request_context import NO_HEADERS, known_headers
from schemas.dead_letters import ContentDigest, content_of
from schemas.limits import MAX_RECORD_BYTES
from schemas.number_types import Milliseconds, Offset
from stream_processors.sequencing.batch_codecs import BATCH_HEADER

MAX_COMMAND_KEY_BYTES: Final = 64 * 1024
"""A record with a longer key becomes a dead letter without the key."""

_HAS_BROKER_TIME: Final = 0b1000
NO_TIMESTAMP: Final = -1
"""Timestamp of a record without a timestamp."""


class RejectedRecords(NamedTuple):
    """Unread records that become a dead letter: one, or a whole batch up to ``last_offset``.

    Has the fields of a record without a value.
    """

    offset: Offset
    timestamp: Milliseconds | None
    key: bytes | None
    reason: str
    content: ContentDigest
    last_offset: Offset | None = None
    value: None = None


class SkippedOffsets(NamedTuple):
    """Offsets without a committed record: transaction markers and aborted records.

    Has the fields of a record without a value.
    """

    offset: Offset
    last_offset: Offset
    timestamp: Milliseconds | None = None
    key: bytes | None = None
    value: None = None


class RecordWithoutHeaders(NamedTuple):
    """A record without its headers."""

    offset: Offset
    timestamp: Milliseconds | None
    key: bytes | None
    value: bytes | None


class RecordOfRequest(Struct, frozen=True, gc=False):
    """A record without its headers, and the ids of its request that were in them."""

    offset: Offset
    timestamp: Milliseconds | None
    key: bytes | None
    value: bytes | None
    request_id: str | None
    trace_parent: str | None


def without_headers(record: Any) -> RecordWithoutHeaders | RecordOfRequest:
    """A record of the client, with the known ids in place of its headers.

    The headers of waiting records are not counted, so only short and valid values remain.
    """
    known = known_headers(record.headers)
    if known is NO_HEADERS:
        return RecordWithoutHeaders(record.offset, record.timestamp, record.key, record.value)
    request_id, trace_parent = known
    return RecordOfRequest(
        record.offset, record.timestamp, record.key, record.value, request_id, trace_parent
    )


def records_without_headers(batch: memoryview) -> Iterator[RecordWithoutHeaders | RejectedRecords]:
    """The records of an uncompressed batch, without their headers.

    Raises:
        CorruptRecordException: A length is out of its range.
        IndexError: The batch ends too early.
    """
    base, _, _, _, _, attributes, _, first, last, _, _, _, count = BATCH_HEADER.unpack_from(batch)
    at = BATCH_HEADER.size
    for _ in range(count):
        size, at = _varint(batch, at)
        end = at + size
        if size < 0 or end > len(batch):
            raise CorruptRecordException("a record has an impossible size")
        later, at = _varint(batch, at + 1)  # after its attributes, which are unused
        delta, at = _varint(batch, at)
        key, at = _field(batch, at, end)
        value, at = _field(batch, at, end)
        time = last if attributes & _HAS_BROKER_TIME else first + later
        yield _record(base + delta, None if time == NO_TIMESTAMP else time, key, value)
        at = end


def _record(
    offset: Offset, time: Milliseconds | None, key: memoryview | None, value: memoryview | None
) -> RecordWithoutHeaders | RejectedRecords:
    if key is not None and len(key) > MAX_COMMAND_KEY_BYTES:
        reason = f"the key has more than {MAX_COMMAND_KEY_BYTES} bytes"
        return RejectedRecords(offset, time, None, reason, content_of(value))
    key_bytes = None if key is None else bytes(key)
    if value is not None and len(value) > MAX_RECORD_BYTES:
        reason = f"the value has more than {MAX_RECORD_BYTES} bytes"
        return RejectedRecords(offset, time, key_bytes, reason, content_of(value))
    return RecordWithoutHeaders(offset, time, key_bytes, None if value is None else bytes(value))


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

"""State records of one conversation in one byte string, in the order of the log.

A million conversations have some four million records. An object costs 100 bytes in addition to
its content. So a restore appends each record to the bytes of its conversation, without the
conversation's id, which is in the key of each record.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stream_processors.core.state import Conversation
from stream_processors.state.state_codec import restored

MARK: Final = b"\xc1"
"""The first byte. A frozen conversation is MessagePack, which never begins with this byte."""

_SURELY_SHORT: Final = 512
"""Bytes of records of which none is dropped: most conversations have no more."""

_LONG: Final = 255
"""A length of this or more takes five bytes; a shorter one takes one byte."""

_LENGTHS: Final = [bytes((length,)) for length in range(_LONG)]


def packed(rest: bytes, value: bytes | None) -> bytes:
    """Packs one record, to be appended to others.

    Args:
        rest: The key without the conversation, see `state_codec.split_key`.
        value: The value; None if the record deletes its key.
    """
    value = value or b""
    key_length, value_length = len(rest), len(value)
    if key_length < _LONG > value_length:  # nearly all records
        return _LENGTHS[key_length] + rest + _LENGTHS[value_length] + value
    return _length(rest) + rest + _length(value) + value


def without_replaced(records: bytes | bytearray) -> bytes:
    """The last record of each key: the result of a compaction by the broker.

    Args:
        records: Packed records without `MARK`.
    """
    if len(records) <= _SURELY_SHORT:
        return bytes(records)
    return b"".join(packed(rest, value) for rest, value in last_of_each(records))


def built(records: bytes) -> Conversation:
    """The conversation from its records, which begin with `MARK`.

    Raises:
        ValueError: A record is not a state record that this version knows.
    """
    conversation = Conversation()
    for rest, value in last_of_each(records[len(MARK) :]):
        conversation.restore(restored(rest, value))
    return conversation


def last_of_each(records: bytes | bytearray) -> list[tuple[bytes, bytes | None]]:
    """The last record of each key, in the order of the last records.

    Args:
        records: Packed records without `MARK`.
    """
    last: dict[bytes, bytes | None] = {}
    for rest, value in pairs_of(bytes(records)):
        last.pop(rest, None)  # so that the order is that of a compacted log
        last[rest] = value or None
    return list(last.items())


def pairs_of(packed_pairs: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The pairs that `packed` has packed; empty bytes for a value that is None."""
    parts = _parts(packed_pairs)
    return zip(parts, parts, strict=True)


def _parts(records: bytes) -> Iterator[bytes]:
    """Alternately keys and values."""
    at, end = 0, len(records)
    while at < end:
        length = records[at]
        at += 1
        if length == _LONG:
            length = int.from_bytes(records[at : at + 4])
            at += 4
        yield records[at : at + length]
        at += length


def _length(part: bytes) -> bytes:
    length = len(part)
    return _LENGTHS[length] if length < _LONG else b"\xff" + length.to_bytes(4)

"""State records of one conversation in one byte string, in the order of the log.

A million conversations have some four million records. As objects each of them costs 100 bytes
beside what it says. So a restore appends a record to the bytes of its conversation, without the
conversation's id, which is in the key of each record.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stream_processors.core.state import Conversation
from stream_processors.state_codec import restored

MARK: Final = b"\xc1"
"""The first byte. A frozen conversation is MessagePack, which never begins with this byte."""

_LONG: Final = 255
"""A length of this or more takes five bytes; a shorter one takes one byte."""

_LENGTHS: Final = [bytes((length,)) for length in range(_LONG)]


def packed(rest: bytes, value: bytes | None) -> bytes:
    """One record, to be appended to others.

    Args:
        rest: The key without the conversation, see `stream_processors.state_codec.split_key`.
        value: None if the record ends what the key names.
    """
    return _length(rest) + rest + (_length(value) + value if value else _LENGTHS[0])


def without_replaced(records: bytes | bytearray) -> bytes:
    """The same as bytes: what a broker leaves when it compacts."""
    return MARK + b"".join(packed(rest, value) for rest, value in last_of_each(records))


def built(records: bytes) -> Conversation:
    """The conversation that some records make.

    Raises:
        ValueError: A record is not a state record that this version knows.
    """
    conversation = Conversation()
    for rest, value in last_of_each(records):
        conversation.restore(restored(rest, value))
    return conversation


def last_of_each(records: bytes | bytearray) -> list[tuple[bytes, bytes | None]]:
    """Of each key the last record, in the order of the last records."""
    last: dict[bytes, bytes | None] = {}
    parts = _parts(bytes(records))
    for rest, value in zip(parts, parts, strict=True):
        last.pop(rest, None)  # so that the order is that of a log whose replaced records are gone
        last[rest] = value or None
    return list(last.items())


def _parts(records: bytes) -> Iterator[bytes]:
    """Keys and values by turns; no bytes for a value that is None."""
    at, end = len(MARK), len(records)
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

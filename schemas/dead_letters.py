"""The format of a record of ``im.dead-letter``, the same for all stages.

The headers are UTF-8 text:

| header | meaning |
|---|---|
| ``stage`` | the stage that rejected the record, such as ``sequencer`` or ``sink-message`` |
| ``reason`` | the reason, at most `MAX_REASON_LENGTH` characters; quotes no part of the record |
| ``topic``, ``partition``, ``offset`` | the place of the record |
| ``last_offset`` | only for a batch that was rejected as a whole: the batch's last offset |
| ``size`` | bytes of the value; for a batch, bytes as the broker stores the batch |
| ``sha256`` | digest of the value or of the batch, in hexadecimal; empty for a null value |

The letter has the key of the record if the key is short. A sequencer's letter has the value if
key and value are short; otherwise the letter is a reference. A sink's letter never has a value,
because a sender may later recall the text in the value.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple

from schemas.limits import MAX_REASON_LENGTH
from schemas.number_types import Offset

MAX_LETTER_KEY_BYTES: Final = 1_024
"""A longer key is left out of the letter."""

MAX_LETTER_VALUE_BYTES: Final = 1024 * 1024
"""A longer value is left out of the letter."""

WRONG_PARTITION: Final = "wrong_partition"
"""Reason: the record was written to another partition than the partition of its key."""

Headers = list[tuple[str, str | bytes | None]]


class Origin(NamedTuple):
    """The place of a rejected record; ``last_offset`` is set for a batch."""

    topic: str
    partition: int
    offset: Offset
    last_offset: Offset | None = None


class ContentDigest(NamedTuple):
    """The size of a rejected value or batch, and its digest."""

    size: int
    digest: str


def content_of(value: bytes | memoryview | None) -> ContentDigest:
    """The size and the digest of a value."""
    return (
        ContentDigest(0, "")
        if value is None
        else ContentDigest(len(value), sha256(value).hexdigest())
    )


def letter_headers(stage: str, reason: str, origin: Origin, content: ContentDigest) -> Headers:
    """The headers of a dead letter. They take less than 2,000 bytes."""
    headers = {
        "stage": stage,
        "reason": reason[:MAX_REASON_LENGTH],
        "topic": origin.topic,
        "partition": str(origin.partition),
        "offset": str(origin.offset),
        "size": str(content.size),
        "sha256": content.digest,
    }
    if origin.last_offset is not None:
        headers["last_offset"] = str(origin.last_offset)
    return [(name, text.encode(errors="replace")) for name, text in headers.items()]


def letter_key(key: bytes | None) -> bytes | None:
    """The key of a letter: the key of the record, or None if that key is too long."""
    return key if key is None or len(key) <= MAX_LETTER_KEY_BYTES else None


def letter_value(value: bytes | None) -> bytes | None:
    """The value of a sequencer's letter: the record's value, or None if that value is too long."""
    return value if value is None or len(value) <= MAX_LETTER_VALUE_BYTES else None

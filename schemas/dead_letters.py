"""What a record of ``im.dead-letter`` looks like, whichever stage puts the record aside.

The headers are UTF-8 text:

| header | meaning |
|---|---|
| ``stage`` | the stage that put the record aside, such as ``sequencer`` or ``sink-message`` |
| ``reason`` | why, in at most `MAX_REASON_LENGTH` characters; quotes nothing of the record |
| ``topic``, ``partition``, ``offset`` | where the record lies |
| ``last_offset`` | only of a batch that was put aside as a whole: its last offset |
| ``size`` | bytes of the value; of a batch, bytes as the broker holds it |
| ``sha256`` | digest of the value, or of the batch, in hexadecimal; empty where it is null |

The letter has the key of the record if the key is short. A sequencer's letter has the value if
key and value are short; otherwise the letter is a reference. A sink's letter never has a value:
the value may hold a text that somebody recalls later.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple

from schemas.limits import MAX_REASON_LENGTH

MAX_LETTER_KEY_BYTES: Final = 1_024
"""A longer key is left out of the letter."""

MAX_LETTER_VALUE_BYTES: Final = 1024 * 1024
"""A longer value is left out of the letter."""

WRONG_PARTITION: Final = "wrong_partition"
"""Reason: the key belongs to another partition than the one that the record was written to."""

Headers = list[tuple[str, str | bytes | None]]


class Origin(NamedTuple):
    """Where a record lies that is put aside; ``last_offset`` is set for a batch."""

    topic: str
    partition: int
    offset: int
    last_offset: int | None = None


class Content(NamedTuple):
    """How large something is that is put aside, and its digest."""

    size: int
    digest: str


def content_of(value: bytes | memoryview | None) -> Content:
    """The content of a value."""
    return Content(0, "") if value is None else Content(len(value), sha256(value).hexdigest())


def letter_headers(stage: str, reason: str, origin: Origin, content: Content) -> Headers:
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
    """The key of a letter: that of the record, unless it is too long."""
    return key if key is None or len(key) <= MAX_LETTER_KEY_BYTES else None


def letter_value(value: bytes | None) -> bytes | None:
    """The value of a sequencer's letter: that of the record, unless it is too long."""
    return value if value is None or len(value) <= MAX_LETTER_VALUE_BYTES else None

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
key and value are short; otherwise the letter is a reference. A sink's letter never has the value,
because a sender may later recall the text in the value. A letter of ``sink-push`` has the ids of
its notification, see `schemas.replays.GivenUpNotification`, and their digest.

A *note* on the same topic says that an operator has settled a letter. A note has no value, the
headers ``stage``, ``topic``, ``partition`` and ``offset`` of the letter, the header ``note`` with
a `LetterFate`, and the header ``up_to`` with the time of the letter (ms). A note settles all
letters of this stage about this record up to this time. A later letter is open: the replay was
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Final, Literal, NamedTuple, TypeAlias

from schemas.limits import MAX_REASON_LENGTH
from schemas.number_types import Milliseconds, Offset

MAX_LETTER_KEY_BYTES: Final = 1_024
"""A longer key is left out of the letter."""

MAX_LETTER_VALUE_BYTES: Final = 1024 * 1024
"""A longer value is left out of the letter."""

WRONG_PARTITION: Final = "wrong_partition"
"""Reason: the record was written to another partition than the partition of its key."""

LetterFate: TypeAlias = Literal["replayed", "dropped"]
"""The action of an operator on the record of a letter."""

_NOTE: Final = "note"

UP_TO: Final = "up_to"
"""The header of a note with the time of the last letter that it settles."""

_REASONS: Final = (
    ("wrong_partition", (WRONG_PARTITION,)),
    ("wrong_key", ("the key ",)),
    ("too_large", ("has more than", "too long")),
    ("out_of_range", ("out of its range", "cannot be printed", "not before it")),
    ("refused_by_store", ("Elasticsearch refuses", "Cassandra refuses", "the row that")),
    ("defect", ("it cannot be handled", "it cannot be written")),
    (
        "undecodable",
        ("the value", "the batch", "UTF-8", "nested", "neither", "Object", "Expected", "Invalid"),
    ),
)
"""The classes of reasons, each with texts of which a reason has one. The first class counts."""

REASON_CLASSES: Final = (*(name for name, _ in _REASONS), "other")
"""All results of `reason_class`."""

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


def reason_class(reason: str) -> str:
    """The class of a reason, for a count: one of `REASON_CLASSES`."""
    for name, texts in _REASONS:
        if any(text in reason for text in texts):
            return name
    return "other"


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


def note_headers(stage: str, origin: Origin, fate: LetterFate, up_to: Milliseconds) -> Headers:
    """The headers of a note that settles the letters up to a time."""
    headers = {
        "stage": stage,
        "topic": origin.topic,
        "partition": str(origin.partition),
        "offset": str(origin.offset),
        _NOTE: fate,
        UP_TO: str(up_to),
    }
    return [(name, text.encode(errors="replace")) for name, text in headers.items()]


def fate_in(headers: Mapping[str, str]) -> LetterFate | None:
    """The fate that a record of the topic notes; None if the record is a letter."""
    note = headers.get(_NOTE)
    if note is None:
        return None
    return "dropped" if note == "dropped" else "replayed"


def letter_key(key: bytes | None) -> bytes | None:
    """The key of a letter: the key of the record, or None if that key is too long."""
    return key if key is None or len(key) <= MAX_LETTER_KEY_BYTES else None


def letter_value(value: bytes | None) -> bytes | None:
    """The value of a sequencer's letter: the record's value, or None if that value is too long."""
    return value if value is None or len(value) <= MAX_LETTER_VALUE_BYTES else None

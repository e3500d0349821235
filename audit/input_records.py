"""The commands on ``im.messages`` and the dead letters about them, as `im verify` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from audit.topic_readers import OffsetSpan
from schemas.codec import decode_command
from schemas.errors import UndecodableRecord
from schemas.number_types import Milliseconds, Offset
from schemas.records import AnyCommand

NO_POSITION: Final = Offset(-1)
"""End of the span of a partition without a committed offset of the sequencer."""


class InputRecord(NamedTuple):
    """A record of ``im.messages``; ``at`` is the broker's time in milliseconds since 1970."""

    partition: int
    offset: Offset
    at: Milliseconds
    key: bytes | None
    value: bytes | None


class InputLetter(NamedTuple):
    """A dead letter about the records ``offset`` to ``last_offset`` of ``im.messages``."""

    partition: int
    offset: Offset
    last_offset: Offset


class InputSpans(NamedTuple):
    """The retained and sequenced part of ``im.messages``, before and after the log was read."""

    before: Sequence[OffsetSpan]
    after: Sequence[OffsetSpan]


class InputPartition:
    """One partition of ``im.messages``.

    Args:
        low: The offset of the oldest record.
        decided_end: Commands below this offset must have an outcome, or `NO_POSITION`.

    Attributes:
        floor: Entries above this offset of the timeline must have a command; None until known.
        since: Replies at or after this time (ms) must have a command; None until known.
    """

    def __init__(self, low: Offset, decided_end: Offset) -> None:
        self.low = low
        self.decided_end = decided_end
        self.floor: int | None = -1 if low == 0 else None
        self.since: Milliseconds | None = Milliseconds(0) if low == 0 else None


def command_of(record: InputRecord) -> AnyCommand | None:
    """The command of a record; None if the record is not a command."""
    try:
        command = decode_command(record.value)
    except UndecodableRecord:
        return None
    return command if record.key == command.conv_id.encode() else None


def fields_of(record: InputRecord, command: AnyCommand | None) -> dict[str, Any]:
    """The fields of a difference that name a record."""
    where = f"messages[{record.partition}]@{record.offset}"
    if command is None:
        return {"where": where}
    return {"where": where, "conv_id": command.conv_id, "user": command.sender}

"""The port to which the sequencer writes the records of a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from schemas.dead_letters import ContentDigest
from schemas.number_types import Offset


class RejectedRecord(NamedTuple):
    """A source record that is not a command, and the reason.

    ``last_offset``: set for a batch that is rejected as a whole. ``content``: set for a record or
    batch that was not loaded into memory.
    """

    offset: Offset
    key: bytes | None
    value: bytes | None
    reason: str
    content: ContentDigest | None = None
    last_offset: Offset | None = None


class RecordWriter(Protocol):
    """Writes the records of a transaction, in the order of the calls."""

    def timeline(self, conv_id: str, value: bytes) -> None:
        """Appends an entry to its conversation's timeline."""

    def sync(self, recipients: Sequence[str], value: bytes) -> int:
        """Appends an entry or a reply to the sync timeline of each recipient.

        Returns:
            The number of records that this takes.
        """

    def state(self, key: bytes, value: bytes | None) -> None:
        """Replaces a state record."""

    def dead_letter(self, letter: RejectedRecord) -> None:
        """Writes a dead letter for a source record."""

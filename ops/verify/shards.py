"""What the partitions of ``im.sync`` hold, kept small: five bytes a record."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import cache
from typing import Final
from zlib import crc32

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder

from backends.kafka import partition_of

NOTHING: Final = 0
"""State of an offset that holds no record: the mark of a transaction."""
DUE: Final = 1
"""The record has to be in the store."""
OPTIONAL: Final = 2
"""It may be there: its lifetime is over, or nearly so."""
SEEN: Final = 3
"""It was found there."""


class SyncPosition(Struct, frozen=True):
    """What is read of a sync record.

    ``seq`` is absent from a rejection; a retraction has no sender, and alone a target with it.
    """

    kind: str
    conv_id: str
    at: int
    sender: str = ""
    seq: int = 0
    target: int = 0


_position = Decoder(SyncPosition)


def position_of(value: bytes | None) -> SyncPosition | None:
    """Where a sync record belongs, or None if it is not one."""
    try:
        return _position.decode(value or b"")
    except (DecodeError, ValidationError, UnicodeDecodeError):
        return None


def record_digest(key: bytes, value_digest: int) -> int:
    """Tells (recipient, content) apart.

    Args:
        key: The recipient.
        value_digest: `ops.verify.log.digest_of` the content.
    """
    return crc32(key, value_digest)


class Shard:
    """One partition, with a place for each offset from ``low`` to below ``end``.

    ``digests`` has the `record_digest` of each record, ``states`` what became of it. ``marks`` has
    the highest read mark of each (conversation, recipient).
    ``end_now`` is as ``end``, but may be set later on.

    Args:
        partition: Its number.
        low: The oldest offset that retention has left.
        end: Where the audit ends.
        home: The partition of a recipient.
        expired_before: Entries of an earlier time (ms) may have left the store.
    """

    def __init__(
        self,
        partition: int,
        low: int,
        end: int,
        home: Callable[[str], int],
        expired_before: int = 0,
    ) -> None:
        self.partition = partition
        self.low = low
        self.end = max(low, end)
        self.end_now = self.end
        self.home = home
        self.expired_before = expired_before
        self.digests = array("I", bytes(4 * (self.end - low)))
        self.size = self.end - low
        self.states = bytearray(self.size)
        self.marks: dict[tuple[str, str], int] = {}

    @property
    def last_offset(self) -> int:
        """Of the last record, -1 if there is none. Behind it there are only marks."""
        return self.low + len(self.states.rstrip(b"\0")) - 1 if any(self.states) else -1

    def holds(self, user: str) -> bool:
        """Whether the records of this recipient belong here."""
        return self.home(user) == self.partition

    def mark(self, conv_id: str, user: str, seq: int) -> None:
        """Takes a read mark of a recipient; the highest counts."""
        self.marks[conv_id, user] = max(seq, self.marks.get((conv_id, user), 0))

    def has_marked(self, conv_id: str, user: str, seq: int) -> bool:
        """Whether a recipient's read mark, as of all that was taken, has come to this SeqId."""
        return self.marks.get((conv_id, user), 0) >= seq

    def reaches(self, offset: int) -> bool:
        """Whether the partition, as of ``end_now``, has come to this offset."""
        return offset < self.end_now

    def state_of(self, at: int) -> int:
        """`DUE` or `OPTIONAL`."""
        return OPTIONAL if at < self.expired_before else DUE


def homes(partitions: int) -> Callable[[str], int]:
    """The partition of each recipient; remembered, because the hash is slow."""

    @cache
    def home(user: str) -> int:
        return partition_of(user, partitions)

    return home

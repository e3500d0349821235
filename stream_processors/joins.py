"""How often people were let into conversations, which bounds their memberships in the store.

Counted for each bucket of ``membership_by_user``, and never down: who leaves has one row more in
the store. It is of a whole source partition, so no conversation knows it.

People share counts, by a hash of their ids, so that memory and log are bounded however many there
are. A count is never below that of any of those who share it, which is all that the bound needs;
it is a count-min sketch (Cormode and Muthukrishnan, 2005) of one row.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias
from zlib import crc32

from backends.memberships import user_bucket
from stream_processors.core.state import Change, MemberJoined

CELLS: Final = 1 << 18
"""Counts for each bucket, 1 MB. After ten million joins one stands at 40 for all the others."""

Place: TypeAlias = tuple[int, int]
"""A cell, and the bucket."""


class Joins:
    """The joins of one source partition.

    Args:
        cells: Counts for each bucket. What is restored must have been counted with as many.
    """

    def __init__(self, cells: int = CELLS) -> None:
        self._cells = cells
        self._counts: dict[int, array[int]] = {}
        self._touched: set[Place] = set()

    def allow(self, conv_id: str, changes: Sequence[Change], most: int) -> bool:
        """Whether nobody would be let in more than ``most`` times. Changes nothing."""
        counts = self._counts.get(user_bucket(conv_id))
        return counts is None or all(counts[cell] < most for cell in self._joining(changes))

    def count(self, conv_id: str, changes: Sequence[Change]) -> None:
        """Counts those who are let in."""
        bucket = user_bucket(conv_id)
        for cell in self._joining(changes):
            self._of(bucket)[cell] += 1
            self._touched.add((cell, bucket))

    def take_touched(self) -> Iterator[tuple[Place, int]]:
        """The counts that have changed since this was last asked."""
        touched, self._touched = self._touched, set()
        return (((cell, bucket), self._counts[bucket][cell]) for cell, bucket in touched)

    def restore(self, place: Place, count: int) -> None:
        """Takes in one record of the log."""
        cell, bucket = place
        self._of(bucket)[cell] = count

    def _of(self, bucket: int) -> array[int]:
        if bucket not in self._counts:
            self._counts[bucket] = array("I", bytes(self._cells * array("I").itemsize))
        return self._counts[bucket]

    def _joining(self, changes: Sequence[Change]) -> Iterator[int]:
        joined = (change.user for change in changes if isinstance(change, MemberJoined))
        return (crc32(user.encode()) % self._cells for user in joined)

"""The replies on the sync timelines, eight bytes each: which commands have a reply."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from typing import Final, Literal, TypeAlias, get_args

ReplyKind: TypeAlias = Literal["rejected", "duplicate", "read_marked", "conversation_muted"]

_KINDS: Final[tuple[ReplyKind, ...]] = get_args(ReplyKind)
_KIND_BITS: Final = 2
_NAME_BITS: Final = 20
_LOWER_BITS: Final = _NAME_BITS + _KIND_BITS
_AT_BITS: Final = 63 - _LOWER_BITS
"""Enough bits for milliseconds since 1970 up to the year 2039."""


class Replies:
    """A multiset of (time, conversation, sender, device, id) for each source partition.

    A reply has the broker's time of its command. The time is the upper part of a 64-bit number,
    followed by a hash of the other fields and, in the lowest bits, the kind of the reply.
    """

    def __init__(self) -> None:
        self._found: defaultdict[int, array[int]] = defaultdict(lambda: array("q"))
        self._used: dict[int, bytearray] = {}

    def add(self, partition: int, at: int, kind: ReplyKind, *name: str) -> None:
        """Add a reply to a command of a partition."""
        self._found[partition].append(_number(at, name) | _KINDS.index(kind))

    def seal(self) -> None:
        """End the adding of replies. Call before `take`."""
        for partition, found in self._found.items():
            self._found[partition] = array("q", sorted(found))
            self._used[partition] = bytearray(len(found))

    def take(self, partition: int, at: int, *name: str) -> ReplyKind | None:
        """The kind of an unclaimed reply to a command, and claim the reply; None without one."""
        found, number = self._found.get(partition), _number(at, name)
        if found is None:
            return None
        used = self._used[partition]
        place = bisect_left(found, number)
        while place < len(found) and found[place] >> _KIND_BITS == number >> _KIND_BITS:
            if not used[place]:
                used[place] = 1
                return _KINDS[found[place] & ((1 << _KIND_BITS) - 1)]
            place += 1
        return None

    def left(self, partition: int, since: int) -> int:
        """The number of unclaimed replies of a partition, at or after the time ``since`` (ms)."""
        begin = bisect_left(self._found.get(partition, ()), since << _LOWER_BITS)
        return self._used.get(partition, bytearray()).count(0, begin)


def _number(at: int, name: tuple[str, ...]) -> int:
    time = at & ((1 << _AT_BITS) - 1)
    return time << _LOWER_BITS | (hash(name) & ((1 << _NAME_BITS) - 1)) << _KIND_BITS

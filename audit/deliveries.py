"""The deliveries of one shard: its records and their recipients.

A delivery is a pair (offset, recipient): the record at that offset lists the recipient in its key.

Memory: 16 bytes for each offset and one byte for each delivery. Each distinct key is stored once,
with some 210 bytes of overhead.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Final

from schemas.recipients import recipients_of

DUE: Final = 1
"""State of a delivery: a row in the store must hold it."""
OPTIONAL: Final = 2
"""State of a delivery: a row may hold it. Its lifetime is over or nearly over, or the sink skipped
it for an inactive recipient."""
SEEN: Final = 3
"""State of a delivery: a row holds it."""

NO_KEY: Final = 0
"""Key number of an offset without a record: a transaction marker, or an undecodable record."""


class Deliveries:
    """Records by place. A place is the offset minus the lowest offset of the shard.

    Attributes:
        digests: By place, the digest of the expected content in a row.
        keys: By place, the number of the record's key; `NO_KEY` without a record.
        starts: By place, the index of the first delivery of the record in ``states``.
        states: `DUE`, `OPTIONAL` or `SEEN` of each delivery, in the order of places and, within a
            record, in the order of its key.
    """

    __slots__ = ("_keys", "_numbers", "digests", "keys", "starts", "states")

    def __init__(self) -> None:
        self.digests = array("I")
        self.keys = array("I")
        self.starts = array("Q")
        self.states = bytearray()
        self._keys = [b""]
        self._numbers: dict[bytes, int] = {}

    def number_of(self, key: bytes) -> int:
        """The number of a key. The key must list each of its recipients once."""
        number = self._numbers.setdefault(key, len(self._keys))
        if number == len(self._keys):
            self._keys.append(key)
        return number

    def add(self, place: int, key: int, states: bytes, digest: int) -> None:
        """Append a record, with one state for each of its recipients."""
        if place > len(self.keys):
            self.pad(place)
        self.digests.append(digest)
        self.keys.append(key)
        self.starts.append(len(self.states))
        self.states += states

    def pad(self, size: int) -> None:
        """Record that there are no more records before the place ``size``."""
        gap = size - len(self.keys)
        if gap > 0:
            nothing = array("I", bytes(4 * gap))
            self.digests.extend(nothing)
            self.keys.extend(nothing)
            self.starts.extend(array("Q", [len(self.states)]) * gap)

    @property
    def last_place(self) -> int:
        """The place of the last record, -1 if there is none."""
        return next((at for at in reversed(range(len(self.keys))) if self.keys[at]), -1)

    def index(self, place: int, user: bytes) -> int | None:
        """The index of a delivery in ``states``; None if the user is not a recipient."""
        users = recipients_of(self._keys[self.keys[place]])
        return self.starts[place] + users.index(user) if user in users else None

    def first_due(self, most: int) -> Iterator[tuple[int, bytes]]:
        """(place, recipient) of the first ``most`` deliveries that are `DUE`."""
        at = self.states.find(DUE)
        while at >= 0 and most > 0:
            place = bisect_right(self.starts, at) - 1
            users = recipients_of(self._keys[self.keys[place]])
            yield place, users[at - self.starts[place]]
            at, most = self.states.find(DUE, at + 1), most - 1

    def allow_missing(self, last_places: Mapping[bytes, int]) -> None:
        """Makes deliveries optional that are `DUE`.

        Args:
            last_places: The last place of such a delivery, by recipient (UTF-8).
        """
        limits_of: dict[int, list[tuple[int, int]]] = {NO_KEY: []}
        for place, key in enumerate(self.keys):
            limits = limits_of.get(key)
            if limits is None:
                users = recipients_of(self._keys[key])
                limits = limits_of[key] = [
                    (number, last_places[user])
                    for number, user in enumerate(users)
                    if user in last_places
                ]
            for number, last in limits:
                index = self.starts[place] + number
                if place <= last and self.states[index] == DUE:
                    self.states[index] = OPTIONAL

    def has_optional(self, first: int, end: int) -> bool:
        """Whether a delivery in the places from ``first`` to below ``end`` is `OPTIONAL`."""
        begin, stop = self._start(first), self._start(end)
        return self.states.find(OPTIONAL, begin, stop) >= 0

    def _start(self, place: int) -> int:
        place = max(0, place)
        return self.starts[place] if place < len(self.starts) else len(self.states)

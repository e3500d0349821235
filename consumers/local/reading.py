"""How much of a conversation its owner has not read, as far as a device knows: pure, no I/O.

It is told by entries, by read marks of the owner's devices, and by the list of conversations, in
any order and any number of times: each of them is true, so the furthest counts. An entry and the
list say how many messages there are up to a SeqId. A mark does not: its entry may yet have to
come, or lie before what this device keeps; until it is told, the number is not known.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder

from schemas.unread import Counted, unread


class Reading(NamedTuple):
    """Up to where a conversation is known to go, and up to where its owner has read it.

    ``counted`` is how many messages there are up to the ``mark``; None if that was not told yet.
    """

    end: Counted = Counted(0, 0)
    mark: int = 0
    counted: int | None = 0

    @property
    def unread(self) -> int | None:
        """The messages above the mark; None if that cannot be told yet."""
        if self.counted is None:
            return 0 if self.mark >= self.end.seq else None
        return unread(self.end, Counted(self.mark, self.counted))

    def ends_at(self, place: Counted) -> Reading:
        """With what is known of an entry that its owner may see."""
        end = max(self.end, place)
        if place.seq == self.mark:
            return Reading(end, self.mark, place.messages)
        return self._replace(end=end)

    def read_to(self, seq: int, counted: int | None) -> Reading:
        """With a mark, which may be an old one."""
        if seq > self.mark:
            return Reading(self.end, seq, counted)
        if seq == self.mark and counted is not None:
            return self._replace(counted=counted)
        return self


class _Told(Struct, frozen=True):
    kind: str
    seq: int
    sender: str = ""
    messages: int = 0
    members: list[str] = []


_told: Final = Decoder(_Told)
_MEMBERSHIP: Final = frozenset({"conversation_created", "members_added", "members_removed"})


def after_entry(reading: Reading, json: bytes, user: str) -> Reading:
    """What an entry tells: that there is so much, and perhaps that all up to it is read.

    All up to it is read if it is a message of ``user``, or lets them in or out. Entries of kinds
    that are not known here count as well.
    """
    try:
        entry = _told.decode(json)
    except (DecodeError, ValidationError, UnicodeDecodeError):
        return reading
    place = Counted(entry.seq, entry.messages)
    reading = reading.ends_at(place)
    is_own = entry.kind == "message_sent" and entry.sender == user
    if is_own or (entry.kind in _MEMBERSHIP and user in entry.members):
        return reading.read_to(*place)
    return reading


def count_of(json: bytes) -> int | None:
    """How many messages there are up to an entry; None if it is none."""
    try:
        return _told.decode(json).messages
    except (DecodeError, ValidationError, UnicodeDecodeError):
        return None

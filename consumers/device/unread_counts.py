"""How many messages of a conversation the owner has not read, as a device knows it: pure, no I/O.

The device learns the number from three sources, in any order and repeatedly: entries, read marks
of the owner's devices, and the list of conversations. A report may be old but is never wrong, so
the report with the highest SeqId counts. An entry and the list contain the number of messages up
to a SeqId. A read mark does not: the marked entry may arrive later, or may be before the start of
this device. Without the number of messages up to the mark, the unread number is unknown.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder

from schemas.number_types import NO_SEQ, SeqId
from schemas.unread import Counted, unread


class ReadState(NamedTuple):
    """The known end of a conversation, and the SeqId up to which its owner has read it.

    ``counted``: the number of messages up to the ``mark``; None if unknown.
    """

    end: Counted = Counted(NO_SEQ, 0)
    mark: SeqId = NO_SEQ
    counted: int | None = 0

    @property
    def unread(self) -> int | None:
        """The number of messages above the mark; None if unknown."""
        if self.counted is None:
            return 0 if self.mark >= self.end.seq else None
        return unread(self.end, Counted(self.mark, self.counted))

    def ends_at(self, place: Counted) -> ReadState:
        """Return the reading after an entry that the owner may see became known."""
        end = max(self.end, place)
        if place.seq == self.mark:
            return ReadState(end, self.mark, place.messages)
        return self._replace(end=end)

    def read_to(self, seq: SeqId, counted: int | None) -> ReadState:
        """Return the reading after a mark, which may be an old one."""
        if seq > self.mark:
            return ReadState(self.end, seq, counted)
        if seq == self.mark and counted is not None:
            return self._replace(counted=counted)
        return self


class _CountedEntry(Struct, frozen=True):
    kind: str
    seq: SeqId
    sender: str = ""
    messages: int = 0
    members: list[str] = []


_decoder: Final = Decoder(_CountedEntry)
_MEMBERSHIP: Final = frozenset({"conversation_created", "members_added", "members_removed"})


def after_entry(reading: ReadState, json: bytes, user: str) -> ReadState:
    """Return the reading after an entry, which extends the end and may move the mark.

    An entry is a mark if it is a message of ``user``, or lets ``user`` in or out. Entries of
    unknown kinds extend the end, too.
    """
    try:
        entry = _decoder.decode(json)
    except (DecodeError, ValidationError, UnicodeDecodeError):
        return reading
    place = Counted(entry.seq, entry.messages)
    reading = reading.ends_at(place)
    is_own_message = entry.kind == "message_sent" and entry.sender == user
    if is_own_message or (entry.kind in _MEMBERSHIP and user in entry.members):
        return reading.read_to(*place)
    return reading


def count_of(json: bytes) -> int | None:
    """Return the number of messages up to an entry; None if ``json`` is not an entry."""
    try:
        return _decoder.decode(json).messages
    except (DecodeError, ValidationError, UnicodeDecodeError):
        return None

"""How long the store keeps a sync record, so that it is there for all of its lifetime.

The store lets each record expire by itself and leaves no trace of it. So that a reader can tell
a record that expired from one that never was, the writer notes beside the records from when on
they may be gone. It does so once for each *slot*, a part of the lifetime, and not once for each
record; the records of a slot are kept until the whole slot has had its lifetime.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NamedTuple

_SLOTS_IN_A_LIFETIME: Final = 8
"""A note for each slot and recipient; records are kept for one slot longer than they must."""

_LEAST_MARGIN: Final = 2
"""Cassandra counts whole seconds, and both times may be cut."""

_LARGEST_MARGIN: Final = 60
"""How far the clocks of a sink, of Cassandra and of a gateway may be apart."""


class Keeping(NamedTuple):
    """Seconds that follow from a lifetime.

    ``slot``: how long a slot is. ``surely``: how long after the begin of its slot a record is
    surely kept. ``ttl``: after its writing, when Cassandra drops it.
    """

    slot: int
    surely: int
    ttl: int

    def since(self, now: float) -> int:
        """The begin of the slot of a time (seconds)."""
        return int(now) // self.slot * self.slot


def keeping(lifetime: timedelta) -> Keeping:
    """How records with this lifetime, of at least a second, are kept."""
    seconds = int(lifetime.total_seconds())
    slot = max(1, seconds // _SLOTS_IN_A_LIFETIME)
    margin = max(_LEAST_MARGIN, min(_LARGEST_MARGIN, slot))
    return Keeping(slot, seconds + slot, seconds + slot + margin)

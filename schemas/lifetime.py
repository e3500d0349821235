"""How long the store keeps a sync record, so that it is there for all of its lifetime.

The store lets each record expire by itself and leaves no trace of it. So that a reader can tell
a record that expired from one that never was, the writer notes beside the records from when on
they may be gone. It does so once for each *slot*, a part of the lifetime, and not once for each
record; the records of a slot are kept until the whole slot has had its lifetime.

With the setting ``skip_inactive``, a recipient who has not been in touch for a lifetime gets no
rows. One note takes their place, the *skip note*: a note of the slot `SKIPPED_SINCE` that was over
before it was written (`SKIPPED_UNTIL`). A recipient has at most one skip note.
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


SKIPPED_SINCE: Final = 2**63 - 1
"""The slot of a skip note. It is above all slots of times, so that a reader of the latest notes
always finds it."""

SKIPPED_UNTIL: Final = 0
"""Until when skipped records are surely there (seconds since 1970): they never were."""

_LONGEST_CONTACT_INTERVAL: Final = timedelta(days=1)


def contact_interval(lifetime: timedelta) -> timedelta:
    """How often a gateway notes that a person is in touch, at most.

    Args:
        lifetime: How long a sync record is kept at least.
    """
    return min(_LONGEST_CONTACT_INTERVAL, lifetime / _SLOTS_IN_A_LIFETIME)


def inactive_after(lifetime: timedelta) -> timedelta:
    """How old the newest contact of an inactive recipient is at least.

    A person may be in touch for a whole interval after a contact was noted without another note.
    The second interval is for a note that failed, and for clocks.

    Args:
        lifetime: How long a sync record is kept at least.
    """
    return lifetime + 2 * contact_interval(lifetime)


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

"""Retention of sync records in the store, so that a record is stored for its whole lifetime.

Each record expires by itself and leaves no trace. A reader must distinguish an expired record from
a record that never existed, so the writer also stores from which time on records may have expired.
It stores one such note for each *retention interval*, a part of the lifetime, rather than for each
record. All records of an interval are retained until a lifetime after the end of the interval.

With the setting ``skip_inactive``, a recipient without contact for a lifetime gets no rows, but
one *skip note*: a note of the interval `SKIPPED_SINCE` whose records expired before it was written
(`SKIPPED_UNTIL`). A recipient has at most one skip note.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NamedTuple

_INTERVALS_IN_A_LIFETIME: Final = 8
"""One note for each retention interval and recipient. Records are retained up to one interval
longer than required."""

_LEAST_MARGIN: Final = 2
"""Seconds. Cassandra counts whole seconds, and both times may be rounded down."""

_LARGEST_MARGIN: Final = 60
"""Maximum difference of the clocks of a sink, of Cassandra and of a gateway, in seconds."""


SKIPPED_SINCE: Final = 2**63 - 1
"""The begin of the interval of a skip note. It is above all other begins, so that a reader of the
latest notes always finds it."""

SKIPPED_UNTIL: Final = 0
"""The time until which skipped records are certainly stored (seconds since 1970): never."""

_LONGEST_CONTACT_INTERVAL: Final = timedelta(days=1)


def contact_interval(lifetime: timedelta) -> timedelta:
    """The minimum interval between two contacts of a person that a gateway records.

    Args:
        lifetime: Minimum retention of a sync record.
    """
    return min(_LONGEST_CONTACT_INTERVAL, lifetime / _INTERVALS_IN_A_LIFETIME)


def inactive_after(lifetime: timedelta) -> timedelta:
    """The minimum age of the newest contact of an inactive recipient.

    After a recorded contact, a person may be in contact for a whole interval without another
    record. The second interval allows for one failed record and for differences of clocks.

    Args:
        lifetime: Minimum retention of a sync record.
    """
    return lifetime + 2 * contact_interval(lifetime)


class RetentionTimes(NamedTuple):
    """Durations that follow from a lifetime, in seconds.

    ``interval``: the length of a retention interval. ``surely``: the guaranteed retention of a
    record, from the begin of its interval. ``ttl``: the TTL in Cassandra, from the time of
    writing.
    """

    interval: int
    surely: int
    ttl: int

    def since(self, now: float) -> int:
        """The begin of the retention interval of a time (seconds)."""
        return int(now) // self.interval * self.interval


def retention_times(lifetime: timedelta) -> RetentionTimes:
    """The retention of records with this lifetime, which is at least a second."""
    seconds = int(lifetime.total_seconds())
    interval = max(1, seconds // _INTERVALS_IN_A_LIFETIME)
    margin = max(_LEAST_MARGIN, min(_LARGEST_MARGIN, interval))
    return RetentionTimes(interval, seconds + interval, seconds + interval + margin)

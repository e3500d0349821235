"""Which records of a sync timeline may have expired, and which the store certainly has.

An expired row leaves no trace, so the remaining rows do not show that records have expired. The
sink therefore stores notes with the rows (`schemas.lifetime`): a note has the last sync SeqId of
its records, and the time until which all of them are stored. A skip note is for records that were
skipped because their recipient was inactive; these records count as expired at once. A note covers
the table ``sync`` only, not the tables of the other sinks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.store.store_port import Expiry
from schemas.number_types import SyncSeqId

BEGINNING: Final = SyncSeqId(-1)
"""The cursor of a reader without any record."""

EXPIRIES: Final = 32
"""Number of latest retention intervals of a recipient that are read. Ten have unexpired records at
a time, with a lifetime of seconds up to 17; the latest expired interval has the highest SeqIds of
the expired ones. The skip note is the latest of all."""

_WORKED_IN: Final = 4
"""The other sinks count as having stored the entries of an interval after 1/4 of its retention."""


def gone(expiries: Iterable[Expiry], now: float) -> SyncSeqId:
    """The highest sync SeqId that may have expired; `BEGINNING` if none may.

    Args:
        expiries: The latest notes of the recipient.
        now: Seconds since 1970, not before the read of the records.
    """
    return max((each.newest for each in expiries if each.until <= now), default=BEGINNING)


def worked_in(expiries: Iterable[Expiry], now: float) -> SyncSeqId:
    """The highest sync SeqId up to which the store should have all entries of the timeline.

    The message sink is independent of the sync sink, so an entry may be in a sync timeline before
    the store has it. This place is therefore not the end of the timeline: it is some two days old
    with the default lifetime. `gateway.log.barrier` makes sure that the store has all entries up
    to it. With the newest place, each request would wait for a message sink that lags by seconds.

    Args:
        expiries: The latest notes of the recipient.
        now: Seconds since 1970.
    """
    return max(
        (
            each.newest
            for each in expiries
            if each.since + (each.until - each.since) // _WORKED_IN <= now
        ),
        default=BEGINNING,
    )

"""Which records of a sync timeline may have expired, and which the store certainly has.

Records expire without a trace, so the remaining rows do not show it. The notes that the sink
stored with the records do: see `schemas.lifetime`. A skip note, for skipped records of an inactive
recipient, has expired from the beginning. It gives no information about the other sinks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.store import Expiry

BEGINNING: Final = -1
"""The cursor of a reader without any record."""

EXPIRIES: Final = 32
"""The number of latest slots of a recipient that are read. Ten slots have unexpired records at a
time, with a lifetime of seconds up to 17; the latest expired slot has the highest SeqIds of the
expired ones. The skip note is the latest of all."""

_WORKED_IN: Final = 4
"""The other sinks count as having stored a slot's entries after 1/4 of the slot's retention."""


def gone(expiries: Iterable[Expiry], now: float) -> int:
    """The highest sync SeqId that may have expired; `BEGINNING` if none may.

    Args:
        expiries: The latest notes of the recipient.
        now: Seconds since 1970, not before the read of the records.
    """
    return max((each.newest for each in expiries if each.until <= now), default=BEGINNING)


def worked_in(expiries: Iterable[Expiry], now: float) -> int:
    """The highest sync SeqId up to which the store certainly has the entries of the timeline.

    The sinks are independent, and a message may be in a sync timeline before it is in the store.
    So this is not the present end, but an earlier one: with the default lifetime of a week, some
    two days earlier, at least one day of which is an allowance for a lagging sink.

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

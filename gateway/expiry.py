"""What of a sync timeline may not be kept any more, and what of it the store has worked in.

Records expire without a trace, so the rows that are left do not tell. What tells is what the sink
noted when it wrote them: see `schemas.lifetime`. A note of records that were skipped, because
their recipient was inactive, is over from the beginning. It says nothing of the other sinks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.store import Expiry

BEGINNING: Final = -1
"""The cursor of who has nothing yet."""

EXPIRIES: Final = 32
"""The latest slots of a recipient that are looked at. Ten of them are kept at a time, up to 17 of
a lifetime of seconds; of those that are not, the latest reaches furthest. The note of what was
skipped is the latest of all."""

_WORKED_IN: Final = 4
"""A slot counts as worked in by the other sinks after this part of the time that it is kept."""


def gone(expiries: Iterable[Expiry], now: float) -> int:
    """The highest sync SeqId that may not be kept any more; `BEGINNING` if all are.

    Args:
        expiries: The latest of the recipient.
        now: Seconds since 1970, not before the records were looked for.
    """
    return max((each.newest for each in expiries if each.until <= now), default=BEGINNING)


def worked_in(expiries: Iterable[Expiry], now: float) -> int:
    """The highest sync SeqId up to which the store surely has what the timeline tells.

    The sinks go their own ways, and a message may be in a sync timeline before it is in the
    store. So this is not the very end, but what was there a while ago: two days of the week that
    a record is kept by default, and of them one at least for a sink that is late.

    Args:
        expiries: The latest of the recipient.
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

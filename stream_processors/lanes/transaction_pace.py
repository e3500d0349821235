"""When the next transaction of a lane may begin.

A transaction has a price that does not depend on its records: requests for each partition that it
writes to, and a marker in each. With few records, the price is nearly all of the cost. So a lane
pauses after a small transaction, longer on a broker that is slow because of its load: the records
of the pause share the next transaction. A lane with much work never pauses.
"""

from __future__ import annotations

from typing import Final

TRANSACTION_INTERVAL_SECONDS: Final = 0.02
"""Minimum time from the begin of one transaction to the begin of the next."""

SMALL_TRANSACTION: Final = 500
"""A transaction with fewer source records is small."""

PAUSE_SHARE: Final = 1.0
"""The pause after a small transaction, as a share of the duration of the transaction."""

MAX_PAUSE_SECONDS: Final = 0.15
"""The longest pause. It bounds the latency that a pause adds to a message."""


def next_begin(begun: float, ended: float, records: int) -> float:
    """The earliest time of the next transaction.

    Args:
        begun: When the last transaction began (s).
        ended: When the last transaction ended, by the same clock (s).
        records: The source records of the last transaction.
    """
    interval = begun + TRANSACTION_INTERVAL_SECONDS
    if not 0 < records < SMALL_TRANSACTION:
        return interval
    pause = min(PAUSE_SHARE * (ended - begun), MAX_PAUSE_SECONDS)
    return max(interval, ended + pause)

"""Who may see what: the one function of (membership periods, SeqId) that decides it.

Used by the sequencer's audit, sync, history, search and the live tail alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Period(NamedTuple):
    """One stay in a conversation: SeqIds ``first`` to ``last``, both seen. Open while None."""

    first: int
    last: int | None = None


def periods(changes: Iterable[tuple[int, bool]]) -> list[Period]:
    """Membership periods from what happened to one member of one conversation.

    Args:
        changes: (SeqId of the entry, whether it let them in), in any order, repeats allowed.

    Returns:
        The periods in their order. A leave without a join before it is ignored.
    """
    found: list[Period] = []
    for seq, joined in sorted(set(changes)):
        inside = bool(found) and found[-1].last is None
        if joined and not inside:
            found.append(Period(seq))
        elif not joined and inside:
            found[-1] = Period(found[-1].first, seq)
    return found


def visible(stays: Sequence[Period], seq: int) -> bool:
    """Whether somebody with these membership periods may see the entry ``seq``."""
    return any(stay.first <= seq and (stay.last is None or seq <= stay.last) for stay in stays)

"""Who may see what: the functions of (what happened to a membership, SeqId) that decide it.

    periods(changes)     the membership periods: what a sync timeline gets
    readable(changes)    what may be read back: by history and by search
    visible(parts, seq)  whether a SeqId lies in one of the two

Nothing else decides it, anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from schemas.records import HistoryRule


class Period(NamedTuple):
    """SeqIds ``first`` to ``last``, both included; without an end while ``last`` is None."""

    first: int
    last: int | None = None


class Change(NamedTuple):
    """Entry ``seq`` let a person in, or out.

    ``history`` is what the entry says of the conversation; it means nothing where one is let out.
    ``messages`` is how many messages there are up to the entry; it decides nothing here.
    """

    seq: int
    joined: bool
    history: HistoryRule = "since_join"
    messages: int = 0


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


def readable(changes: Iterable[Change]) -> list[Period]:
    """The SeqIds that one person may read back in one conversation.

    They are the membership periods, and what a join by the rule ``all`` opens: everything before
    it. So somebody who left such a conversation reads what was before they left, and nothing that
    came later; when they join again, they read that, too: for what was said while they were away
    they are a new member like any other.

    Args:
        changes: What happened to them, in any order, repeats allowed.

    Returns:
        Ranges in their order, none of which overlap. The last one ends where the last membership
        period ends; there is none where there is no such period.
    """
    happened = set(changes)
    opening = {change.seq for change in happened if change.joined and change.history == "all"}
    found: list[Period] = []
    for stay in periods((change.seq, change.joined) for change in happened):
        if stay.first in opening:
            found = [Period(1, stay.last)]  # all before it ended before it began
        else:
            found.append(stay)
    return found


def visible(parts: Sequence[Period], seq: int) -> bool:
    """Whether the entry ``seq`` lies in one of these ranges."""
    return any(part.first <= seq and (part.last is None or seq <= part.last) for part in parts)

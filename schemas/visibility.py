"""Who may see what: the functions of (what happened to a membership, SeqId) that decide it.

    periods(changes)     the membership periods: what a sync timeline gets
    readable(changes)    what may be read back: by history and by search
    visible(parts, seq)  whether a SeqId lies in one of the two
    counts(parts, edit)  whether a readable message is shown with the words of an edit

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
        The periods in their order. A leave without a join before it is ignored. A join right after
        a leave continues the period.
    """
    return _merged(_stays(changes))


def _stays(changes: Iterable[tuple[int, bool]]) -> list[Period]:
    found: list[Period] = []
    for seq, joined in sorted(set(changes)):
        inside = bool(found) and found[-1].last is None
        if joined and not inside:
            found.append(Period(seq))
        elif not joined and inside:
            found[-1] = Period(found[-1].first, seq)
    return found


def _merged(parts: Iterable[Period]) -> list[Period]:
    """The same SeqIds in as few ranges as possible."""
    found: list[Period] = []
    for part in parts:
        if found and found[-1].last == part.first - 1:
            found[-1] = Period(found[-1].first, part.last)
        else:
            found.append(part)
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
    for stay in _stays((change.seq, change.joined) for change in happened):
        if stay.first in opening:
            found = [Period(1, stay.last)]  # all before it ended before it began
        else:
            found.append(stay)
    return _merged(found)


def visible(parts: Sequence[Period], seq: int) -> bool:
    """Whether the entry ``seq`` lies in one of these ranges."""
    return any(part.first <= seq and (part.last is None or seq <= part.last) for part in parts)


def counts(parts: Sequence[Period], edit: int) -> bool:
    """Whether a message that a person may read has the words of the edit at SeqId ``edit``.

    The last period decides: a present member sees the present words, also of edits that were made
    while they were away; a person who has left sees no words from after they left.

    Args:
        parts: What the person may read, from `readable`.
        edit: The SeqId of the edit.
    """
    return bool(parts) and (parts[-1].last is None or edit <= parts[-1].last)

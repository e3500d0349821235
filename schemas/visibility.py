"""Read access: pure functions of (changes of a membership, SeqId).

    periods(changes)     the membership periods: entries in the person's sync timeline
    readable(changes)    the readable SeqIds: for history and search
    visible(parts, seq)  whether a SeqId is in one of these ranges
    counts(parts, edit)  whether a readable message is shown with the text of an edit

No other code decides about read access.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from schemas.number_types import FIRST_SEQ, SeqId
from schemas.records import HistoryRule


class Period(NamedTuple):
    """SeqIds ``first`` to ``last``, both included; the period is open if ``last`` is None."""

    first: SeqId
    last: SeqId | None = None


class MembershipChange(NamedTuple):
    """A join or a leave of a person by entry ``seq``.

    ``history`` is the history rule in the entry of a join; it has no meaning for a leave.
    ``messages`` is the number of messages up to the entry, and ``at`` the time of the entry in
    milliseconds since 1970, 0 if unknown; both do not influence access.
    """

    seq: SeqId
    joined: bool
    history: HistoryRule = "since_join"
    messages: int = 0
    at: int = 0


def periods(changes: Iterable[tuple[SeqId, bool]]) -> list[Period]:
    """Membership periods of one person in one conversation.

    Args:
        changes: (SeqId of the entry, whether it is a join), in any order, repeats allowed.

    Returns:
        The periods in their order. A leave without a join before it is ignored. A join right after
        a leave continues the period.
    """
    return _merged(_stays(changes))


def _stays(changes: Iterable[tuple[SeqId, bool]]) -> list[Period]:
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


def readable(changes: Iterable[MembershipChange]) -> list[Period]:
    """The SeqIds that one person may read back in one conversation.

    The readable SeqIds are the membership periods and, after a join by the rule ``all``, all
    SeqIds before the join. So a person who left such a conversation reads the entries up to the
    leave, and no later ones. After another join the person also reads the entries from the time
    of the absence, like any new member.

    Args:
        changes: The joins and leaves of the person, in any order, repeats allowed.

    Returns:
        Ranges in their order, without overlap. The last range ends with the last membership
        period. Empty without a membership period.
    """
    happened = set(changes)
    opening = {change.seq for change in happened if change.joined and change.history == "all"}
    found: list[Period] = []
    for stay in _stays((change.seq, change.joined) for change in happened):
        if stay.first in opening:
            found = [
                Period(FIRST_SEQ, stay.last)
            ]  # all earlier ranges ended before this one began
        else:
            found.append(stay)
    return _merged(found)


def visible(parts: Sequence[Period], seq: SeqId) -> bool:
    """Whether the entry ``seq`` is in one of these ranges."""
    return any(part.first <= seq and (part.last is None or seq <= part.last) for part in parts)


def counts(parts: Sequence[Period], edit: SeqId) -> bool:
    """Whether a readable message is shown with the text of the edit at SeqId ``edit``.

    The last period decides: a present member sees the present text, including edits from the time
    of an absence; a former member sees no edit from after the leave.

    Args:
        parts: The readable ranges of the person, from `readable`.
        edit: The SeqId of the edit.
    """
    return bool(parts) and (parts[-1].last is None or edit <= parts[-1].last)

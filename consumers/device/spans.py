"""SeqId arithmetic: how far a conversation is complete, and what to read next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from schemas.number_types import SeqId

SHORT_ISLAND: Final = 16
"""Known SeqIds between two gaps that are cheaper to read again than to skip by two requests."""

LONGEST: Final = 500
"""SeqIds after which a gap is not extended: the maximum number of entries in a history page."""


class Span(NamedTuple):
    """The SeqIds ``first`` to ``last``, both included."""

    first: SeqId
    last: SeqId


def reach(through: SeqId, known: Iterable[Span]) -> SeqId:
    """Return the last SeqId up to which nothing is missing.

    Args:
        through: Nothing is missing up to here.
        known: Known spans above it, ascending. Read only up to the first gap.
    """
    for span in known:
        if span.first > through + 1:
            break
        through = max(through, span.last)
    return through


def missing(wanted: Span, known: Iterable[Span]) -> list[Span]:
    """Return the parts of a span that are not in ``known``, which ascends without overlaps."""
    gaps: list[Span] = []
    begin = wanted.first
    for span in known:
        if span.first > wanted.last:
            break
        if span.first > begin:
            gaps.append(Span(begin, SeqId(span.first - 1)))
        begin = max(begin, SeqId(span.last + 1))
    if begin <= wanted.last:
        gaps.append(Span(begin, wanted.last))
    return gaps


def next_to_read(wanted: Span, known: Iterable[Span]) -> Span | None:
    """Return the first gap of a span, extended over short islands to the gaps after them.

    In a pull conversation, a device has the messages that mention its owner: islands of one.

    Args:
        wanted: The span to search.
        known: Known spans there, ascending, without overlaps. Read no further than needed.

    Returns:
        The span to read; its first and last SeqIds are missing. None if nothing is missing.
    """
    begin, gap, island = wanted.first, None, 0
    for span in known:
        if span.first > begin:
            gap = Span(begin if gap is None else gap.first, SeqId(span.first - 1))
            island = 0
        island += span.last - span.first + 1
        begin = SeqId(span.last + 1)
        if gap is not None and (island > SHORT_ISLAND or gap.last - gap.first >= LONGEST):
            return gap
    if begin <= wanted.last:
        gap = Span(begin if gap is None else gap.first, wanted.last)
    return gap

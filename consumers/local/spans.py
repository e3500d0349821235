"""Arithmetic of SeqIds: how far a conversation is known without a gap, and what to read next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

SHORT_ISLAND: Final = 16
"""Known SeqIds between two gaps that are cheaper to read again than to ask twice."""

LONGEST: Final = 500
"""SeqIds after which a gap is not stretched any more: a page of history has no more entries."""


class Span(NamedTuple):
    """The SeqIds ``first`` to ``last``, both included."""

    first: int
    last: int


def reach(through: int, known: Iterable[Span]) -> int:
    """The last SeqId up to which nothing is missing.

    Args:
        through: Up to here nothing is.
        known: What is known above it, ascending. It is read up to the first gap only.
    """
    for span in known:
        if span.first > through + 1:
            break
        through = max(through, span.last)
    return through


def missing(asked: Span, known: Iterable[Span]) -> list[Span]:
    """The parts of a span that are not known yet. ``known`` ascends, and has no overlaps."""
    found: list[Span] = []
    begin = asked.first
    for span in known:
        if span.first > asked.last:
            break
        if span.first > begin:
            found.append(Span(begin, span.first - 1))
        begin = max(begin, span.last + 1)
    if begin <= asked.last:
        found.append(Span(begin, asked.last))
    return found


def next_to_read(asked: Span, known: Iterable[Span]) -> Span | None:
    """The first gap of a span, stretched over short islands to the gaps behind them.

    In a pull conversation a device has the messages that mention its owner: islands of one.

    Args:
        asked: Where to look.
        known: What is known there, ascending, without overlaps. It is read no further than needed.

    Returns:
        What to ask for; it begins and ends with something missing. None if nothing is.
    """
    begin, gap, island = asked.first, None, 0
    for span in known:
        if span.first > begin:
            gap = Span(begin if gap is None else gap.first, span.first - 1)
            island = 0
        island += span.last - span.first + 1
        begin = span.last + 1
        if gap is not None and (island > SHORT_ISLAND or gap.last - gap.first >= LONGEST):
            return gap
    if begin <= asked.last:
        gap = Span(begin if gap is None else gap.first, asked.last)
    return gap

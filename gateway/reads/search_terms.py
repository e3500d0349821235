"""Parses search queries and cursors. Pure.

White space separates terms, and a message must contain all terms. A term that begins with a
quotation mark ends at a closing mark before white space, or at the end of the query. A quotation
mark at any other place is an ordinary character. docs/search.md describes the rule.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Final

import msgspec

from backends.search_text import readings_of, visible_characters
from gateway.reads.readable_ids import is_id
from gateway.store.index_port import Query, SearchPosition, Term
from schemas.limits import MAX_SEQ

MAX_TERMS: Final = 64
"""Maximum number of terms, each a clause of the query. Further terms are ignored."""

MAX_TOKENS: Final = 256
"""Maximum number of tokens of all terms together. Further tokens are ignored."""

_CLOSING: Final = {'"': '"', "\u300c": "\u300d", "\u300e": "\u300f"}
"""The closing mark of each opening quotation mark. `visible` converts other marks to these."""


def parse_query(query: str) -> Query:
    """The distinct terms of a query, up to the bounds.

    Raises:
        ValueError: The query has no visible character. The error does not quote the query.
    """
    given = (readings_of(run) for run in _runs(visible_characters(query)))
    terms = list(dict.fromkeys(term for term in given if term))
    if not terms:
        raise ValueError("must have a visible character to search for")
    searched: list[Term] = []
    room = MAX_TOKENS
    for term in terms[:MAX_TERMS]:
        if room > 0:
            searched.append(tuple(_first_tokens(reading, room) for reading in term))
            room -= max(reading.count(" ") + 1 for reading in term)
    return Query(searched, room < 0 or len(searched) < len(terms))


def _first_tokens(reading: str, count: int) -> str:
    return " ".join(reading.split(" ", count)[:count])


def _runs(query: str) -> Iterator[str]:
    """The terms of a `visible` query, without their quotation marks."""
    rest = query.strip()
    while rest:
        closing = _CLOSING.get(rest[0])
        end = 0 if closing is None else _end_of_quotation(rest, closing)
        if rest[1:end].strip():
            yield rest[1:end]
            rest = rest[end + 1 :].lstrip()
        else:
            word, *others = rest.split(maxsplit=1)
            yield word
            rest = others[0] if others else ""


def _end_of_quotation(rest: str, closing: str) -> int:
    """The index of the closing mark, from 1; the length if there is none."""
    end = rest.find(closing, 1)
    while 0 < end < len(rest) - 1 and not rest[end + 1].isspace():
        end = rest.find(closing, end + 1)
    return end if end > 0 else len(rest)


def to_cursor(place: SearchPosition) -> str:
    """The cursor of the messages after ``place``."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def from_cursor(cursor: str) -> SearchPosition:
    """The place in a cursor.

    Raises:
        ValueError: The cursor is not from `to_cursor`.
    """
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        place = msgspec.json.decode(
            base64.b64decode(padded, b"-_", validate=True), type=SearchPosition
        )
    except (binascii.Error, msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        raise ValueError("must be the next of an earlier page") from None
    if not (0 <= place.at <= MAX_SEQ and 1 <= place.seq <= MAX_SEQ and is_id(place.conv_id)):
        raise ValueError("must be the next of an earlier page")
    return place

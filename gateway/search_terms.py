"""What somebody types into a search box, and the cursor that continues a search. Pure.

Whitespace separates terms, and a message has to contain all of them. What stands between
quotation marks is one term, a phrase. Terms are compared in the form that
`backends.elasticsearch.fold` makes.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, NamedTuple

import msgspec

from backends.elasticsearch import fold

MAX_QUERY_CHARACTERS: Final = 500
MAX_TERMS: Final = 32
"""Each is two clauses of the query; nobody types more."""

_TERM: Final = re.compile(r'"([^"]*)"?|([^\s"]+)')


class Place(NamedTuple):
    """Where a message stands in the order of the answers: newest first, then by conversation."""

    at: int
    conv_id: str
    seq: int

    def sort_key(self) -> tuple[int, str, int]:
        """Ascending in the order of the answers."""
        return -self.at, self.conv_id, -self.seq


class Hit(NamedTuple):
    """What the index found: a message, by the words that the entry ``version`` gave it.

    That is the SeqId of the message itself, or of an edit.
    """

    place: Place
    version: int

    def sort_key(self) -> tuple[int, str, int]:
        """As of `Place`."""
        return self.place.sort_key()


def parse_terms(query: str) -> list[str]:
    """The terms of a query, folded, each once. A quotation mark without its pair ends with it.

    Raises:
        ValueError: There is no term, or there are too many; the message quotes none.
    """
    found = (fold(phrase or word).strip() for phrase, word in _TERM.findall(query))
    terms = list(dict.fromkeys(term for term in found if term))
    if not terms:
        raise ValueError("must have a word to search for")
    if len(terms) > MAX_TERMS:
        raise ValueError(f"must not have more than {MAX_TERMS} terms")
    return terms


def to_cursor(place: Place) -> str:
    """The cursor of the messages after ``place``."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def from_cursor(cursor: str) -> Place:
    """The place that a cursor stands for.

    Raises:
        ValueError: It is not one that `to_cursor` made.
    """
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        return msgspec.json.decode(base64.b64decode(padded, b"-_", validate=True), type=Place)
    except (binascii.Error, msgspec.MsgspecError, UnicodeError):
        raise ValueError("must be the next of an earlier answer") from None

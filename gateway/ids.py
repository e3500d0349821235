"""Whether something can be the id of anybody or anything, before a server is asked."""

from __future__ import annotations

from schemas.ids import is_valid_id
from schemas.records import MAX_ID_LENGTH


def is_id(value: object) -> bool:
    """Whether this is 1 to 128 printable characters."""
    return isinstance(value, str) and 1 <= len(value) <= MAX_ID_LENGTH and is_valid_id(value)

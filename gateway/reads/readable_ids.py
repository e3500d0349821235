"""Checks ids of requests before a query uses them."""

from __future__ import annotations

from schemas.ids import is_valid_id
from schemas.records import MAX_ID_LENGTH


def is_id(value: object) -> bool:
    """Whether the value is a text of 1 to 128 printable characters."""
    return isinstance(value, str) and 1 <= len(value) <= MAX_ID_LENGTH and is_valid_id(value)

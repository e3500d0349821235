"""The header ``Retry-After`` (RFC 9110, section 10.2.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER_SECONDS: Final = 7 * 86_400.0
"""A longer wait counts as this wait. The deadline of an item is usually earlier."""

_MAX_DIGITS: Final = 12


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """The demanded wait in seconds; None without a readable value.

    Args:
        value: Seconds or an HTTP date.
        now: Seconds since 1970.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdecimal():
        seconds = float(text[:_MAX_DIGITS])
    else:
        at = _date(text)
        if at is None:
            return None
        seconds = at.timestamp() - now
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None

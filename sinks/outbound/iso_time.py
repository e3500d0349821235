"""Times in the bodies of requests."""

from __future__ import annotations

from datetime import UTC, datetime


def iso_time(at_ms: int) -> str:
    """A time in milliseconds since 1970 as ISO 8601 in UTC."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""What a device needs from outside: its sync timeline, and the store."""

from __future__ import annotations

from typing import Protocol

from consumers.local.knowledge import Beginning, HistoryPart, Listed, SyncBatch
from consumers.local.spans import Span


class SyncSource(Protocol):
    """The sync timeline of one person."""

    async def after(self, cursor: int, wait: float = 0.0) -> SyncBatch:
        """The next records above a cursor, none if there are none within about ``wait`` seconds.

        Raises:
            Trimmed: What follows the cursor is not kept any more.
            ServerUnavailable: It cannot be read for now.
            RequestRefused: It will not be read by asking again.
        """


class Registry(Protocol):
    """Where a device is known, and how far it has come."""

    async def register(self, device_id: str) -> Beginning:
        """Registers the device. One that is known goes on by what it began with.

        Raises:
            ServerUnavailable: It cannot be reached for now.
            RequestRefused: The person has too many devices, or is not let in.
        """

    async def report(self, device_id: str, cursor: int) -> None:
        """Tells how far the device has applied its sync timeline.

        Raises:
            ServerUnavailable: It cannot be reached for now.
            RequestRefused: The device was taken out.
        """


class History(Protocol):
    """The store, as one person may see it."""

    async def part(self, conv_id: str, span: Span) -> HistoryPart:
        """The first entries and holes of a span: a page, at least one if anything can be told.

        Raises:
            ServerUnavailable: It cannot be read for now.
            RequestRefused: It will not be read by asking again.
        """

    async def conversations(self) -> list[Listed]:
        """All conversations that the person is, or once was, in. Errors as of `part`."""

"""Interfaces that a device needs: its sync timeline, the registry, and the store."""

from __future__ import annotations

from typing import Protocol

from consumers.device.knowledge import Beginning, HistoryPart, Listed, SyncBatch
from consumers.device.spans import Span
from schemas.number_types import SyncSeqId


class SyncSource(Protocol):
    """The sync timeline of one person."""

    async def after(self, cursor: SyncSeqId, wait: float = 0.0) -> SyncBatch:
        """Return the next records above a cursor; waits about ``wait`` seconds for the first.

        Raises:
            Trimmed: The records after the cursor have expired.
            ServerUnavailable: The timeline cannot be read now.
            RequestRefused: The timeline cannot be read, and a retry does not help.
        """


class Registry(Protocol):
    """Registers devices and receives their cursors."""

    async def register(self, device_id: str) -> Beginning:
        """Register the device. A known device gets the policy and cursor that it has.

        Raises:
            ServerUnavailable: The registry is unreachable now.
            RequestRefused: The person has too many devices, or is not accepted.
        """

    async def report(self, device_id: str, cursor: SyncSeqId) -> None:
        """Report the SeqId up to which the device has applied its sync timeline.

        Raises:
            ServerUnavailable: The registry is unreachable now.
            RequestRefused: The device was removed.
        """


class History(Protocol):
    """The store, as one person may see it."""

    async def part(self, conv_id: str, span: Span) -> HistoryPart:
        """Return the first entries and holes of a span: one page, not empty if any is known.

        Raises:
            ServerUnavailable: The store cannot be read now.
            RequestRefused: The store cannot be read, and a retry does not help.
        """

    async def conversations(self) -> list[Listed]:
        """Return all conversations that the person is or was in. Errors: see `part`."""

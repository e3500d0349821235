"""The messages of a live connection as batches of a follower."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import aiohttp

from im_timeline_client.answers import SyncPage
from im_timeline_client.decoding import decoded
from im_timeline_client.errors import Trimmed
from im_timeline_client.following import Batch
from im_timeline_client.gateway import Gateway

LiveMessage: TypeAlias = Mapping[str, Any]
"""A message of a live connection, as JSON; the gateway documentation has the kinds."""


class LiveRecords:
    """`LiveTimeline` of one person.

    Args:
        gateway: The gateway.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def poll(self, cursor: int, wait: float) -> Batch:
        """See `LiveTimeline`."""
        page = await self._gateway.sync(cursor, wait)
        return Batch(cursor, page.records, page.next, page.more)

    async def open(self, cursor: int) -> aiohttp.ClientWebSocketResponse:
        """See `LiveTimeline`."""
        return await self._gateway.live(cursor)

    def decode(self, text: str) -> LiveMessage:
        """See `LiveTimeline`."""
        message = json.loads(text)
        if not isinstance(message, dict):
            raise ValueError("a message is an object")  # noqa: TRY004 - as for other texts
        return message

    def is_begin(self, message: LiveMessage) -> bool:
        """See `LiveTimeline`."""
        return message.get("kind") == "begun"

    def cursor_after(self, message: LiveMessage) -> int | None:
        """See `LiveTimeline`."""
        match message:
            case {"kind": "records", "next": int(end)}:
                return end
        return None

    def begun(self, cursor: int) -> Batch:
        """See `LiveTimeline`."""
        return Batch(None, (), cursor, more=False)

    def batch(self, message: LiveMessage | None, before: int, cursor: int) -> Batch:
        """See `LiveTimeline`.

        Raises:
            Trimmed: Records after the cursor have expired.
            UnexpectedAnswer: This version does not know the format of the records.
        """
        match message:
            case {"kind": "records"}:
                page = decoded(SyncPage, message)
                return Batch(before, page.records, page.next, page.more, heads={})
            case {"kind": "head", "conv_id": str(conv_id), "seq": int(seq)}:
                return Batch(None, (), cursor, more=False, heads={conv_id: seq})
            case {"kind": "problem", "problem": {"cursor": int(given), "oldest": int(oldest)}} if (
                oldest - 1 > cursor
            ):
                raise Trimmed(given, oldest)
        return Batch(None, (), cursor, more=False, heads={})  # or a kind of a later version

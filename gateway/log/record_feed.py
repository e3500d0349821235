"""Messages of one person's sync timeline that the log has brought, for a live connection.

A live connection sends them without a read of the store. They join the pages of the store at a
known position: the log has the records of a recipient in their order. So if the reader has all
records up to one record of the feed, the next records of the feed are the next ones of the
timeline.

The feed is a chain of records of one shard, which the log brought one after the other. The chain
begins with a record that is not sent from here, the anchor: earlier records may be missing. A new
chain begins after anything else than the next message:

- a record of another kind. It may change what other responses of the gateway show, so it is sent
  when the store has it. A recall also removes the messages before it from the feed;
- a record of another shard, after a change of the number of shards;
- a record that the log brings again, or an interruption of the log;
- a message that does not fit into the feed, because the connection is slow.

For one event loop.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from schemas.number_types import SyncSeqId

MAX_FEED_RECORDS: Final = 500
"""Messages in a feed, like the records of a page."""

MAX_FEED_BYTES: Final = 1_048_576
"""Bytes of the messages in a feed, like those of a page."""

LogPlace: TypeAlias = tuple[str, int]
"""A topic and a partition."""


class LoggedRecord(NamedTuple):
    """A sync record from the log.

    ``users`` are the recipients with a live connection. ``message`` is the encoded record if it is
    a message, otherwise None.
    """

    users: tuple[str, ...]
    source: LogPlace
    sync_seq: SyncSeqId
    message: bytes | None


class RecordFeed:
    """The records of one recipient since the feed began. See the module."""

    def __init__(self) -> None:
        self._source: LogPlace | None = None
        self._anchor: SyncSeqId | None = None
        self._messages: deque[tuple[SyncSeqId, bytes]] = deque()
        self._bytes = 0

    def reset(self) -> None:
        """Ends the chain: records may be missing before the next one."""
        self._source = self._anchor = None
        self._messages.clear()
        self._bytes = 0

    def put(self, record: LoggedRecord) -> None:
        """Takes the next record that the log brings."""
        message = record.message
        if message is None or not self._follows(record) or not self._has_room(message):
            self.reset()
            self._source, self._anchor = record.source, record.sync_seq
            return
        self._messages.append((record.sync_seq, message))
        self._bytes += len(message)

    def after(self, cursor: SyncSeqId, limit: int) -> list[tuple[SyncSeqId, bytes]]:
        """The messages directly after a cursor, at most ``limit``; empty if it is not known.

        Args:
            cursor: The sync SeqId up to which the reader has all records. Never decreases.
            limit: Maximum number of messages.
        """
        while self._messages and self._messages[0][0] <= cursor:
            self._anchor, message = self._messages.popleft()
            self._bytes -= len(message)
        if self._anchor is None or cursor < self._anchor:
            return []
        return list(islice(self._messages, limit))

    def _follows(self, record: LoggedRecord) -> bool:
        newest = self._messages[-1][0] if self._messages else self._anchor
        return record.source == self._source and newest is not None and record.sync_seq > newest

    def _has_room(self, message: bytes) -> bool:
        fits = self._bytes + len(message) <= MAX_FEED_BYTES
        return fits and len(self._messages) < MAX_FEED_RECORDS

"""Waits until the store has all entries that a sync timeline refers to, up to a sync SeqId.

A device that reads the store in place of expired or skipped records must find all their entries
there, also while the message sink lags. The sync sink stores a note about such records, with the
sync SeqId of the last one (`schemas.lifetime`). Before the gateway sends a cursor at or above this
sync SeqId, it takes these steps:

1. Read the note. Its records are committed, so their entries are below the end of
   ``im.timeline``.
2. Read the ends of ``im.timeline``, records of open transactions included.
3. Read the committed offsets of the message sink repeatedly, until they have reached these ends.

The gateway remembers the note and its ends, and a repeated request waits for the same ends. So a
sink that always lags by some seconds delays a device, but does not refuse the device forever.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from threading import Lock
from typing import Final, NamedTuple, Protocol

from cachetools import LRUCache
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from backends.kafka.clients import admin_client, topic_partitions
from backends.kafka.groups import committed_places, group_reader
from backends.kafka.partition_ends import written_ends
from gateway.log.shared_reads import SharedReads
from schemas.errors import ServerUnavailable
from schemas.number_types import Offset, SyncSeqId
from schemas.settings import Settings
from schemas.topics import Topic

MAX_BARRIER_SECONDS: Final = 3.0
"""Maximum wait of a request. The client repeats the request after that."""

COMMITS_READ_SECONDS: Final = 0.1
"""Interval of reads of the committed offsets. The sink commits at the same interval."""

MAX_REMEMBERED_RECIPIENTS: Final = 10_000
"""Number of recipients whose last note is remembered: some 3 MB, because the ends are shared."""

MESSAGE_SINK: Final = "sink-message"

_ANSWER_SECONDS: Final = 2.0


class Barrier(Protocol):
    """Waits for the message sink."""

    async def passed(self, user: str, newest: SyncSeqId) -> None:
        """Returns when the store has all entries of a person up to a sync SeqId.

        Args:
            user: The person.
            newest: The sync SeqId of a note that was read before this call.

        Raises:
            ServerUnavailable: The store does not have all entries within the timeout.
        """


class NoBarrier:
    """For a store that never lags."""

    async def passed(self, user: str, newest: SyncSeqId) -> None:
        """See `Barrier`."""


NO_BARRIER: Final = NoBarrier()


class Offsets(NamedTuple):
    """Offsets by partition of ``im.timeline``."""

    of: Mapping[int, Offset]

    def reach(self, ends: Offsets) -> bool:
        """Whether these offsets are at or above ``ends`` in every partition."""
        return all(self.of.get(partition, 0) >= end for partition, end in ends.of.items())


class LogBarrier:
    """`Barrier` by the log. One read at a time; requests that begin meanwhile share the next read.

    Args:
        settings: The settings of the deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._places = topic_partitions(settings, Topic.TIMELINE)
        self._admin: AdminClient | None = None
        self._reader: Consumer | None = None
        self._making = Lock()
        self._end_reads = SharedReads(self._read_ends, "the ends of the timeline")
        self._stored_reads = SharedReads(self._read_stored, "the commits of the message sink")
        self._stored = Offsets({})
        self._noted: LRUCache[str, tuple[SyncSeqId, Offsets]] = LRUCache(MAX_REMEMBERED_RECIPIENTS)

    async def passed(self, user: str, newest: SyncSeqId) -> None:
        """See `Barrier`."""
        try:
            async with asyncio.timeout(MAX_BARRIER_SECONDS):
                ends = await self._ends(user, newest)
                for attempt in itertools.count():
                    if self._stored.reach(ends):
                        return
                    if attempt:
                        await asyncio.sleep(COMMITS_READ_SECONDS)
                    self._stored = await self._stored_reads.after_now() or self._stored
        except TimeoutError:
            raise ServerUnavailable(
                "the message sink lags: it has not stored all entries of a range yet"
            ) from None

    async def _ends(self, user: str, newest: SyncSeqId) -> Offsets:
        """The ends of the log, at a time after the read of the note."""
        noted, ends = self._noted.get(user, (newest - 1, Offsets({})))
        if noted < newest:
            read_ends = await self._end_reads.after_now()
            if read_ends is None:
                raise ServerUnavailable("the ends of the log are not known")
            ends = read_ends
            self._noted[user] = newest, ends
        return ends

    def _read_ends(self) -> Offsets:
        ends = written_ends(self._client(), self._places, _ANSWER_SECONDS)
        return Offsets({partition: end for (_, partition), end in ends.items()})

    def _read_stored(self) -> Offsets:
        committed = committed_places(self._group(), self._places, _ANSWER_SECONDS)
        return Offsets({place.partition: Offset(max(0, place.offset)) for place in committed})

    def _client(self) -> AdminClient:
        with self._making:
            if self._admin is None:
                self._admin = admin_client(self._settings)
            return self._admin

    def _group(self) -> Consumer:
        with self._making:
            if self._reader is None:
                self._reader = group_reader(self._settings, self._settings.group(MESSAGE_SINK))
            return self._reader

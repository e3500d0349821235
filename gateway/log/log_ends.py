"""Detects a cursor that is ahead of the log: one that this deployment has never issued.

Such a cursor is of another deployment, or of records that were lost when a backup of the log was
restored. Without this check, the reader would get empty pages, or continue with the records of a
later epoch, and retain what the log does not have. A cursor
that a gateway has issued is never refused: the record of the cursor is in the store, so the record
was in the log before. The ends are read after the cursor has arrived. An earlier read is enough if
it shows an end beyond the cursor.

A cursor is not refused if the check is impossible: the log is unreachable, or the shard is gone. A
gateway that has just started reads the ends also before it follows the log.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from confluent_kafka.admin import AdminClient

from backends.kafka.clients import admin_client
from backends.kafka.partition_ends import written_ends
from backends.sync_layout.layouts import SyncShards
from backends.sync_layout.topic_creation import sync_shards
from gateway.log.shared_reads import SharedReads
from gateway.log.wake_ups import WakeUps
from schemas.errors import CursorAhead
from schemas.number_types import Offset, ShardNumber, SyncSeqId
from schemas.settings import Settings
from schemas.sync_seq import unpack_sync_seq

_ANSWER_SECONDS: Final = 3.0
"""Timeout of a request to the broker; shorter than the timeout of an HTTP request."""


class Ends(Protocol):
    """The ends of the sync timelines."""

    async def is_ahead(self, user: str, cursor: SyncSeqId) -> bool:
        """Whether no record of ``user`` has this sync SeqId yet."""


class NoEnds:
    """Unknown ends: no cursor is ahead."""

    async def is_ahead(self, user: str, cursor: SyncSeqId) -> bool:  # noqa: ARG002 - the port's
        """See `Ends`."""
        return False


class ShardEnds(NamedTuple):
    """The shards of the sync timelines, and the end of each shard by its number."""

    shards: SyncShards
    ends: dict[ShardNumber, Offset]

    def is_ahead(self, user: str, cursor: SyncSeqId) -> bool | None:
        """Whether a cursor is ahead of these ends; None if its shard does not exist."""
        epoch, offset = unpack_sync_seq(cursor)
        if not self.shards.epochs:
            return None
        if epoch > self.shards.epochs[-1]:
            return True
        home = self.shards.home(user, epoch)
        return None if home not in self.ends else offset >= self.ends[home]


class LogEnds:
    """`Ends` in Kafka. One read at a time; requests that begin meanwhile share the next read.

    Args:
        settings: The settings of the deployment.
        wake_ups: Show whether the log is reachable.
    """

    def __init__(self, settings: Settings, wake_ups: WakeUps) -> None:
        self._settings = settings
        self._wake_ups = wake_ups
        self._admin: AdminClient | None = None
        self._reads = SharedReads(self._read_ends, "the ends of the sync timelines")
        self._known: ShardEnds | None = None

    async def is_ahead(self, user: str, cursor: SyncSeqId) -> bool:
        """See `Ends`."""
        known = self._known
        if known and (not self._wake_ups.is_live or known.is_ahead(user, cursor) is False):
            return False
        found = await self._reads.after_now()
        if found is None:
            return False
        self._known = found
        return found.is_ahead(user, cursor) is True

    def _read_ends(self) -> ShardEnds:
        """The shards and their ends. Records of open transactions count.

        Raises:
            KafkaException, TimeoutError, ServerUnavailable: The broker does not answer.
            ConfigurationError: Two shards have the same number.
        """
        if self._admin is None:
            self._admin = admin_client(self._settings)
        shards = sync_shards(self._admin, self._settings, _ANSWER_SECONDS)
        ends = written_ends(self._admin, shards.places.values(), _ANSWER_SECONDS)
        places = shards.places.items()
        return ShardEnds(shards, {number: ends[at.topic, at.partition] for number, at in places})


async def check_cursor(ends: Ends, user: str, cursor: SyncSeqId, name: str) -> None:
    """Refuses a cursor that is ahead of the log; -1, the beginning, never is.

    Raises:
        CursorAhead: The cursor is ahead. ``name`` is the name of the cursor in the request.
    """
    if cursor >= 0 and await ends.is_ahead(user, cursor):
        raise CursorAhead(name)

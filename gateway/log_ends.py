"""Whether a cursor is ahead of the log: one that this deployment has never given out.

Without this check, a cursor of another deployment reads empty pages without end. A cursor that a
gateway has given out is never refused: its record is in the store, so it was in the log before.
The ends are therefore asked for after the cursor arrived, unless an earlier look shows them to be
beyond it already.

What cannot be decided is not refused: the log is away, or the shard is gone.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # public, not in __all__

from backends.kafka import admin_client
from backends.shards import sync_shards
from backends.sync_layout import SyncShards
from gateway.problems import cursor_ahead
from gateway.wake_ups import WakeUps
from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.settings import Settings
from schemas.sync_seq import unpack_sync_seq

log = logging.getLogger(__name__)

_ANSWER_SECONDS: Final = 3.0
"""How long the broker may take; less than a request has."""


class Ends(Protocol):
    """Where the sync timelines end."""

    async def is_ahead(self, user: str, cursor: int) -> bool:
        """Whether no record of ``user`` has this sync SeqId yet."""


class NoEnds:
    """Ends that nobody knows: no cursor is ahead."""

    async def is_ahead(self, user: str, cursor: int) -> bool:  # noqa: ARG002 - the port's
        """See `Ends`."""
        return False


class LogEnds:
    """`Ends` in Kafka. One look at a time; who asks meanwhile shares the next one.

    Args:
        settings: The deployment.
        wake_ups: Know whether the log can be reached.
    """

    def __init__(self, settings: Settings, wake_ups: WakeUps) -> None:
        self._settings = settings
        self._wake_ups = wake_ups
        self._admin: AdminClient | None = None
        self._looking = asyncio.Lock()
        self._looks = 0
        self._shards: SyncShards | None = None
        self._ends: dict[int, int] = {}

    async def is_ahead(self, user: str, cursor: int) -> bool:
        """See `Ends`."""
        if not self._wake_ups.is_live:
            return False
        if self._shards is not None and self._decide(self._shards, user, cursor) is False:
            return False
        await self._look_after_now()
        return self._shards is not None and self._decide(self._shards, user, cursor) is True

    def _decide(self, shards: SyncShards, user: str, cursor: int) -> bool | None:
        """Whether a cursor is ahead as of the last look; None if its shard is not there."""
        epoch, offset = unpack_sync_seq(cursor)
        if not shards.epochs:
            return None
        if epoch > shards.epochs[-1]:
            return True
        home = shards.home(user, epoch)
        return None if home not in self._ends else offset >= self._ends[home]

    async def _look_after_now(self) -> None:
        """Returns after a look that began after this call."""
        wanted = self._looks + 1
        async with self._looking:
            if self._looks >= wanted:
                return
            self._looks += 1
            try:
                self._shards, self._ends = await asyncio.to_thread(self._look)
            except (KafkaException, TimeoutError, ConfigurationError, ServerUnavailable) as error:
                self._shards = None
                log.warning("the ends of the log are not known: %s", type(error).__name__)

    def _look(self) -> tuple[SyncShards, dict[int, int]]:
        """The shards and their ends. What is not committed yet counts.

        Raises:
            KafkaException, TimeoutError, ServerUnavailable: The broker does not answer.
            ConfigurationError: Two shards have the same number.
        """
        if self._admin is None:
            self._admin = admin_client(self._settings)
        shards = sync_shards(self._admin, self._settings, _ANSWER_SECONDS)
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # theirs
        asked = {TopicPartition(at.topic, at.partition): latest for at in shards.places.values()}
        if not asked:
            return shards, {}
        found = self._admin.list_offsets(asked, request_timeout=_ANSWER_SECONDS)
        return shards, {
            shards.number(place): answer.result(_ANSWER_SECONDS).offset
            for place, answer in found.items()
        }


async def check_cursor(ends: Ends, user: str, cursor: int, name: str) -> None:
    """Refuses a cursor that is ahead of the log; -1, the beginning, never is.

    Raises:
        Problem: 400, if it is. ``name`` is the parameter that it came in.
    """
    if cursor >= 0 and await ends.is_ahead(user, cursor):
        raise cursor_ahead(name)

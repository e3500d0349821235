"""Shared reads of a server, one at a time: callers during a read share the next read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from confluent_kafka import KafkaException

from schemas.errors import ConfigurationError, ServerUnavailable

log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")


class SharedReads(Generic[ResultT]):
    """Each caller gets the result of a read that began after the call, so no result is stale.

    A read continues when a caller is cancelled.

    Args:
        read: Reads the server, in a thread. An unreachable broker is logged.
        what: The name of the result in log lines.
    """

    def __init__(self, read: Callable[[], ResultT], what: str) -> None:
        self._read = read
        self._what = what
        self._under_way: asyncio.Task[ResultT | None] | None = None
        self._next: asyncio.Task[ResultT | None] | None = None

    async def after_now(self) -> ResultT | None:
        """The result of a read that began after this call; None if the broker did not answer."""
        if self._next is None:
            self._next = asyncio.create_task(self._run(self._under_way))
        return await asyncio.shield(self._next)

    async def _run(self, before: asyncio.Task[ResultT | None] | None) -> ResultT | None:
        if before is not None:
            await asyncio.wait([before])
        self._under_way, self._next = self._next, None
        try:
            return await asyncio.to_thread(self._read)
        except (KafkaException, TimeoutError, ConfigurationError, ServerUnavailable) as error:
            log.warning("%s: not known (%s)", self._what, type(error).__name__)
            return None

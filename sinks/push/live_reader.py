"""The people with a live connection, from the topic ``live``: see `schemas.live_people`."""

from __future__ import annotations

import logging

from confluent_kafka import Message

from backends.processes.minute_log import MinuteLog
from schemas.errors import UndecodableRecord
from schemas.live_people import live_until
from schemas.number_types import Milliseconds
from schemas.user_keys import user_part_of
from sinks.push.user_parts import put_part

_logger = logging.getLogger(__name__)

_SWEEP_MS = 60_000
"""Interval of the removal of expired records, so that one call is cheap."""


class LiveBook:
    """The end of the newest record of each person and gateway, in milliseconds since 1970."""

    def __init__(self) -> None:
        self._ends: dict[str, dict[str, Milliseconds]] = {}
        self._next_sweep = 0
        self._trouble = MinuteLog(_logger)

    def __len__(self) -> int:
        """The number of people, including those whose records have expired lately."""
        return len(self._ends)

    def take(self, key: bytes | None, value: bytes | None, at: Milliseconds) -> None:
        """Applies the next record. A record of another version is ignored, and logged.

        Args:
            key: The key of the record.
            value: The value of the record.
            at: The broker's timestamp.
        """
        try:
            user, gateway = user_part_of(key)
            until = live_until(value, at)
        except UndecodableRecord as error:
            self._trouble.warning("a record of a live person is ignored: %s", error)
            return
        put_part(self._ends, user, gateway, None if value is None else until)

    def take_record(self, message: Message) -> None:
        """Applies the next record."""
        self.take(message.key(), message.value(), Milliseconds(message.timestamp()[1]))

    def is_live(self, user: str, now: Milliseconds) -> bool:
        """Whether a person has a live connection at a time in milliseconds since 1970."""
        self._sweep(now)
        return any(now < end for end in self._ends.get(user, {}).values())

    def _sweep(self, now: Milliseconds) -> None:
        """Removes the people whose records have expired: those of killed gateways."""
        if now >= self._next_sweep:
            self._next_sweep = now + _SWEEP_MS
            self._ends = {
                user: ends for user, ends in self._ends.items() if now < max(ends.values())
            }

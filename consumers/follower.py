"""Follows one person's sync timeline, straight from Kafka.

The timeline is a key range of one shard after the other; what belongs to others is passed over.
Which shards those are is the matter of `consumers.chain`.

A record that was delivered stays the next one after a restart until it is committed, so each is
handled at least once, in order. The handler may see a record again after a crash, and knows it by
its sync SeqId.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from threading import Event
from typing import Final, Literal, NamedTuple, Self, TypeAlias

from confluent_kafka import Message, TopicPartition

from consumers.chain import LOOK_SECONDS, chain_of
from consumers.cursor import CursorStore
from consumers.reading import OffsetGone, bounds, gulp, is_end, open_consumer
from schemas.codec import decode_sync_record
from schemas.errors import ConfigurationError, Trimmed, UndecodableRecord
from schemas.recipients import is_recipient
from schemas.records import AnySyncRecord
from schemas.settings import Settings
from schemas.sync_seq import sync_seq, unpack_sync_seq

log = logging.getLogger(__name__)

Start: TypeAlias = Literal["beginning", "end"]
"""Where a device without a cursor starts: with all that is kept, or with what comes from now."""

GULP: Final = 500
"""Records taken from the client at once; it fetches ahead by itself."""

FOLLOW_SECONDS: Final = 0.2
"""How soon `SyncFollower.follow` sees that it shall stop."""

PASSED_OVER_SECONDS: Final = 5.0
"""How often the cursor follows records of others, while there are none of one's own."""


class SyncItem(NamedTuple):
    """One record of a sync timeline, and its place there."""

    sync_seq: int
    record: AnySyncRecord


class SyncFollower:
    """Delivers the records of one person's sync timeline, each in its turn.

    For one thread at a time. A context manager.

    Args:
        settings: The deployment.
        user: Whose timeline.
        cursors: Keeps the place of the device.
        device_id: Each device has its own place.
        start: Where a device without a cursor starts.

    Raises:
        Trimmed: What follows the cursor is not kept any more. Rebuild from the store,
            `CursorStore.forget` the cursor, and follow anew.
        ConfigurationError: There is no such topic, or the cursor is not of this deployment.
        ServerUnavailable: The broker does not answer.
        TransientFailure: The cursors do not answer.
    """

    def __init__(
        self,
        settings: Settings,
        user: str,
        cursors: CursorStore,
        *,
        device_id: str = "default",
        start: Start = "beginning",
    ) -> None:
        self._user, self._key, self._device_id = user, user.encode(), device_id
        self._cursors = cursors
        self._gulp: deque[Message] = deque()
        self._uncommitted: int | None = None  # the last one delivered, until it is committed
        self._consumer = open_consumer(settings)
        self._chain = chain_of(settings, user, self._consumer)
        self._closed_end: int | None = None  # of the shard, once nobody writes to it any more
        try:
            self._chain.open()
            self._begin(start)
        except BaseException:
            self._consumer.close()
            raise
        self._saved, self._saved_at = self._next, time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def poll(self, timeout: float) -> SyncItem | None:
        """The next record, or None if there is none within so many seconds.

        Raises:
            Trimmed: What follows is not kept any more: the follower was away for too long.
            UndecodableRecord: The next record is of a kind that this version does not know. It is
                told once; who calls again goes on behind it, knowing what they pass over.
            ConfigurationError: The topic is gone.
            ServerUnavailable: The partition cannot be read, and will not be by waiting.
        """
        deadline = time.monotonic() + timeout
        looked = False
        while True:
            while self._gulp:
                item = self._look_at(self._gulp.popleft())
                if item is not None:
                    return item
            left = deadline - time.monotonic()
            if looked and left <= 0:
                self._save_passed_over(PASSED_OVER_SECONDS)
                return None
            self._go_on_in_next_epoch()
            self._gulp.extend(gulp(self._consumer, min(left, LOOK_SECONDS), GULP))
            looked = True

    def commit(self, item: SyncItem) -> None:
        """Moves the cursor to a record that was dealt with, and thereby all before it.

        Raises:
            TransientFailure: The cursor could not be saved; it is as before.
        """
        self._cursors.save(self._user, self._device_id, item.sync_seq)
        if self._uncommitted is not None and self._uncommitted <= item.sync_seq:
            self._uncommitted = None

    def follow(self, handler: Callable[[SyncItem], object], stop: Event) -> None:
        """Hands each record to the handler, and commits it when that has returned, until stopped.

        A record that cannot be decoded is logged and passed over.

        Raises:
            Exception: What the handler or `poll` raises; the cursor stays before that record.
        """
        while not stop.is_set():
            try:
                item = self.poll(FOLLOW_SECONDS)
            except UndecodableRecord as reason:
                log.warning("%s", reason)
                continue
            if item is not None:
                handler(item)
                self.commit(item)

    def close(self) -> None:
        """Lets go of the connection. May be called again."""
        self._consumer.close()

    def _begin(self, start: Start) -> None:
        cursor = self._cursors.load(self._user, self._device_id)
        if cursor is not None:
            self._begin_after(cursor)
            return
        epoch = 0 if start == "beginning" else self._chain.newest()
        place = self._chain.place(epoch)
        oldest, end = bounds(self._consumer, place)
        if start == "end" and end > 0:
            # Otherwise a crash before the first record would move the start.
            self._cursors.save(self._user, self._device_id, sync_seq(epoch, end - 1))
        self._read_from(epoch, place, oldest if start == "beginning" else end)

    def _begin_after(self, cursor: int) -> None:
        epoch, offset = unpack_sync_seq(cursor)
        try:
            place = self._chain.place(epoch)
        except ConfigurationError as error:
            raise self._strange(cursor) if epoch else error from None
        oldest, end = bounds(self._consumer, place)
        if offset >= end:
            raise self._strange(cursor)
        if offset + 1 < oldest:
            raise Trimmed(cursor, sync_seq(epoch, oldest))
        self._read_from(epoch, place, offset + 1)

    def _strange(self, cursor: int) -> ConfigurationError:
        return ConfigurationError(
            f"the cursor {cursor} of {self._user} is ahead of the sync timeline: is it of another "
            "deployment?"
        )

    def _read_from(self, epoch: int, place: TopicPartition, offset: int) -> None:
        self._epoch, self._place, self._next = epoch, place, offset
        self._closed_end = None
        start = TopicPartition(place.topic, place.partition, offset)
        self._consumer.assign([start, *self._chain.beside()])

    def _go_on_in_next_epoch(self) -> None:
        """Leaves a shard that nobody writes to any more, when all of it is read."""
        following = self._chain.after(self._epoch)
        if following is None:
            return
        if self._closed_end is None:
            self._closed_end = self._chain.end(self._place)
        if self._next < self._closed_end:
            return
        self._save_passed_over(0)
        place = self._chain.place(following)
        oldest, _ = bounds(self._consumer, place)
        if oldest > 0:
            raise Trimmed(self._last_seen(), sync_seq(following, oldest))
        self._read_from(following, place, 0)
        self._saved = 0

    def _look_at(self, message: Message) -> SyncItem | None:
        error, offset = message.error(), message.offset()
        if self._chain.take(message):
            return None
        if error is not None or offset is None:
            self._look_at_error(message)
            return None
        self._next = offset + 1
        if not is_recipient(self._key, message.key()):
            return None
        self._uncommitted = sync_seq(self._epoch, offset)
        try:
            return SyncItem(self._uncommitted, decode_sync_record(message.value()))
        except UndecodableRecord as reason:
            raise UndecodableRecord(f"sync record {self._uncommitted}: {reason}") from None

    def _look_at_error(self, message: Message) -> None:
        error = message.error()
        try:
            if error is not None and is_end(message, error):
                self._next = max(self._next, message.offset() or 0)
        except OffsetGone:
            self._go_on_after_gap()

    def _go_on_after_gap(self) -> None:
        oldest, end = bounds(self._consumer, self._place)
        if self._next < oldest:
            raise Trimmed(self._last_seen(), sync_seq(self._epoch, oldest))
        if self._next > end:
            raise ConfigurationError(
                f"{self._place.topic} was made anew: its sync SeqIds start again"
            )
        self._read_from(self._epoch, self._place, self._next)

    def _last_seen(self) -> int:
        return sync_seq(self._epoch, max(0, self._next - 1))

    def _save_passed_over(self, after_seconds: float) -> None:
        """Moves the cursor past records of others, so that a restart does not read them again.

        Nor is a person whom nobody writes to for a week told that something was trimmed.
        """
        due = time.monotonic() - self._saved_at > after_seconds
        if due and self._uncommitted is None and self._next > self._saved:
            self._cursors.save(self._user, self._device_id, self._last_seen())
            self._saved, self._saved_at = self._next, time.monotonic()

"""Reads one person's sync timeline from Kafka.

The timeline is a key range in a sequence of shards; records of other people are skipped.
`consumers.chain` determines the shards.

A record is delivered again after a restart until it is committed. So each record is handled at
least once, in order. A handler recognises a repeated record by its sync SeqId.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from threading import Event
from typing import Final, Literal, NamedTuple, Self, TypeAlias

from confluent_kafka import Message, TopicPartition

from backends.kafka.topic_reading import OffsetGone, gulp, is_end
from consumers.chain import CHAIN_CHECK_SECONDS, chain_of
from consumers.cursor import CursorStore
from consumers.partition_reader import bounds, open_consumer
from schemas.codec import decode_sync_record
from schemas.errors import ConfigurationError, CursorAhead, Trimmed, UndecodableRecord
from schemas.number_types import FIRST_EPOCH, EpochNumber, Offset, SyncSeqId
from schemas.recipients import is_recipient
from schemas.records import AnySyncRecord
from schemas.settings import Settings
from schemas.sync_seq import sync_seq, unpack_sync_seq

log = logging.getLogger(__name__)

FollowFrom: TypeAlias = Literal["beginning", "end"]
"""Start position of a device without a cursor: the oldest retained record, or new records only."""

MAX_RECORDS_PER_READ: Final = 500
"""Maximum number of records per call to the Kafka client, which prefetches by itself."""

FOLLOW_SECONDS: Final = 0.2
"""Maximum delay until `SyncFollower.follow` notices that it should stop."""

SKIPPED_SAVE_SECONDS: Final = 5.0
"""Interval of cursor updates while only records of other people arrive."""


class SyncItem(NamedTuple):
    """One record of a sync timeline, with its sync SeqId."""

    sync_seq: SyncSeqId
    record: AnySyncRecord


class SyncFollower:
    """Delivers the records of one person's sync timeline, in order.

    Not thread-safe. A context manager.

    Args:
        settings: The deployment.
        user: The owner of the timeline.
        cursors: Stores the cursor of the device.
        device_id: The device. Each device has its own cursor.
        start: Start position of a device without a cursor.

    Raises:
        Trimmed: Kafka no longer retains the records after the cursor. Rebuild from the store,
            call `CursorStore.forget`, and open a new follower.
        CursorAhead: The cursor is of lost records or of another deployment.
        ConfigurationError: The topic does not exist.
        ServerUnavailable: The broker does not answer.
        TransientFailure: The cursor store does not answer.
    """

    def __init__(
        self,
        settings: Settings,
        user: str,
        cursors: CursorStore,
        *,
        device_id: str = "default",
        start: FollowFrom = "beginning",
    ) -> None:
        self._user, self._key, self._device_id = user, user.encode(), device_id
        self._cursors = cursors
        self._gulp: deque[Message] = deque()
        self._uncommitted: SyncSeqId | None = (
            None  # the last delivered record, until it is committed
        )
        self._consumer = open_consumer(settings)
        self._chain = chain_of(settings, user, self._consumer)
        self._closed_end: Offset | None = None  # end of the shard, once nothing writes to it
        try:
            self._chain.open()
            self._begin(start)
        except BaseException:
            self._consumer.close()
            raise
        self._saved, self._saved_at = self._next_offset, time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def poll(self, timeout: float) -> SyncItem | None:
        """Return the next record, or None if there is none within ``timeout`` seconds.

        Raises:
            Trimmed: Kafka no longer retains the next records: the follower was offline too long.
            UndecodableRecord: This version does not know the kind of the next record. The error
                is raised once for the record; the next call skips the record.
            ConfigurationError: The topic no longer exists.
            ServerUnavailable: The partition cannot be read, and waiting does not help.
        """
        deadline = time.monotonic() + timeout
        has_read = False
        while True:
            while self._gulp:
                item = self._handle(self._gulp.popleft())
                if item is not None:
                    return item
            seconds_left = deadline - time.monotonic()
            if has_read and seconds_left <= 0:
                self._save_skipped(SKIPPED_SAVE_SECONDS)
                return None
            self._continue_in_next_epoch()
            self._gulp.extend(
                gulp(self._consumer, min(seconds_left, CHAIN_CHECK_SECONDS), MAX_RECORDS_PER_READ)
            )
            has_read = True

    def commit(self, item: SyncItem) -> None:
        """Move the cursor to a handled record. This commits all earlier records, too.

        Raises:
            TransientFailure: The cursor could not be saved; it did not change.
        """
        self._cursors.save(self._user, self._device_id, item.sync_seq)
        if self._uncommitted is not None and self._uncommitted <= item.sync_seq:
            self._uncommitted = None

    def follow(self, handler: Callable[[SyncItem], object], stop: Event) -> None:
        """Pass each record to the handler and commit it when the handler returns, until stopped.

        A record that cannot be decoded is logged and skipped.

        Raises:
            Exception: Any error of the handler or of `poll`; the cursor stays before the record.
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
        """Close the connection. May be called again."""
        self._consumer.close()

    def _begin(self, start: FollowFrom) -> None:
        cursor = self._cursors.load(self._user, self._device_id)
        if cursor is not None:
            self._begin_after(cursor)
            return
        epoch = FIRST_EPOCH if start == "beginning" else self._chain.newest()
        place = self._chain.place(epoch)
        oldest, end = bounds(self._consumer, place)
        if start == "end" and end > 0:
            # Without this, a crash before the first record would move the start position.
            self._cursors.save(self._user, self._device_id, sync_seq(epoch, Offset(end - 1)))
        self._read_from(epoch, place, oldest if start == "beginning" else end)

    def _begin_after(self, cursor: SyncSeqId) -> None:
        epoch, offset = unpack_sync_seq(cursor)
        try:
            place = self._chain.place(epoch)
        except ConfigurationError as error:
            raise self._ahead_of_timeline(cursor) if epoch else error from None
        oldest, end = bounds(self._consumer, place)
        if offset >= end:
            raise self._ahead_of_timeline(cursor)
        if offset + 1 < oldest:
            raise Trimmed(cursor, sync_seq(epoch, oldest))
        self._read_from(epoch, place, Offset(offset + 1))

    def _ahead_of_timeline(self, cursor: SyncSeqId) -> CursorAhead:
        return CursorAhead(f"{cursor} of {self._user}")

    def _read_from(self, epoch: EpochNumber, place: TopicPartition, offset: Offset) -> None:
        self._epoch, self._place, self._next_offset = epoch, place, offset
        self._closed_end = None
        start = TopicPartition(place.topic, place.partition, offset)
        self._consumer.assign([start, *self._chain.beside()])

    def _continue_in_next_epoch(self) -> None:
        """Move to the next shard when this one is closed and read to its end."""
        following = self._chain.after(self._epoch)
        if following is None:
            return
        if self._closed_end is None:
            self._closed_end = self._chain.end(self._place)
        if self._next_offset < self._closed_end:
            return
        self._save_skipped(0)
        place = self._chain.place(following)
        oldest, _ = bounds(self._consumer, place)
        if oldest > 0:
            raise Trimmed(self._last_seen(), sync_seq(following, oldest))
        self._read_from(following, place, Offset(0))
        self._saved = Offset(0)

    def _handle(self, message: Message) -> SyncItem | None:
        error, at = message.error(), message.offset()
        if self._chain.take(message):
            return None
        if error is not None or at is None:
            self._handle_error(message)
            return None
        offset = Offset(at)
        self._next_offset = Offset(offset + 1)
        if not is_recipient(self._key, message.key()):
            return None
        self._uncommitted = sync_seq(self._epoch, offset)
        try:
            return SyncItem(self._uncommitted, decode_sync_record(message.value()))
        except UndecodableRecord as reason:
            raise UndecodableRecord(f"sync record {self._uncommitted}: {reason}") from None

    def _handle_error(self, message: Message) -> None:
        error = message.error()
        try:
            if error is not None and is_end(message, error):
                self._next_offset = max(self._next_offset, Offset(message.offset() or 0))
        except OffsetGone:
            self._continue_after_gap()

    def _continue_after_gap(self) -> None:
        oldest, end = bounds(self._consumer, self._place)
        if self._next_offset < oldest:
            raise Trimmed(self._last_seen(), sync_seq(self._epoch, oldest))
        if self._next_offset > end:
            raise ConfigurationError(
                f"{self._place.topic} was deleted and created again: its sync SeqIds start again"
            )
        self._read_from(self._epoch, self._place, self._next_offset)

    def _last_seen(self) -> SyncSeqId:
        return sync_seq(self._epoch, Offset(max(0, self._next_offset - 1)))

    def _save_skipped(self, after_seconds: float) -> None:
        """Move the cursor past records of other people: a restart does not read them again.

        This also prevents `Trimmed` for a person who received nothing for a whole retention time.
        """
        is_due = time.monotonic() - self._saved_at > after_seconds
        if is_due and self._uncommitted is None and self._next_offset > self._saved:
            self._cursors.save(self._user, self._device_id, self._last_seen())
            self._saved, self._saved_at = self._next_offset, time.monotonic()

"""Events of dead letters that operators replay."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from threading import Lock
from typing import Final, Protocol

from msgspec import Struct

from schemas.codec import decode_entry
from schemas.errors import UndecodableRecord
from schemas.number_types import Offset
from schemas.records import AnyEntry
from schemas.replays import EventPlace, Replay, ReplayKey
from schemas.webhooks import WebhookSubscription, is_wanted
from sinks.base.records import Record
from sinks.base.replay_book import ReplayBook

READ_AHEAD: Final = 20
"""Records that are read for the next requests of a partition."""

EventGroup = tuple[str, int]
"""The stage of a subscription, and a partition of the timeline."""


class ReplayedEvent(Struct, frozen=True):
    """A request to deliver an event again.

    ``entry``: None if there is nothing to deliver: the log does not have the record any more, or
    the subscription does not choose it any more.
    """

    key: ReplayKey
    record: Record
    entry: AnyEntry | None


class Replays(Protocol):
    """The requests for the events of subscriptions: see `EventReplays`."""

    def next(
        self, stage: str, partition: int, subscription: WebhookSubscription, since: float
    ) -> ReplayedEvent | None:
        """The next request of a partition. ``since``: when the partition was assigned."""
        ...

    def finish(self, key: ReplayKey) -> None:
        """Makes the end of a request durable. Blocks. Raises `TransientFailure`."""
        ...

    def moment(self) -> float:
        """The present time, for ``since``."""
        ...


class ReplayScout(Protocol):
    """See `sinks.webhooks.recall_scout.RecallScout`."""

    def need(self, partition: int, offset: Offset) -> None:
        """Makes the recalls at or after an offset known."""

    def is_recalled(self, partition: int, conv_id: str, seq: int) -> bool | None:
        """Whether a message was recalled; None if that is not known yet."""


def event_group(stage: str, replay: Replay) -> EventGroup | None:
    """The group of a request in the book of the stage."""
    return None if replay.event is None else (stage, replay.event.partition)


class EventReplays:
    """The requests, with the records of the timeline that they need. Thread-safe.

    Args:
        book: The requests, by `event_group`.
        read: Reads a record of the timeline; None if the log does not have it any more. Raises
            `ServerUnavailable`.
        scout: Knows recalls.
        monotonic: A clock.
    """

    def __init__(
        self,
        book: ReplayBook,
        read: Callable[[EventPlace], Record | None],
        scout: ReplayScout,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = book
        self._read = read
        self._scout = scout
        self._monotonic = monotonic
        self._lock = Lock()
        self._wanted: dict[ReplayKey, EventPlace] = {}
        self._records: dict[ReplayKey, Record | None] = {}

    def next(
        self, stage: str, partition: int, subscription: WebhookSubscription, since: float
    ) -> ReplayedEvent | None:
        """See `Replays.next`. None as well while the record or its recalls are not known yet."""
        places = self._places(stage, partition)
        if not places or not self._book.is_read_since(since):
            return None
        key, place = next(iter(places.items()))
        with self._lock:
            for each in islice(places, READ_AHEAD):
                if each not in self._records:
                    self._wanted[each] = places[each]
            if key not in self._records:
                return None
            record = self._records[key]
        entry = _chosen(record, subscription)
        if entry is not None and subscription.text:
            # One scan of the log serves all requests of the partition.
            self._scout.need(partition, min(each.offset for each in places.values()))
            if self._scout.is_recalled(partition, entry.conv_id, entry.seq) is None:
                return None
        return ReplayedEvent(key, record or Record(partition, place.offset, None, None), entry)

    def finish(self, key: ReplayKey) -> None:
        """See `Replays.finish`."""
        self._book.finish(key)
        with self._lock:
            self._records.pop(key, None)

    def moment(self) -> float:
        """See `Replays.moment`."""
        return self._monotonic()

    def lowest(self, stage: str, partition: int) -> Offset | None:
        """The lowest offset of the requests of a partition: later recalls are still needed."""
        places = self._places(stage, partition).values()
        return min((each.offset for each in places), default=None)

    def read_wanted(self) -> None:
        """Reads the records that `next` has asked for. For the thread of the book.

        Raises:
            ServerUnavailable: The broker does not answer.
        """
        with self._lock:
            wanted = dict(self._wanted)
        for key, place in wanted.items():
            record = self._read(place)
            with self._lock:
                self._records[key] = record
                del self._wanted[key]

    def _places(self, stage: str, partition: int) -> dict[ReplayKey, EventPlace]:
        found = self._book.open((stage, partition)).items()
        return {key: replay.event for key, replay in found if replay.event is not None}


def _chosen(record: Record | None, subscription: WebhookSubscription) -> AnyEntry | None:
    if record is None:
        return None
    try:
        entry = decode_entry(record.value)
    except UndecodableRecord:
        return None
    return entry if is_wanted(entry, subscription) else None

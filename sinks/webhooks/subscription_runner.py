"""Delivers the events of one subscription."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event
from typing import Final

from confluent_kafka import KafkaError, Message, TopicPartition

from backends.processes.minute_log import MinuteLog
from schemas.codec import decode_entry
from schemas.errors import RetryableError, UndecodableRecord
from schemas.number_types import Offset
from schemas.records import AnyEntry
from schemas.replays import ReplayKey
from schemas.webhooks import WebhookSubscription, is_wanted
from sinks.base.commits import LastCommits
from sinks.base.consumer import names_of, raise_if_fatal
from sinks.base.counts import DeliveryCounts
from sinks.base.progress import SinkProgress
from sinks.base.records import Batch, Record
from sinks.outbound.outcomes import Delivered
from sinks.webhooks.event_ends import next_replay, note_end
from sinks.webhooks.event_lane import EventFlight, EventLane, WaitingEvent, end_flights
from sinks.webhooks.event_requests import Attempts
from sinks.webhooks.runner_parts import RunnerParts

_IDLE_SECONDS: Final = 0.1
_BUSY_SECONDS: Final = 0.01
_COMMIT_SECONDS: Final = 1.0
"""Interval of commits of positions behind records that were not chosen."""

_COMMIT_RETRY_SECONDS: Final = 1.0
_GULP: Final = 500

_logger = logging.getLogger(__name__)


class SubscriptionRunner:
    """The loop of one subscription, in one thread.

    A subscription is a consumer group of its own on the timeline. So a slow receiver delays no
    other subscription, and the broker stores the position of each. In each partition:

    1. Read records ahead, up to a bound.
    2. Skip records that the subscription has not chosen.
    3. Deliver one event, until it is acknowledged, refused or too old. A refused or old event
       becomes a dead letter.
    4. Commit the position behind the event; continue with step 2 when the broker has confirmed.

    All entries of a conversation are in one partition, so their events arrive in order.

    Args:
        subscription: The subscription. `update` replaces it.
        topic: The name of the timeline.
        parts: The parts of the loop.
        monotonic: A clock for waits.
    """

    def __init__(
        self,
        subscription: WebhookSubscription,
        topic: str,
        parts: RunnerParts,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._subscription = subscription
        self._topic = topic
        self._parts = parts
        self._consumer = parts.consumer
        self._commits = parts.commits
        self._monotonic = monotonic
        self._progress = SinkProgress(time.time)
        self._last_commits = LastCommits(parts.consumer, monotonic)
        self._lanes: dict[int, EventLane] = {}
        self._next_commit = 0.0
        self._trouble = MinuteLog(_logger)

    def update(self, subscription: WebhookSubscription) -> None:
        """Replaces the subscription, for the events that begin from now on. Thread-safe."""
        self._subscription = subscription

    def positions(self) -> dict[int, Offset]:
        """The position of each assigned partition for which it is known. Thread-safe."""
        return {
            place.partition or 0: Offset(place.offset) for place in self._progress.durable_places()
        }

    def run(self, stop: Event) -> None:
        """Runs until ``stop`` is set. Waits for a request in flight at the end.

        Raises:
            FatalFailure: The process cannot continue. Any other error means the same.
        """
        try:
            self._consumer.subscribe(
                [self._topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            while not stop.is_set():
                self.step(stop)
            self._end(list(self._lanes.values()))
        finally:
            self._consumer.close()

    def step(self, stop: Event) -> None:
        """One run of the loop."""
        has_moved = self._read()
        self._last_commits.learn(self._progress)
        self._learn_positions()
        for lane in list(self._lanes.values()):
            self._settle(lane, stop)
            self._advance(lane, stop)
        self._commit_now_and_then()
        is_busy = any(lane.flight is not None for lane in self._lanes.values())
        self._parts.vitals.beat(len(self._lanes), has_moved=has_moved or is_busy)

    def _read(self) -> bool:
        """Step 1. Returns whether messages arrived."""
        lanes = self._lanes.values()
        is_waiting = any(lane.unconfirmed is not None or lane.flight for lane in lanes)
        message = self._consumer.poll(_BUSY_SECONDS if is_waiting else _IDLE_SECONDS)
        count = 0
        while message is not None:
            # `poll` returns no message from before a rebalance that it served.
            self._accept(message)
            count += 1
            message = self._consumer.poll(0) if count < _GULP else None
        for lane in lanes:
            if lane.is_full and not lane.is_paused:
                self._consumer.pause([TopicPartition(self._topic, lane.partition)])
                lane.is_paused = True
        return bool(count)

    def _accept(self, message: Message) -> None:
        partition, offset, error = message.partition(), message.offset(), message.error()
        lane = None if partition is None else self._lanes.get(partition)
        if error is not None and error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - its public name
            self._trouble.warning(
                "the webhook %s has lost its position: remove and add it", self._subscription.id
            )
        elif error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - the same
            raise_if_fatal(error)
        elif lane is None or offset is None:
            return
        elif error is not None:
            lane.waiting.append(Offset(offset))
        else:
            record = Record(lane.partition, Offset(offset), message.key(), message.value())
            lane.waiting.append(WaitingEvent(record, self._chosen(record)))

    def _chosen(self, record: Record) -> AnyEntry | None:
        """The entry if the subscription has chosen its event. An unknown kind is no event.

        The sink of messages makes the dead letter of an entry that nobody can read.
        """
        try:
            entry = decode_entry(record.value)
        except UndecodableRecord:
            return None
        return entry if is_wanted(entry, self._subscription) else None

    def _learn_positions(self) -> None:
        for partition, offset in self.positions().items():
            lane = self._lanes.get(partition)
            if lane is not None and not lane.is_known:
                lane.is_known = True
                if self._subscription.text:
                    self._parts.scout.need(partition, offset)

    def _settle(self, lane: EventLane, stop: Event) -> None:
        """The end of step 3."""
        if lane.flight is None or not lane.flight.future.done():
            return
        flight, lane.flight = lane.flight, None
        outcome = flight.future.result(0)
        try:
            note_end(self._parts, self._subscription.id, flight, outcome, stop)
        except RetryableError:
            return  # stopped while it waited: the next start delivers the event again
        if flight.replay is None:  # a replay does not change the position
            self._finish(lane, flight.record, is_dead=outcome != Delivered())

    def _finish(self, lane: EventLane, record: Record, *, is_dead: bool) -> None:
        self._durable(lane, [record], DeliveryCounts(dead_letters=int(is_dead)))
        lane.unconfirmed = Offset(record.offset + 1)
        self._next_commit = 0.0

    def _advance(self, lane: EventLane, stop: Event) -> None:
        """Step 2, and the beginning of step 3."""
        if lane.is_free and not stop.is_set():
            again = next_replay(self._parts, self._subscription, lane)
            if again is not None and again.entry is not None:
                self._begin(lane, again.record, again.entry, again.key)
        skipped: list[Record] = []
        end: Offset | None = None
        while lane.waiting and lane.is_free and not stop.is_set():
            head = lane.waiting.popleft()
            if not isinstance(head, WaitingEvent):
                end = head
            elif head.entry is None:
                skipped.append(head.record)
                end = Offset(head.record.offset + 1)
            else:
                self._begin(lane, head.record, head.entry)
        if end is not None:
            self._durable(lane, skipped, DeliveryCounts(), end)
        if lane.is_paused and not lane.waiting:
            self._consumer.resume([TopicPartition(self._topic, lane.partition)])
            lane.is_paused = False

    def _begin(
        self, lane: EventLane, record: Record, entry: AnyEntry, replay: ReplayKey | None = None
    ) -> None:
        noted = Attempts(is_replay=replay is not None)
        future = self._parts.begin(self._subscription, lane.partition, entry, noted)
        lane.flight = EventFlight(record, future, noted, replay)

    def _durable(
        self,
        lane: EventLane,
        records: Sequence[Record],
        counts: DeliveryCounts,
        end: Offset | None = None,
    ) -> None:
        newest = {lane.partition: records[-1]} if records else {}
        behind = end if end is not None else Offset(records[-1].offset + 1)
        batch = Batch(list(records), {lane.partition: behind}, newest)
        self._progress.durable(batch, {lane.partition: counts})

    def _commit_now_and_then(self) -> None:
        """Step 4."""
        committed, has_failed = self._commits.settled()
        self._progress.committed(committed)
        for place in committed:
            lane = self._lanes.get(place.partition or 0)
            if lane and lane.unconfirmed is not None and place.offset >= lane.unconfirmed:
                lane.unconfirmed = None
        now = self._monotonic()
        if has_failed:
            self._next_commit = now + _COMMIT_RETRY_SECONDS
        if now >= self._next_commit and not self._commits.is_running:
            self._next_commit = now + _COMMIT_SECONDS
            self._commit()

    def _commit(self) -> None:
        offsets = self._progress.uncommitted()
        if offsets:
            self._commits.begin(self._consumer, offsets)

    def _on_assign(self, _consumer: object, partitions: list[TopicPartition]) -> None:
        self._parts.assigned()
        for place in partitions:
            number = place.partition
            self._lanes[number] = EventLane(self._topic, number, self._parts.replays.moment())
            self._progress.assign(number, place)
        _logger.info("webhook %s: assigned %s", self._subscription.id, names_of(partitions))

    def _on_revoke(self, _consumer: object, partitions: list[TopicPartition]) -> None:
        lanes = [self._lanes[p.partition] for p in partitions if p.partition in self._lanes]
        self._end(lanes)  # the client library finishes the commit before the revocation
        self._give_up(partitions)

    def _on_lost(self, _consumer: object, partitions: list[TopicPartition]) -> None:
        self._give_up(partitions)

    def _end(self, lanes: Sequence[EventLane]) -> None:
        """Ends the events in flight, and commits the position behind an acknowledged event."""
        end_flights([lane.flight for lane in lanes if lane.flight is not None])
        for lane in lanes:
            flight = lane.flight
            if flight is not None and flight.outcome() == Delivered():
                if flight.replay is None:
                    self._durable(lane, [flight.record], DeliveryCounts())
                else:
                    with suppress(RetryableError):  # otherwise the next owner repeats it
                        self._parts.replays.finish(flight.replay)
            lane.flight = None
        self._commit()

    def _give_up(self, partitions: list[TopicPartition]) -> None:
        numbers = [place.partition for place in partitions]
        for number in numbers:
            lane = self._lanes.pop(number, None)
            if lane is not None and lane.flight is not None:
                lane.flight.future.cancel()
        self._progress.revoke(numbers)
        _logger.info("webhook %s: released %s", self._subscription.id, names_of(partitions))

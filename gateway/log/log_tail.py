"""Follows the log to wake waiting readers, and to find the outcomes of commands.

One consumer without a group reads the committed records of all sync timelines and conversation
timelines. It uses the recipients and the offset of a sync record, and the conversation and SeqId
of an entry. The consumer runs in its own thread and passes the SeqIds, merged by recipient and by
conversation, to the event loop: one call at a time, at any rate of records. Of several positions
of a timeline the last one counts. It is the highest, except in the seconds of a switch to another
epoch. No page contains data from this module. `OutcomeTail` finds the outcomes of the commands
that requests wait for.

Readers also poll the store, so they find records that this consumer misses because it was not
running or because the log has dropped them. So the consumer stores no position, and a failure does
not stop the gateway: the tail reports that it is disconnected, and continues where it was when the
broker answers again. A new consumer begins ten seconds before the end of the log, because the
sinks may lag by this time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from threading import Event, Lock, Thread
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as Place

from backends.kafka.clients import LASTING_READER, consumer_config
from backends.kafka.kafka_security import is_refusal
from backends.kafka.topic_reading import gulp
from backends.processes.watchdog import NoGroup, Vitals, Watchdog
from gateway.log.delivery_spans import DeliverySpans
from gateway.log.listened_records import SyncRecord, by_recipient, logged_records, recipients_in
from gateway.log.log_places import LogPlaces
from gateway.log.outcome_tail import NoOutcomes, OutcomeTail, OutcomeTaker
from gateway.log.record_feed import LoggedRecord
from gateway.log.wake_ups import Wake, WakeUps
from schemas.codec import decode_position
from schemas.errors import UndecodableRecord
from schemas.number_types import Offset, SeqId, SyncSeqId
from schemas.settings import Settings

log = logging.getLogger(__name__)

MAX_RECORDS_PER_READ: Final = 10_000
"""Maximum number of records in one batch."""

MAX_MERGED: Final = 100_000
"""Recipients and conversations that wait for the event loop. At this number the thread waits."""

_POLL_SECONDS: Final = 0.5
_CHECK_SECONDS: Final = 5.0
"""Interval of checks for new partitions and for the availability of Kafka."""

_RETRY_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 3.0
_BEFORE_SECONDS: Final = 10.0
"""The start position, as a time before the end of the log."""

_JOIN_SECONDS: Final = 10.0


class LogTail:
    """Wakes waiting readers. Created on the event loop of `WakeUps`.

    Args:
        settings: The settings of the deployment.
        wake_ups: The waiting readers.
        outcomes: The commands for whose outcome requests wait.
        spans: Notes the sync records of sampled traces; None without traces.
    """

    def __init__(
        self,
        settings: Settings,
        wake_ups: WakeUps,
        outcomes: OutcomeTaker | None = None,
        spans: DeliverySpans | None = None,
    ) -> None:
        self._spans = spans
        self._settings = settings
        self._places = LogPlaces(settings)
        self._wake_ups = wake_ups
        self._outcomes = OutcomeTail(NoOutcomes() if outcomes is None else outcomes)
        self._loop = asyncio.get_running_loop()
        self._lock = Lock()
        self._records: dict[str, SyncSeqId] = {}
        self._heads: dict[str, SeqId] = {}
        self._logged: list[LoggedRecord] = []
        self._is_interrupted = False
        # The records of a recipient's own topic and of the shared topic have no common order.
        self._has_feeds = settings.sync_layout == "sharded"
        self._stopping = Event()
        self._is_live = False
        self._logged_reason = ""
        self._thread = Thread(target=self._run, name="log-tail", daemon=True)
        self._vitals = Vitals()
        self._watchdog = Watchdog("the gateway's log tail", self._vitals, NoGroup())

    def start(self) -> None:
        """Starts the thread. If the thread hangs, the process ends, see `watchdog`."""
        self._thread.start()
        self._watchdog.start()

    async def stop(self) -> None:
        """Stops the thread. Waits for its end within a bound."""
        self._watchdog.stop()
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, _JOIN_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._beat()
            try:
                with contextlib.closing(self._consumer()) as consumer:
                    self._follow(consumer)
            except Exception as error:  # noqa: BLE001 - after any error, readers must poll
                self._note_trouble(error)
                self._stopping.wait(_RETRY_SECONDS)

    def _beat(self) -> None:
        self._vitals.beat(1, has_moved=True)

    def _consumer(self) -> Consumer:
        own = LASTING_READER | {
            "auto.offset.reset": "error",  # `_follow` begins again, and readers poll meanwhile
            "fetch.queue.backoff.ms": 10,  # a full queue delays the next fetch by 1 s by default
        }
        return Consumer(consumer_config(self._settings, self._settings.group("gateway")) | own)

    def _follow(self, consumer: Consumer) -> None:
        """Reads until `stop` is called.

        Raises:
            KafkaException: The broker does not answer.
        """
        self._interrupt()
        followed: set[tuple[str, int]] = set()
        check_at = time.monotonic()
        while not self._stopping.is_set():
            self._beat()
            if time.monotonic() >= check_at:
                is_checked = self._follow_new_partitions(consumer, followed)
                check_at = time.monotonic() + (_CHECK_SECONDS if is_checked else _RETRY_SECONDS)
            self._take(gulp(consumer, _POLL_SECONDS, MAX_RECORDS_PER_READ))

    def _follow_new_partitions(self, consumer: Consumer, followed: set[tuple[str, int]]) -> bool:
        """Adds partitions that were created. Returns whether any partition is followed.

        A consumer that has read stays during an outage, because another one would skip the
        outcomes and the records that it has not read.

        Raises:
            KafkaException: The broker does not answer a new consumer.
        """
        try:
            there = self._places.existing_partitions(consumer, _ANSWER_SECONDS)
            fresh = [place for place in there if place not in followed]
            if fresh:
                consumer.incremental_assign(_starts(consumer, fresh, is_first=not followed))
        except KafkaException as error:
            if not followed:
                raise
            self._note_trouble(error)
            return False
        followed.update(fresh)
        if followed:
            self._note_live(is_live=True)
        return bool(followed)

    def _take(self, messages: list[Message]) -> None:
        """Takes a batch.

        Raises:
            KafkaException: The log has dropped records that were not read, or may not be read.
        """
        by_key: dict[bytes, SyncSeqId] = {}
        heads: dict[str, SeqId] = {}
        sync_records: list[SyncRecord] = []
        for message in messages:
            topic, key, offset = message.topic(), message.key(), message.offset()
            if message.error() is not None or key is None or topic is None or offset is None:
                _raise_if_cut_off(message)
                continue  # an unreachable broker: `_follow` detects it
            sync_seq = self._places.sync_seq(topic, Offset(offset))
            if sync_seq is not None:
                by_key[key] = max(sync_seq, by_key.get(key, sync_seq))
                self._outcomes.sync_record(key, message.value)
                sync_records.append((key, sync_seq, message))
            else:
                self._outcomes.entry(key, message.value)
                name = key.decode(errors="replace")
                with contextlib.suppress(UndecodableRecord):
                    seq = decode_position(message.value()).seq
                    heads[name] = max(seq, heads.get(name, seq))
        if self._spans is not None:
            listeners = self._wake_ups.followed.keys()
            self._spans.note(sync_records, lambda key: listeners & recipients_in(key))
        if by_key or heads:
            records = by_recipient(by_key)
            followed = self._wake_ups.followed.keys() & records.keys() if self._has_feeds else ()
            logged = logged_records(sync_records, frozenset(followed)) if followed else []
            self._hand_over(records, heads, logged)

    def _interrupt(self) -> None:
        """Notes that the next record may not follow the previous one."""
        with self._lock:
            self._logged, self._is_interrupted = [], True
        with contextlib.suppress(RuntimeError):  # the loop has ended, so nobody waits
            self._loop.call_soon_threadsafe(self._wake)

    def _hand_over(
        self,
        records: dict[str, SyncSeqId],
        heads: dict[str, SeqId],
        logged: list[LoggedRecord],
    ) -> None:
        while len(self._records) + len(self._heads) + len(self._logged) > MAX_MERGED:
            if self._stopping.wait(0.01):
                return
        with self._lock:
            first = not self._records and not self._heads
            self._records.update(records)
            self._heads.update(heads)
            self._logged += logged
        if first:  # otherwise an earlier batch has woken the loop already
            with contextlib.suppress(RuntimeError):  # the loop has ended, so nobody waits
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        with self._lock:
            wake = Wake(self._records, self._heads, self._logged, self._is_interrupted)
            self._records, self._heads, self._logged = {}, {}, []
            self._is_interrupted = False
        self._wake_ups.woke(wake)

    def _note_trouble(self, error: Exception) -> None:
        """Lets readers poll. Logs a reason once, until the log is followed again."""
        reason = type(error).__name__
        if isinstance(error, KafkaException):
            reason = error.args[0].str()
        if reason != self._logged_reason:
            log.warning("the log is not followed, waiting readers poll: %s", reason)
        self._logged_reason = reason
        self._note_live(is_live=False)

    def _note_live(self, *, is_live: bool) -> None:
        if is_live and not self._is_live:
            log.info("the log is followed")
            self._logged_reason = ""
        self._is_live = is_live
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(lambda: self._wake_ups.now_live(is_live=is_live))


def _raise_if_cut_off(message: Message) -> None:
    error = message.error()
    dropped = KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001 - its public name
    if error is not None and (error.code() == dropped or is_refusal(error)):
        raise KafkaException(error)


def _starts(consumer: Consumer, places: list[tuple[str, int]], *, is_first: bool) -> list[Place]:
    """The start positions; for partitions that were created meanwhile, their beginning.

    Raises:
        KafkaException: The broker does not answer.
    """
    if not is_first:
        return [Place(*place, OFFSET_BEGINNING) for place in places]
    since = int((time.time() - _BEFORE_SECONDS) * 1000)
    # For a partition without a record after this time, the broker returns the end.
    return consumer.offsets_for_times([Place(*place, since) for place in places], _ANSWER_SECONDS)

"""The requests of operators to deliver something again, from ``im.replays``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from threading import Event, Lock, Thread
from typing import Final

from confluent_kafka import Message

from backends.kafka.confirmed_producer import ConfirmedProducer
from backends.processes.minute_log import MinuteLog
from schemas.codec import encode
from schemas.errors import RetryableError, ServerUnavailable, TransientFailure, UndecodableRecord
from schemas.replays import (
    Replay,
    ReplayKey,
    decode_replay,
    decode_replay_key,
    encode_replay_key,
)
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.topic_follower import followed_topic

_POLL_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 1.0
_CONFIRM_SECONDS: Final = 10.0
_JOIN_SECONDS: Final = 10.0

_logger = logging.getLogger(__name__)
_trouble: Final = MinuteLog(_logger)


class ReplayBook:
    """The requests without an end. Thread-safe.

    Args:
        group_of: The group of a request, by which `open` returns requests; None for a request of
            another stage.
        finish: Makes the end of a request durable. Raises `TransientFailure`.
        monotonic: A clock.
    """

    def __init__(
        self,
        group_of: Callable[[str, Replay], Hashable | None],
        finish: Callable[[ReplayKey], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._group_of = group_of
        self._finish = finish
        self._monotonic = monotonic
        self._lock = Lock()
        self._open: dict[Hashable, dict[ReplayKey, Replay]] = {}
        self._groups: dict[ReplayKey, Hashable] = {}
        self._done: set[ReplayKey] = set()
        self._read_at = float("-inf")

    def take_record(self, message: Message) -> None:
        """Takes a record of the topic."""
        self.take(message.key(), message.value())

    def take(self, raw_key: bytes | None, value: bytes | None) -> None:
        """Takes a record of the topic. A record of another version is ignored, and logged."""
        try:
            key, replay = decode_replay_key(raw_key), decode_replay(value)
        except UndecodableRecord as error:
            _trouble.warning("a request to replay is ignored: %s", error)
            return
        with self._lock:
            group = self._group_of(key.stage, replay)
            if replay.is_done:
                self._forget(key)
            elif group is not None and key not in self._done:
                self._open.setdefault(group, {})[key] = replay
                self._groups[key] = group

    def open(self, group: Hashable) -> dict[ReplayKey, Replay]:
        """The requests of a group without an end, the oldest first."""
        with self._lock:
            return dict(self._open.get(group, {}))

    def __len__(self) -> int:
        """The number of requests without an end."""
        return len(self._groups)

    def is_read_since(self, moment: float) -> bool:
        """Whether all ends that were durable at a moment are known.

        A process that takes partitions over asks this before it begins a request: the previous
        owner may have ended the request just before.
        """
        return self._read_at > moment

    def was_read_at(self, moment: float) -> None:
        """All records that were durable at a moment were taken."""
        self._read_at = moment

    def finish(self, key: ReplayKey) -> None:
        """Makes the end of a request durable. Blocks.

        Raises:
            TransientFailure: The broker has not confirmed the end. A repetition does no harm.
        """
        self._finish(key)
        with self._lock:
            self._forget(key)

    def _forget(self, key: ReplayKey) -> None:
        self._done.add(key)
        group = self._groups.pop(key, None)
        if group is not None:
            of_group = self._open[group]
            del of_group[key]
            if not of_group:
                del self._open[group]


class ReplayEnds:
    """Appends the ends of requests to ``im.replays``.

    Args:
        settings: The deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic(Topic.REPLAYS)
        self._producer: ConfirmedProducer | None = None
        self._lock = Lock()

    def write(self, key: ReplayKey) -> None:
        """Returns when the end is durable.

        Raises:
            TransientFailure: The broker has not confirmed the end.
        """
        value = encode(Replay(is_done=True))
        with self._lock:  # most processes never need the producer
            self._producer = self._producer or ConfirmedProducer(self._settings, _CONFIRM_SECONDS)
            try:
                self._producer.append(self._topic, key=encode_replay_key(key), value=value)
            except ServerUnavailable as error:
                raise TransientFailure(f"the end of a replay: {error}") from error


class ReplayThread:
    """Follows ``im.replays`` for a book. Waits for the broker, and for the topic.

    Args:
        settings: The deployment.
        book: Receives the records.
        idle: Called between two reads.
    """

    def __init__(
        self, settings: Settings, book: ReplayBook, idle: Callable[[], None] = lambda: None
    ) -> None:
        self._settings = settings
        self._book = book
        self._idle = idle
        self._stop = Event()
        self._thread = Thread(target=self._run, name="replays", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except Exception as error:  # noqa: BLE001 - without replays, the stage still works
                detail = str(error) if isinstance(error, RetryableError) else type(error).__name__
                _trouble.warning("replays wait: %s", detail)
                self._stop.wait(_RETRY_SECONDS)

    def _follow(self) -> None:
        with followed_topic(self._settings, Topic.REPLAYS, self._book.take_record) as follower:
            while not self._stop.is_set():
                moment = time.monotonic()
                if len(self._book):
                    follower.catch_up()
                    self._book.was_read_at(moment)
                self._idle()
                follower.read(_POLL_SECONDS)

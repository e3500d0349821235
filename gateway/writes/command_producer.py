"""Appends commands to ``im.messages``, in the order of the calls, each with an acknowledgement.

A command is refused before it is sent if the broker is known to be away. So after a refusal the
command is in no queue, and never arrives. A command that was sent and is not acknowledged may
arrive or not: its delivery is unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import count
from threading import Event, Lock, Thread
from typing import Final, Protocol

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    KafkaException,
    Message,
    Producer,
)

from backends.kafka.clients import partition_of, producer_config, report_trouble
from backends.processes.request_context import command_headers
from gateway.store.bridge import Bridge
from schemas.errors import ImError, ServerUnavailable
from schemas.number_types import Milliseconds
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.valid_commands import MAX_BATCH_BYTES

log = logging.getLogger(__name__)

UNDELIVERED_SECONDS: float = 1.0
"""Age of the oldest command without an acknowledgement at which further commands are refused."""

DELIVERY_MS: Final = 10_000
"""The producer gives up a command after this time."""

MAX_UNDELIVERED: Final = 10_000
"""Maximum number of commands without an acknowledgement."""

_CACHED_CONVERSATIONS: Final = 20_000
"""Number of conversations in the cache of partitions, some 3 MB: murmur2 in Python takes
microseconds."""

_partition_of = lru_cache(_CACHED_CONVERSATIONS)(partition_of)

_POLL_SECONDS: Final = 0.5
_CHECK_SECONDS: Final = 1.0
_JOIN_SECONDS: Final = 8.0
_FLUSH_SECONDS: Final = 5.0


class NotAcknowledged(ImError):
    """A command was sent, and no acknowledgement arrived: the broker may have the command."""


class CommandLog(Protocol):
    """Appends commands."""

    def append(self, conv_id: str, value: bytes) -> asyncio.Future[Milliseconds | None]:
        """Sends an encoded command.

        Returns:
            A future of the acknowledgement, with the broker's time of the command in milliseconds
            since 1970; None if the broker does not tell the time. The future fails with
            `NotAcknowledged`.

        Raises:
            ServerUnavailable: The command was not sent, and will not be.
        """


class NoCommandLog:
    """Accepts no command."""

    def append(self, conv_id: str, value: bytes) -> asyncio.Future[Milliseconds | None]:  # noqa: ARG002 - of the port
        """See `CommandLog`."""
        raise ServerUnavailable("this gateway writes no commands")


NO_COMMAND_LOG: Final = NoCommandLog()


class CommandProducer:
    """`CommandLog` in Kafka. Created on the event loop.

    When the client has lost its connections to all brokers, commands are refused at once, until a
    broker answers again. So only commands that were on their way have an unknown delivery.

    After an error of one command the producer gives up all commands that are not acknowledged, and
    a new client replaces the client. So no command overtakes an earlier command that failed, and a
    client that has lost all brokers does not stay (ADR 29).

    Args:
        settings: The settings of the deployment.
        is_reachable: Whether the gateway reaches the broker, as far as it knows.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        is_reachable: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._is_reachable = is_reachable
        self._topic = settings.topic(Topic.MESSAGES)
        self._clock = clock
        self._bridge: Bridge[Milliseconds | None] = Bridge()
        self._producer = self._new_producer()
        self._using = Lock()  # no command may be sent to a replaced client
        self._numbers = count()
        self._noting = Lock()
        self._sent_at: dict[int, float] = {}
        self._has_failed = Event()
        self._is_cut_off = Event()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="command-producer", daemon=True)

    def start(self) -> None:
        """Starts the thread that serves acknowledgements."""
        self._thread.start()

    async def stop(self) -> None:
        """Stops the thread within a bound, after the commands that are on their way."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, _JOIN_SECONDS)

    def append(self, conv_id: str, value: bytes) -> asyncio.Future[Milliseconds | None]:
        """See `CommandLog`."""
        if not self._is_reachable():
            raise ServerUnavailable("Kafka is not reachable")
        with self._using:
            if self._is_cut_off.is_set():
                raise ServerUnavailable("the client has lost all brokers")
            if self._has_failed.is_set() or self._is_stalled():
                raise ServerUnavailable("Kafka does not acknowledge commands")
            return self._send(conv_id, value)

    def _send(self, conv_id: str, value: bytes) -> asyncio.Future[Milliseconds | None]:
        sending, number = self._bridge.future(), next(self._numbers)
        with self._noting:  # before the call, because the acknowledgement may arrive during it
            self._sent_at[number] = self._clock()
        try:
            self._producer.produce(
                self._topic,
                value,
                conv_id.encode(),
                _partition_of(conv_id, self._settings.partitions),
                on_delivery=partial(self._answered, number, sending),
                headers=command_headers(),
            )
        except (BufferError, KafkaException) as error:
            self._forget(number)
            if isinstance(error, KafkaException):
                self._has_failed.set()
            raise ServerUnavailable(f"a command is not queued: {type(error).__name__}") from None
        return sending

    def _is_stalled(self) -> bool:
        with self._noting:
            oldest = next(iter(self._sent_at.values()), None)
        return oldest is not None and self._clock() - oldest > UNDELIVERED_SECONDS

    def _forget(self, number: int) -> None:
        with self._noting:
            del self._sent_at[number]

    def _answered(
        self,
        number: int,
        sending: asyncio.Future[Milliseconds | None],
        error: KafkaError | None,
        message: Message,
    ) -> None:
        self._forget(number)
        if error is None:
            kind, at = message.timestamp()
            self._bridge.succeed(
                Milliseconds(at) if kind == TIMESTAMP_LOG_APPEND_TIME else None, sending
            )
        else:
            self._has_failed.set()
            self._bridge.fail(NotAcknowledged(error.str()), sending)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(_POLL_SECONDS)
            if self._is_cut_off.is_set():
                self._check_brokers()
            if self._has_failed.is_set():
                log.warning("commands are not acknowledged: a new producer replaces the client")
                self._replace()
        self._producer.flush(_FLUSH_SECONDS)
        _give_up(self._producer)

    def _check_brokers(self) -> None:
        """Checks whether a broker is back: the client reports only that it has lost all."""
        with contextlib.suppress(KafkaException):
            self._producer.list_topics(self._topic, _CHECK_SECONDS)
            self._is_cut_off.clear()

    def _note_error(self, error: KafkaError) -> None:
        report_trouble(error)
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - its public name
            self._is_cut_off.set()

    def _replace(self) -> None:
        before = self._producer
        _give_up(before)  # before a new client sends: an older command must not arrive later
        with self._using:
            self._producer = self._new_producer()
            self._has_failed.clear()

    def _new_producer(self) -> Producer:
        return Producer(
            producer_config(self._settings)
            | {
                "message.timeout.ms": DELIVERY_MS,
                "message.max.bytes": MAX_BATCH_BYTES,
                "queue.buffering.max.messages": MAX_UNDELIVERED,
                "linger.ms": 0,  # a person waits; at high rates batches form anyway
                "error_cb": self._note_error,
            }
        )


def _give_up(producer: Producer) -> None:
    """Fails the commands that are still queued in a client."""
    producer.purge()
    producer.flush(_POLL_SECONDS)

"""The planner, shared by two threads, and its durable states on ``im.push-state``.

The thread of the writer applies sync records, and the loop of deliveries notes outcomes. Each step
runs under one lock, and its changes are produced under the same lock. So the records of a state
have the order of its changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from threading import Lock
from typing import Final, NamedTuple, Protocol, TypeVar

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Producer, TopicPartition

from backends.kafka.clients import partition_of, producer_config
from backends.kafka.topic_reading import assigned_consumer, read_to_end
from schemas.codec import encode
from schemas.errors import FatalFailure, TransientFailure, UndecodableRecord
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.push.push_planner import PushPlanner
from sinks.push.push_state import PushKey, PushState, decode_state, state_key

STATE_SECONDS: Final = 10.0
"""Timeout of the broker's confirmation of changed states."""

BEHIND_SECONDS: Final = 2.0
"""Age of an unconfirmed change from which no more deliveries begin."""

RESTORE_SILENCE_SECONDS: Final = 30.0
"""Maximum time of the restore without a record."""

ResultT = TypeVar("ResultT")


class StateWriter(Protocol):
    """Makes changed states durable; see `StateLog`."""

    def append(self, changes: Mapping[PushKey, PushState | None]) -> None:
        """Begins to write states."""
        ...

    def flush(self) -> None:
        """Waits until all changes are durable."""
        ...

    def serve(self) -> None:
        """Serves confirmations."""
        ...

    @property
    def is_behind(self) -> bool:
        """Whether a change has waited too long for its confirmation."""
        ...


class _Change(NamedTuple):
    value: bytes | None
    user: str
    since: float
    version: int


class StateLog:
    """Appends changed states to ``im.push-state``, repeatedly until the broker confirms them.

    Args:
        settings: The settings of the deployment.
        clock: Monotonic time in seconds.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._topic = settings.topic(Topic.PUSH_STATE)
        self._partitions = settings.partitions
        self._clock = clock
        self._producer = Producer(
            producer_config(settings)
            | {
                "delivery.timeout.ms": int(STATE_SECONDS * 1000),
                "linger.ms": 2,  # several outcomes share a request
            }
        )
        self._lock = Lock()
        self._unconfirmed: dict[bytes, _Change] = {}
        self._failed: set[bytes] = set()
        self._version = 0

    def append(self, changes: Mapping[PushKey, PushState | None]) -> None:
        """Begins to write states; None removes a state. Does not wait.

        Raises:
            FatalFailure: The process can write no states any more.
        """
        for key, state in changes.items():
            with self._lock:
                self._version += 1
                value = None if state is None else encode(state)
                before = self._unconfirmed.get(state_key(key))
                since = self._clock() if before is None else before.since
                change = _Change(value, key.user, since, self._version)
                self._unconfirmed[state_key(key)] = change
            self._produce(state_key(key), change)

    def flush(self) -> None:
        """Returns when all changes so far are durable.

        Raises:
            TransientFailure: The broker has not confirmed all of them. A later call repeats them.
            FatalFailure: See `append`.
        """
        with self._lock:
            again = {key: self._unconfirmed[key] for key in self._failed}
            self._failed.clear()
        for key, change in again.items():
            self._produce(key, change)
        self._producer.flush(STATE_SECONDS + 1)
        with self._lock:
            if self._failed:
                raise TransientFailure(f"{len(self._failed)} states of push are not durable")

    def serve(self) -> None:
        """Serves the confirmations that have arrived. Does not wait."""
        self._producer.poll(0)

    @property
    def is_behind(self) -> bool:
        """Whether a change has waited too long for its confirmation."""
        with self._lock:
            oldest = min((each.since for each in self._unconfirmed.values()), default=None)
        return oldest is not None and self._clock() - oldest > BEHIND_SECONDS

    def _produce(self, key: bytes, change: _Change) -> None:
        def on_delivery(error: KafkaError | None, _message: object) -> None:
            self._confirmed(key, change.version, error)

        try:
            self._producer.produce(
                self._topic,
                key=key,
                value=change.value,
                partition=partition_of(change.user, self._partitions),
                on_delivery=on_delivery,
            )
        except BufferError:
            with self._lock:
                self._failed.add(key)
        except KafkaException as error:
            raise FatalFailure(f"states of push cannot be written: {error}") from error

    def _confirmed(self, key: bytes, version: int, error: KafkaError | None) -> None:
        with self._lock:
            change = self._unconfirmed.get(key)
            if change is None or change.version != version:
                return  # a later change of the state is on its way
            if error is None:
                del self._unconfirmed[key]
                self._failed.discard(key)
            else:
                self._failed.add(key)


class PushMemory:
    """A planner with durable states. Thread-safe.

    Args:
        planner: The planner.
        states: Receives the changed states.
    """

    def __init__(self, planner: PushPlanner, states: StateWriter) -> None:
        self._planner = planner
        self._states = states
        self._lock = Lock()

    def do(self, step: Callable[[PushPlanner], ResultT]) -> ResultT:
        """Runs a step of the planner, and begins to write the changed states.

        Raises:
            FatalFailure: See `StateLog.append`.
        """
        with self._lock:
            result = step(self._planner)
            self._states.append(self._planner.changes())
        return result

    def flush(self) -> None:
        """See `StateLog.flush`."""
        self._states.flush()

    def serve(self) -> None:
        """See `StateLog.serve`."""
        self._states.serve()

    @property
    def is_behind(self) -> bool:
        """See `StateLog.is_behind`."""
        return self._states.is_behind


def read_states(settings: Settings) -> dict[PushKey, PushState]:
    """All durable states.

    Raises:
        ServerUnavailable: The broker does not answer.
        FatalFailure: A record is not of this version.
    """
    topic = settings.topic(Topic.PUSH_STATE)
    places = [TopicPartition(topic, each, OFFSET_BEGINNING) for each in range(settings.partitions)]
    with closing(assigned_consumer(settings, "push-state")) as consumer:
        return taken_states(
            (message.key(), message.value())
            for messages in read_to_end(consumer, places, RESTORE_SILENCE_SECONDS)
            for message in messages
        )


def taken_states(
    records: Iterable[tuple[bytes | None, bytes | None]],
) -> dict[PushKey, PushState]:
    """The states after records of ``im.push-state``, each with its key and its value.

    An earlier owner of a shard that was paused may have written after its successor. So a state
    does not replace a state with a later place.

    Raises:
        FatalFailure: A record is not of this version.
    """
    states: dict[PushKey, PushState] = {}
    for key, value in records:
        try:
            found, state = decode_state(key, value or b"{}")
        except UndecodableRecord as error:
            raise FatalFailure(f"a state of push cannot be read: {error}") from None
        if value is None:
            states.pop(found, None)
        elif found not in states or state.place >= states[found].place:
            states[found] = state
    return states

"""The durable states of the planner: confirmations that fail, come late, or never come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError

from schemas.codec import encode
from schemas.errors import FatalFailure, TransientFailure
from schemas.number_types import Offset, ShardNumber
from schemas.settings import Settings
from sinks.push import push_memory
from sinks.push.push_memory import BEHIND_SECONDS, StateLog, taken_states
from sinks.push.push_state import PushKey, PushState, state_key

KEY = PushKey("bob", "c1")
OTHER = PushKey("cid", "c1")
TIMED_OUT = KafkaError(KafkaError._MSG_TIMED_OUT)  # noqa: SLF001 - the library's name for it


def state(offset: int) -> PushState:
    """A state with a place."""
    return PushState(shard=ShardNumber(0), offset=Offset(offset))


class FakeProducer:
    """Confirms messages in `flush` and `poll`, or fails them, as the test decides."""

    def __init__(self) -> None:
        self.log: list[tuple[bytes, bytes | None]] = []
        self.waiting: list[tuple[bytes, bytes | None, Callable[..., None]]] = []
        self.error: KafkaError | None = None
        self.is_full = False

    def produce(self, _topic: str, *, key: bytes, value: bytes | None, **more: Any) -> None:
        if self.is_full:
            raise BufferError
        self.waiting.append((key, value, more["on_delivery"]))

    def flush(self, _timeout: float) -> int:
        waiting, self.waiting = self.waiting, []
        for key, value, on_delivery in waiting:
            if self.error is None:
                self.log.append((key, value))
            on_delivery(self.error, None)
        return 0

    def poll(self, _timeout: float) -> int:
        return self.flush(0)


class World:
    """A log of states, its producer, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.producer = FakeProducer()
        monkeypatch.setattr(push_memory, "Producer", lambda _config: self.producer)
        self.now = 0.0
        self.log = StateLog(Settings(), lambda: self.now)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world without records."""
    return World(monkeypatch)


def test_a_flush_returns_when_all_is_confirmed(world: World) -> None:
    """A removed state is a record without a value."""
    world.log.append({KEY: state(1), OTHER: None})
    world.log.flush()
    assert world.producer.log == [(state_key(KEY), encode(state(1))), (state_key(OTHER), None)]


def test_a_failed_change_is_repeated(world: World) -> None:
    """The flush after a failure writes the change again, and the newest state alone."""
    world.log.append({KEY: state(1), OTHER: state(1)})
    world.producer.error = TIMED_OUT
    with pytest.raises(TransientFailure, match="2 states"):
        world.log.flush()
    world.log.append({KEY: state(2)})
    world.producer.error = None
    world.log.flush()
    assert dict(world.producer.log) == {
        state_key(KEY): encode(state(2)),
        state_key(OTHER): encode(state(1)),
    }


def test_a_full_queue_is_a_failure_that_is_repeated(world: World) -> None:
    """A change that the library cannot take now is written by a later flush."""
    world.producer.is_full = True
    world.log.append({KEY: state(1)})
    with pytest.raises(TransientFailure):
        world.log.flush()
    world.producer.is_full = False
    world.log.flush()
    assert world.producer.log == [(state_key(KEY), encode(state(1)))]


def test_an_old_change_without_confirmation_is_behind(world: World) -> None:
    """The age of the oldest change counts; a confirmation ends it."""
    seen = [world.log.is_behind]
    world.log.append({KEY: state(1)})
    world.now += BEHIND_SECONDS + 0.1
    seen.append(world.log.is_behind)
    world.log.append({KEY: state(2)})  # a later change of the same state is no confirmation
    seen.append(world.log.is_behind)
    world.log.serve()
    assert [*seen, world.log.is_behind] == [False, True, True, False]


def test_a_restore_takes_the_last_state() -> None:
    """A later record replaces an earlier one, and a record without a value removes the state."""
    records = [
        (state_key(KEY), encode(state(1))),
        (state_key(OTHER), encode(state(1))),
        (state_key(KEY), encode(state(2))),
        (state_key(OTHER), None),
    ]
    assert taken_states(records) == {KEY: state(2)}


def test_a_paused_owner_does_not_replace_a_later_state() -> None:
    """A record with an earlier place, written late by a process that was paused, has no effect."""
    records = [(state_key(KEY), encode(state(2))), (state_key(KEY), encode(state(1)))]
    assert taken_states(records) == {KEY: state(2)}


@pytest.mark.parametrize("record", [(None, b"{}"), (b"bob", b"{}"), (state_key(KEY), b"[]")])
def test_a_state_of_another_version_ends_the_stage(record: tuple[bytes | None, bytes]) -> None:
    """A stage that ignored a state could lose a notification."""
    with pytest.raises(FatalFailure, match="cannot be read"):
        taken_states([record])

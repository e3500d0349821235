"""Fakes for the consume loop that follow the test's instructions call by call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import Event
from types import SimpleNamespace
from typing import Literal, cast

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import PoisonRecord
from schemas.number_types import Offset
from sinks.base.commits import Commits
from sinks.base.consumer import OnRebalance
from sinks.base.counts import CountsOf
from sinks.base.records import Record
from sinks.base.sink_letters import DeadLetter
from sinks.base.writer_port import WriteOutcome
from tests.support.sink_group_member import TOPIC, GroupMember, places


def message(partition: int, offset: int, value: bytes = b"{}") -> Message:
    """A record as the client library returns it."""
    return Message(TOPIC, partition, offset, b"key", value)


def record(offset: int, value: bytes | None = b"{}", partition: int = 0) -> Record:
    """A record as a writer receives it."""
    return Record(partition, Offset(offset), b"key", value)


OnCommit = Callable[[KafkaError | None, Sequence[TopicPartition]], None]
Happening = Message | Callable[["FakeConsumer"], None]


def assign(*partitions: int) -> Callable[[FakeConsumer], None]:
    """The group assigns partitions to this consumer."""
    return lambda consumer: consumer.assign(partitions)


def revoke(*partitions: int) -> Callable[[FakeConsumer], None]:
    """The group revokes partitions."""
    return lambda consumer: consumer.give_up(partitions, consumer.on_revoke)


def lose(*partitions: int) -> Callable[[FakeConsumer], None]:
    """Partitions are lost: other members own them already."""
    return lambda consumer: consumer.give_up(partitions, consumer.on_lost)


class FakeConsumer(GroupMember):
    """Plays one list of events for each call of `poll` and `consume`, then sets ``stop``.

    Args:
        stop: Ends the loop.
        calls: The events of each call. After a `poll` whose list has no message, the loop does not
            call `consume`.
    """

    def __init__(self, stop: Event, calls: Iterable[Sequence[Happening]]) -> None:
        super().__init__()
        self._stop = stop
        self._calls = iter(calls)
        self.commits: list[list[TopicPartition]] = []
        self.last_commits: dict[int, TopicPartition] = {}
        self.refuse_commits = 0
        self.refuse_committed = 0
        self.answers_commits = True
        self.refuse_partition: int | None = None
        self.closed = False
        self.on_commit: OnCommit = Commits().answered

    def poll(self, timeout: float) -> Message | None:
        assert 0 < timeout <= 0.2
        messages = self._play()
        assert len(messages) <= 1, "poll brings one message"
        return messages[0] if messages else None

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        assert num_messages > 0
        assert timeout == 0, "the records that are there, and no waiting for more"
        messages = self._play()
        assert len(messages) <= num_messages
        return messages

    def commit(self, *, offsets: list[TopicPartition], asynchronous: Literal[True]) -> None:
        assert asynchronous
        if not self.answers_commits:
            self.commits.append(offsets)
            return
        if self.refuse_commits:
            self.refuse_commits -= 1
            self.on_commit(KafkaError(KafkaError.REBALANCE_IN_PROGRESS), offsets)
            return
        self.commits.append(offsets)
        answers = [
            self._refused(p) if p.partition == self.refuse_partition else p for p in offsets
        ]
        self.last_commits |= {place.partition: place for place in answers if not place.error}
        self.refuse_partition = None
        self.on_commit(None, answers)

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout > 0
        if self.refuse_committed:
            self.refuse_committed -= 1
            raise KafkaException(KafkaError(KafkaError.NETWORK_EXCEPTION))
        return [self.last_commits.get(place.partition, place) for place in partitions]

    def close(self) -> None:
        self.give_up(tuple(self.assigned), self.on_revoke)
        self.closed = True

    def give_up(self, partitions: Sequence[int], callback: OnRebalance) -> None:
        callback(self, places(partitions))
        self.remove(partitions)

    def _refused(self, place: TopicPartition) -> TopicPartition:
        """The broker's error for one partition. The library's class accepts no error."""
        error = KafkaError(KafkaError.UNKNOWN_MEMBER_ID)
        answer = SimpleNamespace(partition=place.partition, offset=place.offset, error=error)
        return cast("TopicPartition", answer)

    @property
    def offsets(self) -> dict[int, int]:
        """The committed offsets by partition."""
        return {partition: place.offset for partition, place in self.last_commits.items()}

    def _play(self) -> list[Message]:
        happenings = next(self._calls, None)
        if happenings is None:
            self._stop.set()
            return []
        messages = []
        for happening in happenings:
            if isinstance(happening, Message):
                messages.append(happening)
            else:
                happening(self)
        return messages


class HeldTask:
    """A call that ends only when the test ends it."""

    def __init__(self, call: Callable[[], CountsOf]) -> None:
        self._call = call
        self._result: CountsOf = {}
        self._error: BaseException | None = None
        self.ended = False
        self.waited = 0.0

    def end(self) -> None:
        """Runs the call to its end."""
        self.ended = True
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001 - `result` raises the error
            self._error = error

    def wait(self, seconds: float) -> bool:
        self.waited += 0 if self.ended else seconds
        return self.ended

    def succeeded(self) -> bool:
        return self._error is None

    def result(self) -> CountsOf:
        if self._error:
            raise self._error
        return self._result


class FakeWriter:
    """Records its calls and returns the given answers; after the last answer, all is durable."""

    def __init__(self, *answers: WriteOutcome | Exception) -> None:
        self._answers = iter(answers)
        self.calls: list[list[int]] = []

    def write(self, records: Sequence[Record]) -> WriteOutcome:
        self.calls.append([record.offset for record in records])
        answer = next(self._answers, WriteOutcome())
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeDeadLetters:
    """Records dead letters, after the given failures."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = iter(failures)
        self.letters: list[tuple[int, str]] = []

    def send(self, letters: Sequence[DeadLetter]) -> None:
        if failure := next(self._failures, None):
            raise failure
        self.letters += [(letter.record.offset, letter.reason) for letter in letters]


def poison(*positions: int) -> list[PoisonRecord]:
    """Records that are poison at these positions."""
    return [PoisonRecord(position, "bad") for position in positions]

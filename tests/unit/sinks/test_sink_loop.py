"""The consume loop, call by call."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event

import msgspec
import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from schemas.errors import FatalFailure
from sinks.base.commits import Commits
from sinks.base.counts import CountsOf, DeliveryCounts
from sinks.base.loop import REVOKE_SECONDS, STOP_SECONDS, SinkLoop
from sinks.base.records import Bounds, Record
from sinks.base.source import OneTopic, SinkSource
from tests.support.sink_fakes import (
    FakeConsumer,
    Happening,
    HeldTask,
    assign,
    lose,
    message,
    revoke,
)
from tests.support.sink_group_member import TOPIC, end_of

NOW = 1_700_000_000.0
BOUNDS = Bounds(max_records=4, max_bytes=1_000, gulp=4)


class Run:
    """One run of the loop over a list of calls.

    Args:
        calls: See `FakeConsumer`.
        hold: Whether tasks wait for the test to end them.
        fails: The error of each write.
        source: The topics to read, by default one.
    """

    def __init__(
        self,
        *calls: Sequence[Happening],
        hold: bool = False,
        fails: Exception | None = None,
        source: SinkSource | None = None,
    ) -> None:
        self.stop = Event()
        self.consumer = FakeConsumer(self.stop, calls)
        self.written: list[list[tuple[int, int]]] = []
        self.tasks: list[HeldTask] = []
        self.counts: dict[int, DeliveryCounts] = {}
        self._hold = hold
        self._fails = fails
        self._ticks = 0.0
        commits = Commits(self._tick)
        self.consumer.on_commit = commits.answered
        self._loop = SinkLoop(
            self.consumer, commits, source or OneTopic(TOPIC), self._deliver, BOUNDS,
            start=self._start, now=lambda: NOW, monotonic=self._tick,
        )  # fmt: skip

    def __call__(self) -> FakeConsumer:
        self._loop.run(self.stop)
        return self.consumer

    def _start(self, call: object) -> HeldTask:
        assert callable(call)
        task = HeldTask(call)
        self.tasks.append(task)
        if not self._hold:
            task.end()
        return task

    def _deliver(self, records: Sequence[Record], _abandon: Event) -> CountsOf:
        if self._fails:
            raise self._fails
        self.written.append([(record.partition, record.offset) for record in records])
        return self.counts

    def _tick(self) -> float:
        self._ticks += 1
        return self._ticks


def test_a_batch_is_written_and_then_committed() -> None:
    """The commit of a partition is the offset after its last written record."""
    run = Run([assign(0, 1)], [message(0, 7)], [message(0, 9), message(1, 3)])
    consumer = run()
    assert run.written == [[(0, 7), (0, 9), (1, 3)]]
    assert consumer.offsets == {0: 10, 1: 4}
    assert consumer.closed


def test_the_end_of_a_partition_is_committed_too() -> None:
    """The end of a partition is committed, so transaction markers do not count as lag."""
    run = Run([assign(0)], [message(0, 7)], [end_of(0, 9)], [end_of(0, 12)])
    assert run().offsets == {0: 12}
    assert run.written == [[(0, 7)]]


def test_an_end_is_not_committed_before_the_records_below_it() -> None:
    """The end of a partition is committed only after the batch in flight."""
    run = Run([assign(0)], [message(0, 7)], [], [end_of(0, 9)], [], [], hold=True)
    assert run().offsets == {}


class Following(OneTopic):
    """A source with another topic from the third call on."""

    def __init__(self) -> None:
        super().__init__(TOPIC)
        self._looks = 0

    def topics(self) -> list[str]:
        self._looks += 1
        return [TOPIC] if self._looks < 3 else ["another"]


def test_a_source_with_new_topics_is_subscribed_again() -> None:
    """The loop subscribes again only for other topics, because each time causes a rebalance."""
    assert Run(*[[]] * 10)().subscribed == [[TOPIC]]
    assert Run(*[[]] * 10, source=Following())().subscribed == [[TOPIC], ["another"]]


def test_an_unchanged_offset_is_not_committed_again() -> None:
    """An idle sink does not repeat its commit."""
    run = Run([assign(0)], [message(0, 7)], [end_of(0, 9)], *[[]] * 20)
    assert len(run().commits) == 1


def test_a_failed_commit_is_repeated() -> None:
    """A commit refused during a rebalance is repeated with the next one."""
    run = Run([assign(0)], [message(0, 7)], [], [], [])
    run.consumer.refuse_commits = 1
    assert run().offsets == {0: 8}


def test_a_commit_that_fails_for_one_partition_is_repeated_for_it() -> None:
    """Only the partition whose commit failed is committed again."""
    run = Run([assign(0, 1)], [message(0, 7)], [message(1, 3)], *[[]] * 4)
    run.consumer.refuse_partition = 1
    consumer = run()
    assert consumer.offsets == {0: 8, 1: 4}
    assert [len(places) for places in consumer.commits] == [2, 1]


def test_records_read_before_their_partition_was_revoked_are_dropped() -> None:
    """A call can return records from before a revocation; these records are dropped."""
    run = Run([assign(0, 1)], [message(0, 1)], [message(0, 2), revoke(0), message(1, 5)], [])
    consumer = run()
    assert run.written == [[(1, 5)]]
    assert consumer.offsets == {1: 6}


def test_a_partition_reassigned_within_one_call_ends_the_process() -> None:
    """Old and new records of a partition that returns within one call are indistinguishable.

    The process ends instead of guessing.
    """
    run = Run([assign(0)], [message(0, 5)], [revoke(0), assign(0), message(0, 3)])
    with pytest.raises(FatalFailure):
        run()
    assert run.written == []
    assert run.consumer.offsets == {}


def test_a_partition_reassigned_within_one_poll_is_read() -> None:
    """The result of a poll was fetched after its rebalances, so it is read."""
    run = Run([assign(0)], [message(0, 5)], [], [revoke(0), assign(0), message(0, 6)], [], [])
    run.consumer.last_commits[0] = TopicPartition(TOPIC, 0, 6)
    assert run().offsets == {0: 7}
    assert run.written == [[(0, 5)], [(0, 6)]]


def test_a_loop_continues_without_the_last_commits() -> None:
    """A missing answer about the last commits stops commits, but not the reads."""
    run = Run([assign(0)], [message(0, 1)], *[[]] * 20)
    run.consumer.refuse_committed = 3
    note = '{"dead_letters":40}'
    run.consumer.last_commits[0] = TopicPartition(TOPIC, 0, 1, metadata=note)
    run.counts = {0: DeliveryCounts(2)}
    (place,) = run().commits[0]
    assert (place.offset, msgspec.json.decode(place.metadata or "")["dead_letters"]) == (2, 42)


def test_a_commit_without_an_answer_does_not_stop_the_loop() -> None:
    """The loop continues without an answer to its commit, and commits again later."""
    run = Run([assign(0)], [message(0, 1)], [], [message(0, 2)], *[[]] * 30)
    run.consumer.answers_commits = False
    assert len(run().commits) > 1
    assert run.written == [[(0, 1)], [(0, 2)]]


def test_buffered_records_are_dropped_with_their_partition() -> None:
    """The buffered records of a revoked partition are dropped; other partitions continue."""
    run = Run(
        [assign(0, 1)], [message(0, 1)], [], [message(0, 2)], [message(1, 9)], [revoke(0)],
        [lambda _: run.tasks[0].end()], [], [], hold=True,
    )  # fmt: skip
    run.consumer.last_commits[0] = TopicPartition(TOPIC, 0, 1)
    run()
    run.tasks[1].end()
    assert run.written == [[(0, 1)], [(1, 9)]]
    assert run.consumer.offsets == {0: 1}


def test_a_revocation_waits_for_the_batch_in_flight_and_commits_it() -> None:
    """A revocation waits for the batch in flight and commits it."""
    run = Run([assign(0)], [message(0, 1)], [], [revoke(0)])
    assert run().commits == [[TopicPartition(TOPIC, 0, 2)]]


def test_a_revocation_waits_within_a_bound() -> None:
    """A batch that does not end within the bound is abandoned and never committed."""
    run = Run(
        [assign(0)], [message(0, 1)], [], [revoke(0)], [assign(0)],
        [lambda _: run.tasks[0].end()], [], [], hold=True,
    )  # fmt: skip
    assert run().offsets == {}
    assert REVOKE_SECONDS <= run.tasks[0].waited <= REVOKE_SECONDS + 2


def test_lost_partitions_are_not_committed() -> None:
    """A lost partition is not committed, because the new owner may have a higher commit."""
    run = Run(
        [assign(0)], [message(0, 1)], [], [lambda _: run.tasks[0].end(), lose(0)], [], hold=True
    )
    assert run().commits == []


def test_a_full_buffer_pauses_partitions_and_continues_polling() -> None:
    """A full buffer pauses all partitions, also new ones; the loop polls to stay in the group."""
    paused: list[set[int]] = []

    def look(consumer: FakeConsumer) -> None:
        paused.append(set(consumer.paused))

    more = [message(0, offset) for offset in (2, 3, 4)]
    run = Run(
        [assign(0)], [message(0, 1)], [],  # in flight
        [message(0, 2)], more[1:], [message(0, 5)], [],  # the buffer is full
        [look], [look, assign(1)], [look], [look, lambda _: run.tasks[0].end()], [look], hold=True,
    )  # fmt: skip
    run()
    assert paused == [{0}, {0}, {0, 1}, {0, 1}, set()]
    assert run.consumer.offsets == {0: 2}


def test_an_orderly_stop_waits_within_a_bound() -> None:
    """An orderly stop waits for the batch in flight within a bound."""
    run = Run([assign(0)], [message(0, 1)], [], hold=True)
    assert run().offsets == {}
    assert STOP_SECONDS <= run.tasks[0].waited <= STOP_SECONDS + 2


def test_a_fatal_failure_of_the_writer_ends_the_loop() -> None:
    """An error of a write ends the loop without a commit, and the consumer leaves the group."""
    run = Run([assign(0)], [message(0, 1)], [], [], fails=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run()
    assert run.consumer.offsets == {}
    assert run.consumer.closed


def test_an_error_of_the_last_batch_is_raised() -> None:
    """An error of the batch in flight is raised during an orderly stop, too."""
    run = Run([assign(0)], [message(0, 1)], fails=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run()


@pytest.mark.parametrize("fatal", [True, False])
def test_only_a_fatal_error_of_the_client_ends_the_loop(*, fatal: bool) -> None:
    """The client library recovers from all errors that are not fatal."""
    error = Message(error=KafkaError(KafkaError.NETWORK_EXCEPTION, "gone", fatal=fatal))
    run = Run([assign(0)], [error], [], [message(0, 1)], [])
    if fatal:
        with pytest.raises(FatalFailure):
            run()
    else:
        assert run().offsets == {0: 2}


def test_commits_have_delay_and_dead_letters() -> None:
    """Commits have the delay of the newest entry, and continue the last commit's counts."""
    value = b'{"at": %d}' % (NOW * 1000 - 250)
    run = Run([assign(0, 1)], [message(0, 1, b'{"at": 5}')], [message(0, 2, value)], [])
    run.counts = {0: DeliveryCounts(2)}
    note = '{"delay_ms":1,"at":2,"records":900,"dead_letters":40}'
    run.consumer.last_commits[0] = TopicPartition(TOPIC, 0, 1, metadata=note)
    (place,) = run().commits[0]
    expected = {"delay_ms": 250, "at": NOW * 1000, "records": 902, "dead_letters": 42}
    assert msgspec.json.decode(place.metadata or "") == expected


def test_commits_count_written_and_skipped_deliveries() -> None:
    """Commits continue the counts of deliveries; without the setting the note has no counts."""
    run = Run([assign(0, 1)], [message(0, 1)], [message(1, 1)], [])
    run.counts = {0: DeliveryCounts(written=2, skipped=3)}
    note = '{"dead_letters":1,"written":40,"skipped":5}'
    run.consumer.last_commits[0] = TopicPartition(TOPIC, 0, 1, metadata=note)
    run()
    notes = {
        place.partition: place.metadata for commit in run.consumer.commits for place in commit
    }
    counts = {"records": 1, "dead_letters": 1, "written": 42, "skipped": 8}
    assert msgspec.json.decode(notes[0] or "") == counts
    assert notes[1] == '{"records":1,"dead_letters":0}'


def test_foreign_commit_metadata_is_ignored() -> None:
    """A note by another program, such as a tool that resets offsets, is ignored."""
    run = Run([assign(0)], [message(0, 1)], [])
    run.consumer.last_commits[0] = TopicPartition(TOPIC, 0, 1, metadata="moved by hand")
    (place,) = run().commits[0]
    assert place.metadata == '{"records":1,"dead_letters":0}'

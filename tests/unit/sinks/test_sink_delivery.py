"""A batch between read and commit: retries, poison, dead letters."""

from __future__ import annotations

import logging
import struct
from collections.abc import Sequence
from threading import Event

import pytest

from schemas.errors import FatalFailure, ServerUnavailable, TooManyPoison, TransientFailure
from sinks.base import retry
from sinks.base.counts import DeliveryCounts
from sinks.base.delivery import BatchDelivery
from sinks.base.poison import PoisonGuard, PoisonLimits
from sinks.base.records import Record
from sinks.base.retry import attempts
from sinks.base.writer_port import WriteOutcome
from tests.support.sink_fakes import FakeDeadLetters, FakeWriter, poison, record

RECORDS = [record(offset, b"secret text", partition=offset % 2) for offset in range(10, 16)]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without a pause."""
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.0)


def deliver(writer: FakeWriter, letters: FakeDeadLetters, longest_run: int = 9) -> dict[int, int]:
    """Deliver `RECORDS`; return the number of dead letters of each partition."""
    guard = PoisonGuard(PoisonLimits(run=longest_run))
    counts = BatchDelivery(writer, letters, guard).deliver(RECORDS, Event())
    return {number: of.dead_letters for number, of in counts.items()}


def test_only_failed_records_are_written_again() -> None:
    """Only failed records are written again, through several partial failures."""
    writer = FakeWriter(
        WriteOutcome(poison(0), to_retry=[1, 3, 5]),
        WriteOutcome(poison(1), to_retry=[2]),  # 1 is the record 13 among 11, 13 and 15
        TransientFailure("nothing of it"),
    )
    letters = FakeDeadLetters()
    assert deliver(writer, letters) == {0: 1, 1: 1}
    assert writer.calls == [[10, 11, 12, 13, 14, 15], [11, 13, 15], [15], [15]]
    assert letters.letters == [(10, "bad"), (13, "bad")]


def test_the_counts_of_all_attempts_are_added() -> None:
    """The result adds the writer's counts of all attempts and the dead letters."""
    writer = FakeWriter(
        WriteOutcome(to_retry=[1, 2], counts={0: DeliveryCounts(written=2)}),
        TransientFailure("away"),
        WriteOutcome(
            poison(0), counts={0: DeliveryCounts(skipped=3), 1: DeliveryCounts(written=4)}
        ),
    )
    guard = PoisonGuard(PoisonLimits())
    counts = BatchDelivery(writer, FakeDeadLetters(), guard).deliver(RECORDS, Event())
    assert counts == {0: DeliveryCounts(written=2, skipped=3), 1: DeliveryCounts(1, written=4)}


def test_a_delivery_retries_through_transient_failures() -> None:
    """Any number of temporary failures is retried."""
    writer = FakeWriter(*[TransientFailure("away")] * 50)
    assert deliver(writer, FakeDeadLetters()) == {}
    assert len(writer.calls) == 51


def test_dead_letters_are_sent_until_they_are_confirmed() -> None:
    """Dead letters are sent again until the broker acknowledges them."""
    letters = FakeDeadLetters(TransientFailure("away"), TransientFailure("away"))
    assert deliver(FakeWriter(WriteOutcome(poison(2))), letters) == {0: 1}
    assert letters.letters == [(12, "bad")]


def test_too_much_poison_is_fatal() -> None:
    """The sink stops before it writes the dead letters of a run that is too long."""
    letters = FakeDeadLetters()
    with pytest.raises(TooManyPoison):
        deliver(FakeWriter(WriteOutcome(poison(1, 2, 3))), letters, longest_run=3)
    assert letters.letters == []


def test_a_fatal_failure_is_raised() -> None:
    """A fatal failure is raised without a retry."""
    writer = FakeWriter(FatalFailure("no table"))
    with pytest.raises(FatalFailure):
        deliver(writer, FakeDeadLetters())
    assert len(writer.calls) == 1


def test_a_log_line_does_not_quote_a_message(caplog: pytest.LogCaptureFixture) -> None:
    """The log has positions and reasons, never contents of messages."""
    caplog.set_level(logging.DEBUG)
    writer = FakeWriter(WriteOutcome(poison(0)), TransientFailure("away"))
    deliver(writer, FakeDeadLetters(TransientFailure("away")))
    (letter,) = [r for r in caplog.records if r.getMessage() == "a record is a dead letter: bad"]
    assert vars(letter).items() >= {"partition": 0, "offset": 10}.items()
    assert "secret" not in caplog.text


def test_abandoned_attempts_end() -> None:
    """A stop request ends the retries with the last error."""
    stop, made = Event(), 0
    with pytest.raises(ServerUnavailable):  # noqa: PT012 - the loop is under test
        for attempt in attempts("trying", stop):
            with attempt:
                made += 1
                if made == 3:
                    stop.set()
                raise ServerUnavailable("away")
    assert made == 3


def observe(guard: PoisonGuard, *batches: tuple[int, list[int]]) -> None:
    """Pass batches to a guard."""
    for count, positions in batches:
        guard.observe(count, positions)


def test_a_run_of_poison_is_counted_across_batches() -> None:
    """A run of poison records counts across batches."""
    guard = PoisonGuard(PoisonLimits(run=4))
    observe(guard, (3, [1, 2]), (1, [0]))
    with pytest.raises(TooManyPoison, match="4 poison records in a row"):
        guard.observe(2, [0])


def test_a_good_record_ends_a_run_of_poison() -> None:
    """A good record in the middle, at the end or at the start of a batch ends a run."""
    guard = PoisonGuard(PoisonLimits(run=3))
    observe(guard, (4, [0, 1, 3]), (3, [0]), (3, [1, 2]), (2, []), (3, [0, 1]), (3, [1, 2]))
    with pytest.raises(TooManyPoison):
        guard.observe(1, [0])


def test_a_share_of_poison_is_counted_in_a_window() -> None:
    """The share of poison is not judged with too few records, and ignores old records."""
    limits = PoisonLimits(run=1_000, share=0.1, window=100, at_least=50)
    early = PoisonGuard(limits)
    early.observe(40, list(range(0, 40, 2)))  # half of the records, but too few to judge
    with pytest.raises(TooManyPoison, match="20 of the last 60"):
        early.observe(20, [])
    late = PoisonGuard(limits)
    tenth = list(range(0, 100, 10))
    observe(late, (100, tenth), (100, tenth), (100, []), (100, tenth))
    with pytest.raises(TooManyPoison, match="11 of the last 100"):
        late.observe(100, [*tenth, 99])


class FailingWriter:
    """Fails for some records with an unforeseen error; the first attempt returns a late record."""

    def __init__(self, error: Exception, *offsets: int) -> None:
        self._error = error
        self._offsets = set(offsets)
        self._is_late = True
        self.written: list[int] = []

    def write(self, records: Sequence[Record]) -> WriteOutcome:
        offsets = [record.offset for record in records]
        if self._offsets.intersection(offsets):
            raise self._error
        if self._is_late:
            self._is_late = False
            return WriteOutcome((), [0], "late")
        self.written += offsets
        return WriteOutcome()


@pytest.mark.parametrize(
    "error",
    [ValueError(), TypeError(), OverflowError(), KeyError(), RecursionError(), struct.error()],
)
def test_a_record_that_makes_the_writer_fail_is_poison(error: Exception) -> None:
    """A record that raises an error in the writer is poison; the others are written in order."""
    writer, letters = FailingWriter(error, 12, 15), FakeDeadLetters()
    delivery = BatchDelivery(writer, letters, PoisonGuard(PoisonLimits()))
    delivery.deliver(RECORDS, Event())
    assert writer.written == [10, 11, 13, 14]
    reason = f"it cannot be written: {type(error).__name__}"
    assert letters.letters == [(12, reason), (15, reason)]


def test_other_errors_do_not_make_a_record_poison() -> None:
    """An error that may be the server's or the machine's ends the sink."""
    for error in (OSError(), MemoryError(), RuntimeError()):
        writer = FailingWriter(error, 12)
        with pytest.raises(type(error)):
            BatchDelivery(writer, FakeDeadLetters(), PoisonGuard(PoisonLimits())).deliver(
                RECORDS, Event()
            )

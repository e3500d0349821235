"""No cursor above a note leaves the gateway before the store has the entries below the cursor."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from gateway.log import barrier
from gateway.log.barrier import LogBarrier
from schemas.errors import ServerUnavailable
from schemas.number_types import SyncSeqId
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.waiting import until

SETTINGS = Settings(partitions=2)
SECONDS = 30.0
TOPIC = SETTINGS.topic(Topic.TIMELINE)


class Log:
    """The ends of the log and the commits of the message sink, with the number of queries."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ends = [5, 0]
        self.stored = [5, -1001]  # nothing is committed in the second partition
        self.away = False
        self.asked_ends = self.asked_stored = 0
        monkeypatch.setattr(barrier, "written_ends", self._written_ends)
        monkeypatch.setattr(barrier, "group_reader", lambda _settings, group: group)
        monkeypatch.setattr(barrier, "committed_places", self._committed_places)

    def _written_ends(self, *_args: object) -> dict[tuple[str, int], int]:
        self.asked_ends += 1
        if self.away:
            raise TimeoutError
        return {(TOPIC, number): end for number, end in enumerate(self.ends)}

    def _committed_places(self, group: str, *_args: object) -> list[TopicPartition]:
        assert group == SETTINGS.group("sink-message")
        self.asked_stored += 1
        if self.away:
            raise TimeoutError
        return [TopicPartition(TOPIC, number, at) for number, at in enumerate(self.stored)]

    async def until_asked(self, times: int) -> None:
        """Wait until the commits were queried this number of times."""

        async def is_asked() -> bool:
            return self.asked_stored >= times

        await until(is_asked, SECONDS)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """A log whose entries are all stored.

    The bound is long, so that a slow machine fails no test.
    """
    monkeypatch.setattr(barrier, "MAX_BARRIER_SECONDS", SECONDS)
    monkeypatch.setattr(barrier, "COMMITS_READ_SECONDS", 0.01)
    return Log(monkeypatch)


@pytest.fixture
def impatient(log: Log, monkeypatch: pytest.MonkeyPatch) -> Log:
    """The same log, but a request waits only for a short time."""
    monkeypatch.setattr(barrier, "MAX_BARRIER_SECONDS", 0.2)
    return log


async def test_a_request_passes_the_barrier_when_everything_is_stored(log: Log) -> None:
    """A request passes when all entries are stored; an empty partition does not block."""
    await LogBarrier(SETTINGS).passed("ann", SyncSeqId(7))
    assert (log.asked_ends, log.asked_stored) == (1, 1)


async def test_a_request_waits_for_the_message_sink(log: Log) -> None:
    """A request waits until the commits have reached the end in each partition."""
    log.ends, log.stored = [5, 5], [5, 4]
    passing = asyncio.create_task(LogBarrier(SETTINGS).passed("ann", SyncSeqId(7)))
    await log.until_asked(3)
    assert not passing.done()
    log.stored[1] = 5
    await passing


async def test_a_sink_that_lags_for_too_long_is_an_error(impatient: Log) -> None:
    """A request fails with `ServerUnavailable` after its bound, so that the client retries."""
    impatient.ends[0] = 6
    with pytest.raises(ServerUnavailable, match="the message sink lags"):
        await LogBarrier(SETTINGS).passed("ann", SyncSeqId(7))


async def test_a_repeated_request_waits_for_the_same_end(impatient: Log) -> None:
    """A retry waits for the end of the first attempt, so a fast log never locks a device out."""
    waits = LogBarrier(SETTINGS)
    impatient.ends[0] = 6
    with pytest.raises(ServerUnavailable):
        await waits.passed("ann", SyncSeqId(7))
    impatient.ends[0], impatient.stored[0] = 100, 6
    await waits.passed("ann", SyncSeqId(7))
    await waits.passed("ann", SyncSeqId(6))
    assert impatient.asked_ends == 1


async def test_a_higher_note_waits_for_a_later_end(impatient: Log) -> None:
    """A higher note waits for a newer end: its records may be beyond the remembered end.

    The same holds for the note of another person.
    """
    waits = LogBarrier(SETTINGS)
    await waits.passed("ann", SyncSeqId(7))
    impatient.ends[0] = 6
    for user, newest in (("ann", 8), ("bob", 7)):
        with pytest.raises(ServerUnavailable):
            await waits.passed(user, SyncSeqId(newest))
    impatient.stored[0] = 6
    await waits.passed("ann", SyncSeqId(8))


async def test_a_passed_barrier_costs_nothing_again(log: Log) -> None:
    """A repeated request of a person with the same note sends no query to the broker."""
    waits = LogBarrier(SETTINGS)
    for _ in range(10):
        await waits.passed("ann", SyncSeqId(7))
    assert (log.asked_ends, log.asked_stored) == (1, 1)


async def test_a_broker_that_does_not_answer_is_an_error(impatient: Log) -> None:
    """The request fails when the broker does not answer either of the two queries."""
    impatient.away = True
    waits = LogBarrier(SETTINGS)
    with pytest.raises(ServerUnavailable):
        await waits.passed("ann", SyncSeqId(7))
    impatient.away = False
    impatient.ends[0] = 6
    with pytest.raises(ServerUnavailable):
        await waits.passed("ann", SyncSeqId(7))
    impatient.away, impatient.stored[0] = True, 6
    with pytest.raises(ServerUnavailable):
        await waits.passed("ann", SyncSeqId(7))
    impatient.away = False
    await waits.passed("ann", SyncSeqId(7))


async def test_a_cancelled_request_does_not_affect_other_requests(log: Log) -> None:
    """Two requests share a query, and the cancelled one does not stop the other one."""
    waits = LogBarrier(SETTINGS)
    log.stored[0] = 4
    requests = [asyncio.create_task(waits.passed(user, SyncSeqId(7))) for user in ("ann", "bob")]
    await log.until_asked(1)
    requests[0].cancel()
    log.stored[0] = 5
    await requests[1]


async def test_the_number_of_remembered_people_is_bounded(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of remembered people has a bound; a forgotten person waits for a newer end."""
    monkeypatch.setattr(barrier, "MAX_REMEMBERED_RECIPIENTS", 2)
    waits: Any = LogBarrier(SETTINGS)
    for user in ("ann", "bob", "cid", "cid", "ann"):
        await waits.passed(user, 7)
    assert log.asked_ends == 4

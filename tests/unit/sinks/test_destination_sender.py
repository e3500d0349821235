"""Repeated attempts: pauses, deadlines, bounds, and destinations that do not delay each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.outbound.destination_sender import (
    DestinationFull,
    DestinationSender,
    Expired,
    SenderBounds,
)
from sinks.outbound.outcomes import Delivered, DeliveryFailed, DeliveryOutcome, DeliveryRefused
from tests.support import virtual_time

DAY = 86_400.0
BOUNDS = SenderBounds(first_pause=1, longest_pause=60, attempt=10)


class Server:
    """Fails a number of times, or always, and notes the time of each attempt."""

    def __init__(
        self,
        failures: float,
        retry_after: float | None = None,
        outcome: DeliveryOutcome = Delivered(),  # noqa: B008 - frozen
        seconds: float = 0,
    ) -> None:
        self.times: list[float] = []
        self.running = self.most_running = 0
        self._failures = failures
        self._retry_after = retry_after
        self._outcome = outcome
        self._seconds = seconds

    async def attempt(self) -> DeliveryOutcome:
        """One attempt."""
        self.times.append(asyncio.get_running_loop().time())
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self.running -= 1
        if len(self.times) <= self._failures:
            raise DeliveryFailed("status 503", self._retry_after)
        return self._outcome


def sender(chance: Callable[[], float] = lambda: 1.0) -> DestinationSender:
    """A sender with the longest pauses."""
    return DestinationSender(BOUNDS, chance)


@pytest.mark.parametrize("outcome", [Delivered(), DeliveryRefused("status 400")])
def test_an_outcome_ends_the_attempts(outcome: DeliveryOutcome) -> None:
    """The sender returns the first outcome, and makes no attempt after it."""
    server = Server(2, outcome=outcome)

    assert virtual_time.run(sender().send("a", server.attempt, DAY)) == outcome
    assert len(server.times) == 3


@given(chances=st.lists(st.floats(0, 1), min_size=12, max_size=12))
def test_pauses_are_random_below_a_bound_that_doubles(chances: list[float]) -> None:
    """The pause after failure n is at most 2^(n-1) times the first, and at most the longest."""
    server, left = Server(4), list(chances)

    virtual_time.run(sender(left.pop).send("a", server.attempt, DAY))

    pauses = [b - a for a, b in zip(server.times, server.times[1:], strict=False)]
    expected = [share * bound for share, bound in zip(chances[::-1], [1, 2, 4, 8], strict=False)]
    assert pauses == pytest.approx(expected)


def test_the_server_may_demand_a_longer_pause() -> None:
    """`Retry-After` extends a pause beyond the longest pause."""
    server = Server(1, retry_after=500)

    virtual_time.run(sender().send("a", server.attempt, DAY))

    assert server.times == [0, 500]


def test_the_last_attempt_begins_at_the_deadline() -> None:
    """A pause without end ends at the deadline; after the last failure, the item expires."""
    server = Server(float("inf"), retry_after=1e12)

    assert virtual_time.run(sender().send("a", server.attempt, 3_600)) == Expired("status 503")
    assert server.times == pytest.approx([0, 3_600])


def test_an_item_beyond_its_deadline_gets_one_attempt() -> None:
    """A deadline in the past does not expire an item without an attempt."""
    server = Server(float("inf"))

    assert virtual_time.run(sender().send("a", server.attempt, -5)) == Expired("status 503")
    assert len(server.times) == 1


def test_an_attempt_without_end_is_ended() -> None:
    """An attempt that hangs counts as failed after the timeout of an attempt."""
    server = Server(0, seconds=1e9)

    outcome = virtual_time.run(sender().send("a", server.attempt, 25))

    assert outcome == Expired("timeout of the attempt")
    assert server.running == 0


def test_a_failing_destination_gets_one_attempt_at_a_time() -> None:
    """After five failures, the waiting items make attempts one after another, with pauses."""

    async def scenario() -> tuple[list[float], int]:
        server, all_items = Server(30), sender()
        items = [all_items.send("a", server.attempt, DAY) for _ in range(20)]
        assert await asyncio.gather(*items) == [Delivered()] * 20
        return server.times, server.most_running

    times, _ = virtual_time.run(scenario())
    burst = [time for time in times if time == 0]
    assert len(burst) <= BOUNDS.concurrency + 5
    while_paused = [time for time in times if 0 < time < times[29]]
    assert len(set(while_paused)) == len(while_paused)


def test_a_destination_that_is_down_does_not_delay_another() -> None:
    """While one destination hangs with a full queue, items of another are delivered at once."""

    async def scenario() -> float:
        bounds = BOUNDS._replace(waiting=50, total=20, concurrency=4)
        all_items = DestinationSender(bounds)
        down, good = Server(0, seconds=1e9), Server(0)
        waiting = [
            asyncio.create_task(all_items.send("down", down.attempt, DAY)) for _ in range(50)
        ]
        await asyncio.sleep(1)
        with pytest.raises(DestinationFull):
            await all_items.send("down", down.attempt, DAY)
        assert all_items.room("down") == 0
        assert all_items.room("good") == 50
        for _ in range(100):
            await all_items.send("good", good.attempt, DAY)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert all_items.room("down") == 50
        return asyncio.get_running_loop().time()

    assert virtual_time.run(scenario()) == pytest.approx(1)


def test_the_items_of_a_dead_destination_expire_at_their_deadlines() -> None:
    """Each of many items ends at its own deadline, although few of them get an attempt."""

    async def scenario() -> list[float]:
        server, all_items = Server(float("inf"), seconds=1), sender()
        ends: list[float] = []

        async def item(deadline: float) -> None:
            assert await all_items.send("a", server.attempt, deadline) == Expired("status 503")
            ends.append(asyncio.get_running_loop().time() - deadline)

        await asyncio.gather(*(item(100.0 + n) for n in range(200)))
        return ends

    late = virtual_time.run(scenario())
    assert len(late) == 200
    assert max(late) <= BOUNDS.attempt


def test_the_attempts_of_all_destinations_are_bounded() -> None:
    """The number of attempts at once has a bound over all destinations."""

    async def scenario() -> int:
        server = Server(0, seconds=1)
        all_items = DestinationSender(BOUNDS._replace(total=7))
        await asyncio.gather(
            *(all_items.send(f"d{n % 30}", server.attempt, DAY) for n in range(90))
        )
        return server.most_running

    assert virtual_time.run(scenario()) == 7

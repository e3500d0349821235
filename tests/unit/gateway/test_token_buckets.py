"""Token buckets: the size at once, the rate on average, and bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.token_buckets import TokenBuckets

SECOND = 1_000_000_000


class NanosecondClock:
    """A clock in nanoseconds that only the test moves."""

    def __init__(self) -> None:
        self.now = 5 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> NanosecondClock:
    """A clock that stands still."""
    return NanosecondClock()


def taken(buckets: TokenBuckets, key: str, events: int = 1) -> bool:
    """Whether the bucket allows the events, which are then counted."""
    if buckets.wait_seconds(key, events):
        return False
    buckets.take(key, events)
    return True


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 1_000])
def test_a_full_bucket_allows_its_size_and_not_one_more(clock: NanosecondClock, size: int) -> None:
    """Exactly ``size`` events pass at once, and one more after the wait of the bucket."""
    buckets = TokenBuckets(size, 60, clock)
    assert [taken(buckets, "ann") for _ in range(size + 1)] == [True] * size + [False]
    wait = buckets.wait_seconds("ann")
    assert wait == pytest.approx(60 / size, rel=1e-6)
    clock.now += round(wait * SECOND) - 1
    assert not taken(buckets, "ann")
    clock.now += 1
    assert taken(buckets, "ann")
    assert not taken(buckets, "ann")


def test_each_key_has_its_own_bucket(clock: NanosecondClock) -> None:
    """An empty bucket does not affect another one."""
    buckets = TokenBuckets(1, 1, clock)
    assert taken(buckets, "ann")
    assert not taken(buckets, "ann")
    assert taken(buckets, "bob")


def test_several_events_pass_together_or_not_at_all(clock: NanosecondClock) -> None:
    """A refused group of events counts for nothing."""
    buckets = TokenBuckets(10, 10, clock)
    assert taken(buckets, "ann", 7)
    assert not taken(buckets, "ann", 4)
    assert buckets.wait_seconds("ann", 4) == 1
    assert taken(buckets, "ann", 3)
    assert not taken(buckets, "ann", 1)


def test_events_can_be_given_back(clock: NanosecondClock) -> None:
    """Events that are given back can be taken again, and never more than the size."""
    buckets = TokenBuckets(2, 2, clock)
    assert taken(buckets, "ann", 2)
    buckets.give_back("ann", 1)
    assert taken(buckets, "ann")
    assert not taken(buckets, "ann")
    buckets.give_back("bob", 1)
    assert not taken(buckets, "bob", 3)


def test_the_number_of_buckets_is_bounded(clock: NanosecondClock) -> None:
    """The least recently used bucket is forgotten for a new one; full buckets take no memory."""
    buckets = TokenBuckets(1, 1, clock, max_buckets=2)
    assert taken(buckets, "ann")
    assert taken(buckets, "bob")
    assert len(buckets) == 2
    assert not taken(buckets, "ann")
    assert taken(buckets, "eve")
    assert len(buckets) == 2
    assert not taken(buckets, "eve")
    clock.now += SECOND
    assert len(buckets) == 0


@given(
    st.integers(1, 20),
    st.integers(1, 30),
    st.lists(st.tuples(st.integers(0, 5 * SECOND), st.integers(1, 5)), max_size=60),
)
def test_no_time_has_more_events_than_the_bucket_and_the_rate_allow(
    size: int, seconds: int, steps: list[tuple[int, int]]
) -> None:
    """In each interval, at most ``size`` events pass, and those of the rate; waits are exact."""
    clock = NanosecondClock()
    buckets = TokenBuckets(size, seconds, clock)
    passed: list[tuple[int, int]] = []
    for pause, events in steps:
        clock.now += pause
        wait = buckets.wait_seconds("ann", events)
        if events <= size and wait:
            clock.now += round(wait * SECOND)
            assert buckets.wait_seconds("ann", events) == 0
        if events <= size:
            buckets.take("ann", events)
            passed.append((clock.now, events))
    for begin, (first, _) in enumerate(passed):
        total = 0
        for now, events in passed[begin:]:
            total += events
            event_ns = seconds * SECOND // size
            assert (total - size) * event_ns <= now - first

"""Recalled texts are erased beside the batches that follow."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest

from schemas.errors import FatalFailure, TransientFailure
from sinks.cassandra import erasing
from sinks.cassandra.erasing import LONGEST_SECONDS, Erasing
from sinks.cassandra.erasure import Recall

SECONDS = 10.0


def recall(number: int) -> Recall:
    """Somebody learns of a recall."""
    return Recall(number, f"u{number}", number, "c", frozenset({1}))


@contextmanager
def erasing_by(erase: object, clock: list[float] | None = None) -> Iterator[Erasing]:
    """Erasures in threads, which end with the block."""
    times = clock or [0.0]
    found = Erasing(erase, lambda: times[0])  # type: ignore[arg-type]  # each test has its own
    try:
        yield found
    finally:
        found.close()


def test_nothing_waits_for_an_erasure_but_the_commit() -> None:
    """A batch returns at once; that something is pending is seen until it is erased."""
    go = Event()
    with erasing_by(lambda _: go.wait(SECONDS)) as found:
        found.add([recall(1), recall(2)])
        found.make_room()
        assert found.is_pending()
        go.set()
        assert found.wait(SECONDS)
        assert not found.is_pending()


def test_an_erasure_that_fails_for_now_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cassandra is away for a while: the erasure is not lost."""
    monkeypatch.setattr(erasing, "_RETRY_SECONDS", 0.0)
    failures = [TransientFailure("away"), TransientFailure("away")]

    def erase(_: Recall) -> None:
        if failures:
            raise failures.pop()

    with erasing_by(erase) as found:
        found.add([recall(1)])
        assert found.wait(SECONDS)
    assert not failures


def test_an_erasure_that_cannot_pass_ends_the_sink() -> None:
    """Who asks whether it may commit gets the failure, again and again."""

    def erase(_: Recall) -> None:
        raise FatalFailure("there is no table")

    with erasing_by(erase) as found:
        found.add([recall(1)])
        for ask in (lambda: found.wait(SECONDS), found.is_pending, found.make_room):
            with pytest.raises(FatalFailure):
                ask()


def test_recalls_without_a_pause_do_not_put_off_commits_for_ever() -> None:
    """After the bound on time a batch waits until all is erased."""
    go, clock = Event(), [0.0]
    with erasing_by(lambda _: go.wait(SECONDS), clock) as found:
        found.add([recall(1)])
        clock[0] = LONGEST_SECONDS + 1
        go.set()
        found.make_room()
        assert not found.is_pending()


def test_too_many_erasures_hold_up_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory that they take is bounded."""
    monkeypatch.setattr(erasing, "MOST_PENDING", 3)
    go = Event()
    with erasing_by(lambda _: go.wait(SECONDS)) as found, ThreadPoolExecutor(1) as batch:
        found.add([recall(number) for number in range(8)])
        room = batch.submit(found.make_room)
        assert not room.done()
        go.set()
        room.result(SECONDS)
        assert not found.is_pending()

"""A gateway records its live connections: at the first one, in each interval, at the last end."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack

import pytest

from gateway.contacts.connection_records import AT_ONCE, ConnectionRecords
from schemas.errors import ServerUnavailable
from schemas.live_people import LIVE_RENEWAL

RENEWAL = LIVE_RENEWAL.total_seconds()


class Appender:
    """A `LiveAppender` that notes the records."""

    def __init__(self) -> None:
        self.appended: list[tuple[str, bool]] = []
        self.error: Exception | None = None
        self.is_full = False

    def append(self, user: str, *, is_live: bool) -> asyncio.Future[None]:
        """See `LiveAppender`."""
        if self.is_full:
            raise ServerUnavailable("full")
        self.appended.append((user, is_live))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.error:
            future.set_exception(self.error)
        else:
            future.set_result(None)
        return future

    def take(self) -> list[tuple[str, bool]]:
        """The records since the last call."""
        taken, self.appended = self.appended, []
        return taken


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def appender() -> Appender:
    """The log."""
    return Appender()


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock()


@pytest.fixture
def live(appender: Appender, clock: Clock) -> ConnectionRecords:
    """The records of a gateway."""
    return ConnectionRecords(appender, clock)


async def test_only_the_first_and_the_last_connection_of_a_person_write(
    live: ConnectionRecords, appender: Appender
) -> None:
    """Further connections cost nothing. The end of the last one is a record without a value."""
    with live.connected("ann"):
        with live.connected("ann"), live.connected("bob"):
            assert appender.take() == [("ann", True), ("bob", True)]
        assert appender.take() == [("bob", False)]
    assert appender.take() == [("ann", False)]
    with pytest.raises(ConnectionError), live.connected("ann"):
        raise ConnectionError
    assert appender.take() == [("ann", True), ("ann", False)]


async def test_only_active_connections_count(live: ConnectionRecords, appender: Appender) -> None:
    """A person without an active connection is not live; the end of an inactive one is no news."""
    with live.connected("ann") as page, live.connected("ann") as phone:
        appender.take()
        page.note(is_active=False)
        page.note(is_active=False)
        assert appender.take() == []
        phone.note(is_active=False)
        assert appender.take() == [("ann", False)]
        page.note(is_active=True)
        page.note(is_active=True)
        assert appender.take() == [("ann", True)]
        page.note(is_active=False)
        appender.take()
    assert appender.take() == []


async def test_an_inactive_connection_is_not_renewed(
    live: ConnectionRecords, appender: Appender, clock: Clock
) -> None:
    """Its record ends at once, and is not repeated."""
    with live.connected("ann") as page:
        page.note(is_active=False)
        appender.take()
        clock.now += 2 * RENEWAL
        await live.renew()
        assert appender.take() == []


async def test_a_record_is_repeated_before_it_expires(
    live: ConnectionRecords, appender: Appender, clock: Clock
) -> None:
    """Each person's record is repeated once in each interval; a finished connection's never."""
    with ExitStack() as stack:
        stack.enter_context(live.connected("ann"))
        clock.now += 10
        stack.enter_context(live.connected("bob"))
        appender.take()
        for now, due in [(RENEWAL - 1, []), (RENEWAL, ["ann"]), (RENEWAL + 10, ["bob"])]:
            clock.now = 1_000 + now
            await live.renew()
            assert appender.take() == [(user, True) for user in due]
        clock.now = 1_000 + 2 * RENEWAL
        await live.renew()
        assert appender.take() == [("ann", True)]
    appender.take()
    clock.now += 10 * RENEWAL
    await live.renew()
    assert appender.take() == []


async def test_many_records_leave_room_for_other_tasks(
    live: ConnectionRecords, appender: Appender, clock: Clock
) -> None:
    """The renewal of many people is one pass with pauses; nobody is renewed twice."""
    with ExitStack() as stack:
        for number in range(3 * AT_ONCE):
            stack.enter_context(live.connected(f"u{number}"))
        appender.take()
        clock.now += RENEWAL
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        await live.renew()
        other.cancel()
        assert turns >= 3
        assert len(set(appender.appended)) == len(appender.appended) == 3 * AT_ONCE


async def test_a_failed_record_ends_no_connection(
    live: ConnectionRecords, appender: Appender, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A full queue and a broker that is away are logged without a name, and repeated later."""
    with caplog.at_level(logging.INFO):
        appender.is_full = True
        with live.connected("ann"):
            appender.is_full, appender.error = False, ServerUnavailable("away")
            clock.now += RENEWAL
            await live.renew()
            await asyncio.sleep(0)
            appender.error = None
            clock.now += RENEWAL
            await live.renew()
            await asyncio.sleep(0)
            assert appender.take() == [("ann", True), ("ann", True)]
    assert "live connections are not recorded" in caplog.text
    assert "live connections are recorded again" in caplog.text
    assert "ann" not in caplog.text

"""The gateway records contacts, and no request fails or hangs because of that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import pytest

from gateway.contacts import contact_log as contacts
from gateway.contacts.contact_log import AGAIN_SECONDS, CONTACT_WAIT_SECONDS, NotedContacts
from schemas.errors import ServerUnavailable
from tests.support import virtual_time

INTERVAL = 1_000.0


class Appender:
    """`ContactAppender` that succeeds at once, fails, or does not answer."""

    def __init__(self) -> None:
        self.appended: list[tuple[float, str]] = []
        self.futures: list[asyncio.Future[None]] = []
        self.error: Exception | None = None
        self.is_full = False
        self.answers = True

    def append(self, user: str) -> asyncio.Future[None]:
        """See `ContactAppender`."""
        if self.is_full:
            raise ServerUnavailable("full")
        loop = asyncio.get_running_loop()
        self.appended.append((loop.time(), user))
        future: asyncio.Future[None] = loop.create_future()
        self.futures.append(future)
        if self.error:
            future.set_exception(self.error)
        elif self.answers:
            future.set_result(None)
        return future


def now() -> float:
    """The time of the loop."""
    return asyncio.get_running_loop().time()


def noted(appender: Appender) -> NotedContacts:
    """Contacts by the virtual clock."""
    return NotedContacts(appender, INTERVAL, now)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a test in virtual time."""
    virtual_time.run(main)


def test_a_contact_of_a_person_is_recorded_once_in_an_interval() -> None:
    """A person has one contact in an interval, whatever the number of requests."""

    async def main() -> None:
        appender = Appender()
        people = noted(appender)
        for _ in range(3):
            await people.note("ann")
        await people.note("bob")
        await asyncio.sleep(INTERVAL - 1)
        await people.note("ann")
        await asyncio.sleep(1)
        await people.note("ann")
        assert appender.appended == [(0, "ann"), (0, "bob"), (INTERVAL, "ann")]

    run(main())


def test_the_contact_of_an_open_connection_is_recorded_in_each_interval() -> None:
    """An open connection repeats its contact once in each interval until the connection ends."""

    async def main() -> None:
        appender = Appender()
        keeping = asyncio.create_task(noted(appender).keep("ann"))
        await asyncio.sleep(3.5 * INTERVAL)
        keeping.cancel()
        await asyncio.sleep(3 * INTERVAL)
        assert [at for at, _ in appender.appended] == [0, INTERVAL, 2 * INTERVAL, 3 * INTERVAL]

    run(main())


def test_an_open_connection_repeats_a_contact_that_failed() -> None:
    """A failed contact is repeated soon; else the sink would take the person for inactive."""

    async def main() -> None:
        appender = Appender()
        appender.error = ServerUnavailable("away")
        keeping = asyncio.create_task(noted(appender).keep("ann"))
        await asyncio.sleep(AGAIN_SECONDS / 2)
        appender.error = None
        await asyncio.sleep(1.5 * AGAIN_SECONDS)
        assert [at for at, _ in appender.appended] == [0, AGAIN_SECONDS]
        keeping.cancel()

    run(main())


def test_a_request_waits_within_a_bound() -> None:
    """A request waits up to a bound; while a contact is unconfirmed, later ones do not wait."""

    async def main() -> None:
        appender = Appender()
        appender.answers = False
        people = noted(appender)
        await people.note("ann")
        assert now() == CONTACT_WAIT_SECONDS
        await people.note("ann")
        await people.note("bob")
        assert now() == CONTACT_WAIT_SECONDS
        assert [user for _, user in appender.appended] == ["ann", "bob"]
        for future in appender.futures:
            future.set_result(None)
        await asyncio.sleep(0)
        await people.note("ann")
        assert len(appender.appended) == 2

    run(main())


@pytest.mark.parametrize("is_full", [True, False])
def test_a_failure_is_logged_and_the_next_request_tries_again(
    caplog: pytest.LogCaptureFixture, *, is_full: bool
) -> None:
    """A full queue and a failed contact fail no request; the log contains no names."""

    async def main() -> None:
        appender = Appender()
        people = noted(appender)
        appender.is_full = is_full
        appender.error = ServerUnavailable("away")
        await people.note("ann")
        appender.is_full, appender.error = False, None
        await people.note("ann")
        await asyncio.sleep(0)
        await people.note("ann")
        assert len(appender.appended) == (1 if is_full else 2)

    caplog.set_level(logging.INFO)
    run(main())
    assert "contacts are not recorded" in caplog.text
    assert "contacts are recorded again" in caplog.text
    assert "ann" not in caplog.text


def test_concurrent_requests_share_a_contact() -> None:
    """Requests at the same time share one contact, which outlives a cancelled request."""

    async def main() -> None:
        appender = Appender()
        appender.answers = False
        people = noted(appender)
        first, second = (asyncio.create_task(people.note("ann")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        (future,) = appender.futures
        assert not future.cancelled()
        future.set_result(None)
        await second
        assert now() == 0
        await people.note("ann")
        assert len(appender.appended) == 1

    run(main())


def test_the_number_of_remembered_people_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of remembered people has a bound; a forgotten person is noted again."""
    monkeypatch.setattr(contacts, "MAX_REMEMBERED_PEOPLE", 2)

    async def main() -> None:
        appender = Appender()
        people = noted(appender)
        for user in ("ann", "bob", "cid", "cid", "bob", "ann"):
            await people.note(user)
            await asyncio.sleep(0)
        assert [user for _, user in appender.appended] == ["ann", "bob", "cid", "ann"]

    run(main())

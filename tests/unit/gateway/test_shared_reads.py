"""One query to a server at a time, and no caller gets a result from before its call."""

from __future__ import annotations

import asyncio
from threading import Event

import pytest

from gateway.log.shared_reads import SharedReads
from schemas.errors import ServerUnavailable
from tests.support.waiting import until

SECONDS = 30.0


class Server:
    """A server with a state, and queries that wait until the test lets them end."""

    def __init__(self) -> None:
        self.state = 0
        self.begun = 0
        self.may_end = Event()

    def look(self) -> int:
        """Return the state at the start of the query."""
        found = self.state
        self.begun += 1
        assert self.may_end.wait(SECONDS)
        return found

    async def until_begun(self, looks: int) -> None:
        """Wait until this number of queries has begun."""

        async def is_begun() -> bool:
            return self.begun >= looks

        await until(is_begun, SECONDS)


async def test_requests_during_a_read_share_the_next_read() -> None:
    """Requests during a query share the next one: the running one may have an older state."""
    server = Server()
    looks = SharedReads(server.look, "the state")
    first = asyncio.create_task(looks.after_now())
    await server.until_begun(1)
    server.state = 1
    later = [asyncio.create_task(looks.after_now()) for _ in range(10)]
    await asyncio.sleep(0)
    server.may_end.set()
    assert await first == 0
    assert await asyncio.gather(*later) == [1] * 10
    assert server.begun == 2


@pytest.mark.parametrize("cancelled", ["under way", "next"])
async def test_a_cancelled_caller_does_not_affect_other_callers(cancelled: str) -> None:
    """A cancelled caller stops neither the running query nor the next one of other callers."""
    server = Server()
    looks = SharedReads(server.look, "the state")
    first = asyncio.create_task(looks.after_now())
    await server.until_begun(1)
    server.state = 1
    second, third = (asyncio.create_task(looks.after_now()) for _ in range(2))
    await asyncio.sleep(0)
    leaving = first if cancelled == "under way" else second
    leaving.cancel()
    await asyncio.wait([leaving])
    server.state = 2
    fourth = asyncio.create_task(looks.after_now())
    await asyncio.sleep(0)
    assert server.begun == 1
    server.may_end.set()
    assert [await third, await fourth] == [2, 2]
    assert server.begun == 2
    assert await looks.after_now() == 2


async def test_an_unreachable_server_fails_one_read() -> None:
    """A failed query gives its callers None, and the next caller starts a new query."""
    errors = [ServerUnavailable("away"), TimeoutError()]

    def look() -> int:
        if errors:
            raise errors.pop()
        return 7

    looks = SharedReads(look, "the state")
    assert [await looks.after_now() for _ in range(3)] == [None, None, 7]

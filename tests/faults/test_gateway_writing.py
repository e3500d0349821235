"""People post through a gateway whose broker stops, hangs and dies, or which is killed itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import Popen
from typing import Final

import pytest
from aiohttp import ClientError, ClientSession
from pydantic import SecretStr

from devstack.ports import free_ports
from devstack.stack import Stack
from schemas.settings import Settings
from tests.conftest import Servers
from tests.support.gateway import SECRET
from tests.support.live import gateway
from tests.support.pipeline import prepare
from tests.support.posting import (
    LOST,
    Attempt,
    Poster,
    assert_each_is_in_the_log_once,
    assert_repetitions_have_the_first_outcome,
    until_each_202_is_sequenced,
)
from tests.support.processes import running
from tests.support.servers import addresses
from tests.support.waiting import until
from tests.support.writing import WritingPerson

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0
PEOPLE: Final = ("ann", "bob", "chen", "dora")
CONVERSATIONS: Final = ("first", "second")
KILLS: Final = 3
MOST_KILLS: Final = 10
"""Kills until one of them has hit a request."""

REFUSED: Final = Attempt(503, "unavailable")
UNKNOWN: Final = Attempt(504, "delivery-unknown")
ANSWERED: Final = {Attempt(201), Attempt(202), REFUSED, UNKNOWN}


@pytest.fixture
def settings(stack: Stack, tmp_path: Path) -> Settings:
    """A deployment on servers that a test may kill."""
    settings = Servers(tmp_path, addresses(stack)).settings(
        partitions=2, sync_partitions=2, http_commands_per_second=1_000,
        http_conversation_commands_per_second=1_000,
        jwt_secret=SecretStr(SECRET), gateway_port=free_ports(1)[0],
    )  # fmt: skip
    prepare(settings)
    return settings


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    """The HTTP client session."""
    async with ClientSession() as session:
        yield session


async def until_ended(process: Popen[bytes]) -> None:
    """Waits until a process ends."""
    while process.poll() is None:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.1)


@asynccontextmanager
async def sequencing(settings: Settings) -> AsyncIterator[None]:
    """A worker, and the next one whenever a worker ends because its broker is away."""

    async def run_workers() -> None:
        while True:
            with running(settings, "stream_processors") as worker:
                await until_ended(worker)

    workers = asyncio.create_task(run_workers())
    try:
        yield
    finally:
        workers.cancel()
        with suppress(asyncio.CancelledError):
            await workers


class Crowd:
    """Two people post to each of two conversations, all at the same time."""

    def __init__(self, settings: Settings, http: ClientSession) -> None:
        self._owner = WritingPerson(settings, PEOPLE[0], http)
        self.posters = [
            Poster(settings, user, CONVERSATIONS[number % 2], http)
            for number, user in enumerate(PEOPLE)
        ]
        self._ending = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Creates the conversations, and begins to post."""
        for conv_id in CONVERSATIONS:

            async def is_created(conv_id: str = conv_id) -> bool:
                with suppress(ClientError):
                    answer = await self._owner.create(conv_id, *PEOPLE[1:])
                    return answer.status == 201 or answer.kind == "already-exists"
                return False

            await until(is_created, PATIENCE)
        self._tasks = [
            asyncio.create_task(poster.post_until(self._ending)) for poster in self.posters
        ]

    async def have_delivered(self, more: int) -> None:
        """Waits until each person has delivered this number of further messages."""
        goals = [poster.delivered + more for poster in self.posters]

        async def all_have() -> bool:
            self.check()
            return all(p.delivered >= goal for p, goal in zip(self.posters, goals, strict=True))

        await until(all_have, PATIENCE)

    async def have_received(self, attempt: Attempt) -> None:
        """Waits until each person receives one more response of this kind."""
        before = [poster.statuses()[attempt] for poster in self.posters]

        async def all_have() -> bool:
            self.check()
            return all(
                p.statuses()[attempt] > n for p, n in zip(self.posters, before, strict=True)
            )

        await until(all_have, PATIENCE)

    @property
    def lost(self) -> int:
        """The number of requests without a response."""
        return sum(poster.statuses()[Attempt(LOST)] for poster in self.posters)

    def check(self) -> None:
        """Asserts that nobody's task has failed."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def end(self) -> None:
        """Ends after the message that each person is sending."""
        self._ending.set()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._tasks)


async def test_an_outage_of_the_broker_loses_and_doubles_nothing(
    stack: Stack, settings: Settings, http: ClientSession
) -> None:
    """While the broker is killed, stopped or hangs, each request ends within its bound.

    The response is the outcome, a 202, a 503 for a command that is never sent, or a 504 for a
    command that was on its way; each failure has ``Retry-After``. Afterwards each message is in
    the log once, with the SeqId of its response, and each status of a 202 is its outcome.
    """
    crowd = Crowd(settings, http)
    async with sequencing(settings), gateway(settings), asyncio.timeout(800):
        await crowd.begin()
        await crowd.have_delivered(5)
        for outage in ("kill", "stop", "hang"):
            await interrupt(stack, outage, crowd)
            await crowd.have_delivered(5)
        await crowd.end()
        assert {each for p in crowd.posters for each in p.statuses()} <= ANSWERED
        await assert_each_is_in_the_log_once(settings, crowd.posters)
        await assert_repetitions_have_the_first_outcome(crowd.posters, 3)
        await until_each_202_is_sequenced(crowd.posters)
        await assert_each_is_in_the_log_once(settings, crowd.posters)


async def interrupt(stack: Stack, how: str, crowd: Crowd) -> None:
    """Takes the broker away until each person was refused, and brings it back."""
    match how:
        case "kill":
            await asyncio.to_thread(stack.kill, "kafka")  # the supervisor restarts it
        case "stop":
            await asyncio.to_thread(stack.stop, "kafka")
            await crowd.have_received(REFUSED)
        case _:
            await asyncio.to_thread(stack.supervisor.signal, "kafka", "STOP")
            await crowd.have_received(REFUSED)
            await asyncio.to_thread(stack.supervisor.signal, "kafka", "CONT")
    await asyncio.to_thread(stack.start, "kafka")
    await asyncio.to_thread(stack.await_ready, "kafka", seconds=300)


async def test_a_killed_gateway_loses_and_doubles_nothing(
    settings: Settings, http: ClientSession
) -> None:
    """A gateway is killed several times while people post, at any point of their requests.

    Each request without a response is repeated at the next gateway. Each message is in the log
    once, and messages with a response have its SeqId.
    """
    crowd, chance = Crowd(settings, http), random.Random(11)
    async with sequencing(settings), asyncio.timeout(800):
        for number in range(MOST_KILLS):
            with running(settings, "gateway") as process:
                if number == 0:
                    await crowd.begin()
                await crowd.have_delivered(3)
                await asyncio.sleep(chance.uniform(0, 0.1))
                process.kill()
            if number + 1 >= KILLS and crowd.lost > 0:
                break
        with running(settings, "gateway"):
            await crowd.have_delivered(3)
            await crowd.end()
            assert crowd.lost > 0
            await assert_each_is_in_the_log_once(settings, crowd.posters)
            await assert_repetitions_have_the_first_outcome(crowd.posters, 3)
        await assert_each_is_in_the_log_once(settings, crowd.posters)

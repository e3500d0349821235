"""Inactive recipients on the real servers: skipped by the sink, and complete after they return."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import pytest
from aiohttp import ClientSession, ClientTimeout
from cassandra.cluster import Session
from pydantic import SecretStr

from backends.cassandra.session import cassandra_session
from backends.stages.stage_health import pipeline_health
from devstack.ports import free_ports
from schemas.ids import uuid7
from schemas.lifetime import SKIPPED_SINCE
from schemas.records import CreateConversation
from schemas.settings import Settings
from tests.support.auditing import report_on
from tests.support.commands import message
from tests.support.gateway import SECRET, Caller
from tests.support.gateway_rows import PatientCaller
from tests.support.pipeline import prepare
from tests.support.processes import running
from tests.support.rebuild import follow, rebuild
from tests.support.servers import Servers
from tests.support.topics import publish
from tests.support.waiting import until

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0
ACTIVE: Final = "ann"
INACTIVE: Final = "bob"
CONV: Final = "c1"
FIRST: Final = 20
"""Messages before the sync sink is killed, and again after the kill."""


class Pipeline(NamedTuple):
    """A running pipeline that skips inactive recipients, without its sync sink."""

    settings: Settings
    session: Session
    gateway: Caller

    async def say(self, numbers: range) -> None:
        """Publishes messages of `ACTIVE`."""
        commands = [message(n, ACTIVE, CONV, text=f"number {n}") for n in numbers]
        await asyncio.to_thread(publish, self.settings, commands)

    def skipped_up_to(self) -> int:
        """The newest sync SeqId in the skip note of `INACTIVE`; -1 without a note."""
        select = "SELECT newest FROM sync_expiry WHERE user_id = %s AND since = %s"
        row = self.session.execute(select, (INACTIVE, SKIPPED_SINCE)).one()
        return -1 if row is None else int(row[0])

    def rows(self, user: str) -> list[Any]:
        """The rows of a sync timeline."""
        select = "SELECT sync_seq FROM sync WHERE user_id = %s AND bucket = 0"
        return list(self.session.execute(select, (user,)))

    async def until_last(self, user: str, text: str) -> list[dict[str, Any]]:
        """Waits until the last record of a sync timeline is this message; returns all records."""
        found: list[dict[str, Any]] = []

        async def is_last() -> bool:
            nonlocal found
            answer = await self.gateway.get("/v1/sync", user, limit=500)
            found = [one["record"] for one in answer.body.get("records", [])]
            return bool(found) and found[-1].get("content", {}).get("text") == text

        await until(is_last, PATIENCE)
        return found


@pytest.fixture
def settings(servers: Servers) -> Iterator[Settings]:
    """Runs the sequencer, the message sink and the gateway."""
    made = servers.settings(
        partitions=1, sync_partitions=1, jwt_secret=SecretStr(SECRET),
        gateway_port=free_ports(1)[0], skip_inactive=True,
    )  # fmt: skip
    prepare(made)
    with (
        running(made, "stream_processors"),
        running(made, "sinks", "message"),
        running(made, "gateway"),
    ):
        yield made


@pytest.fixture
async def pipeline(settings: Settings) -> AsyncIterator[Pipeline]:
    """Connects to the store and to the gateway once it serves."""
    url = f"http://{settings.gateway_host}:{settings.gateway_port}"
    with cassandra_session(settings) as session:
        session.set_keyspace(settings.keyspace)
        async with _caller(url, settings) as gateway:
            await until(lambda: _is_ready(gateway), PATIENCE)
            yield Pipeline(settings, session, gateway)


@asynccontextmanager
async def _caller(url: str, settings: Settings) -> AsyncIterator[Caller]:
    async with ClientSession(timeout=ClientTimeout(total=60)) as http:
        yield PatientCaller(url, http, settings)


async def _is_ready(gateway: Caller) -> bool:
    try:
        return (await gateway.get("/healthz")).status == 200
    except OSError:
        return False


class Returning:
    """A conversation of an active and an inactive recipient. Each method is a step of the test."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def begin(self) -> None:
        """Creates the conversation; one of the two has a contact."""
        create = CreateConversation(
            conv_id=CONV, sender=ACTIVE, device_id="d", client_msg_id=uuid7(0, 0),
            members=[INACTIVE], join="invite",
        )  # fmt: skip
        assert (await self._pipeline.gateway.get("/v1/sync", ACTIVE)).status == 200  # a contact
        await asyncio.to_thread(publish, self._pipeline.settings, [create])

    async def kill_the_sink_while_it_skips(self) -> None:
        """The sync sink is killed after its first skip notes."""
        pipeline = self._pipeline
        with running(pipeline.settings, "sinks", "sync") as sink:
            await pipeline.say(range(1, FIRST))
            await until(lambda: _true(pipeline.skipped_up_to() >= 0), PATIENCE)
            await pipeline.say(range(FIRST, 2 * FIRST))
            sink.kill()
            sink.wait(PATIENCE)

    async def assert_only_the_active_recipient_has_rows(self) -> None:
        """The active recipient has every record; the other one has a skip note and no row."""
        pipeline = self._pipeline
        records = await pipeline.until_last(ACTIVE, f"number {2 * FIRST - 1}")
        assert [one["seq"] for one in records] == list(range(1, 2 * FIRST + 1))
        await until(lambda: _true(pipeline.skipped_up_to() >= 2 * FIRST - 1), PATIENCE)
        assert pipeline.rows(INACTIVE) == []

    async def return_and_rebuild(self) -> None:
        """The inactive recipient returns, is trimmed, rebuilds, and follows later messages."""
        pipeline = self._pipeline
        answer = await pipeline.gateway.get("/v1/sync", INACTIVE, after=0)
        assert (answer.status, answer.body["type"].rpartition(":")[2]) == (410, "trimmed")
        rebuilt = await rebuild(pipeline.gateway, INACTIVE, 500)
        assert sorted(rebuilt.entries[CONV]) == list(range(1, 2 * FIRST + 1))
        await pipeline.say(range(2 * FIRST, 2 * FIRST + 3))
        await until(lambda: _true(pipeline.rows(INACTIVE)), PATIENCE)

        async def has_all() -> bool:
            nonlocal rebuilt
            rebuilt = await follow(pipeline.gateway, INACTIVE, rebuilt)
            return len(rebuilt.entries[CONV]) == 2 * FIRST + 3

        await until(has_all, PATIENCE)

    async def assert_verified_and_counted(self) -> None:
        """The audit finds no difference, and the counts of `im status` are exact."""
        settings = self._pipeline.settings
        with running(settings, "sinks", "search"):
            report = await asyncio.to_thread(report_on, settings, PATIENCE)
        assert report.differences == []
        assert report.section("sync-store").counts["skip notes"] == 1
        # 2 * FIRST entries for the active one, then three for each, with or without a kill.
        expected = {"written": 2 * FIRST + 3 + 3, "skipped": 2 * FIRST, "dead_letters": 0}
        await until(lambda: _true(expected.items() <= _counts(settings).items()), PATIENCE)


async def test_a_returning_recipient_misses_nothing(pipeline: Pipeline) -> None:
    """An inactive recipient who returns gets every message, although the sync sink was killed.

    While inactive, the recipient has no rows, also after a restart of the sink. After the return,
    the first page is `trimmed`, the rebuild has every message, and later messages are rows again.
    An active recipient of the same messages has all of them as rows. `im verify` finds no
    difference. The counts of `im status` are exact, in spite of the kill.
    """
    returning = Returning(pipeline)
    await returning.begin()
    await returning.kill_the_sink_while_it_skips()
    with running(pipeline.settings, "sinks", "sync"):
        await returning.assert_only_the_active_recipient_has_rows()
        await returning.return_and_rebuild()
        await returning.assert_verified_and_counted()


def _counts(settings: Settings) -> dict[str, int]:
    """The counts of the sync sink, as `im status` shows them."""
    return pipeline_health(settings)["sink-sync"].counts


async def _true(condition: object) -> bool:
    return bool(condition)

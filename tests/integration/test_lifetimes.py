"""Sync records really expire, in Kafka and in Cassandra, and a reader is informed of a loss."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Final, NamedTuple

import pytest
from cassandra.cluster import Session
from pydantic import SecretStr

from audit.report import AuditReport
from backends.cassandra.session import cassandra_session
from backends.kafka.clients import partition_of
from consumers.cursor import MemoryCursors
from consumers.follower import SyncFollower
from gateway.log.barrier import LogBarrier
from schemas.errors import Trimmed
from schemas.ids import uuid7
from schemas.number_types import SeqId, SyncSeqId
from schemas.records import CreateConversation, MarkRead
from schemas.settings import Settings
from tests.support.auditing import report_on
from tests.support.commands import message
from tests.support.gateway import SECRET, Caller, serving
from tests.support.gateway_rows import cassandra_store
from tests.support.gateway_store import FakeIndex
from tests.support.pipeline import prepare, sinks
from tests.support.processes import running
from tests.support.rebuild import follow, rebuild
from tests.support.servers import Servers
from tests.support.topics import publish
from tests.support.waiting import until

pytestmark = pytest.mark.servers

LIFETIME: Final = 30
"""In seconds. The pipeline's time for a record, and an audit of all, is well below this time."""

PATIENCE: Final = 90.0
RETENTION_SECONDS: Final = 400.0
"""A broker that the tests did not start may check for old records only every five minutes."""

AWAY: Final = "bob"
"""The owner of a device that is away for longer than a lifetime."""

_SHARD: Final = partition_of(AWAY, 2)
_NAMES: Final = [name for name in map("u{}".format, range(40)) if partition_of(name, 2) != _SHARD]
SENDER, IDLE, BUSY = _NAMES[:3]
"""People on the other shard, so that no record of theirs delays the expiry of the records of
`AWAY`: a sender to everybody, a person who gets nothing for a while, and one who gets records all
the time.
"""


class Deployment(NamedTuple):
    """The whole pipeline, with a short lifetime."""

    settings: Settings
    session: Session
    gateway: Caller

    async def say(self, conv_id: str, *numbers: int) -> None:
        """Publishes messages of `SENDER`, by their number."""
        commands = [message(n, SENDER, conv_id, text=f"number {n}") for n in numbers]
        await asyncio.to_thread(publish, self.settings, commands)

    async def mark(self, conv_id: str, reader: str, seq: int) -> None:
        """Publishes a person's read mark."""
        command = MarkRead(
            conv_id=conv_id,
            sender=reader,
            device_id="d",
            client_msg_id=uuid7(0, 0),
            seq=SeqId(seq),
        )
        await asyncio.to_thread(publish, self.settings, [command])

    async def create(self, conv_id: str, member: str) -> None:
        """Creates a conversation of two people."""
        command = CreateConversation(
            conv_id=conv_id, sender=SENDER, device_id="d", client_msg_id=uuid7(0, 0),
            members=[member], join="invite",
        )  # fmt: skip
        await asyncio.to_thread(publish, self.settings, [command])

    async def sync(self, user: str, after: int) -> Any:
        """The response to a request for a page large enough for all records."""
        return await self.gateway.get("/v1/sync", user, after=after, limit=500)

    async def until_synced(self, user: str, after: int, count: int) -> list[dict[str, Any]]:
        """Waits for this number of records above a cursor, and returns the records."""
        found: list[dict[str, Any]] = []

        async def are_there() -> bool:
            nonlocal found
            found = (await self.sync(user, after)).body.get("records", [])
            return len(found) >= count

        await until(are_there, PATIENCE)
        assert len(found) == count
        return found

    def rows(self, user: str) -> list[int]:
        """The sync SeqIds of the person's rows that are still in Cassandra."""
        select = "SELECT sync_seq FROM sync WHERE user_id = %s AND bucket = 0"
        return [sync_seq for (sync_seq,) in self.session.execute(select, (user,))]

    def audit(self) -> AuditReport:
        """The result of `im verify`."""
        return report_on(self.settings, PATIENCE)


@pytest.fixture(scope="module")
def pipeline(servers: Servers) -> Iterator[Settings]:
    """A running pipeline without any data."""
    settings = servers.settings(
        partitions=2, sync_partitions=2, jwt_secret=SecretStr(SECRET),
        sync_lifetime=timedelta(seconds=LIFETIME),
    )  # fmt: skip
    prepare(settings)
    with running(settings, "stream_processors"), sinks(settings):
        yield settings


@pytest.fixture
async def deployment(pipeline: Settings) -> AsyncIterator[Deployment]:
    """The pipeline with a gateway, after a message has passed all stages."""
    with cassandra_session(pipeline) as session:
        session.set_keyspace(pipeline.keyspace)
        async with (
            cassandra_store(pipeline) as store,
            serving(pipeline, store, FakeIndex(), barrier=LogBarrier(pipeline)) as gateway,
        ):
            deployed = Deployment(pipeline, session, gateway)
            warm = secrets.token_hex(4)
            await deployed.create(warm, warm)
            await deployed.until_synced(warm, -1, 1)
            yield deployed


@asynccontextmanager
async def traffic(deployed: Deployment, conv_id: str) -> AsyncIterator[list[int]]:
    """A conversation that continues during the block; yields the numbers of its messages."""
    said: list[int] = []
    stop = asyncio.Event()

    async def go_on() -> None:
        for number in itertools.count():
            await deployed.say(conv_id, number)
            said.append(number)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.2)
            if stop.is_set():
                break

    task = asyncio.create_task(go_on())
    try:
        yield said
    finally:
        stop.set()
        await task


class Device:
    """A connected device: it reads on from its cursor without long pauses."""

    def __init__(self, deployed: Deployment, user: str) -> None:
        self._deployed = deployed
        self._user = user
        self.cursor = -1
        self.seqs: list[int] = []

    async def read_on(self) -> None:
        """Reads all new records. Asserts that the device is never trimmed."""
        answer = await self._deployed.sync(self._user, self.cursor)
        assert answer.status == 200, answer.body
        self.seqs += [one["record"]["seq"] for one in answer.body["records"]]
        self.cursor = answer.body["next"]


def places(records: list[dict[str, Any]]) -> list[int]:
    """The sync SeqIds of records."""
    return [one["sync_seq"] for one in records]


async def test_a_device_that_was_offline_too_long_rebuilds(deployment: Deployment) -> None:
    """With an expired cursor a reader gets all later records or `trimmed`, never a part of them.

    This holds for the gateway and for the follower. The device then rebuilds itself while people
    continue to write to it, and has everything, including the unread count. A connected device
    loses nothing. A person to whom nobody wrote is not trimmed, even when the next message
    arrives.
    """
    for conv_id, member in [("c-away", AWAY), ("c-idle", IDLE), ("c-busy", BUSY)]:
        await deployment.create(conv_id, member)
    begin = time.time()
    await deployment.say("c-away", *range(10))
    await deployment.mark("c-away", AWAY, 4)
    await deployment.say("c-idle", *range(3))
    there = await deployment.until_synced(AWAY, -1, 12)
    cursor = there[3]["sync_seq"]
    idle_cursor = (await deployment.until_synced(IDLE, -1, 4))[-1]["sync_seq"]
    busy = Device(deployment, BUSY)

    whole_answers = 0
    async with traffic(deployment, "c-busy") as said:
        while (answer := await deployment.sync(AWAY, cursor)).status == 200:
            assert places(answer.body["records"]) == places(there[4:])
            whole_answers += 1
            await busy.read_on()
            assert time.time() < begin + PATIENCE + LIFETIME, "it is never trimmed"
        told_at = time.time()

        async def has_expired() -> bool:
            await busy.read_on()
            return not deployment.rows(AWAY) and not deployment.rows(IDLE)

        await until(has_expired, PATIENCE)
        assert said[-1] > 10
    assert whole_answers > 0
    assert told_at >= begin + LIFETIME

    answer = await deployment.sync(AWAY, cursor)
    assert (answer.status, answer.body["type"].rpartition(":")[2]) == (410, "trimmed")
    assert (answer.body["cursor"], answer.body["oldest"]) == (cursor, there[-1]["sync_seq"] + 1)
    idle = await deployment.sync(IDLE, idle_cursor)
    assert (idle.status, idle.body["records"]) == (200, [])
    await deployment.say("c-idle", 3)
    (news,) = await deployment.until_synced(IDLE, idle_cursor, 1)
    assert news["record"]["seq"] == 5
    await until_count(busy, 1 + len(said))
    assert busy.seqs == list(range(1, 2 + len(said)))

    await until_follower_is_trimmed(deployment.settings, cursor)

    async with traffic_to_the_rebuilding(deployment):
        rebuilt = await rebuild(deployment.gateway, AWAY, last=5)
        assert rebuilt.heads["c-away"] >= 11
        assert len(rebuilt.entries["c-away"]) == 5
        first = min(rebuilt.entries["c-away"])

        async def has_all() -> bool:
            nonlocal rebuilt
            rebuilt = await follow(deployment.gateway, AWAY, rebuilt)
            return rebuilt.heads["c-away"] == 11 + 40

        await until(has_all, PATIENCE)  # at once: the device stays connected while they talk
    assert sorted(s for s in rebuilt.entries["c-away"] if s >= first) == list(range(first, 52))
    texts = {s: e["content"]["text"] for s, e in rebuilt.entries["c-away"].items() if s >= first}
    assert all(texts[seq] == f"number {seq - 2}" for seq in texts)
    # Three of the 50 messages were read, by a record that has expired since then.
    assert rebuilt.readings["c-away"].unread == 47


@asynccontextmanager
async def traffic_to_the_rebuilding(deployed: Deployment) -> AsyncIterator[None]:
    """Forty messages, from before the block until all are sent."""

    async def talk() -> None:
        for number in range(10, 50):
            await deployed.say("c-away", number)

    task = asyncio.create_task(talk())
    try:

        async def has_begun() -> bool:
            return len((await deployed.sync(AWAY, -1)).body["records"]) >= 5

        await until(has_begun, PATIENCE)
        yield
    finally:
        await task


async def until_count(device: Device, count: int) -> None:
    """Waits until a device has this number of records."""

    async def has_them() -> bool:
        await device.read_on()
        return len(device.seqs) >= count

    await until(has_them, PATIENCE)


async def until_follower_is_trimmed(settings: Settings, cursor: int) -> None:
    """Waits until Kafka has dropped the records after a cursor; the follower raises `Trimmed`.

    After the follower forgets its cursor, it follows on.
    """
    cursors = MemoryCursors()
    cursors.save(AWAY, "default", SyncSeqId(cursor))

    raised: list[Trimmed] = []

    async def is_trimmed() -> bool:
        try:
            SyncFollower(settings, AWAY, cursors).close()
        except Trimmed as trimmed:
            raised.append(trimmed)
        return bool(raised)

    await until(is_trimmed, RETENTION_SECONDS)
    assert raised[0].cursor == cursor
    assert raised[0].oldest > cursor + 1
    cursors.forget(AWAY, "default")
    SyncFollower(settings, AWAY, cursors).close()


async def test_the_audit_accepts_expired_rows_only(deployment: Deployment) -> None:
    """The audit ignores rows whose lifetime is over, and names a row that is missing within it."""
    await deployment.create("c-old", "old")
    await deployment.say("c-old", *range(5))
    await deployment.until_synced("old", -1, 6)
    await deployment.create("c-new", "new")
    async with traffic(deployment, "c-new"):  # so that Kafka retains expired rows

        async def has_expired() -> bool:
            return not deployment.rows("old")

        await until(has_expired, PATIENCE + LIFETIME)
    report = await asyncio.to_thread(deployment.audit)
    assert report.differences == []
    section = report.section("sync-store").counts
    assert section["expired"] > 0
    assert section["rows"] > 0

    cursor = (await deployment.sync("old", -1)).body["next"]
    await deployment.say("c-old", 5)
    (record,) = await deployment.until_synced("old", cursor, 1)
    deployment.session.execute(
        "DELETE FROM sync WHERE user_id = 'old' AND bucket = 0 AND sync_seq = %s",
        (record["sync_seq"],),
    )
    report = await asyncio.to_thread(deployment.audit)
    (missing,) = [each for each in report.differences if each.seq]
    assert (missing.check, missing.kind) == ("sync-store", "missing")
    assert (missing.conv_id, missing.seq, missing.user) == ("c-old", 7, "old")

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

LIFETIME: Final = 45
"""In seconds. The pipeline's time for a record, and an audit of all, is well below this time."""

PATIENCE: Final = 180.0
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
        """The response to a request for a page large enough for all records.

        The request is repeated after a 503, as by a client: the broker of a busy machine may not
        answer in time.
        """
        answer = None

        async def is_answered() -> bool:
            nonlocal answer
            answer = await self.gateway.get("/v1/sync", user, after=after, limit=500)
            return answer.status != 503

        await until(is_answered, PATIENCE)
        return answer

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


class Absence:
    """A device of `AWAY` that is offline for longer than a lifetime, and the people next to it.

    Each method is a step of the test; the steps build on each other.
    """

    def __init__(self, deployed: Deployment) -> None:
        self._deployed = deployed
        self._begin = 0.0
        self._records: list[dict[str, Any]] = []
        self._idle_cursor = -1
        self._busy = Device(deployed, BUSY)
        self._said_to_busy: list[int] = []
        self.cursor = -1

    async def write_to_everybody(self) -> None:
        """Writes to all three people. The device has applied four of its twelve records."""
        deployed = self._deployed
        for conv_id, member in [("c-away", AWAY), ("c-idle", IDLE), ("c-busy", BUSY)]:
            await deployed.create(conv_id, member)
        self._begin = time.time()
        await deployed.say("c-away", *range(10))
        await deployed.mark("c-away", AWAY, 4)
        await deployed.say("c-idle", *range(3))
        self._records = await deployed.until_synced(AWAY, -1, 12)
        self.cursor = self._records[3]["sync_seq"]
        self._idle_cursor = (await deployed.until_synced(IDLE, -1, 4))[-1]["sync_seq"]

    async def read_whole_pages_until_trimmed(self) -> None:
        """Requests the records after the cursor until they have expired.

        Each page has all of them. The device of `BUSY` reads all the time and is never trimmed.
        """
        whole_pages = 0
        async with traffic(self._deployed, "c-busy") as said:
            while (answer := await self._deployed.sync(AWAY, self.cursor)).status == 200:
                assert places(answer.body["records"]) == places(self._records[4:])
                whole_pages += 1
                await self._busy.read_on()
                assert time.time() < self._begin + PATIENCE + LIFETIME, "it is never trimmed"
            trimmed_at = time.time()
            await until(self._rows_have_expired, PATIENCE)
            assert len(said) > 2
        self._said_to_busy = said
        assert whole_pages > 0
        assert trimmed_at >= self._begin + LIFETIME

    async def _rows_have_expired(self) -> bool:
        await self._busy.read_on()
        return not self._deployed.rows(AWAY) and not self._deployed.rows(IDLE)

    async def receive_trimmed(self) -> None:
        """The response names the cursor, and the position from which all records are stored."""
        answer = await self._deployed.sync(AWAY, self.cursor)
        assert (answer.status, answer.body["type"].rpartition(":")[2]) == (410, "trimmed")
        oldest = self._records[-1]["sync_seq"] + 1
        assert (answer.body["cursor"], answer.body["oldest"]) == (self.cursor, oldest)

    async def continue_after_silence(self) -> None:
        """A person to whom nobody wrote is not trimmed, before and with the next message."""
        idle = await self._deployed.sync(IDLE, self._idle_cursor)
        assert (idle.status, idle.body["records"]) == (200, [])
        await self._deployed.say("c-idle", 3)
        (news,) = await self._deployed.until_synced(IDLE, self._idle_cursor, 1)
        assert news["record"]["seq"] == 5

    async def read_the_rest_of_the_connected_device(self) -> None:
        """The device of `BUSY` has every message."""
        count = 1 + len(self._said_to_busy)
        await until_count(self._busy, count)
        assert self._busy.seqs == list(range(1, 1 + count))

    async def rebuild_while_people_write(self) -> None:
        """The device rebuilds itself from the store and has all messages and the unread count."""
        async with traffic_to_the_rebuilding(self._deployed):
            rebuilt = await rebuild(self._deployed.gateway, AWAY, last=5)
            assert rebuilt.heads["c-away"] >= 11
            assert len(rebuilt.entries["c-away"]) == 5
            first = min(rebuilt.entries["c-away"])

            async def has_all() -> bool:
                nonlocal rebuilt
                rebuilt = await follow(self._deployed.gateway, AWAY, rebuilt)
                return rebuilt.heads["c-away"] == 11 + 40

            await until(has_all, PATIENCE)  # at once: the device stays connected while they talk
        entries = {seq: e for seq, e in rebuilt.entries["c-away"].items() if seq >= first}
        assert sorted(entries) == list(range(first, 52))
        texts = {seq: entry["content"]["text"] for seq, entry in entries.items()}
        assert all(texts[seq] == f"number {seq - 2}" for seq in texts)
        # Three of the 50 messages were read, by a record that has expired since then.
        assert rebuilt.readings["c-away"].unread == 47


async def test_a_device_that_was_offline_too_long_rebuilds(deployment: Deployment) -> None:
    """With an expired cursor a reader gets all later records or `trimmed`, never a part of them.

    This holds for the gateway and for the follower. The device then rebuilds itself while people
    continue to write to it, and has everything, including the unread count. A connected device
    loses nothing. A person to whom nobody wrote is not trimmed, even when the next message
    arrives.
    """
    absence = Absence(deployment)
    await absence.write_to_everybody()
    await absence.read_whole_pages_until_trimmed()
    await absence.receive_trimmed()
    await absence.continue_after_silence()
    await absence.read_the_rest_of_the_connected_device()
    await until_follower_is_trimmed(deployment.settings, absence.cursor)
    await absence.rebuild_while_people_write()


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
    await write_until_expired(deployment)
    report = await asyncio.to_thread(deployment.audit)
    assert report.differences == []
    section = report.section("sync-store").counts
    assert section["expired"] > 0
    assert section["rows"] > 0

    await lose_a_row_within_its_lifetime(deployment)
    report = await asyncio.to_thread(deployment.audit)
    (missing,) = [each for each in report.differences if each.seq]
    assert (missing.check, missing.kind) == ("sync-store", "missing")
    assert (missing.conv_id, missing.seq, missing.user) == ("c-old", 7, "old")


async def write_until_expired(deployed: Deployment) -> None:
    """Writes to a person, and waits until the rows of this person have expired."""
    await deployed.create("c-old", "old")
    await deployed.say("c-old", *range(5))
    await deployed.until_synced("old", -1, 6)
    await deployed.create("c-new", "new")
    async with traffic(deployed, "c-new"):  # so that Kafka retains expired rows

        async def has_expired() -> bool:
            return not deployed.rows("old")

        await until(has_expired, PATIENCE + LIFETIME)


async def lose_a_row_within_its_lifetime(deployed: Deployment) -> None:
    """Deletes the row of a new message."""
    cursor = (await deployed.sync("old", -1)).body["next"]
    await deployed.say("c-old", 5)
    (record,) = await deployed.until_synced("old", cursor, 1)
    deployed.session.execute(
        "DELETE FROM sync WHERE user_id = 'old' AND bucket = 0 AND sync_seq = %s",
        (record["sync_seq"],),
    )

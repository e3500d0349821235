"""Only cursors ahead of the log are refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta

import pytest
from aiohttp import WSServerHandshakeError

from backends.sync_layout.layouts import SyncShards, sync_layout
from gateway.http.tokens import issue_token
from gateway.log.log_ends import LogEnds, ShardEnds
from gateway.log.wake_ups import WakeUps
from schemas.number_types import EpochNumber, Offset, SyncSeqId
from schemas.settings import Settings
from schemas.sync_seq import sync_seq
from tests.support.gateway import serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore, message

SETTINGS = token_settings()


class FakeLog(LogEnds):
    """Ends of a log in memory, by topic and partition."""

    def __init__(self, ends: Mapping[tuple[str, int], int], *, is_live: bool = True) -> None:
        wake_ups = WakeUps()
        wake_ups.now_live(is_live=is_live)
        super().__init__(Settings(), wake_ups)
        self.follow = wake_ups.now_live
        self.there = dict(ends)
        self.looks = 0

    def _read_ends(self) -> ShardEnds:
        self.looks += 1
        counts: dict[str, int] = {}
        for topic, partition in self.there:
            counts[topic] = max(partition + 1, counts.get(topic, 0))
        shards = SyncShards(sync_layout(Settings()), counts)
        places = shards.places
        ends = {n: Offset(self.there[at.topic, at.partition]) for n, at in places.items()}
        return ShardEnds(shards, ends)


@pytest.mark.parametrize(
    ("cursor", "is_ahead"),
    [
        (0, False),
        (9, False),
        (10, True),
        (999_999_999, True),
        (sync_seq(EpochNumber(1), Offset(4)), False),
        (sync_seq(EpochNumber(1), Offset(5)), True),
        (sync_seq(EpochNumber(2), Offset(0)), True),
        ((1 << 63) - 4, True),
    ],
)
async def test_a_cursor_is_compared_with_the_end_of_its_epoch(
    cursor: int, *, is_ahead: bool
) -> None:
    """The end of the person's shard in the cursor's epoch decides; an unknown epoch is ahead."""
    log = FakeLog({("im.sync", 0): 10, ("im.sync-1", 0): 5})
    assert await log.is_ahead("ann", SyncSeqId(cursor)) is is_ahead


async def test_only_the_shards_of_the_recipient_count() -> None:
    """The end of the person's own shard decides, although other shards are longer."""
    log = FakeLog({("im.sync", partition): 1_000 for partition in range(4)})
    (home,) = {partition for partition in range(4) if await _ahead_when_empty(partition)}
    log.there["im.sync", home] = 3
    assert await log.is_ahead("ann", SyncSeqId(3))
    assert not await log.is_ahead("ann", SyncSeqId(2))


async def _ahead_when_empty(partition: int) -> bool:
    ends = {("im.sync", each): 1_000 for each in range(4)}
    return await FakeLog(ends | {("im.sync", partition): 0}).is_ahead("ann", SyncSeqId(0))


async def test_a_recent_record_is_not_ahead() -> None:
    """A cursor above the known end causes a new query, and a cursor below it causes none."""
    log = FakeLog({("im.sync", 0): 10})
    assert not await log.is_ahead("ann", SyncSeqId(9))
    log.there["im.sync", 0] = 11
    assert not await log.is_ahead("ann", SyncSeqId(10))
    looks = log.looks
    assert not await log.is_ahead("ann", SyncSeqId(5))
    assert log.looks == looks


async def test_many_requests_share_one_read_of_the_ends() -> None:
    """50 simultaneous requests with a cursor ahead share at most two queries to the broker."""
    log = FakeLog({("im.sync", 0): 10})
    answers = await asyncio.gather(*(log.is_ahead("ann", SyncSeqId(99)) for _ in range(50)))
    assert all(answers)
    assert log.looks <= 2


async def test_no_cursor_is_refused_without_the_log() -> None:
    """No cursor is refused while the log is unreachable, or when the shard does not exist."""
    log = FakeLog({("im.sync", 0): 10})
    assert await log.is_ahead("ann", SyncSeqId(99))
    log.follow(is_live=False)
    assert not await log.is_ahead("ann", SyncSeqId(99))
    assert not await FakeLog({}).is_ahead("ann", SyncSeqId(99))
    assert not await FakeLog({("im.sync-2", 0): 1}).is_ahead(
        "ann", sync_seq(EpochNumber(1), Offset(7))
    )


async def test_a_gateway_that_has_just_started_refuses_a_cursor_ahead() -> None:
    """Devices connect before the gateway follows the log, and the ends can be read already."""
    assert await FakeLog({("im.sync", 0): 10}, is_live=False).is_ahead("ann", SyncSeqId(99))


async def test_a_cursor_of_lost_records_is_refused_next_to_later_records() -> None:
    """After a restore, the store has records of the next epoch: they do not follow the cursor.

    Nor does the expiry of later records hide that the cursor is ahead.
    """
    store = FakeStore()
    later = sync_seq(EpochNumber(1), Offset(0))
    store.put_synced("ann", 4, message("c", 1))
    store.put_synced("ann", later, message("c", 2))
    log = FakeLog({("im.sync", 0): 5, ("im.sync-1", 0): 1})
    async with serving(SETTINGS, store, FakeIndex(), None, log) as gateway:
        assert len((await gateway.get("/v1/sync", "ann", after=4)).body["records"]) == 1
        for _ in range(2):
            answer = await gateway.get("/v1/sync", "ann", after=7)
            assert (answer.status, answer.body["parameter"]) == (400, "after")
            assert answer.body["type"] == "urn:im-timeline:problem:cursor-ahead"
            store.put_expiry("ann", 1, 2, later)


async def test_a_cursor_ahead_is_a_problem_everywhere() -> None:
    """A page, a wait, a WebSocket and a device's cursor ahead of the log are refused."""
    store = FakeStore()
    store.put_synced("ann", 9, message("c", 1))
    log = FakeLog({("im.sync", 0): 10})
    async with serving(SETTINGS, store, FakeIndex(), None, log) as gateway:
        for path, query in (
            ("/v1/sync", {"after": 10}),
            ("/v1/sync", {"after": 10, "wait": 5}),
        ):
            answer = await gateway.ask(path, "ann", query)
            assert answer.status == 400
            assert answer.body["type"] == "urn:im-timeline:problem:cursor-ahead"
            assert answer.body["parameter"] == "after"
        headers = {"Authorization": f"Bearer {issue_token(SETTINGS, 'ann', timedelta(minutes=1))}"}
        with pytest.raises(WSServerHandshakeError) as refused:
            await gateway.http.ws_connect(f"{gateway.base}/v1/live?after=10", headers=headers)
        assert refused.value.status == 400
        for after in (-1, 8, 9):
            assert (await gateway.get("/v1/sync", "ann", after=after)).status == 200
        register = json.dumps({"device_id": "phone"}).encode()
        assert (await gateway.send("POST", "/v1/devices", "ann", register)).status == 200
        for cursor, status in ((9, 200), (10, 400), (-1, 200)):
            body = json.dumps({"cursor": cursor}).encode()
            path = "/v1/devices/phone/cursor"
            assert (await gateway.send("PUT", path, "ann", body)).status == status

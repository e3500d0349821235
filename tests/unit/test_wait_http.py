"""Requests that wait for the sync timeline, over HTTP, on a store in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import pytest

from gateway import bounds, wake_ups
from gateway.tokens import issue_token, verify_token
from gateway.wake_ups import Wake, WakeUps
from tests.support.gateway import (
    Answer,
    Caller,
    FakeIndex,
    FakeStore,
    message,
    serving,
    token_settings,
)
from tests.support.waiting import until

ANSWER_SECONDS = 10.0
AFTERWARDS_SECONDS = 0.5
"""After the end of a token, when nobody may look any more."""


@pytest.fixture
def store() -> FakeStore:
    """Nothing in it."""
    return FakeStore()


@pytest.fixture
async def woken() -> WakeUps:
    """Wake-ups of a log that is followed; the test is what it tells."""
    woken = WakeUps()
    woken.now_live(is_live=True)
    return woken


@pytest.fixture
async def gateway(store: FakeStore, woken: WakeUps) -> AsyncIterator[Caller]:
    """The gateway, served."""
    async with serving(token_settings(), store, FakeIndex(), woken) as caller:
        yield caller


async def waiting(gateway: Caller, woken: WakeUps, user: str = "ann") -> asyncio.Task[Answer]:
    """A request that waits by now."""
    before = woken.listeners
    task = asyncio.create_task(gateway.get("/v1/sync", user, after=0, wait=30))

    async def listens() -> bool:
        return woken.listeners > before

    await until(listens, ANSWER_SECONDS)
    return task


async def test_who_waits_is_answered_when_something_comes(
    gateway: Caller, store: FakeStore, woken: WakeUps
) -> None:
    """The answer is the store's page; others go on waiting."""
    ann, bob = await waiting(gateway, woken), await waiting(gateway, woken, "bob")
    store.put_synced("ann", 7, message("c", 1))
    started = time.monotonic()
    woken.woke(Wake({"ann": 7}, {}))
    answer = await ann
    assert time.monotonic() - started < ANSWER_SECONDS
    assert [each["sync_seq"] for each in answer.body["records"]] == [7]
    assert (answer.body["next"], answer.body["more"]) == (7, False)
    assert not bob.done()
    bob.cancel()


async def test_a_wait_for_an_entry_that_is_not_stored_yet(
    gateway: Caller, store: FakeStore, woken: WakeUps
) -> None:
    """Its reference is there, and the log has announced nothing."""
    store.put_reference("ann", 7, "c", 1)
    ann = await waiting(gateway, woken)
    assert (await gateway.get("/v1/sync", "ann", after=0)).body == {
        "records": [],
        "next": 0,
        "more": False,
    }
    store.put_message(message("c", 1))
    assert [each["sync_seq"] for each in (await ann).body["records"]] == [7]


async def test_what_is_there_is_answered_at_once(gateway: Caller, store: FakeStore) -> None:
    """So are an empty page after no time at all, and a trimmed timeline."""
    store.put_synced("ann", 7, message("c", 1))
    page = await gateway.get("/v1/sync", "ann", wait=30)
    assert len(page.body["records"]) == 1
    assert (await gateway.get("/v1/sync", "ann", after=7, wait=0)).body["records"] == []
    store.put_expiry("ann", 1, 2, 9)
    assert (await gateway.get("/v1/sync", "ann", after=7, wait=30)).status == 410


async def test_an_empty_page_at_the_end_of_time(gateway: Caller) -> None:
    """The wait has an end, and the cursor stays."""
    page = await gateway.get("/v1/sync", "ann", after=7, wait=1)
    assert page.body == {"records": [], "next": 7, "more": False}


async def test_a_wait_ends_with_the_token(gateway: Caller, store: FakeStore) -> None:
    """With what an expired token gets; nothing is read after that, whatever has come."""
    token = issue_token(gateway.settings, "ann", timedelta(seconds=3))
    expires = verify_token(gateway.settings, token).expires
    headers = {"Authorization": f"Bearer {token}"}
    ask = partial(gateway.ask, "/v1/sync", query={"after": 0, "wait": 30}, headers=headers)
    waits = asyncio.create_task(ask())
    await asyncio.sleep(max(0.0, expires - time.time()) + AFTERWARDS_SECONDS)
    store.put_synced("ann", 7, message("c", 1))
    answer = await waits
    assert answer.status == 401
    assert time.time() < expires + ANSWER_SECONDS
    expired = await ask()
    assert answer.body | {"request_id": ""} == expired.body | {"request_id": ""}
    assert answer.headers["WWW-Authenticate"] == expired.headers["WWW-Authenticate"]


async def test_the_end_of_the_gateway_ends_waits(store: FakeStore, woken: WakeUps) -> None:
    """Nobody's request is cut off: who waits gets an empty page."""
    async with serving(token_settings(), store, FakeIndex(), woken) as gateway:
        ann = await waiting(gateway, woken)
        woken.close()
        assert (await ann).body == {"records": [], "next": 0, "more": False}


async def test_who_goes_away_does_not_wait(gateway: Caller, woken: WakeUps) -> None:
    """A connection that is gone is no listener any more."""
    (await waiting(gateway, woken)).cancel()

    async def gone() -> bool:
        return woken.listeners == 0

    await until(gone, ANSWER_SECONDS)


async def test_waits_are_bounded_and_hold_up_nobody(
    store: FakeStore, woken: WakeUps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By person and in all; and they take no place of requests that do not wait."""
    monkeypatch.setattr(bounds, "MAX_REQUESTS", 1)
    monkeypatch.setattr(wake_ups, "MAX_LISTENERS_OF_ONE", 2)
    monkeypatch.setattr(wake_ups, "MAX_LISTENERS", 3)
    async with serving(token_settings(), store, FakeIndex(), woken) as gateway:
        tasks = [await waiting(gateway, woken) for _ in range(2)]
        refused = await gateway.get("/v1/sync", "ann", wait=5)
        assert refused.status == 429
        assert refused.body["type"] == "urn:im-timeline:problem:too-many-waiting"
        assert refused.headers["Retry-After"] == "1"
        tasks.append(await waiting(gateway, woken, "bob"))
        assert (await gateway.get("/v1/sync", "eve", wait=5)).status == 429
        assert (await gateway.get("/v1/sync", "eve")).status == 200
        for task in tasks:
            task.cancel()


async def test_a_store_that_goes_away_is_told(
    gateway: Caller, store: FakeStore, woken: WakeUps
) -> None:
    """A wait does not hide that nothing can be read."""
    ann = await waiting(gateway, woken)
    store.up = False
    woken.woke(Wake({"ann": 7}, {}))
    assert (await ann).status == 503

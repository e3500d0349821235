"""Requests that wait for the sync timeline, over HTTP, on a store in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import pytest

from gateway import bounds
from gateway.http.tokens import issue_token, verify_token
from gateway.log import wake_ups
from gateway.log.wake_ups import Wake, WakeUps
from gateway.token_keys.key_source import fixed_keys
from schemas.number_types import SyncSeqId
from tests.support.gateway import Answer, Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore, message
from tests.support.waiting import until

ANSWER_SECONDS = 20.0
"""A bound for an answer, below the time that each request waits for records."""

AFTERWARDS_SECONDS = 0.5
"""A time after the end of a token in which the store must not be read any more."""


@pytest.fixture
def store() -> FakeStore:
    """An empty store."""
    return FakeStore()


@pytest.fixture
async def gateway(store: FakeStore, woken: WakeUps) -> AsyncIterator[Caller]:
    """A running gateway."""
    async with serving(token_settings(), store, FakeIndex(), woken) as caller:
        yield caller


async def waiting(gateway: Caller, woken: WakeUps, user: str = "ann") -> asyncio.Task[Answer]:
    """Start a request, and return it when it waits."""
    before = woken.listeners
    task = asyncio.create_task(gateway.get("/v1/sync", user, after=0, wait=30))

    async def listens() -> bool:
        return woken.listeners > before

    await until(listens, ANSWER_SECONDS)
    return task


async def test_a_waiting_request_is_answered_when_a_record_arrives(
    gateway: Caller, store: FakeStore, woken: WakeUps
) -> None:
    """A wake-up answers the person's request with the store's page; other requests wait on."""
    ann, bob = await waiting(gateway, woken), await waiting(gateway, woken, "bob")
    store.put_synced("ann", 7, message("c", 1))
    started = time.monotonic()
    woken.woke(Wake({"ann": SyncSeqId(7)}, {}))
    answer = await ann
    assert time.monotonic() - started < ANSWER_SECONDS
    assert [each["sync_seq"] for each in answer.body["records"]] == [7]
    assert (answer.body["next"], answer.body["more"]) == (7, False)
    assert not bob.done()
    bob.cancel()


async def test_a_wait_includes_an_entry_that_is_not_stored_yet(
    gateway: Caller, store: FakeStore, woken: WakeUps
) -> None:
    """A waiting request is answered when a missing entry is stored, without a wake-up."""
    store.put_reference("ann", 7, "c", 1)
    ann = await waiting(gateway, woken)
    assert (await gateway.get("/v1/sync", "ann", after=0)).body == {
        "records": [],
        "next": 0,
        "more": False,
    }
    store.put_message(message("c", 1))
    assert [each["sync_seq"] for each in (await ann).body["records"]] == [7]


async def test_an_existing_record_is_returned_at_once(gateway: Caller, store: FakeStore) -> None:
    """Existing records, a wait of 0 and a trimmed timeline are answered at once."""
    store.put_synced("ann", 7, message("c", 1))
    page = await gateway.get("/v1/sync", "ann", wait=30)
    assert len(page.body["records"]) == 1
    assert (await gateway.get("/v1/sync", "ann", after=7, wait=0)).body["records"] == []
    store.put_expiry("ann", 1, 2, 9)
    assert (await gateway.get("/v1/sync", "ann", after=7, wait=30)).status == 410


async def test_a_wait_ends_with_an_empty_page_at_its_timeout(gateway: Caller) -> None:
    """A wait ends after its time with an empty page and the same cursor."""
    page = await gateway.get("/v1/sync", "ann", after=7, wait=1)
    assert page.body == {"records": [], "next": 7, "more": False}


async def test_a_wait_ends_with_the_token(gateway: Caller, store: FakeStore) -> None:
    """A wait that outlives its token ends with the 401 of an expired token, and reads nothing."""
    token = issue_token(gateway.settings, "ann", timedelta(seconds=3))
    expires = verify_token(gateway.settings, fixed_keys(gateway.settings).keys, token).expires
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
    """A stop of the gateway answers a waiting request with an empty page."""
    async with serving(token_settings(), store, FakeIndex(), woken) as gateway:
        ann = await waiting(gateway, woken)
        woken.close()
        assert (await ann).body == {"records": [], "next": 0, "more": False}


async def test_a_disconnected_client_ends_its_wait(gateway: Caller, woken: WakeUps) -> None:
    """A disconnected client is no longer a listener."""
    (await waiting(gateway, woken)).cancel()

    async def gone() -> bool:
        return woken.listeners == 0

    await until(gone, ANSWER_SECONDS)


async def test_waits_are_bounded_and_delay_no_other_request(
    store: FakeStore, woken: WakeUps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waits are limited by person and in total, and do not count as requests in progress."""
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
        refused = await gateway.get("/v1/sync", "eve", wait=5)
        assert refused.status == 429
        assert refused.body["type"] == "urn:im-timeline:problem:too-many-waiting-in-all"
        assert (await gateway.get("/v1/sync", "eve")).status == 200
        for task in tasks:
            task.cancel()


async def test_an_unreachable_store_ends_a_wait_with_a_problem(
    gateway: Caller, store: FakeStore, woken: WakeUps
) -> None:
    """A wake-up with an unreachable store answers the wait with a 503."""
    ann = await waiting(gateway, woken)
    store.up = False
    woken.woke(Wake({"ann": SyncSeqId(7)}, {}))
    assert (await ann).status == 503

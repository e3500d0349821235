"""The WebSocket, on a store in memory."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import warnings
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, Final

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError
from msgspec import Struct

from gateway import bounds
from gateway.http import live_socket
from gateway.http.frames import PROTOCOL
from gateway.http.tokens import issue_token
from gateway.live.live_session import LiveSession
from gateway.log import wake_ups
from gateway.log.record_feed import LoggedRecord
from gateway.log.wake_ups import Wake, WakeUps
from schemas.codec import encode
from schemas.lifetime import SKIPPED_SINCE, SKIPPED_UNTIL
from schemas.number_types import BucketNumber, SeqId, SyncSeqId
from tests.support.described import assert_message
from tests.support.gateway import Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore, message
from tests.support.waiting import until

SETTINGS = token_settings()
ANSWER_SECONDS: Final = 20.0


@pytest.fixture
def store() -> FakeStore:
    """Ann is a member of the pulled conversation c and has one record; bob left it."""
    store = FakeStore()
    store.put_conversation("c", 3, "pull")
    store.put_change("ann", "c", 1, joined=True)
    store.put_change("bob", "c", 1, joined=True)
    store.put_change("bob", "c", 3, joined=False)
    store.put_synced("ann", 1, message("c", 1))
    return store


@pytest.fixture
async def gateway(store: FakeStore, woken: WakeUps) -> AsyncIterator[Caller]:
    """A running gateway."""
    async with serving(SETTINGS, store, FakeIndex(), woken) as caller:
        yield caller


def token(user: str = "ann", seconds: float = 60) -> str:
    """A bearer token."""
    return issue_token(SETTINGS, user, timedelta(seconds=seconds))


async def connect(
    gateway: Caller, user: str = "ann", after: int = -1, seconds: float = 60
) -> ClientWebSocketResponse:
    """Open a connection and read its first answer."""
    socket = await gateway.http.ws_connect(
        f"{gateway.base}/v1/live?after={after}",
        headers={"Authorization": f"Bearer {token(user, seconds)}"},
    )
    assert await next_message(socket) == {"kind": "begun", "next": after}
    return socket


async def next_message(socket: ClientWebSocketResponse) -> Any:
    """The next answer, which must match the AsyncAPI document."""
    answer = await socket.receive_json(timeout=ANSWER_SECONDS)
    assert_message("live", answer["kind"], answer)
    return answer


async def ended(socket: ClientWebSocketResponse) -> tuple[int | None, str]:
    """Code and reason of the close frame, which must be the next frame."""
    end = await socket.receive(timeout=ANSWER_SECONDS)
    assert end.type is WSMsgType.CLOSE
    return end.data, end.extra or ""


async def test_records_and_heads_arrive_when_they_are_stored(
    gateway: Caller, store: FakeStore, woken: WakeUps
) -> None:
    """Stored records come first, then new ones; only members get heads of a conversation."""
    ann, bob = await connect(gateway), await connect(gateway, "bob")
    page = await next_message(ann)
    assert (page["kind"], page["next"], page["more"]) == ("records", 1, False)
    assert [each["sync_seq"] for each in page["records"]] == [1]
    store.put_synced("ann", 5, message("c", 4))
    woken.woke(Wake({"ann": SyncSeqId(5)}, {}))
    assert [each["record"]["seq"] for each in (await next_message(ann))["records"]] == [4]
    store.put_conversation("c", 9, "pull")
    woken.woke(Wake({}, {"c": SeqId(9)}))
    assert await next_message(ann) == {"kind": "head", "conv_id": "c", "seq": 9}
    store.put_synced("bob", 6, message("d", 1))
    woken.woke(Wake({"bob": SyncSeqId(6)}, {}))
    assert (await next_message(bob))["kind"] == "records"  # bob gets no head before it


async def test_messages_of_the_log_arrive_before_they_are_stored(
    gateway: Caller, store: FakeStore, woken: WakeUps
) -> None:
    """After one record from the store, the next messages come from the log, others do not."""
    ann = await connect(gateway)
    assert (await next_message(ann))["next"] == 1

    def log(sync_seq: int, seq: int, *, is_message: bool = True) -> None:
        value = encode(message("c", seq)) if is_message else None
        place = SyncSeqId(sync_seq)
        woken.woke(Wake({"ann": place}, {}, [LoggedRecord(("ann",), ("sync", 0), place, value)]))

    log(5, 4)
    store.put_synced("ann", 5, message("c", 4))
    assert (await next_message(ann))["next"] == 5
    log(7, 5)
    received = await next_message(ann)
    assert (received["next"], received["records"][0]["record"]["seq"]) == (7, 5)
    log(9, 6, is_message=False)
    log(11, 7)
    with pytest.raises(TimeoutError):
        await ann.receive(timeout=0.3)
    for sync_seq, seq in ((7, 5), (9, 6), (11, 7)):
        store.put_synced("ann", sync_seq, message("c", seq))
    received = await next_message(ann)
    assert [each["sync_seq"] for each in received["records"]] == [9, 11]


async def test_an_entry_arrives_when_it_is_stored(gateway: Caller, store: FakeStore) -> None:
    """A missing entry is sent when the store has it, without a wake-up from the log."""
    store.put_reference("ann", 5, "c", 4)
    store.put_synced("ann", 6, message("c", 5))
    socket = await connect(gateway)
    assert [each["sync_seq"] for each in (await next_message(socket))["records"]] == [1]
    store.put_message(message("c", 4))
    assert [each["sync_seq"] for each in (await next_message(socket))["records"]] == [5, 6]


async def test_a_connection_begins_after_its_cursor(gateway: Caller, store: FakeStore) -> None:
    """A connection starts after its cursor, so the device gets no record twice."""
    for sync_seq in range(2, 6):
        store.put_synced("ann", sync_seq, message("c", sync_seq))
    socket = await connect(gateway, after=2)
    assert [each["sync_seq"] for each in (await next_message(socket))["records"]] == [3, 4, 5]


async def test_a_trimmed_timeline_is_reported(gateway: Caller, store: FakeStore) -> None:
    """An expired cursor gets the same problem as over HTTP, and its own close code."""
    store.put_expiry("ann", 1, 2, 8)
    socket = await connect(gateway, after=3)
    problem = (await next_message(socket))["problem"]
    assert problem["type"] == "urn:im-timeline:problem:trimmed"
    assert (problem["cursor"], problem["oldest"]) == (3, 9)
    assert await ended(socket) == (4410, "trimmed")


async def test_a_returning_device_receives_trimmed_for_skipped_records(
    gateway: Caller, store: FakeStore, woken: WakeUps
) -> None:
    """A skip note above the cursor ends a connection, at its begin or when the note is written."""
    store.put_expiry("ann", SKIPPED_SINCE, SKIPPED_UNTIL, 8)
    returned = await connect(gateway, after=1)
    assert (await next_message(returned))["problem"]["oldest"] == 9
    assert await ended(returned) == (4410, "trimmed")
    connected = await connect(gateway, after=8)
    store.put_expiry("ann", SKIPPED_SINCE, SKIPPED_UNTIL, 20)
    woken.woke(Wake({"ann": SyncSeqId(20)}, {}))
    problem = (await next_message(connected))["problem"]
    assert (problem["cursor"], problem["oldest"]) == (8, 21)
    assert await ended(connected) == (4410, "trimmed")


async def test_an_open_connection_is_a_contact(store: FakeStore, woken: WakeUps) -> None:
    """A connection records a contact before it begins, and repeats the contact until its end."""
    contacts = Kept()
    async with serving(SETTINGS, store, FakeIndex(), woken, contacts=contacts) as caller:
        socket = await connect(caller, after=1)
        assert contacts.noted == ["ann"]

        async def is_kept() -> bool:
            return contacts.held == {"ann"}

        await until(is_kept, ANSWER_SECONDS)
        await socket.close()

        async def is_over() -> bool:
            return not contacts.held

        await until(is_over, ANSWER_SECONDS)


class Kept:
    """`gateway.contacts.contact_log.Contacts` that records single and repeated contacts."""

    def __init__(self) -> None:
        self.noted: list[str] = []
        self.held: set[str] = set()

    async def note(self, user: str) -> None:
        """See `Contacts`."""
        self.noted.append(user)

    async def keep(self, user: str) -> None:
        """See `Contacts`."""
        self.held.add(user)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.held.discard(user)


async def connect_briefly(gateway: Caller) -> ClientWebSocketResponse:
    """Open a connection whose token ends soon. A busy machine needs a longer token to connect."""
    for seconds in (2, 4, 8):
        with contextlib.suppress(WSServerHandshakeError, TypeError):  # refused, or already closed
            return await connect(gateway, after=1, seconds=seconds)
    return await connect(gateway, after=1, seconds=16)


async def test_a_connection_ends_when_its_token_expires(gateway: Caller) -> None:
    """A connection ends when its token expires."""
    socket = await connect_briefly(gateway)
    assert await ended(socket) == (4401, "token expired")


async def test_a_busy_connection_ends_when_its_token_expires(
    gateway: Caller, store: FakeStore, woken: WakeUps
) -> None:
    """The token's end closes a connection during a stream, and during a wait for the store."""
    feeding = asyncio.create_task(feed(store, woken))
    try:
        assert await last(await connect_briefly(gateway)) == (4401, "token expired")
    finally:
        feeding.cancel()
    waits = await connect_briefly(gateway)
    store.up = False
    assert await last(waits) == (4401, "token expired")


async def last(socket: ClientWebSocketResponse) -> tuple[int | None, str]:
    """Code and reason of the close frame, after any number of answers."""
    while (came := await socket.receive(timeout=ANSWER_SECONDS)).type is WSMsgType.TEXT:
        pass
    assert came.type is WSMsgType.CLOSE
    return came.data, came.extra or ""


async def feed(store: FakeStore, woken: WakeUps) -> None:
    """Store and announce one record after another until cancelled."""
    for sync_seq in itertools.count(2):
        store.put_synced("ann", sync_seq, message("c", sync_seq))
        woken.woke(Wake({"ann": SyncSeqId(sync_seq)}, {}))
        await asyncio.sleep(0.02)


async def test_a_connection_ends_with_the_gateway(store: FakeStore, woken: WakeUps) -> None:
    """An orderly stop of the gateway closes each connection with a code."""
    async with serving(SETTINGS, store, FakeIndex(), woken) as gateway:
        socket = await connect(gateway, after=1)
        woken.close()
        assert await ended(socket) == (1012, "the gateway ends")


async def test_a_client_that_does_not_read_is_disconnected(
    gateway: Caller,
    store: FakeStore,
    woken: WakeUps,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A client that reads nothing is disconnected within a bounded time, with a bounded buffer."""
    caplog.set_level("INFO")
    monkeypatch.setattr(live_socket, "SLOW_SECONDS", 0.3)
    monkeypatch.setattr(bounds, "CLOSE_SECONDS", 0.3)
    store.put_message(message("c", 2, text="x" * 8_000))
    for sync_seq in range(2, 4_000):  # 32 MB, more than the kernel's buffers
        store.put_reference("ann", sync_seq, "c", 2)
    socket = await gateway.http.ws_connect(
        f"{gateway.base}/v1/live?limit=500", headers={"Authorization": f"Bearer {token()}"}
    )
    transport = socket._conn.transport  # type: ignore[union-attr]  # noqa: SLF001 - no other way
    assert transport is not None
    transport.pause_reading()

    async def is_gone() -> bool:
        return "4408 slow" in caplog.text and woken.listeners == 0

    await until(is_gone, ANSWER_SECONDS)


async def test_connections_are_bounded(gateway: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connections of one person are limited; a closed connection frees its place."""
    monkeypatch.setattr(wake_ups, "MAX_LISTENERS_OF_ONE", 1)
    socket = await connect(gateway, after=1)
    with pytest.raises(WSServerHandshakeError) as refused:
        await connect(gateway, after=1)
    assert refused.value.status == 429
    await socket.close()
    async with asyncio.timeout(ANSWER_SECONDS):
        while True:
            try:
                await connect(gateway, after=1)
                break
            except WSServerHandshakeError:
                await asyncio.sleep(0.05)


class Ending(FakeStore):
    """Ends a session at its first read of the store."""

    ends: Callable[[], object]

    async def sync_buckets(self, user: str, first: BucketNumber, limit: int) -> list[BucketNumber]:
        asyncio.get_running_loop().call_soon(self.ends)
        return await super().sync_buckets(user, first, limit)


async def test_a_session_that_ends_at_once_leaves_no_task(woken: WakeUps) -> None:
    """A session cancelled at once leaves no coroutine that was never awaited."""
    store = Ending()
    store.put_conversation("c", 3, "pull")
    store.put_change("ann", "c", 1, joined=True)
    with warnings.catch_warnings(record=True) as complaints, woken.listening("ann") as listener:
        warnings.simplefilter("always")
        listener.heads["c"] = SeqId(3)
        session = LiveSession(store, listener, SyncSeqId(0), 3, nowhere)
        running = asyncio.create_task(session.run())
        store.ends = running.cancel
        with contextlib.suppress(asyncio.CancelledError):
            await running
        del session, running
        gc.collect()
    assert [str(each.message) for each in complaints] == []


async def nowhere(_answer: Struct) -> None:
    """Discard an answer."""


async def test_a_connection_waits_for_an_unreachable_store(
    gateway: Caller, store: FakeStore
) -> None:
    """A connection waits for an unreachable store, and continues when the store answers."""
    store.up = False
    socket = await gateway.http.ws_connect(
        f"{gateway.base}/v1/live", headers={"Authorization": f"Bearer {token()}"}
    )
    with pytest.raises(TimeoutError):
        await socket.receive(timeout=0.2)
    store.up = True
    assert (await next_message(socket))["kind"] == "begun"
    assert (await next_message(socket))["kind"] == "records"


async def test_a_request_without_an_upgrade_is_refused(gateway: Caller) -> None:
    """A plain request is a 426, and a bad parameter is a 400 before the upgrade."""
    answer = await gateway.get("/v1/live", "ann")
    assert (answer.status, answer.headers["Upgrade"]) == (426, "websocket")
    assert answer.body["type"] == "urn:im-timeline:problem:upgrade-required"
    with pytest.raises(WSServerHandshakeError) as refused:
        await connect(gateway, after=-2)
    assert refused.value.status == 400


async def test_a_token_is_accepted_as_a_subprotocol(
    gateway: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    """Browsers send the token as a subprotocol, which is neither sent back nor logged.

    A token in the query, or in two places, is refused.
    """
    caplog.set_level("DEBUG")
    secret = token()
    async with gateway.http.ws_connect(
        f"{gateway.base}/v1/live?after=1", protocols=(PROTOCOL, f"bearer.{secret}")
    ) as socket:
        assert socket.protocol == PROTOCOL
        assert (await next_message(socket))["kind"] == "begun"
    for protocols in ([f"bearer.{secret}"], [PROTOCOL, "bearer.x"], [PROTOCOL], ["other"]):
        with pytest.raises(WSServerHandshakeError) as refused:
            await gateway.http.ws_connect(f"{gateway.base}/v1/live", protocols=protocols)
        assert refused.value.status == 401
    both = {"Authorization": f"Bearer {secret}"}
    with pytest.raises(WSServerHandshakeError) as refused:
        await gateway.http.ws_connect(
            f"{gateway.base}/v1/live", protocols=[PROTOCOL, f"bearer.{secret}"], headers=both
        )
    assert refused.value.status == 401
    with pytest.raises(WSServerHandshakeError):
        await gateway.http.ws_connect(f"{gateway.base}/v1/live?token={secret}")
    logged = [r for r in caplog.records if r.name.startswith(("gateway", "aiohttp"))]
    assert logged
    assert all(secret not in record.getMessage() for record in logged)

"""Hostile peers are disconnected within a bound, and delay other clients at most by a bound.

The bounds of the gateway are shortened here; `docs/gateway.md` has the table.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Final, TypeAlias

import pytest

from gateway import bounds
from gateway.bounds import MAX_LINE_BYTES
from gateway.http import live_socket
from gateway.log.wake_ups import WakeUps
from schemas.codec import encode
from tests.support.gateway import Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore, message
from tests.support.peers import ANSWER_SECONDS, Latency, Peer, frame, head, peer, upgrade
from tests.support.waiting import until

SETTINGS = token_settings()
Short: TypeAlias = Callable[[str], None]
OTHERS_SECONDS: Final = 0.5
"""The maximum time of another client's request meanwhile, while the machine runs the process."""

LARGE: Final = 1_000
"""Records of 8 KB, in total more than the socket buffers of both sides."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that no client reaches by itself, however busy the machine is."""
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "WRITE_SECONDS", "CLOSE_SECONDS"):
        monkeypatch.setattr(bounds, name, 2 * ANSWER_SECONDS)
    monkeypatch.setattr(bounds, "SWEEP_SECONDS", 0.1)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Short:
    """Shortens a bound of the gateway to a second, so that it ends within a test."""
    return lambda name: monkeypatch.setattr(bounds, name, 1.0)


@pytest.fixture
async def woken() -> WakeUps:
    """Wake-ups of a connected log."""
    woken = WakeUps()
    woken.now_live(is_live=True)
    return woken


@pytest.fixture
async def gateway(woken: WakeUps) -> AsyncIterator[Caller]:
    """A gateway at which ann has a long sync timeline, and bob an empty one."""
    store = FakeStore()
    large = encode(message("c", 1, text="x" * 8_000))
    for sync_seq in range(LARGE):
        store.put_record("ann", sync_seq, large)
    async with serving(SETTINGS, store, FakeIndex(), woken) as caller:
        yield caller


async def test_bodies_that_never_arrive_delay_only_their_sender(
    gateway: Caller, short: Short, monkeypatch: pytest.MonkeyPatch
) -> None:
    """256 requests of one person without their bodies do not block other people or health."""
    short("BODY_SECONDS")
    monkeypatch.setattr(bounds, "PLACE_SECONDS", 0.2)
    begun = time.monotonic()
    request = head(gateway, "POST /v1/devices", "ann", "Content-Length: 20")
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(peer(gateway)) for _ in range(256)]
        for each in peers:
            await each.send(request)
        assert (await gateway.get("/healthz")).status == 200
        assert await Latency(gateway).measure(20) < OTHERS_SECONDS
        answers = [await each.answer() for each in peers]
    assert {answer.status for answer in answers} == {408, 429}
    rounds = 1 + int((time.monotonic() - begun) / bounds.BODY_SECONDS)  # places are given again
    assert sum(answer.status == 408 for answer in answers) <= rounds * bounds.MAX_REQUESTS_OF_ONE
    assert all(answer.problem["status"] == answer.status for answer in answers)


async def test_a_slow_body_ends_the_request(gateway: Caller, short: Short) -> None:
    """The time of a whole body is bounded, so single bytes do not prolong it."""
    short("BODY_SECONDS")
    async with peer(gateway) as slow:
        await slow.send(head(gateway, "POST /v1/devices", "ann", "Content-Length: 60000"))
        trickling = asyncio.create_task(trickle(slow))
        try:
            assert (await slow.answer()).problem["type"].endswith("too-slow")
            await slow.ends()
        finally:
            trickling.cancel()


async def trickle(slow: Peer) -> None:
    """Send a byte at intervals until cancelled."""
    while True:
        await slow.send(b"x")
        await asyncio.sleep(0.05)


ENDLESS = {
    "chunks": b"1\r\nx\r\n",
    "chunks with extensions": b"1;" + b"x" * 500 + b"\r\nx\r\n",
    "trailers": b"0\r\n" + b"A: x\r\n" * 100,
    "empty lines": b"\r\n",
}


@pytest.mark.parametrize("line", ["POST /v1/devices", "GET /v1/sync?limit=1", "POST /no"])
@pytest.mark.parametrize("name", ENDLESS)
async def test_a_body_without_an_end_is_cut_off(
    gateway: Caller, line: str, name: str, short: Short
) -> None:
    """A connection with an endless body ends, and other clients are not delayed."""
    short("BODY_SECONDS")
    async with peer(gateway) as flood:
        await flood.send(head(gateway, line, "ann", "Transfer-Encoding: chunked"))
        flooding = asyncio.create_task(flood_with(flood, ENDLESS[name]))
        try:
            assert await Latency(gateway).measure(10) < OTHERS_SECONDS
            await flood.ends()
        finally:
            flooding.cancel()


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["silent", "slow"])
async def test_missing_headers_end_the_connection(
    gateway: Caller, begun: bytes, short: Short
) -> None:
    """A silent peer is disconnected; a peer with slow headers gets a problem first."""
    short("HEAD_SECONDS")
    async with peer(gateway) as slow:
        await slow.send(begun)
        trickling = asyncio.create_task(trickle(slow)) if begun else None
        if begun:
            assert (await slow.answer()).problem["type"].endswith("too-slow")
        await slow.ends()
        if trickling is not None:
            trickling.cancel()


async def test_a_slow_header_on_a_used_connection_ends_the_connection(
    gateway: Caller, short: Short
) -> None:
    """The bound for headers holds for the second request of a connection, too."""
    async with peer(gateway) as slow:
        await slow.send(head(gateway, "GET /v1/sync?limit=1"))
        assert (await slow.answer()).status == 200
        short("HEAD_SECONDS")
        await slow.send(b"GET / HTTP/1.1\r\n")
        assert (await slow.answer()).status == 408


async def test_idle_connections_are_closed_for_new_ones(
    gateway: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the bound of connections, an idle one is closed for a new one."""
    monkeypatch.setattr(bounds, "MAX_CONNECTIONS", 8)
    async with AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(peer(gateway)) for _ in range(32)]
        assert (await gateway.get("/healthz")).status == 200
        await asyncio.gather(*(each.ends() for each in idle[:24]))


async def test_connections_in_use_are_bounded(
    gateway: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all connections in use, a new one is refused with a problem."""
    monkeypatch.setattr(bounds, "MAX_CONNECTIONS", 3)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            live = await stack.enter_async_context(peer(gateway))
            await live.send(upgrade(gateway, "bob"))
            assert (await live.answer()).status == 101
        late = await stack.enter_async_context(peer(gateway))
        refused = await late.answer()
        assert refused.problem["type"].endswith(":too-many-connections-in-all")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        await late.ends()


async def test_connections_of_one_person_are_bounded(
    gateway: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's idle connection is closed for a new one; without one, the new one is refused."""
    monkeypatch.setattr(bounds, "MAX_CONNECTIONS_OF_ONE", 2)
    async with AsyncExitStack() as stack:
        first, second, third, fourth = [
            await stack.enter_async_context(peer(gateway)) for _ in range(4)
        ]
        for each in (first, second, third):
            await each.send(head(gateway, "GET /v1/sync?limit=1", "bob"))
            assert (await each.answer()).status == 200
        await first.ends()
        for each in (second, third):
            await each.send(upgrade(gateway, "bob"))
            assert (await each.answer()).status == 101
        await fourth.send(head(gateway, "GET /v1/sync?limit=1", "bob"))
        refused = await fourth.answer()
        assert refused.problem["type"].endswith(":too-many-connections")
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        await fourth.send(head(gateway, "GET /v1/sync?limit=1", "ann"))
        assert (await fourth.answer()).status == 200


async def test_unread_pipelined_answers_end_the_connection(gateway: Caller, short: Short) -> None:
    """Unread answers end the connection within the bound for writes, without a delay of others."""
    short("WRITE_SECONDS")
    async with peer(gateway) as deaf:
        await deaf.send(head(gateway, "GET /v1/sync?limit=500") * 20)
        assert await Latency(gateway).measure(20) < OTHERS_SECONDS
        await aborted(deaf)


async def aborted(deaf: Peer) -> None:
    """Wait until a peer that does not read is disconnected and cannot send any more."""
    async with asyncio.timeout(ANSWER_SECONDS):
        while True:
            try:
                deaf.writer.write(b"\r\n")
                await deaf.writer.drain()
            except ConnectionError:
                return
            if deaf.writer.transport.is_closing():
                return
            await asyncio.sleep(0.05)


async def test_requests_do_not_pile_up(gateway: Caller) -> None:
    """A peer that sends endless requests while one is running is disconnected."""
    async with peer(gateway) as flood:
        await flood.send(head(gateway, "GET /v1/sync?limit=500") * 2_000)
        await flood.ends()


async def test_a_few_pipelined_requests_are_answered(gateway: Caller) -> None:
    """Pipelined requests of a peer that reads are answered in order."""
    async with peer(gateway) as brisk:
        lines = [f"GET /v1/sync?limit={limit}" for limit in range(1, 21)]
        await brisk.send(b"".join(head(gateway, line) for line in lines))
        answers = [await brisk.answer() for _ in lines]
    assert [answer.body.count(b"sync_seq") for answer in answers] == list(range(1, 21))


async def test_a_websocket_that_never_reads_is_aborted(
    gateway: Caller,
    woken: WakeUps,
    caplog: pytest.LogCaptureFixture,
    short: Short,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A WebSocket that never reads is aborted soon, and frees its place only then."""
    caplog.set_level("INFO")
    short("CLOSE_SECONDS")
    monkeypatch.setattr(live_socket, "SLOW_SECONDS", 0.4)
    async with peer(gateway) as deaf:
        await deaf.send(upgrade(gateway, "ann", "?limit=500"))
        await deaf.reader.readuntil(b"\r\n\r\n")

        async def is_over() -> bool:
            return woken.listeners == 0

        assert await Latency(gateway).measure(20) < OTHERS_SECONDS
        await until(is_over, ANSWER_SECONDS)
        assert "4408" in caplog.text
        await aborted(deaf)


async def test_a_websocket_that_does_not_read_its_close_is_aborted(
    gateway: Caller, woken: WakeUps, short: Short
) -> None:
    """A client that does not answer the close frame is disconnected within a bound."""
    short("CLOSE_SECONDS")
    async with peer(gateway) as live:
        await live.send(upgrade(gateway, "bob"))
        await live.reader.readuntil(b"\r\n\r\n")
        woken.close()
        await live.ends()


FORBIDDEN = {
    "empty text": frame(1),
    "empty binary": frame(2),
    "a fragment": frame(1, fin=False),
    "a continuation": frame(0),
    "pings": frame(9) * 64,
    "pongs": frame(10, b"x" * 100) * 64,
}


@pytest.mark.parametrize("name", FORBIDDEN)
async def test_a_flood_of_frames_is_closed_at_once(
    gateway: Caller, woken: WakeUps, name: str, short: Short
) -> None:
    """Data frames, and too many control frames, close with 1008 without a delay of others."""
    short("CLOSE_SECONDS")  # the client does not answer the close frame
    async with peer(gateway) as flood:
        await flood.send(upgrade(gateway, "bob"))
        await flood.reader.readuntil(b"\r\n\r\n")
        reading = asyncio.create_task(close_code(flood))  # before the end of the connection
        flooding = asyncio.create_task(flood_with(flood, FORBIDDEN[name]))
        try:
            assert await Latency(gateway).measure(20) < OTHERS_SECONDS
            async with asyncio.timeout(ANSWER_SECONDS):
                code = await reading
        finally:
            flooding.cancel()
        assert code == 1008

        async def is_over() -> bool:
            return woken.listeners == 0

        await until(is_over, ANSWER_SECONDS)


async def flood_with(flood: Peer, frames: bytes) -> None:
    """Send the same frames as fast as possible."""
    while not flood.writer.transport.is_closing():
        await flood.send(frames * 1_000)
        await asyncio.sleep(0)


async def close_code(client: Peer) -> int:
    """Return the code of the close frame, after any other frames."""
    while True:
        first, second = await client.reader.readexactly(2)
        size = second
        if size == 126:
            (size,) = struct.unpack(">H", await client.reader.readexactly(2))
        payload = await client.reader.readexactly(size)
        if first & 15 == 8:
            return int.from_bytes(payload[:2])


async def test_a_flood_behind_the_upgrade_is_closed_as_well(gateway: Caller) -> None:
    """Frames in one piece with the upgrade request are checked, too."""
    async with peer(gateway) as flood:
        await flood.send(upgrade(gateway, "bob") + frame(1) * 100)
        await flood.reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(ANSWER_SECONDS):
            assert await close_code(flood) == 1008


async def test_pings_are_answered(gateway: Caller) -> None:
    """The gateway answers a ping."""
    async with peer(gateway) as live:
        await live.send(upgrade(gateway, "bob"))
        await live.reader.readuntil(b"\r\n\r\n")
        await live.send(frame(9, b"hello"))
        async with asyncio.timeout(ANSWER_SECONDS):
            await live.reader.readuntil(b"\x8a\x05hello")


NO_REQUESTS = {
    "words": b"secretword\r\n\r\n",
    "a version to come": b"GET /secretword HTTP/9.9\r\n\r\n",
    "an unknown method": b"SECRETWORD / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no method": b" / HTTP/1.1\r\nHost: secretword\r\n\r\n",
    "a method of brackets": b"<secretword> / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\n: secretword\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nBad secretword\r\n\r\n",
    "a header with a space": b"GET / HTTP/1.1\r\nBad name: secretword\r\n\r\n",
    "a header with a zero": b"GET / HTTP/1.1\r\nA: secretword\x00\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nA: b\r\n secretword\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a length of words": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: secretword\r\n\r\n",
    "a negative length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n",
    "an unknown transfer": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: secretword\r\n\r\n",
    "a long line": b"GET /?q=secretword" + b"x" * MAX_LINE_BYTES + b" HTTP/1.1\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nA: secretword" + b"x" * MAX_LINE_BYTES + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + b"A: secretword\r\n" * 200 + b"\r\n",
    "a huge head": b"GET / HTTP/1.1\r\n" + (b"A: " + b"x" * 8_000 + b"\r\n") * 40 + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 200,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("name", NO_REQUESTS)
async def test_input_that_is_not_http_receives_a_problem_document(
    gateway: Caller, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """A malformed request gets a problem document; it and the log quote nothing."""
    caplog.set_level("DEBUG")
    async with peer(gateway) as odd:
        await odd.send(NO_REQUESTS[name])
        answer = await odd.answer()
    assert answer.problem["status"] == answer.status == 400
    assert_silent(answer.headers, answer.body)
    served = [r for r in caplog.records if r.name.startswith(("gateway", "aiohttp"))]
    assert all("secretword" not in f"{r.getMessage()}{r.exc_info}".lower() for r in served)


ODD_REQUESTS = {
    "an unknown path": (404, "GET /secretword", ()),
    "an unknown path with an expectation": (404, "GET /secretword", ("Expect: 100-continue",)),
    "another method": (405, "PATCH /v1/sync", ()),
    "an own method": (405, "SEARCH /v1/sync", ()),
    "an expectation": (417, "GET /v1/sync", ("Expect: secretword",)),
    "an expectation of nothing that is there": (417, "GET /no", ("Expect: secretword",)),
    "an upgrade of a page": (200, "GET /v1/sync?limit=1", ("Upgrade: secretword",)),
    "another upgrade": (426, "GET /v1/live", ("Upgrade: h2c", "Connection: Upgrade")),
    "a websocket of old": (
        426,
        "GET /v1/live",
        ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 1secretword"),
    ),
    "a websocket without a key": (
        426,
        "GET /v1/live",
        ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
    ),
    "a tunnel": (404, "CONNECT secretword:443", ()),
    "everything": (404, "OPTIONS *", ()),
    "a proxy's form": (200, "GET http://secretword/v1/sync?limit=1", ()),
    "a compressed body": (
        400,
        "POST /v1/devices",
        ("Content-Encoding: gzip",),
    ),
    "a body in bad chunks": (400, "POST /v1/devices", ("Transfer-Encoding: chunked",)),
}


@pytest.mark.parametrize("name", ODD_REQUESTS)
async def test_an_unusual_request_receives_a_problem_document(gateway: Caller, name: str) -> None:
    """Every refusal by router, body parser or upgrade is the gateway's problem document."""
    status, line, headers = ODD_REQUESTS[name]
    async with peer(gateway) as odd:
        body = b"secretword\r\n" if "chunked" in "".join(headers) else b""
        await odd.send(head(gateway, line, "ann", *headers) + body)
        answer = await odd.answer()
        if answer.status == 100:
            answer = await odd.answer()
    assert answer.status == status
    if status >= 400:
        assert answer.problem["status"] == status
    assert_silent(answer.headers, answer.body)


def assert_silent(headers: dict[str, str], body: bytes) -> None:
    """Assert that the answer names no software and quotes nothing of the request."""
    assert "server" not in headers
    said = f"{headers}{body.decode()}".lower()
    for word in ("secretword", "aiohttp", "python", "traceback"):
        assert word not in said

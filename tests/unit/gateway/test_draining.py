"""The orderly end of a gateway, with a store and a log in memory."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Final

import pytest
from aiohttp import ClientConnectorError, ClientSession, WSMsgType

from devstack.ports import free_ports
from gateway.http.http_app import make_app, writes_to
from gateway.http.server import serve
from gateway.http.tokens import issue_token
from gateway.log import wake_ups
from gateway.log.wake_ups import Listener, WakeUps
from gateway.writes.command_answers import Writes
from schemas.settings import Settings
from tests.support import virtual_time
from tests.support.gateway import Caller, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore
from tests.support.sequenced_log import SequencedLog
from tests.support.waiting import until

SETTINGS: Final = token_settings(write_wait="PT8S")
SECONDS: Final = 20.0


async def ends_of(count: int) -> list[tuple[float, int]]:
    """Drains this number of waits; returns the time of the end of each, with its number."""
    woken, ends = WakeUps(), list[tuple[float, int]]()
    now = asyncio.get_running_loop().time

    async def wait(number: int, listener: Listener) -> None:
        await (listener.wait(3_600) if number % 2 else listener.pause(3_600))
        ends.append((now(), number))

    with ExitStack() as stack:
        listeners = [stack.enter_context(woken.listening(f"u{n}")) for n in range(count)]
        waits = [asyncio.create_task(wait(*each)) for each in enumerate(listeners)]
        await asyncio.sleep(1)
        began = now()
        await woken.drain()
        await asyncio.gather(*waits)
        with woken.listening("late") as late:
            await late.wait(3_600)
            assert late.is_over
    return [(at - began, number) for at, number in ends]


@pytest.mark.parametrize(("count", "seconds"), [(0, 0), (3, 0), (600, 6), (4_000, 20)])
def test_waits_end_one_after_the_other_in_random_order(count: int, seconds: float) -> None:
    """Few waits end at once, many at a steady rate and within the bound. New ones do not begin."""
    ends = virtual_time.run(ends_of(count))
    assert len(ends) == count
    assert max((at for at, _ in ends), default=0) == pytest.approx(seconds, abs=0.05)
    in_second = Counter(int(at) for at, _ in ends)
    assert max(in_second.values(), default=0) <= max(wake_ups.ENDS_PER_SECOND, count / 20) + 1
    order = [number for _, number in ends]
    assert count <= 3 or order != sorted(order)


@asynccontextmanager
async def ending(
    settings: Settings, woken: WakeUps, writes: Writes | None = None
) -> AsyncIterator[tuple[Caller, asyncio.Task[None]]]:
    """A gateway as in production, which SIGTERM ends, and the task that serves it."""
    (port,) = free_ports(1)
    app = make_app(settings, FakeStore(), FakeIndex(), woken, writes=writes)
    serving = asyncio.create_task(serve(app, "127.0.0.1", port, SECONDS))
    async with ClientSession() as http:
        caller = Caller(f"http://127.0.0.1:{port}", http, settings)

        async def is_up() -> bool:
            try:
                return (await caller.get("/healthz")).status == 200
            except ClientConnectorError:
                return False

        await until(is_up, SECONDS)
        yield caller, serving
        await asyncio.wait_for(serving, SECONDS)


async def test_the_health_ends_first_and_then_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """After SIGTERM new connections are served, with a health of 503; later they are refused.

    Each response ends its connection, so that no client uses the gateway longer than it must.
    """
    settings = token_settings(drain_notice="PT7S")
    notices, is_over = list[float](), asyncio.Event()

    async def notice(seconds: float) -> None:
        """The notice lasts until the test ends it: a busy machine takes any time for a request."""
        notices.append(seconds)
        await is_over.wait()

    monkeypatch.setattr("gateway.http.draining.asyncio", SimpleNamespace(sleep=notice))
    async with ending(settings, WakeUps()) as (caller, serving):
        os.kill(os.getpid(), signal.SIGTERM)

        async def is_announced() -> bool:
            answer = await caller.get("/healthz")
            return (answer.status, answer.body["status"]) == (503, "ending")

        await until(is_announced, SECONDS)
        answer = await caller.get("/v1/sync", "ann")
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert not serving.done()
        assert notices == [7]
        is_over.set()
        await asyncio.wait_for(serving, SECONDS)
        with pytest.raises(ClientConnectorError):
            await caller.get("/healthz")


async def test_requests_in_progress_are_answered() -> None:
    """A wait, a request that writes and a request over a live connection get their answers.

    The outcomes of both writes arrive after the end of all waits.
    """
    woken, log = WakeUps(), SequencedLog()
    woken.now_live(is_live=True)
    writes = writes_to(SETTINGS, log)
    log.feed(writes.waiters)
    async with ending(SETTINGS, woken, writes) as (caller, _):
        token = issue_token(SETTINGS, "ann", timedelta(minutes=1))
        live = await caller.http.ws_connect(
            f"{caller.base}/v1/live", headers={"Authorization": f"Bearer {token}"}
        )
        assert (await live.receive_json())["kind"] == "begun"
        made = await caller.write("POST", "/v1/conversations", "ann", conv_id="c", members=[])
        assert made.status == 201
        log.sequences = False
        path = "/v1/conversations/c/messages"
        waiting = asyncio.create_task(caller.get("/v1/sync", "ann", after=0, wait=30))
        posting = asyncio.create_task(caller.write("POST", path, "ann", text="hello"))
        await live.send_json({"ref": "1", "method": "POST", "path": path, "body": {"text": "hi"}})

        async def is_in_progress() -> bool:
            return woken.listeners == 2 and len(log.sources) == 3

        await until(is_in_progress, SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            page = await waiting
            assert (page.status, page.body["records"]) == (200, [])
            log.sequence()
            posted = await posting
            assert (posted.status, posted.headers["Connection"]) == (201, "close")
            answered = await live.receive_json()
            assert (answered["ref"], answered["status"]) == ("1", 201)
            end = await live.receive()
            assert (end.type, end.data) == (WSMsgType.CLOSE, 1012)


async def test_a_slow_upload_is_read_to_its_end() -> None:
    """A request whose body arrives after SIGTERM is answered."""
    woken = WakeUps()
    async with ending(SETTINGS, woken) as (caller, _):
        token = issue_token(SETTINGS, "ann", timedelta(minutes=1))
        begun, terminated = asyncio.Event(), asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b'{"device_id":'
            begun.set()
            await terminated.wait()
            await asyncio.sleep(0.3)
            yield b'"phone"}'

        posting = asyncio.create_task(
            caller.http.post(
                f"{caller.base}/v1/devices",
                data=body(),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                expect100=True,  # the body begins when the headers have arrived
            )
        )
        await asyncio.wait_for(begun.wait(), SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        terminated.set()
        assert (await posting).status == 200

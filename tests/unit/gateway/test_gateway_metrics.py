"""The metrics of a gateway, on a store and a log in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from msgspec import structs
from prometheus_client import CollectorRegistry

from backends.monitoring.process_health import REUSED_SECONDS, ProcessHealth
from backends.processes import watchdog
from gateway.gateway_metrics import GatewayMetrics
from gateway.http.gateway_checks import gateway_checks
from gateway.http.http_app import make_app, writes_to
from gateway.http.tokens import issue_token
from gateway.log.record_feed import LoggedRecord
from gateway.log.wake_ups import Wake, WakeUps
from schemas.codec import encode
from schemas.number_types import Milliseconds, SyncSeqId
from tests.support.clock import Clock
from tests.support.gateway import Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore, message
from tests.support.metric_values import MetricValues, values_of
from tests.support.sequenced_log import SequencedLog
from tests.support.waiting import until

SETTINGS = token_settings(write_wait="PT0.3S")
MESSAGES = "/v1/conversations/c/messages"


class Watched:
    """A gateway with its metrics."""

    def __init__(self, wake_ups: WakeUps) -> None:
        self.registry = CollectorRegistry()
        self.metrics = GatewayMetrics(self.registry)
        self.log = SequencedLog()
        self.wake_ups = wake_ups

    @property
    def values(self) -> MetricValues:
        """The present values."""
        return values_of(self.registry)


@pytest.fixture
def watched(woken: WakeUps) -> Watched:
    """A gateway that follows the log."""
    return Watched(woken)


@pytest.fixture
async def gateway(watched: Watched) -> AsyncIterator[Caller]:
    """The running gateway, with a conversation of ann and bob."""
    writes = writes_to(SETTINGS, watched.log, count=watched.metrics.sent)
    watched.log.feed(writes.waiters)
    store = FakeStore()
    async with serving(
        SETTINGS, store, FakeIndex(), watched.wake_ups, writes=writes, metrics=watched.metrics
    ) as caller:
        made = await caller.write("POST", "/v1/conversations", "ann", conv_id="c", members=["bob"])
        assert made.status == 201
        yield caller


async def test_requests_count_by_route_method_and_status(
    gateway: Caller, watched: Watched
) -> None:
    """A route is a pattern, never a path. Unknown paths and methods have one value each."""
    await gateway.get("/v1/conversations", "ann")
    await gateway.get("/v1/conversations")
    await gateway.get("/v1/conversations/secret-name/messages", "ann")
    await gateway.get("/no/such/path", "ann")
    async with gateway.http.request("PROPFIND", f"{gateway.base}/healthz") as found:
        assert found.status == 405
    name, values = "im_http_requests_total", watched.values
    assert values(name, route="/v1/conversations", method="GET", status="200") == 1
    assert values(name, route="/v1/conversations", method="GET", status="401") == 1
    assert values(name, route="/v1/conversations/{id}/messages", status="404") == 1
    assert values(name, method="other") == 1
    routes = values.by(name, "route")
    assert not [route for route in routes if "secret" in route or "such" in route]
    assert values("im_http_request_seconds_count") == sum(routes.values())


async def test_sends_count_by_outcome(gateway: Caller, watched: Watched) -> None:
    """Each outcome that a client can get counts once, whatever the status of the response."""

    async def send(user: str = "ann", **fields: str) -> int:
        answer = await gateway.write("POST", MESSAGES, user, **({"text": "hello"} | fields))
        return answer.status

    key = "01890a5d-ac96-774b-bcce-b302099a8057"
    assert await send(client_msg_id=key) == 201
    assert await send(client_msg_id=key) == 201
    assert await send("stranger") == 403
    assert await send(text=" ") == 400
    watched.log.sequences = False
    assert await send() == 202
    watched.log.acknowledges = False
    assert await send() == 504
    watched.log.is_away = True
    assert await send() == 503
    assert watched.values.by("im_sends_total", "outcome") == {
        "accepted": 2,  # with the creation of the conversation
        "duplicate": 1,
        "rejected": 1,
        "refused": 1,
        "pending": 1,
        "unknown": 1,
        "unavailable": 1,
    }


async def test_a_live_connection_counts_with_its_records(
    gateway: Caller, watched: Watched
) -> None:
    """Gauges show the open connection; a message from the log counts with its delay."""
    token = issue_token(SETTINGS, "ann", timedelta(seconds=60))
    headers = {"Authorization": f"Bearer {token}"}
    assert watched.values("im_listeners") == 0
    async with gateway.http.ws_connect(
        f"{gateway.base}/v1/live?after=1", headers=headers
    ) as socket:
        await socket.receive_json(timeout=20)
        assert watched.values("im_listeners") == 1
        assert watched.values("im_connections") >= 1
        assert watched.values("im_log_followed") == 1
        now_ms = int(time.time() * 1000)
        recent = structs.replace(message("c", 1), at=Milliseconds(now_ms - 2_000))
        anchor = LoggedRecord(("ann",), ("sync", 0), SyncSeqId(1), None)
        sent = LoggedRecord(("ann",), ("sync", 0), SyncSeqId(2), encode(recent))
        watched.wake_ups.woke(Wake({}, {}, [anchor]))
        watched.wake_ups.woke(Wake({"ann": SyncSeqId(2)}, {}, [sent]))
        while (await socket.receive_json(timeout=20))["kind"] != "records":
            pass

        async def is_counted() -> bool:
            return watched.values("im_live_records_total") == 1

        await until(is_counted, 20)
    values = watched.values
    assert values("im_delay_seconds_count", until="sent") == 1
    assert values("im_delay_seconds_bucket", le="1.0") == 0
    assert values("im_delay_seconds_bucket", le="30.0") == 1
    assert values("im_http_request_seconds_count") == 1  # the creation, not the live connection


async def test_a_gateway_is_ready_while_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness follows the store and the end of the gateway; liveness follows its event loop."""
    store, clock = FakeStore(), Clock()
    app = make_app(SETTINGS, store, FakeIndex(), WakeUps())
    health = ProcessHealth(clock)
    monkeypatch.setattr("gateway.http.gateway_health.FRESH_SECONDS", 0.0)

    async def parts() -> dict[str, str | None]:
        clock.now += REUSED_SECONDS
        return dict((await asyncio.to_thread(health.readiness)).parts)

    assert list(await parts()) == ["start"]
    checks = gateway_checks(health, app)
    await anext(checks)
    assert await parts() == {"servers": None}
    store.up = False
    down = (await parts())["servers"]
    assert down is not None
    assert "Cassandra is down" in down
    assert health.not_live() is None
    monkeypatch.setattr(watchdog, "SILENT_SECONDS", -1.0)
    assert health.not_live() is not None
    with pytest.raises(StopAsyncIteration):
        await anext(checks)

"""The metrics and the health of all processes on real servers, compared with what was sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession, ClientTimeout
from confluent_kafka import Producer
from pydantic import SecretStr

from backends.kafka.clients import producer_config
from backends.kafka.user_records import push_device_record
from backends.stages.webhook_log import begin_at_the_end, write_subscription
from devstack.ports import free_ports
from gateway.http.tokens import issue_token
from schemas.ids import uuid7
from schemas.number_types import Milliseconds
from schemas.push_addresses import WebhookAddress
from schemas.push_devices import PushDevice
from schemas.settings import Settings
from schemas.webhooks import WEBHOOK_EVENTS, WebhookSubscription
from sinks.outbound.signatures import make_secret
from tests.conftest import Servers
from tests.support.forwarding import Forwarder
from tests.support.gateway import SECRET, Caller
from tests.support.operators_paths import WatchedProcess
from tests.support.pipeline import SINKS, prepare
from tests.support.processes import running
from tests.support.prometheus import panel_queries, running_prometheus
from tests.support.push_server import push_server
from tests.support.topics import publish_raw
from tests.support.waiting import until

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0
MEMBERS: Final = 3
MESSAGES: Final = 20
REJECTED: Final = 4
SECRET_TEXT: Final = "a-text-that-no-metric-may-show"

_SEND_PAUSE_SECONDS: Final = 0.2
"""The limit of commands of one person is 20 in a second."""

Processes = dict[str, WatchedProcess]


@pytest.fixture(scope="module")
def settings(servers: Servers) -> Settings:
    """A prepared deployment."""
    settings = servers.settings(
        partitions=2, sync_partitions=2, jwt_secret=SecretStr(SECRET),
        gateway_port=free_ports(1)[0],
        write_wait="PT8S",  # for a busy machine: each command has its outcome in the answer
    )  # fmt: skip
    prepare(settings)
    return settings


@pytest.fixture(scope="module")
def processes(settings: Settings) -> Iterator[Processes]:
    """All processes of the pipeline, running."""
    modules: dict[str, tuple[str, ...]] = {
        "sequencer": ("stream_processors",),
        **{f"sink-{name}": ("sinks", name) for name in SINKS},
        "gateway": ("gateway",),
    }
    with ExitStack() as stack:
        started = {
            stage: WatchedProcess(settings, stage, stack.enter_context(running(settings, *module)))
            for stage, module in modules.items()
        }
        yield started


@pytest.fixture
async def caller(settings: Settings) -> AsyncIterator[Caller]:
    """A client of the gateway."""
    base = f"http://{settings.gateway_host}:{settings.gateway_port}"
    async with ClientSession(timeout=ClientTimeout(total=20)) as http:
        yield Caller(base, http, settings)


async def until_ready(*processes: WatchedProcess) -> None:
    """Waits until all processes are ready, each being live all the time."""

    def are_ready() -> bool:
        assert all(process.is_live() for process in processes)
        return all(process.is_ready() for process in processes)

    await until_true(are_ready)


async def until_true(condition: Callable[[], bool]) -> None:
    """Waits for a condition, which a thread checks: the event loop serves the forwarders."""
    await until(partial(asyncio.to_thread, condition), PATIENCE)


async def send_everything(caller: Caller) -> None:
    """Sends a conversation, messages, a duplicate, rejected and refused commands, and garbage."""
    fields: dict[str, Any] = {"conv_id": "c", "members": ["bob", "cleo"]}
    assert (await caller.write("POST", "/v1/conversations", "ann", **fields)).status == 201
    path = "/v1/conversations/c/messages"
    for number in range(MESSAGES):
        key = uuid7(1_000 + number, 0)
        answer = await caller.write("POST", path, "ann", text=SECRET_TEXT, client_msg_id=key)
        assert answer.status == 201
    again = await caller.write("POST", path, "ann", text=SECRET_TEXT, client_msg_id=key)
    assert again.body["seq"] == MESSAGES + 1
    for _ in range(REJECTED):
        answer = await caller.write("POST", path, "mallory", text=SECRET_TEXT)
        assert answer.status == 403
    assert (await caller.write("POST", path, "ann", text=" ")).status == 400
    publish_raw(caller.settings, [(b"c", SECRET_TEXT.encode())])


async def test_the_metrics_are_what_was_sent(
    settings: Settings, processes: Processes, caller: Caller
) -> None:
    """Each counter has exactly the number of what was sent, in every process.

    A live connection receives the messages from the log. No metric has a text or a name.
    """
    await until_ready(*processes.values())
    token = issue_token(settings, "bob", timedelta(minutes=5))
    headers = {"Authorization": f"Bearer {token}"}
    async with caller.http.ws_connect(f"{caller.base}/v1/live?after=-1", headers=headers) as bob:
        await bob.receive_json(timeout=PATIENCE)
        await send_everything(caller)
        received: list[Any] = []
        while len(received) < MESSAGES + 1:
            received += (await bob.receive_json(timeout=PATIENCE)).get("records", [])
        await until_finished(processes)
        check_gateway(processes["gateway"])
    entries = MESSAGES + 1
    check_sequencer(processes["sequencer"])
    for stage, until_what in (("sink-message", "stored"), ("sink-search", "indexed")):
        values = processes[stage].metrics()
        assert values("im_stage_records_total", stage=stage) == entries
        assert values("im_delay_seconds_count", until=until_what) == entries
        assert values("im_batch_records_sum", stage=stage) == entries
    # One record for each reply, and for each entry and shard with recipients.
    sync = processes["sink-sync"].metrics()
    written = processes["sequencer"].metrics()("im_sync_records_total")
    assert entries + REJECTED + 1 <= written <= MEMBERS * entries + REJECTED + 1
    assert sync("im_stage_records_total", stage="sink-sync") == written
    for process in processes.values():
        values = process.metrics()
        assert values("im_ready", stage=process.stage) == 1
        assert values("process_resident_memory_bytes") > 0
        labels = {text for sample in values.samples for text in sample.labels.values()}
        assert not labels & {"ann", "bob", "cleo", "mallory", "c", SECRET_TEXT}


async def until_finished(processes: Processes) -> None:
    """Waits until no stage has a lag, and the dead letter is counted."""

    def are_finished() -> bool:
        found = {name: each.metrics() for name, each in processes.items() if name != "gateway"}
        if found["sequencer"]("im_dead_letters_total") == 0:
            return False
        if found["sink-message"]("im_stage_records_total") < MESSAGES + 1:
            return False
        return all(
            values.has("im_stage_lag_offsets", stage=name)
            and values("im_stage_lag_offsets", stage=name) == 0
            for name, values in found.items()
        )

    await until_true(are_finished)


def check_sequencer(sequencer: WatchedProcess) -> None:
    """Compares the counters of the sequencer with what was sent."""
    values = sequencer.metrics()
    entries = MESSAGES + 1
    assert values.by("im_commands_total", "outcome") == {
        "accepted": entries,
        "duplicate": 1,
        "rejected": REJECTED,
    }
    assert values.by("im_rejections_total", "code") == {"not_a_member": REJECTED}
    assert values.by("im_dead_letters_total", "reason") == {"undecodable": 1}
    assert values("im_stage_records_total", stage="sequencer") == entries + REJECTED + 2
    assert values("im_delay_seconds_count", until="sequenced") == entries + REJECTED + 2
    assert values("im_entries_total") == entries
    assert values("im_deliveries_total") == MEMBERS * entries + REJECTED + 1
    assert values("im_restore_seconds_count") == 2
    assert values("im_stage_partitions", stage="sequencer") == 2
    assert values("im_batch_seconds_sum") > 0


def check_gateway(gateway: WatchedProcess) -> None:
    """Compares the counters of the gateway with what was sent, while bob is connected."""
    values = gateway.metrics()
    assert values.by("im_sends_total", "outcome") == {
        "accepted": MESSAGES + 1,
        "duplicate": 1,
        "rejected": REJECTED,
        "refused": 1,
    }
    posted = "/v1/conversations/{id}/messages"
    requests = {
        status: values("im_http_requests_total", route=posted, method="POST", status=status)
        for status in ("201", "403", "400")
    }
    assert requests == {"201": MESSAGES + 1, "403": REJECTED, "400": 1}
    assert values("im_listeners") == 1
    assert values("im_connections") >= 1
    assert values("im_log_followed") == 1
    assert values("im_live_records_total") == MESSAGES + 1
    sent = values("im_delay_seconds_count", until="sent")
    assert 0 < sent <= MESSAGES
    assert 0 < values("im_delay_seconds_sum", until="sent") < PATIENCE * sent


@pytest.fixture
def outbound(settings: Settings) -> Iterator[Processes]:
    """The push stage with a device of "ed", and the webhooks with a webhook; both are accepted."""
    settings = settings.model_copy(
        update={
            "push_notifications": True, "push_window": timedelta(seconds=0.2),
            "push_webhook_secret": SecretStr(make_secret()),
            "outbound_allow": "127.0.0.1", "outbound_ports": "any", "outbound_http": True,
        }
    )  # fmt: skip
    with push_server() as server, ExitStack() as stack:
        webhook = WebhookSubscription(
            id="w1", url=f"{server.url}/w", events=list(WEBHOOK_EVENTS), secrets=[make_secret()],
            created_at=Milliseconds(0),
        )  # fmt: skip
        begin_at_the_end(settings, webhook.id)
        write_subscription(settings, webhook.id, webhook)
        device = PushDevice(at=Milliseconds(1), address=WebhookAddress(url=f"{server.url}/ed"))
        producer = Producer(producer_config(settings))
        producer.produce(*push_device_record(settings, "ed", "phone", device))
        assert producer.flush(30) == 0
        yield {
            stage: WatchedProcess(
                settings, stage, stack.enter_context(running(settings, "sinks", module))
            )
            for stage, module in (("sink-push", "push"), ("webhooks", "webhooks"))
        }


async def test_each_panel_of_the_dashboard_has_data(
    processes: Processes, outbound: Processes, caller: Caller, tmp_path: Path
) -> None:
    """Every query of the dashboard has data in a real Prometheus that scrapes all processes.

    The only alerts that fire are those of the dead letter, the rejections and the duplicates that
    the traffic has, and those of a machine that is too busy: for the traffic, or to be scraped.
    """
    watched = [*processes.values(), *outbound.values()]
    await until_ready(*watched)
    with running_prometheus(tmp_path, [process.address for process in watched]) as prometheus:
        await until_true(lambda: prometheus.healthy_targets() == len(watched))

        async def send() -> None:
            key = uuid7(time.time_ns() // 1_000_000, 0)
            for user in ("dora", "dora", "mallory"):
                fields = {"text": SECRET_TEXT, "client_msg_id": key}
                await caller.write("POST", "/v1/conversations/d/messages", user, **fields)

        def missing() -> list[str]:
            queries = panel_queries()
            return [title for title, query in queries if not prometheus.values(query, "10s")]

        token = issue_token(caller.settings, "dora", timedelta(minutes=5))
        headers = {"Authorization": f"Bearer {token}"}
        path = f"{caller.base}/v1/live?after=-1"
        await caller.write("POST", "/v1/conversations", "dora", conv_id="d", members=["ed"])
        publish_raw(caller.settings, [(b"d", SECRET_TEXT.encode())])
        async with caller.http.ws_connect(path, headers=headers):
            deadline = time.monotonic() + PATIENCE
            while lacking := await asyncio.to_thread(missing):
                assert time.monotonic() < deadline, lacking
                await send()
                await asyncio.sleep(_SEND_PAUSE_SECONDS)
        await until_true(lambda: prometheus.alerts().get("ImDeadLetters") == "firing")
        of_traffic = {"ImDeadLetters", "ImRejections", "ImDuplicates"}
        of_busy_machine = {"ImDelayed", "ImProcessDown", "ImStageMissing"}
        firing = {name for name, state in prometheus.alerts().items() if state == "firing"}
        assert firing <= of_traffic | of_busy_machine


async def test_readiness_follows_the_stores(servers: Servers) -> None:
    """While a store is away, the processes that need it are not ready, and remain live.

    They are ready again when the store is back. The gateway serves without the index.
    """
    cassandra, index, gateway_port = free_ports(3)
    settings = servers.settings(partitions=1, sync_partitions=1, jwt_secret=SecretStr(SECRET))
    prepare(settings)
    (host,), server_port = settings.cassandra_contact_points
    index_host, _, index_port = servers.addresses["elasticsearch_url"].rpartition(":")
    doors = {
        "store": Forwarder(cassandra, host, server_port),
        "index": Forwarder(index, index_host.rpartition("/")[2], int(index_port)),
    }
    own = {
        "cassandra_hosts": f"127.0.0.1:{cassandra}",
        "elasticsearch_url": f"http://127.0.0.1:{index}",
        "gateway_port": gateway_port,
    }
    behind = settings.model_copy(update=own)
    with ExitStack() as stack:
        message, search, gateway = (
            WatchedProcess(behind, stage, stack.enter_context(running(behind, *module)))
            for stage, module in (
                ("sink-message", ("sinks", "message")),
                ("sink-search", ("sinks", "search")),
                ("gateway", ("gateway",)),
            )
        )
        # Nothing listens at the addresses of the stores yet: the processes wait.
        assert await asyncio.to_thread(message.is_live)
        waiting = await asyncio.to_thread(message.parts)
        assert waiting == {"start": "it has not reached its servers yet"}
        for door in doors.values():
            await door.open()
        await until_ready(message, search, gateway)

        await doors["store"].cut()
        await until_not_ready(message, "store", "Cassandra does not answer")
        await until_not_ready(gateway, "servers", "Cassandra is down")
        values = await asyncio.to_thread(message.metrics)
        assert values("im_ready", stage="sink-message") == 0
        await until_ready(search)
        await doors["index"].cut()
        await until_not_ready(search, "store", "Elasticsearch does not answer")
        for door in doors.values():
            await door.open()
        await until_ready(message, search, gateway)
    for door in doors.values():
        await door.cut()


async def until_not_ready(process: WatchedProcess, part: str, reason: str) -> None:
    """Waits until `/readyz` names this part with this reason; the process remains live."""

    def is_named() -> bool:
        assert process.is_live()
        return reason in process.parts().get(part, "")

    await until_true(is_named)
    assert not await asyncio.to_thread(process.is_ready)

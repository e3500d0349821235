"""Hostile requests to the gateway on the real servers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Final, NamedTuple

import pytest
from confluent_kafka import Producer
from pydantic import SecretStr

from backends.kafka.clients import partition_of, producer_config
from gateway.http.routes import ROUTES
from gateway.log.log_ends import LogEnds
from gateway.log.wake_ups import WakeUps
from gateway.reads.access import access_conversation
from gateway.reads.history import HistoryRequest, read_history
from gateway.store.cassandra_store import CassandraStore
from gateway.store.device_port import MAX_DEVICES
from ops.deployment.prepare_log import prepare_log
from schemas.number_types import EpochNumber, Offset, SeqId, SyncSeqId
from schemas.settings import Settings
from schemas.sync_seq import sync_seq
from schemas.topics import Topic
from tests.support.edges import Asked, requests
from tests.support.gateway import SECRET, Answer, Caller
from tests.support.gateway_rows import (
    Rows,
    answer_if_not_busy,
    cassandra_store,
    gateway_on_servers,
    search_index,
    tables,
)
from tests.support.gateway_store import edit, message
from tests.support.servers import Servers

pytestmark = pytest.mark.servers

_COMMAND_PATHS: Final = ("/v1/conversations", "/v1/direct", "/v1/commands")


class Deployment(NamedTuple):
    """A namespace for this module, and functions that add data."""

    settings: Settings
    rows: Rows


@pytest.fixture(scope="module")
def deployment(servers: Servers) -> Iterator[Deployment]:
    """Ann has a conversation that a search finds, and a sync timeline."""
    settings = servers.settings(jwt_secret=SecretStr(SECRET), operators="ann")
    with tables(settings) as rows, search_index(settings) as put_documents:
        put_documents([message("c", 1)])
        rows.put_message(message("c", 1))
        rows.put_conversation("c", 1)
        rows.put_change("ann", "c", 1, joined=True)
        rows.put_synced("ann", 1, message("c", 1))
        yield Deployment(settings, rows)


@pytest.fixture
async def gateway(deployment: Deployment) -> AsyncIterator[Caller]:
    """A running gateway on the real servers."""
    async with gateway_on_servers(deployment.settings) as caller:
        yield caller


async def registered(gateway: Caller, user: str, device_id: str) -> int:
    """The status of a registration, which is repeated while the gateway is too busy."""
    body = json.dumps({"device_id": device_id}).encode()
    answer = await answer_if_not_busy(lambda: gateway.send("POST", "/v1/devices", user, body))
    return answer.status


async def test_every_parameter_is_checked_at_its_edge_values(gateway: Caller) -> None:
    """No value causes a 500, and every value that the OpenAPI document forbids causes a 400."""
    assert await registered(gateway, "ann", "phone") == 200
    ids = dict.fromkeys(("/v1/devices/{id}/cursor", "/v1/devices/{id}/conversations"), "phone")
    places = asyncio.Semaphore(16)

    async def answered(asked: Asked) -> tuple[Asked, int]:
        def send() -> Awaitable[Answer]:
            return gateway.send(asked.method, asked.path, "ann", asked.body)

        async with places:
            answer = await (send() if is_command(asked) else answer_if_not_busy(send))
        return asked, answer.status

    answers = await asyncio.gather(*map(answered, requests(ids)))
    assert [each for each in answers if each[1] not in allowed(each[0])] == []


def is_command(asked: Asked) -> bool:
    """Whether a request writes a command."""
    return asked.method != "GET" and asked.path.startswith(_COMMAND_PATHS)


def allowed(asked: Asked) -> set[int]:
    """The statuses that are correct for a request.

    This gateway has no producer of commands, so it answers 503 to a correct command, and 429 to a
    person who sends too many.
    """
    if asked.fits is False:
        return {400}
    return {200, 400, 404, 409} | ({429, 503} if is_command(asked) else set())


async def test_a_device_is_shown_until_it_is_removed(gateway: Caller) -> None:
    """The list, the device, its beginnings and its cursor are those of its owner alone."""
    assert await registered(gateway, "deb", "desk") == 200
    path = "/v1/devices/desk"
    moved = await gateway.send("PUT", f"{path}/cursor", "deb", b'{"cursor": 7}')
    assert (moved.status, moved.body["cursor"]) == (200, 7)
    assert (await gateway.get("/v1/devices", "deb")).body["devices"] == [moved.body]
    assert (await gateway.get(path, "deb")).body == moved.body
    assert (await gateway.get(f"{path}/conversations", "deb")).body["conversations"] == []
    assert (await gateway.get(path, "eve")).status == 404
    assert (await gateway.send("DELETE", path, "deb")).status == 204
    assert (await gateway.get(path, "deb")).status == 404
    assert (await gateway.get("/v1/devices", "deb")).body["devices"] == []


async def test_the_document_and_the_health_need_no_token(gateway: Caller) -> None:
    """The document has each path of the gateway, and the servers are up."""
    described = (await gateway.get("/openapi.json")).body
    assert {path for path, _ in ROUTES} <= set(described["paths"])
    assert (await gateway.get("/healthz")).body["status"] in {"ok", "degraded"}


async def test_the_number_of_devices_is_bounded_under_races(deployment: Deployment) -> None:
    """Sixty concurrent registrations at two gateways create only the permitted devices."""
    async with (
        gateway_on_servers(deployment.settings) as one,
        gateway_on_servers(deployment.settings) as other,
    ):
        answers = await asyncio.gather(
            *(registered((one, other)[n % 2], "crowd", f"d{n}") for n in range(60))
        )
        assert Counter(answers) == {200: MAX_DEVICES, 409: 60 - MAX_DEVICES}
        listed = await one.get("/v1/devices", "crowd")
    assert len(listed.body["devices"]) == MAX_DEVICES


async def test_texts_from_after_a_removal_are_not_shown(deployment: Deployment) -> None:
    """A member removed during a read does not see the text of an edit after the removal."""
    rows = deployment.rows
    for seq in range(1, 6):
        rows.put_message(message("g7", seq, f"words {seq}"))
    rows.put_conversation("g7", 5)
    for user in ("ann", "eve"):
        rows.put_change(user, "g7", 1, joined=True)

    async with cassandra_store(deployment.settings) as store:
        shown = {}
        for user in ("eve", "ann"):
            access = await access_conversation(store, user, "g7")
            rows.put_change("eve", "g7", 6, joined=False)
            rows.put_edit(edit("g7", 7, 3, "words of later"))
            shown[user] = await words(store, access)
    assert shown["eve"] == [f"words {seq}" for seq in range(1, 6)]
    assert shown["ann"][2] == "words of later"


async def words(store: CassandraStore, access: Any) -> list[str]:
    """The texts of a page."""
    page = await read_history(
        store, access, HistoryRequest(SeqId(1), SeqId(5), 10, newest_first=False)
    )
    items = [json.loads(bytes(item)) for item in page.items]  # type: ignore[arg-type]  # no holes
    return [item["content"]["text"] for item in items]


async def test_a_cursor_beyond_the_log_is_refused(servers: Servers) -> None:
    """A cursor is accepted up to the end of the user's shard, even directly after a write."""
    settings = servers.settings(sync_partitions=2)
    prepare_log(settings)
    wake_ups = WakeUps()
    wake_ups.now_live(is_live=True)
    ends = LogEnds(settings, wake_ups)
    assert await ends.is_ahead("ann", SyncSeqId(0))
    assert await ends.is_ahead("ann", SyncSeqId(999_999_999))
    for last in (0, 1, 2):
        await asyncio.to_thread(put_record, settings, "ann")
        assert not await ends.is_ahead("ann", SyncSeqId(last))
        assert await ends.is_ahead("ann", SyncSeqId(last + 1))
    assert await ends.is_ahead("ann", sync_seq(EpochNumber(1), Offset(0)))


def put_record(settings: Settings, user: str) -> None:
    """Appends a record to the shard of ``user``."""
    producer = Producer(producer_config(settings))
    partition = partition_of(user, settings.sync_partitions)
    producer.produce(settings.topic(Topic.SYNC), b"{}", user, partition)
    assert producer.flush(180) == 0

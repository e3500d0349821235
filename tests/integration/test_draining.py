"""A gateway that is asked to end, while its clients talk, on real servers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, aclosing, asynccontextmanager, suppress
from datetime import timedelta
from typing import Final

import aiohttp
import pytest
from aiohttp import ClientSession, ClientTimeout, WSMsgType
from pydantic import SecretStr

from consumers.device.live_timeline import LiveTimelines
from devstack.ports import free_ports
from gateway.http.tokens import issue_token
from schemas.ids import uuid7
from schemas.number_types import SyncSeqId
from schemas.records import Entry
from schemas.settings import Settings
from tests.conftest import Servers
from tests.support.forwarding import Balancer
from tests.support.gateway import SECRET
from tests.support.pipeline import prepare
from tests.support.processes import running
from tests.support.waiting import until
from tests.support.writing import WriteAnswer, WritingPerson

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0
"""Time limit of one step, on a busy machine."""

PEOPLE: Final = ("ann", "bob", "陈", "dan")
DEVICES: Final = 5
"""Devices of each person."""

SOME: Final = 15
"""Messages before, and at least as many after the end of one gateway."""


@pytest.fixture
def gateways(servers: Servers) -> Iterator[tuple[Settings, Settings]]:
    """A running pipeline, and the settings of two gateways that do not run yet."""
    one, other = free_ports(2)
    settings = servers.settings(
        partitions=2, sync_partitions=2, write_wait="PT8S", drain_notice="PT6S",
        http_commands_per_second=1_000, jwt_secret=SecretStr(SECRET), gateway_port=one,
    )  # fmt: skip
    prepare(settings)
    with ExitStack() as stack:
        for process in (("stream_processors",), ("sinks", "message"), ("sinks", "sync")):
            stack.enter_context(running(settings, *process))
        yield settings, settings.model_copy(update={"gateway_port": other})


@asynccontextmanager
async def balanced(gateways: tuple[Settings, Settings]) -> AsyncIterator[Settings]:
    """Settings whose gateway is a balancer in front of both gateways."""
    (port,) = free_ports(1)
    where = [(each.gateway_host, each.gateway_port) for each in gateways]
    balancer = Balancer(port, where)
    await balancer.open()
    try:
        yield gateways[0].model_copy(update={"gateway_port": port})
    finally:
        await balancer.cut()


class FollowingDevice:
    """A device on a live connection; it has the SeqIds that it received, in their order."""

    def __init__(self, settings: Settings, user: str, http: ClientSession) -> None:
        self.seqs: list[int] = []
        address = f"http://{settings.gateway_host}:{settings.gateway_port}"
        self._live = LiveTimelines(
            address, lambda: issue_token(settings, user, timedelta(minutes=5)), http
        )
        self.is_pushed = False

    async def follow(self) -> None:
        """Follows until it is cancelled."""
        cursor = SyncSeqId(-1)
        async with aclosing(self._live):
            while True:
                batch = await self._live.after(cursor, 0.5)
                # A connection begins after an earlier cursor if a poll was in flight.
                fresh = [each.record for each in batch.arrived if each.sync_seq > cursor]
                self.seqs += [record.seq for record in fresh if isinstance(record, Entry)]
                cursor = max(cursor, batch.next)
                self.is_pushed = batch.heads is not None


def is_not_yet(answer: WriteAnswer) -> bool:
    """Whether a command has no outcome yet, so that the request is to be repeated."""
    return answer.status in {202, 429} or answer.status >= 500


class Writer:
    """Sends one message after the other, and repeats a request that was not answered."""

    def __init__(self, settings: Settings, http: ClientSession) -> None:
        self.seqs: list[int] = []
        self._person = WritingPerson(settings, "ann", http)

    async def create(self) -> None:
        """Creates the conversation, as soon as the sequencer has its partitions."""

        async def is_created() -> bool:
            answer = await self._person.create("c", *PEOPLE[1:], client_msg_id=uuid7(1, 0))
            assert answer.status == 201 or is_not_yet(answer), answer
            return answer.status == 201

        await until(is_created, PATIENCE)

    async def write(self) -> None:
        """Writes until it is cancelled."""
        while True:
            self.seqs.append(await self._sent(uuid7(1_000 + len(self.seqs), 0)))

    async def _sent(self, client_msg_id: str) -> int:
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                answer = await self._person.send(
                    "c", f"message {len(self.seqs)}", client_msg_id=client_msg_id
                )
                if answer.status == 201:
                    return int(answer.body["seq"])
                assert is_not_yet(answer), answer
            await asyncio.sleep(0.05)


async def until_up(settings: Settings, http: ClientSession) -> None:
    """Waits until a gateway serves and follows the log."""

    async def is_up() -> bool:
        with suppress(aiohttp.ClientError):
            shown = await health(settings, http)
            return shown[0] == 200 and shown[2] == "up"
        return False

    await until(is_up, PATIENCE)


async def health(settings: Settings, http: ClientSession) -> tuple[int, str, str]:
    """The status of the health, the status in it and the state of Kafka; on a new connection."""
    url = f"http://{settings.gateway_host}:{settings.gateway_port}/healthz"
    async with http.get(url, headers={"Connection": "close"}) as response:
        shown = await response.json()
    return response.status, shown["status"], shown["kafka"]


async def test_clients_of_an_ending_gateway_continue_elsewhere(
    gateways: tuple[Settings, Settings],
) -> None:
    """Every device has every message once and in order, although one of two gateways ends.

    Half of the devices are at the gateway that ends, and messages are written all the time. Its
    health becomes 503 before its port is closed; a live connection gets 1012; a wait is answered;
    the process ends with 0.
    """
    async with (
        balanced(gateways) as settings,
        ClientSession(timeout=ClientTimeout(total=PATIENCE)) as http,
        asyncio.TaskGroup() as tasks,
    ):
        with running(gateways[0], "gateway") as ending, running(gateways[1], "gateway"):
            for each in gateways:
                await until_up(each, http)
            writer = Writer(settings, http)
            await writer.create()
            devices = [FollowingDevice(settings, user, http) for user in PEOPLE * DEVICES]
            following = [tasks.create_task(device.follow()) for device in devices]
            writing = tasks.create_task(writer.write())

            async def all_have(count: int) -> None:
                async def have() -> bool:
                    return len(writer.seqs) >= count and all(
                        len(device.seqs) > count and device.is_pushed for device in devices
                    )

                await until(have, PATIENCE)

            await all_have(SOME)
            waiting = tasks.create_task(wait(gateways[0], http))
            direct = await live(gateways[0], http)
            await health(gateways[0], http)  # the request that waits has arrived before
            ending.send_signal(signal.SIGTERM)
            await until_ending(gateways[0], http)
            assert await last_code(direct) == 1012
            assert await waiting == (200, "close")
            assert await asyncio.to_thread(ending.wait, PATIENCE) == 0
            await all_have(len(writer.seqs) + SOME)
            writing.cancel()

            async def is_complete() -> bool:
                return all(len(device.seqs) > len(writer.seqs) for device in devices)

            await until(is_complete, PATIENCE)
            for task in following:
                task.cancel()
    assert writer.seqs == list(range(2, len(writer.seqs) + 2))
    head = max(max(device.seqs) for device in devices)  # the cancelled request may be an entry
    assert len(writer.seqs) + 1 <= head <= len(writer.seqs) + 2
    for device in devices:
        assert device.seqs == list(range(1, len(device.seqs) + 1))


async def until_ending(settings: Settings, http: ClientSession) -> None:
    """Waits until the health is 503 ``ending``, and then until the port is closed."""

    async def is_announced() -> bool:
        return (await health(settings, http))[:2] == (503, "ending")

    async def is_closed() -> bool:
        try:
            await health(settings, http)
        except aiohttp.ClientConnectorError:
            return True
        except aiohttp.ClientError:  # the port was closed during the request
            return False
        return False

    await until(is_announced, PATIENCE)
    await until(is_closed, PATIENCE)


async def live(settings: Settings, http: ClientSession) -> aiohttp.ClientWebSocketResponse:
    """A live connection of bob that has begun, after his last record."""
    socket = await http.ws_connect(
        f"http://{settings.gateway_host}:{settings.gateway_port}/v1/live", headers=of_bob(settings)
    )
    assert (await socket.receive_json())["kind"] == "begun"
    return socket


async def last_code(socket: aiohttp.ClientWebSocketResponse) -> int:
    """The close code of a live connection, after any messages."""
    async with asyncio.timeout(PATIENCE):
        while (message := await socket.receive()).type is WSMsgType.TEXT:
            pass
    assert message.type is WSMsgType.CLOSE
    return int(message.data)


async def wait(settings: Settings, http: ClientSession) -> tuple[int, str]:
    """The status of a wait of a person without records, and whether its connection ends."""
    async with http.get(
        f"http://{settings.gateway_host}:{settings.gateway_port}/v1/sync",
        params={"wait": 30},
        headers=of_bob(settings, "eve"),
    ) as response:
        return response.status, response.headers.get("Connection", "")


def of_bob(settings: Settings, user: str = "bob") -> dict[str, str]:
    """The header with a token of a person."""
    return {"Authorization": f"Bearer {issue_token(settings, user, timedelta(minutes=5))}"}

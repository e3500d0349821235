"""The inputs of the push stage on real servers: push addresses, and the people who are live."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any, Final

import aiohttp
import pytest
from pydantic import SecretStr

from devstack.ports import free_ports
from gateway.http.frames import PROTOCOL
from gateway.http.tokens import issue_token
from schemas.live_people import LIVE_TTL
from schemas.number_types import Milliseconds
from schemas.push_addresses import MatrixAddress, WebhookAddress
from schemas.settings import Settings
from sinks.push.address_reader import AddressBook
from sinks.push.address_removals import AddressRemovals
from sinks.push.live_reader import LiveBook
from sinks.push.push_people import PushPeople, people_followers
from sinks.topic_follower import TopicFollower
from tests.support.gateway import SECRET
from tests.support.live import gateway
from tests.support.pipeline import prepare
from tests.support.processes import running
from tests.support.servers import Servers
from tests.support.waiting import until

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0
WEBHOOK: Final = {"provider": "webhook", "url": "https://hooks.example/ann"}
MATRIX: Final = {
    "provider": "matrix", "gateway": "https://push.example/_matrix/push/v1/notify",
    "app_id": "org.example", "pushkey": "k",
}  # fmt: skip


@pytest.fixture(scope="module")
def settings(servers: Servers) -> Settings:
    """A deployment without any process."""
    settings = servers.settings(
        partitions=2, sync_partitions=2, jwt_secret=SecretStr(SECRET),
        gateway_port=free_ports(1)[0],
    )  # fmt: skip
    prepare(settings)
    return settings


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """The HTTP client session."""
    async with aiohttp.ClientSession() as session:
        yield session


class Person:
    """A person with devices, at one gateway."""

    def __init__(
        self, settings: Settings, user: str, address: str, http: aiohttp.ClientSession
    ) -> None:
        self._address, self._http = address, http
        self._token = issue_token(settings, user, timedelta(minutes=5))

    async def send(self, method: str, path: str, **body: Any) -> int:
        """Sends a request; returns the status of the response."""
        headers = {"Authorization": f"Bearer {self._token}"}
        url = f"{self._address}{path}"
        async with self._http.request(method, url, json=body, headers=headers) as response:
            return response.status

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A live connection that has begun."""
        protocols = (PROTOCOL, f"bearer.{self._token}")
        async with self._http.ws_connect(f"{self._address}/v1/live", protocols=protocols) as ws:
            await ws.receive(timeout=PATIENCE)
            yield ws


def now_ms() -> Milliseconds:
    """The time in milliseconds since 1970."""
    return Milliseconds(int(time.time() * 1000))


class People:
    """What a push stage knows of people, read at the calls of a test.

    Args:
        known: Receives the records.
        followers: The followers of addresses and of live people.
    """

    def __init__(self, known: PushPeople, followers: Sequence[TopicFollower]) -> None:
        self.known = known
        self._followers = followers

    def catch_up(self) -> None:
        """Reads all records before the call."""
        for each in self._followers:
            each.catch_up()

    def is_live(self, user: str, now: Milliseconds) -> bool:
        """Whether a person is live, by all records that have arrived."""
        for each in self._followers:
            each.read()
        return self.known.person(user, now).is_live


@contextmanager
def reading(settings: Settings) -> Iterator[People]:
    """People of a reader that starts now."""
    known = PushPeople(AddressBook(), LiveBook())
    with people_followers(settings, known) as followers:
        yield People(known, followers)


async def until_live(
    people: People, user: str, *, is_live: bool, at: Milliseconds | None = None
) -> None:
    """Waits until a person is live, or is not: now, or at a given time."""

    async def does() -> bool:
        return people.is_live(user, at or now_ms()) == is_live

    await until(does, PATIENCE)


async def test_a_confirmed_address_is_known_to_each_reader(
    settings: Settings, http: aiohttp.ClientSession
) -> None:
    """A reader that catches up after the response has the address: its first, and each later one.

    A removed address, and the address of a removed device, are gone. A reader that starts later
    has the same devices.
    """
    async with gateway(settings) as address, asyncio.timeout(4 * PATIENCE):
        ann = Person(settings, "ann", address, http)
        assert await ann.send("PUT", "/v1/devices/phone/push", **WEBHOOK) == 404
        for device in ("phone", "desk"):
            assert await ann.send("POST", "/v1/devices", device_id=device) == 200
        with reading(settings) as reader:
            assert await ann.send("PUT", "/v1/devices/phone/push", **WEBHOOK) == 204
            assert await ann.send("PUT", "/v1/devices/desk/push", **WEBHOOK) == 204
            assert kinds(reader) == {"phone": WebhookAddress, "desk": WebhookAddress}
            assert await ann.send("PUT", "/v1/devices/phone/push", **MATRIX) == 204
            assert kinds(reader) == {"phone": MatrixAddress, "desk": WebhookAddress}
            assert await ann.send("DELETE", "/v1/devices/desk") == 204
            assert kinds(reader) == {"phone": MatrixAddress}
            assert await ann.send("DELETE", "/v1/devices/phone/push") == 204
            assert kinds(reader) == {}
            assert await ann.send("PUT", "/v1/devices/phone/push", **WEBHOOK) == 204
        with reading(settings) as later:
            assert kinds(later) == {"phone": WebhookAddress}
            remove_refused(settings, later)


def kinds(reader: People) -> dict[str, type[object]]:
    """The kinds of ann's addresses, with all records before the call."""
    reader.catch_up()
    return {device: type(each.address) for device, each in reader.known.devices("ann").items()}


def remove_refused(settings: Settings, reader: People) -> None:
    """The stage removes the address that a provider refused, and no other one."""
    removals = AddressRemovals(settings, reader.known)
    present = reader.known.devices("ann")["phone"]
    earlier = type(present)(at=Milliseconds(present.at - 1), address=present.address)
    assert not removals.remove("ann", "phone", earlier)
    assert kinds(reader) == {"phone": WebhookAddress}
    assert removals.remove("ann", "phone", present)
    assert kinds(reader) == {}
    assert not removals.remove("ann", "phone", present)


async def test_a_person_is_live_while_any_gateway_has_a_connection(
    settings: Settings, http: aiohttp.ClientSession
) -> None:
    """A person is live from the first connection to the end of the last one.

    The records of a killed gateway end by their TTL. A reader that starts later, also after the
    kill, knows the same.
    """
    port = free_ports(1)[0]
    other = settings.model_copy(update={"gateway_port": port})
    with running(other, "gateway") as process, reading(settings) as people:
        async with gateway(settings) as address, asyncio.timeout(4 * PATIENCE):
            await until_ready(f"http://127.0.0.1:{port}", http)
            ann = Person(settings, "ann", address, http)
            bob = Person(settings, "bob", f"http://127.0.0.1:{port}", http)
            ann_elsewhere = Person(settings, "ann", f"http://127.0.0.1:{port}", http)
            async with bob.connected():
                async with ann.connected(), ann_elsewhere.connected():
                    await until_live(people, "ann", is_live=True)
                    await until_live(people, "bob", is_live=True)
                await until_live(people, "ann", is_live=False)
                assert people.is_live("bob", now_ms())
                # What follows may take longer than the TTL, so it is about this time.
                killed_at = now_ms()
                process.kill()
                process.wait()
            assert people.is_live("bob", killed_at)
            with reading(settings) as later:
                check_after_kill(later, killed_at)
            bob_again = Person(settings, "bob", address, http)
            async with bob_again.connected():
                await until_live(people, "bob", is_live=True)
        # The record of the killed gateway remains.
        await until_live(people, "bob", is_live=True, at=killed_at)


async def test_only_an_active_connection_makes_a_person_live(
    settings: Settings, http: aiohttp.ClientSession
) -> None:
    """One active connection of two is enough; the end of an inactive one changes nothing."""
    async with gateway(settings) as address, asyncio.timeout(4 * PATIENCE):
        ann = Person(settings, "ann", address, http)
        with reading(settings) as people:
            async with ann.connected() as phone:
                async with ann.connected() as page:
                    await page.send_json({"kind": "presence", "active": False})
                    await until_live(people, "ann", is_live=True)
                await until_live(people, "ann", is_live=True)
                await phone.send_json({"kind": "presence", "active": False})
                await until_live(people, "ann", is_live=False)
                await phone.send_json({"kind": "presence", "active": True})
                await until_live(people, "ann", is_live=True)
            await until_live(people, "ann", is_live=False)


def check_after_kill(people: People, killed_at: Milliseconds) -> None:
    """Without a gateway that says otherwise, bob counts as live for the TTL, and no longer."""
    people.catch_up()
    ttl_ms = LIVE_TTL // timedelta(milliseconds=1)
    assert people.is_live("bob", killed_at)
    assert not people.is_live("ann", killed_at)
    assert not people.is_live("bob", Milliseconds(killed_at + ttl_ms + 1_000))


async def until_ready(address: str, http: aiohttp.ClientSession) -> None:
    """Waits until a gateway serves."""

    async def is_ready() -> bool:
        try:
            async with http.get(f"{address}/healthz") as response:
                return bool((await response.json())["status"] in {"ok", "degraded"})
        except aiohttp.ClientConnectionError:
            return False

    await until(is_ready, PATIENCE)

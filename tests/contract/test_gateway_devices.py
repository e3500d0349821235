"""The contract of stores of devices, in memory and on Cassandra."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest

from gateway.store.device_port import MAX_DEVICES, DeviceStore, Registered
from schemas.limits import MAX_CURSOR
from schemas.number_types import Milliseconds, SyncSeqId
from tests.support.gateway_rows import cassandra_store, tables
from tests.support.gateway_store import FakeStore
from tests.support.servers import Servers


class Stored(NamedTuple):
    """A store, and a person whom no other test uses."""

    devices: DeviceStore
    user: str


@pytest.fixture(scope="module")
def deployment(servers: Servers) -> Iterator[Any]:
    """Settings of this module alone."""
    settings = servers.settings()
    with tables(settings):
        yield settings


@pytest.fixture(params=["fake", pytest.param("cassandra", marks=pytest.mark.servers)])
async def stored(request: pytest.FixtureRequest) -> AsyncIterator[Stored]:
    """Each test runs on both stores."""
    user = secrets.token_hex(4)
    if request.param == "fake":
        yield Stored(FakeStore().devices, user)
        return
    async with cassandra_store(request.getfixturevalue("deployment")) as store:
        yield Stored(store.devices, user)


def device(name: str, registration: str, cursor: int = -1) -> Registered:
    """A registered device."""
    return Registered(
        name,
        registration,
        "window",
        7,
        Milliseconds(1_000),
        SyncSeqId(cursor),
        Milliseconds(2_000),
    )


async def test_a_registered_device_is_read_back_unchanged(stored: Stored) -> None:
    """Registered devices are listed by id, for each person separately."""
    devices, user = stored
    assert await devices.devices(user) == []
    phone, desk = device("陈's phone", user + "1"), device("desk", user + "2", cursor=5 << 48)
    await devices.register(user, phone)
    await devices.register(user, desk)
    await devices.register(user + "x", device("desk", user + "3"))
    assert await devices.devices(user) == sorted([phone, desk])


async def test_cursors_written_in_any_order_leave_the_highest_one(stored: Stored) -> None:
    """The highest cursor and the latest time are stored, for one device alone."""
    devices, user = stored
    phone, desk = device("phone", user + "1"), device("desk", user + "2")
    for each in (phone, desk):
        await devices.register(user, each)
    far = (7 << 48) + 3
    for cursor, seen in ((4, 2_500), (far, 3_000), (9, 2_700), (-1, 1_000)):
        await devices.move_cursor(user, phone.registration, SyncSeqId(cursor), Milliseconds(seen))
    assert await devices.devices(user) == [
        desk,
        phone._replace(cursor=SyncSeqId(far), seen=Milliseconds(3_000)),
    ]


async def test_a_removed_device_leaves_no_rows(stored: Stored) -> None:
    """A deleted device leaves no cursor, so a new device of the same name starts anew."""
    devices, user = stored
    phone, desk = device("phone", user + "1"), device("desk", user + "2")
    for each in (phone, desk):
        await devices.register(user, each)
    await devices.move_cursor(
        user, phone.registration, SyncSeqId((1 << 62) + 1), Milliseconds(5_000)
    )
    await devices.take_out(user, phone)
    assert await devices.devices(user) == [desk]
    anew = device("phone", user + "3", cursor=11)
    await devices.register(user, anew)
    assert await devices.devices(user) == [desk, anew]


async def test_a_device_is_registered_once(stored: Stored) -> None:
    """Simultaneous registrations of one id make one device, and all get this device."""
    devices, user = stored
    phones = [device("phone", f"{user}{number}") for number in range(10)]
    answers = await asyncio.gather(*(devices.register(user, phone) for phone in phones))
    assert len(set(answers)) == 1
    assert await devices.devices(user) == [answers[0]]
    assert await devices.register(user, device("phone", user + "later")) == answers[0]


async def test_a_person_can_register_the_maximum_number_of_devices(stored: Stored) -> None:
    """Simultaneous registrations fill exactly all slots, and a deleted device frees its slot."""
    devices, user = stored
    wanted = [device(f"d{number}", f"{user}{number}") for number in range(60)]
    answers = await asyncio.gather(*(devices.register(user, each) for each in wanted))
    there = [answer for answer in answers if answer is not None]
    assert len(there) == MAX_DEVICES
    assert await devices.devices(user) == sorted(there)
    await devices.take_out(user, there[0])
    late = device("late", user + "late")
    assert await devices.register(user, late) == late
    assert await devices.register(user, device("later", user + "later")) is None


async def test_the_highest_possible_cursor_is_stored(stored: Stored) -> None:
    """The store accepts the highest cursor that the gateway accepts."""
    devices, user = stored
    phone = device("phone", user + "1")
    await devices.register(user, phone)
    await devices.move_cursor(user, phone.registration, SyncSeqId(MAX_CURSOR), Milliseconds(2_500))
    assert [each.cursor for each in await devices.devices(user)] == [MAX_CURSOR]
    await devices.take_out(user, phone)
    assert await devices.devices(user) == []


@pytest.mark.servers
async def test_two_gateways_share_the_device_slots_of_a_person(deployment: Any) -> None:
    """Two stores that register devices of one person at the same time fill exactly all slots."""
    user = secrets.token_hex(4)
    async with cassandra_store(deployment) as one, cassandra_store(deployment) as other:
        answers = await asyncio.gather(
            *(
                store.devices.register(user, device(f"d{number}", f"{user}{place}{number}"))
                for number in range(40)
                for place, store in enumerate((one, other))
            )
        )
        there = {answer for answer in answers if answer is not None}
        assert len(there) == MAX_DEVICES
        assert await one.devices.devices(user) == sorted(there)

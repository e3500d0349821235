"""Devices over HTTP: each has its own cursor and the start that the policy defines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.store.device_port import MAX_DEVICES
from schemas.records import NewDevicePolicy
from tests.support.gateway import Answer, Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore

DEVICES = "/v1/devices"
DEVICE = "/v1/devices/{}"
CURSOR = "/v1/devices/{}/cursor"
BEGINNINGS = "/v1/devices/{}/conversations"


@pytest.fixture
def store() -> FakeStore:
    """Ann has three conversations, one of which she left."""
    store = FakeStore()
    for conv_id, head in (("a", 9), ("b", 2), ("c", 50)):
        store.put_conversation(conv_id, head)
        store.put_change("ann", conv_id, 1, joined=True)
    store.put_change("ann", "c", 20, joined=False)
    store.put_expiry("ann", 0, 10, 700)
    return store


async def registered(gateway: Caller, user: str, device_id: str) -> Answer:
    """Register a device; return the response."""
    body = json.dumps({"device_id": device_id}).encode()
    return await gateway.send("POST", DEVICES, user, body)


async def moved(gateway: Caller, user: str, device_id: str, cursor: Any) -> Answer:
    """Send a cursor; return the response."""
    body = json.dumps({"cursor": cursor}).encode()
    return await gateway.send("PUT", CURSOR.format(device_id), user, body)


async def cursors(gateway: Caller, user: str) -> dict[str, int]:
    """Return the cursors of all devices of a person."""
    answer = await gateway.get(DEVICES, user)
    return {each["device_id"]: each["cursor"] for each in answer.body["devices"]}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("new-messages-only", {"a": 10, "b": 3, "c": 21}),
        ("window", {"a": 6, "b": 1, "c": 17}),
        ("full-history", {"a": 1, "b": 1, "c": 1}),
    ],
)
async def test_a_new_device_starts_by_the_policy(
    store: FakeStore, policy: NewDevicePolicy, expected: dict[str, int]
) -> None:
    """The pages of starts follow the policy, and do not pass the end of the person's access."""
    settings = token_settings(new_device=policy, new_device_window=4)
    async with serving(settings, store, FakeIndex()) as gateway:
        device = await registered(gateway, "ann", "phone")
        assert (device.status, device.body["policy"], device.body["cursor"]) == (200, policy, 700)
        assert device.body["window"] == (4 if policy == "window" else None)
        found: dict[str, int] = {}
        after = None
        while True:
            page = await gateway.get(BEGINNINGS.format("phone"), "ann", limit=2, after=after)
            found |= {each["conv_id"]: each["from"] for each in page.body["conversations"]}
            after = page.body["next"]
            if after is None:
                break
    assert found == expected


async def test_a_known_device_continues_from_its_cursor(store: FakeStore) -> None:
    """A known device retains its policy and cursor when the setting of the deployment changes."""
    new_only = token_settings(new_device="new-messages-only")
    async with serving(new_only, store, FakeIndex()) as gateway:
        first = await registered(gateway, "ann", "phone")
        await moved(gateway, "ann", "phone", 900)
    async with serving(token_settings(), store, FakeIndex()) as gateway:
        again = await registered(gateway, "ann", "phone")
        assert again.body == first.body | {"cursor": 900, "seen": again.body["seen"]}
        assert (await registered(gateway, "ann", "desk")).body["policy"] == "full-history"


async def test_a_cursor_moves_without_other_cursors(store: FakeStore) -> None:
    """A cursor only moves forward; cursors of other devices and of other people do not move."""
    async with serving(token_settings(), store, FakeIndex()) as gateway:
        for user, device_id in (("ann", "phone"), ("ann", "desk"), ("bob", "phone")):
            await registered(gateway, user, device_id)
        assert (await moved(gateway, "ann", "phone", 800)).body["cursor"] == 800
        assert (await moved(gateway, "ann", "phone", 750)).body["cursor"] == 800
        assert await cursors(gateway, "ann") == {"phone": 800, "desk": 700}
        assert await cursors(gateway, "bob") == {"phone": -1}
        one = await gateway.get(DEVICE.format("phone"), "ann")
        assert one.body["cursor"] == 800
        assert one.body["seen"] >= one.body["since"]


async def test_a_removed_device_registers_as_a_new_one(store: FakeStore) -> None:
    """A deleted device loses its cursor and registers as new; other people cannot delete it."""
    async with serving(token_settings(), store, FakeIndex()) as gateway:
        await registered(gateway, "ann", "phone")
        await moved(gateway, "ann", "phone", 900)
        strange = await gateway.send("DELETE", DEVICE.format("phone"), "bob")
        assert (strange.status, strange.body["type"].rpartition(":")[2]) == (404, "no-such-device")
        gone = await gateway.send("DELETE", DEVICE.format("phone"), "ann")
        assert gone.status == 204
        for method, path in (("GET", DEVICE), ("GET", BEGINNINGS), ("DELETE", DEVICE)):
            answer = await gateway.send(method, path.format("phone"), "ann")
            assert answer.status == 404
        assert (await moved(gateway, "ann", "phone", 950)).status == 404
        assert (await registered(gateway, "ann", "phone")).body["cursor"] == 700


async def test_a_person_has_a_bounded_number_of_devices(store: FakeStore) -> None:
    """A device above the limit is refused with a typed problem; known and others' devices work."""
    async with serving(token_settings(), store, FakeIndex()) as gateway:
        for number in range(MAX_DEVICES):
            assert (await registered(gateway, "ann", f"d{number}")).status == 200
        refused = await registered(gateway, "ann", "one more")
        assert (refused.status, refused.body["type"].rpartition(":")[2]) == (
            409,
            "too-many-devices",
        )
        assert (await registered(gateway, "ann", "d0")).status == 200
        assert (await registered(gateway, "bob", "d0")).status == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"hush", b"[]", b"{}", b'{"device_id":7}', b'{"device_id":""}', b"\xff",
     b'{"device_id":"a\\u0007"}', b'{"device_id":"a","user":"bob"}',
     b'{"device_id":"' + b"x" * 129 + b'"}'],
)  # fmt: skip
async def test_an_invalid_body_is_refused(store: FakeStore, body: bytes) -> None:
    """A body that is not a registration is a 400 that quotes nothing of the body."""
    async with serving(token_settings(), store, FakeIndex()) as gateway:
        answer = await gateway.send("POST", DEVICES, "ann", body)
        assert (answer.status, answer.body["type"].rpartition(":")[2]) == (400, "bad-body")
        assert "hush" not in str(answer.body)
        assert await cursors(gateway, "ann") == {}


@pytest.mark.parametrize("cursor", [-2, 1 << 63, "7", None, 1.5])
async def test_an_invalid_cursor_is_refused(store: FakeStore, cursor: object) -> None:
    """An invalid cursor is a 400, and the device's cursor does not move."""
    async with serving(token_settings(), store, FakeIndex()) as gateway:
        await registered(gateway, "ann", "phone")
        assert (await moved(gateway, "ann", "phone", cursor)).status == 400
        assert await cursors(gateway, "ann") == {"phone": 700}

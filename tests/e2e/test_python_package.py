"""The Python client on the real stack."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import pytest

import im_timeline_client.items
from devstack.ports import free_ports
from gateway.http.tokens import issue_token
from im_timeline_client import (
    Client,
    CommandRejected,
    Item,
    Items,
    WebhookAddress,
    WebPushAddress,
    connect,
)
from schemas.settings import Settings
from tests.support.processes import running, wait_until
from tests.support.readiness import is_ready
from tests.support.stored_addresses import stored_addresses
from tests.support.waiting import until

pytestmark = pytest.mark.servers

SECONDS: Final = 180.0
CROWD: Final = ["c1", "c2", "c3", "c4"]
"""With these people, a group is above the push limit of the deployment."""


@pytest.fixture
def settings(deployment: tuple[Settings, Settings]) -> Settings:
    """The first gateway of the deployment."""
    return deployment[0]


@asynccontextmanager
async def client_of(
    settings: Settings, user: str, *, token_seconds: float = 300, tokens: list[str] | None = None
) -> AsyncIterator[Client]:
    """A client of a person with fresh tokens, which `tokens` collects."""

    def fresh() -> str:
        token = issue_token(settings, user, timedelta(seconds=token_seconds))
        if tokens is not None:
            tokens.append(token)
        return token

    address = f"http://{settings.gateway_host}:{settings.gateway_port}"
    async with connect(address, fresh, outcome_seconds=SECONDS) as client:
        yield client


async def taken_to(items: Items, conv_id: str, seq: int) -> list[Item]:
    """The next items of a conversation, up to a SeqId. No SeqId is missing or repeated."""
    found: list[Item] = []
    async with asyncio.timeout(SECONDS):
        while not found or found[-1].last < seq:
            item = await anext(items)
            if item.conv_id == conv_id:
                assert not found or item.first == found[-1].last + 1
                found.append(item)
    return found


async def test_a_follower_shows_the_history(settings: Settings) -> None:
    """What a follower shows live equals the history: pushed, pulled, and after an absence.

    The group changes to pull mode, so most of its entries are read as gaps. Search finds a
    message.
    """
    async with client_of(settings, "ann") as ann, client_of(settings, "bob") as bob:
        items = bob.items()
        await items.begin()
        group = (await ann.create_conversation(["bob"], name="Group")).conv_id
        for number in range(10):
            await ann.send(group, f"pushed {number}")
        await ann.add_members(group, CROWD)
        for number in range(10):
            await ann.send(group, f"pulled {number}", mentions=["bob"] if number == 5 else [])
        await ann.remove_member(group, "bob")
        await ann.send(group, "hidden")
        await ann.add_members(group, ["bob"])
        last = await ann.send(group, "the last word is Zwetschgenkuchen")
        shown = await taken_to(items, group, last.seq)
        assert shown[0].first == 1
        assert [item.hole for item in shown if item.hole] == ["hidden"]
        history = [item async for item in bob.history(group)]
        assert shown == history
        assert [member.user async for member in bob.members(group)] == ["ann", "bob", *CROWD]
        listed = [each async for each in bob.conversations()]
        assert (listed[0].conv_id, listed[0].name, listed[0].mode) == (group, "Group", "pull")
        assert (await bob.mark_read(group, last.seq)).seq == last.seq
        assert (await bob.mute(group, 7)).seq == last.seq

        async def is_muted() -> bool:
            listed = [each async for each in bob.conversations()]
            return listed[0].mute is not None and listed[0].mute.until == 7

        await until(is_muted, SECONDS)

        async def is_found() -> bool:
            page = await bob.search("Zwetschgenkuchen", conv_id=group)
            return [hit.seq for hit in page.hits] == [last.seq]

        await until(is_found, SECONDS)


async def test_a_killed_gateway_loses_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A follower continues after its gateway was killed; a command has one effect."""
    monkeypatch.setattr(im_timeline_client.items, "LONGEST_FAILURE_PAUSE_SECONDS", 1.0)
    own = settings.model_copy(update={"gateway_port": free_ports(1)[0]})
    async with client_of(settings, "ann") as ann, client_of(own, "bob") as bob:
        with running(own, "gateway") as process:
            await asyncio.to_thread(wait_until, lambda: is_ready(own), "the gateway is ready")
            items = bob.items()
            await items.begin()
            conv_id = (await ann.create_conversation(["bob"])).conv_id
            await ann.send(conv_id, "before")
            await taken_to(items, conv_id, 2)
            process.kill()
        for number in range(20):
            await ann.send(conv_id, f"meanwhile {number}")
        sending = asyncio.create_task(bob.send(conv_id, "once"))
        following = asyncio.create_task(taken_to(items, conv_id, 23))
        with running(own, "gateway"):
            assert (await sending).seq == 23
            shown = await following
            assert (shown[0].first, shown[-1].last) == (3, 23)
            texts = [item.entry.text for item in shown if item.entry]
            assert texts == [f"meanwhile {number}" for number in range(20)] + ["once"]
            checkpoint = items.checkpoint()
            await ann.send(conv_id, "after")
            again = await taken_to(bob.items(checkpoint), conv_id, 24)
            assert [item.first for item in again] == [24]


async def test_a_rejection_has_its_reason(settings: Settings) -> None:
    """The reason of a rejection is the code of the sequencer."""
    async with client_of(settings, "ann") as ann, client_of(settings, "eve") as eve:
        conv_id = (await ann.create_conversation(["bob"])).conv_id
        with pytest.raises(CommandRejected) as rejected:
            await eve.send(conv_id, "hello")
        assert rejected.value.code == "not_a_member"
        with pytest.raises(CommandRejected) as rejected:
            await ann.recall(conv_id, 1)
        assert rejected.value.code == "unknown_message"


async def test_tokens_are_refreshed(settings: Settings) -> None:
    """An iteration outlives its tokens: the gateway ends the connection, the client renews it."""
    tokens: list[str] = []
    async with (
        client_of(settings, "ann") as ann,
        client_of(settings, "bob", token_seconds=2, tokens=tokens) as bob,
    ):
        items = bob.items()
        await items.begin()
        conv_id = (await ann.create_conversation(["bob"])).conv_id
        await taken_to(items, conv_id, 1)
        before = len(tokens)
        seq = 1
        while len(tokens) < before + 2:  # the connection, or a request, with the next token
            seq = (await ann.send(conv_id, "still there?")).seq
            await taken_to(items, conv_id, seq)
            await asyncio.sleep(0.2)
        assert seq > 1


async def test_a_device_gets_and_loses_its_push_address(settings: Settings) -> None:
    """An address is on the log when the method returns, and a removal erases it."""
    async with client_of(settings, "quinn") as quinn:
        await quinn.register_push("phone", WebhookAddress("https://hooks.example/earlier"))
        await quinn.register_push("phone", WebhookAddress("https://hooks.example/quinn"))
        await quinn.register_push("lost", WebhookAddress("https://hooks.example/lost"))
        await quinn.remove_device("lost")
        stored = await asyncio.to_thread(stored_addresses, settings, "quinn")
        assert stored == {"phone": {"provider": "webhook", "url": "https://hooks.example/quinn"}}
        assert [each.device_id for each in await quinn.devices()] == ["phone"]
        key = await quinn.push_key()
        assert key is not None
        await quinn.register_push(
            "phone", WebPushAddress("https://push.example/send/1", key, "A" * 22)
        )
        stored = await asyncio.to_thread(stored_addresses, settings, "quinn")
        assert stored["phone"]["provider"] == "web_push"
        await quinn.remove_push("phone")
        assert await asyncio.to_thread(stored_addresses, settings, "quinn") == {}

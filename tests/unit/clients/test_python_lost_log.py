"""An iteration of the Python client whose cursor the log has lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Final

import pytest

from gateway.http.tokens import issue_token
from im_timeline_client import CursorAhead, Item, connect
from tests.support.gateway import token_settings
from tests.support.local_world import CONVERSATIONS, ME, OWNER, World, WorldGateway
from tests.support.waiting import until

SECONDS: Final = 60.0
CONV: Final = CONVERSATIONS[0]


@pytest.fixture
def gateway() -> Iterator[WorldGateway]:
    """A gateway over HTTP."""
    made = WorldGateway()
    yield made
    made.close()


def say(world: World, count: int) -> None:
    """Somebody says something, and the stores have it."""
    for _ in range(count):
        world.say(CONV, OWNER, [ME])
    world.store.write_all()


async def taken(items: AsyncIterator[Item], count: int) -> list[int]:
    """The SeqIds of the next items."""
    async with asyncio.timeout(SECONDS):
        return [(await anext(items)).first for _ in range(count)]


def cursor_of(checkpoint: str) -> int:
    """The cursor in a checkpoint."""
    return int(json.loads(checkpoint)["cursor"])


def test_entries_in_the_place_of_lost_ones_are_shown(gateway: WorldGateway) -> None:
    """After a restore, the iteration continues behind the present head, and does not stall.

    `sync` reports the loss to its caller.
    """
    world = World()
    world.store.write_all()
    gateway.serve(world)
    token = issue_token(token_settings(), ME, timedelta(minutes=10))

    async def follow() -> None:
        async with connect(gateway.address, token) as client:
            items = client.items()
            await items.begin()
            say(world, 4)
            assert await taken(items, 4) == [2, 3, 4, 5]
            checkpoint = items.checkpoint()
            await items.aclose()
            cursor = world.my_records()[-1].sync_seq
            world.restore(lost=3)
            gateway.serve(world)
            items = client.items(checkpoint)
            waiting = asyncio.ensure_future(taken(items, 2))

            async def has_gone_back() -> bool:
                return cursor_of(items.checkpoint()) != cursor_of(checkpoint)

            await until(has_gone_back, SECONDS)
            say(world, 2)
            assert await waiting == [3, 4]
            with pytest.raises(CursorAhead):
                [each async for each in client.sync(cursor)]

    gateway.runner.run(follow())

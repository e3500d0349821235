"""Shared queries that are stuck, that fail, or for which nobody waits any more."""

from __future__ import annotations

import asyncio

import pytest

from gateway.store import shared_queries
from gateway.store.coalescing import CoalescingStore
from gateway.store.store_port import ConversationHead
from schemas.errors import ServerUnavailable
from schemas.number_types import SeqId
from tests.support.gateway_store import FakeStore
from tests.support.waiting import until


class Held(FakeStore):
    """A store that answers a query for a head when the test sets the result."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[asyncio.Future[int]] = []

    async def conversation(self, conv_id: str) -> ConversationHead | None:
        del conv_id
        self.queries.append(asyncio.get_running_loop().create_future())
        return ConversationHead(SeqId(await self.queries[-1]), "push")

    async def await_queries(self, count: int) -> None:
        """Wait until this number of queries has been sent."""

        async def sent() -> bool:
            return len(self.queries) >= count

        await until(sent, seconds=30)


async def readers(
    store: CoalescingStore, count: int
) -> list[asyncio.Task[ConversationHead | None]]:
    """Start readers that wait for their answer."""
    tasks = [asyncio.create_task(store.conversation("c")) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No query counts as stuck, however busy the machine is."""
    monkeypatch.setattr(shared_queries, "PREVIOUS_QUERY_SECONDS", 60)


async def test_requests_during_a_query_share_the_next_query() -> None:
    """200 readers need two queries, and no reader gets a query that began before its request."""
    below = Held()
    store = CoalescingStore(below)
    first, *others = await readers(store, 200)
    below.queries[0].set_result(1)
    assert await first == ConversationHead(SeqId(1), "push")
    await below.await_queries(2)
    below.queries[1].set_result(2)
    assert await asyncio.gather(*others) == [ConversationHead(SeqId(2), "push")] * 199
    assert len(below.queries) == 2


async def test_a_stuck_query_does_not_delay_the_next_query(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next query is sent next to a stuck one after a short time, and answers its readers."""
    monkeypatch.setattr(shared_queries, "PREVIOUS_QUERY_SECONDS", 0.01)
    below = Held()
    store = CoalescingStore(below)
    stuck, other = await readers(store, 2)
    await below.await_queries(2)
    below.queries[1].set_result(2)
    assert await other == ConversationHead(SeqId(2), "push")
    assert not stuck.done()
    below.queries[0].set_result(1)
    assert await stuck == ConversationHead(SeqId(1), "push")


async def test_a_failure_reaches_exactly_the_requests_that_shared_the_query() -> None:
    """All readers of a failed query get the error; a later reader starts a new query."""
    below = Held()
    store = CoalescingStore(below)
    first, *others = await readers(store, 4)
    below.queries[0].set_exception(ServerUnavailable("down"))
    with pytest.raises(ServerUnavailable):
        await first
    await below.await_queries(2)
    below.queries[1].set_exception(ServerUnavailable("down"))
    failures = await asyncio.gather(*others, return_exceptions=True)
    assert [type(one) for one in failures] == [ServerUnavailable] * 3
    (again,) = await readers(store, 1)
    below.queries[2].set_result(3)
    assert await again == ConversationHead(SeqId(3), "push")


async def test_a_query_without_waiting_requests_is_cancelled() -> None:
    """A cancelled reader does not disturb the others; without readers the query is cancelled."""
    below = Held()
    store = CoalescingStore(below)
    first, second, third = await readers(store, 3)
    below.queries[0].set_result(1)
    await first
    await below.await_queries(2)
    second.cancel()
    await asyncio.wait([second])
    assert not below.queries[1].cancelled()
    third.cancel()
    await asyncio.wait([third])
    await asyncio.sleep(0)
    assert below.queries[1].cancelled()


async def test_a_queued_query_without_waiting_requests_is_not_sent() -> None:
    """A reader that arrives after all waiting readers left gets a query of its own."""
    below = Held()
    store = CoalescingStore(below)
    first, second = await readers(store, 2)
    second.cancel()
    await asyncio.wait([second])
    (third,) = await readers(store, 1)
    below.queries[0].set_result(1)
    await first
    await below.await_queries(2)
    below.queries[1].set_result(2)
    assert await third == ConversationHead(SeqId(2), "push")
    assert len(below.queries) == 2

"""The loop of a device: its requests, their order, and its reaction to failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec import structs

import consumers.device.device
from consumers.device.device import Device
from consumers.device.knowledge import (
    BEFORE_ALL,
    Beginning,
    HistoryPart,
    Listed,
    ShownFrom,
    SyncBatch,
    TimelineItem,
)
from consumers.device.local_store import LocalStore
from consumers.device.spans import Span
from schemas.errors import (
    RequestRefused,
    ServerUnavailable,
    TransientFailure,
    Trimmed,
)
from schemas.number_types import Offset, SeqId, SyncSeqId
from schemas.records import AnySyncRecord
from tests.support.gateway_store import message
from tests.support.local_records import arrived, hole, late, page, said, seqs
from tests.support.waiting import until


class Script:
    """`SyncSource` and `History` with scripted answers and failures."""

    def __init__(self) -> None:
        self.pages: list[SyncBatch | Exception] = []
        self.listed: list[Listed] = []
        self.entries: list[TimelineItem] = []
        self.lists = 0
        self.waits: list[float] = []

    async def after(self, cursor: int, wait: float = 0.0) -> SyncBatch:
        self.waits.append(wait)
        answer = self.pages.pop(0) if self.pages else page(cursor)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def part(self, conv_id: str, span: Span) -> HistoryPart:
        found = [item for item in self.entries if span.first <= item.first <= span.last]
        return HistoryPart(conv_id, span.last, found)

    async def conversations(self) -> list[Listed]:
        self.lists += 1
        return self.listed


async def until_done(device: Device, is_done: Callable[[], bool]) -> None:
    """Run a device until the condition is true."""
    stop = asyncio.Event()
    running = asyncio.create_task(device.run(stop))

    async def is_over() -> bool:
        return is_done() or running.done()

    await until(is_over, 20)
    stop.set()
    await running


@pytest.mark.parametrize(
    "failure", [Trimmed(Offset(5), Offset(9)), ServerUnavailable("no"), TransientFailure("no")]
)
async def test_after_a_failure_a_device_reads_missing_entries_from_the_store(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """After a failure the device reads from the store what the sync timeline may lack."""
    monkeypatch.setattr(consumers.device.device, "AFTER_FAILURE_SECONDS", 0.0)
    script, shown = Script(), list[TimelineItem]()
    device = Device(store, script, script, shown.append)
    script.pages = [page(BEFORE_ALL, arrived(5, message("c", 1)))]
    await device.step()
    await device.step()
    assert script.lists == 1  # one list at the start, and no further list while nothing fails
    script.listed = [Listed("c", SeqId(3), "push")]
    script.entries = [said(2), said(3)]
    script.pages = [failure]
    await until_done(device, lambda: len(shown) == 3)
    assert shown == [said(1), said(2), said(3)]
    assert store.cursor == (8 if isinstance(failure, Trimmed) else 5)


async def test_an_idle_device_waits_for_records(store: LocalStore) -> None:
    """A device waits for records only when nothing else is left to do.

    The wait is not long before the first full check, nor while a conversation is pulled or has a
    gap. A stop does not last as long as the wait.
    """

    class Waiting(Script):
        async def after(self, cursor: int, wait: float = 0.0) -> SyncBatch:
            batch = await super().after(cursor, wait)
            if wait > 1:
                await asyncio.Event().wait()
            return batch

    script = Waiting()
    script.pages = [page(BEFORE_ALL, arrived(5, message("c", 1)))]
    device = Device(store, script, script, lambda _: None)
    await until_done(device, lambda: bool(script.waits) and script.waits[-1] > 1)
    assert script.lists == 1
    assert set(script.waits[:-1]) == {0.0}
    assert script.waits[-1] == consumers.device.device.RECORD_WAIT_SECONDS
    script.waits.clear()
    store.apply(
        SyncBatch(SyncSeqId(5), [arrived(6, message("c", 3))], SyncSeqId(6), more=False)
    )  # 2 is missing
    device = Device(store, script, script, lambda _: None)
    await until_done(device, lambda: len(script.waits) == 3)
    assert set(script.waits) == {0.0}


async def test_a_record_is_observed_before_the_cursor_moves(store: LocalStore) -> None:
    """The cursor moves after the listener: a listener that fails gets the record again."""
    heard: list[AnySyncRecord] = []

    def hear(record: AnySyncRecord) -> None:
        heard.append(record)
        if len(heard) == 1:
            raise ZeroDivisionError

    script, shown = Script(), list[TimelineItem]()
    device = Device(store, script, script, shown.append, hear)
    script.pages = [page(BEFORE_ALL, arrived(5, message("c", 1)))] * 2
    with pytest.raises(ZeroDivisionError):
        await device.step()
    assert store.cursor == BEFORE_ALL
    assert await device.step()
    assert heard == [message("c", 1)] * 2
    assert shown == [said(1)]


async def test_complete_ranges_are_shown_while_the_store_is_unreachable(store: LocalStore) -> None:
    """A device on the log shows new records while the gateway is unreachable."""

    class NoHistory(Script):
        async def conversations(self) -> list[Listed]:
            raise ServerUnavailable("no")

    script, shown = NoHistory(), list[TimelineItem]()
    script.pages = [page(BEFORE_ALL, arrived(5, message("c", 1)))]
    with pytest.raises(ServerUnavailable):
        await Device(store, script, script, shown.append).step()
    assert shown == [said(1)]


async def test_a_recalled_message_may_be_an_own_message(store: LocalStore) -> None:
    """A recalled message may be the owner's own, so the device requests the list once more."""
    script = Script()
    device = Device(store, script, script, lambda _: None)
    script.pages = [page(BEFORE_ALL, arrived(5, message("c", 1)))]
    await device.step()
    script.pages = [
        page(5, arrived(6, structs.replace(message("c", 3, sender="bob"), messages=3)))
    ]
    script.entries = [hole("recalled", 2, 2)]
    script.listed = [Listed("c", SeqId(3), "push", 3, SeqId(2), 1)]
    await device.step()
    await device.step()
    assert (script.lists, store.read_mark("c"), store.unread("c")) == (2, 2, 1)
    await device.step()
    assert script.lists == 2


class FakeRegistry:
    """A device registry that refuses requests, or is unreachable, while `failure` is set."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, int]] = []
        self.failure: Exception | None = None

    async def register(self, device_id: str) -> Beginning:
        if self.failure is not None:
            raise self.failure
        self.reports.append((device_id, -1))
        return late(ShownFrom("c", SeqId(3), SeqId(2), "push"), cursor=BEFORE_ALL)

    async def report(self, device_id: str, cursor: int) -> None:
        if self.failure is not None:
            raise self.failure
        self.reports.append((device_id, cursor))


async def test_a_device_registers_first_and_reports_its_cursor(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device learns its start before it follows, and repeats a cursor report that failed."""
    monkeypatch.setattr(consumers.device.device, "REPORT_SECONDS", 0.0)
    registry, source = FakeRegistry(), Script()
    source.pages = [page(BEFORE_ALL, *(arrived(n, message("c", n)) for n in (1, 2, 3)))]
    shown: list[TimelineItem] = []
    device = Device(store, source, source, shown.append, registry=registry)
    registry.failure = ServerUnavailable("away")
    with pytest.raises(ServerUnavailable):
        await device.step()
    assert store.cursor == BEFORE_ALL
    registry.failure = None
    await device.step()
    assert (seqs(shown), registry.reports) == ([3], [("phone", -1), ("phone", 3)])
    source.pages = [page(3, arrived(4, message("c", 4)))]
    registry.failure = ServerUnavailable("away")
    await device.step()
    registry.failure = None
    await device.step()
    await device.step()
    assert registry.reports[2:] == [("phone", 4)]
    source.pages = [page(4, arrived(5, message("c", 5)))]
    registry.failure = RequestRefused(404, "taken out")
    with pytest.raises(RequestRefused):
        await device.step()

"""A device on real servers that notes what it shows, and the timelines that it must show."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import aclosing, closing, suppress
from datetime import timedelta
from pathlib import Path

import aiohttp

from consumers.device.device import Device
from consumers.device.gateway_timeline import GatewayTimelines
from consumers.device.kafka_timeline import FollowerTimeline
from consumers.device.knowledge import TimelineItem
from consumers.device.live_timeline import LiveTimelines
from consumers.device.local_store import LocalStore
from consumers.device.registry import GatewayRegistry
from gateway.http.tokens import issue_token
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.local_world import by_seq, has_joined, seen_by
from tests.support.topics import read_all

Timelines = dict[str, dict[int, tuple[str | None, bytes]]]
"""The entries that a person must see, by conversation and SeqId."""


class Watcher:
    """A device of a person, whose process can end and restart.

    Args:
        settings: The deployment.
        user: The owner of the device.
        device_id: The id of the device.
        folder: Folder for the local store.
        live: Whether the device follows the log itself; otherwise it follows the gateway.
    """

    def __init__(
        self, settings: Settings, user: str, device_id: str, folder: Path, *, live: bool = False
    ) -> None:
        self.user = user
        self.lives = 0
        self.shown: dict[str, list[TimelineItem]] = defaultdict(list)
        self.settings = settings
        self._device_id = device_id
        self._path = folder / f"{user}-{device_id}.db"
        self._live = live
        self._task: asyncio.Task[None] | None = None
        self._store: LocalStore | None = None

    def start(self) -> None:
        """Starts a process of the device."""
        self.lives += 1
        self._task = asyncio.create_task(self._run())

    async def end(self) -> None:
        """Ends the process at any point."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def count(self) -> int:
        """Number of shown items."""
        if self._task is not None and self._task.done():
            self._task.result()
        return sum(map(len, self.shown.values()))

    def has_shown(self, expected: Timelines) -> bool:
        """Whether the device has shown each conversation up to its end."""
        return bool(self.count()) and all(
            self.shown[conv_id] and self.shown[conv_id][-1].last >= seq
            for conv_id, seq in last_seqs(expected).items()
        )

    def has_begun(self) -> bool:
        """Whether the running process knows the first SeqIds that it shows."""
        return self._store is not None and self._store.has_begun()

    def stored(self, conv_id: str) -> list[TimelineItem]:
        """The items in the local store, after the process has ended."""
        with closing(self._open()) as store:
            return store.timeline(conv_id, most=10_000)

    def begin_of(self, conv_id: str) -> int:
        """The first SeqId that the device shows, after the process has ended."""
        with closing(self._open()) as store:
            return store.conversation(conv_id).start

    def _open(self) -> LocalStore:
        return LocalStore(self._path, self.user, self._device_id)

    async def _run(self) -> None:
        settings = self.settings
        address = f"http://{settings.gateway_host}:{settings.gateway_port}"

        def token() -> str:
            return issue_token(settings, self.user, timedelta(minutes=1))

        async with (
            aiohttp.ClientSession() as http,
            aclosing(LiveTimelines(address, token, http)) as live,
        ):
            timelines = GatewayTimelines(address, token, http)
            registry = GatewayRegistry(address, token, http)
            with (
                closing(self._open()) as store,
                closing(FollowerTimeline(settings, self.user, store, self._device_id)) as log,
            ):
                self._store = store
                source = log if self._live else live
                device = Device(store, source, timelines, self._show, registry=registry)
                await device.run(asyncio.Event())

    def _show(self, item: TimelineItem) -> None:
        before = self.shown[item.conv_id]
        if before and item == before[-1]:
            return  # the process ended while it showed this item
        if before and item.first == before[0].first:
            before.clear()  # rejoined: the device shows earlier entries again
        if before:
            assert item.first == before[-1].last + 1, "shown out of order"
        before.append(item)


def logged(settings: Settings) -> dict[str, list[bytes]]:
    """All entries of the log, by conversation."""
    found: dict[str, list[bytes]] = defaultdict(list)
    for record in read_all(settings, Topic.TIMELINE):
        found[(record.key() or b"").decode()].append(record.value() or b"")
    return found


def timelines_of(user: str, log: Mapping[str, Sequence[bytes]]) -> Timelines:
    """The entries that a person must see, from those of all conversations."""
    return {
        conv_id: seen_by(user, entries)
        for conv_id, entries in log.items()
        if has_joined(user, entries)
    }


def last_seqs(expected: Timelines) -> dict[str, int]:
    """The last SeqId of each conversation."""
    return {conv_id: max(seen) for conv_id, seen in expected.items()}


def assert_exact_timelines(watcher: Watcher, expected: Timelines) -> None:
    """Asserts that a device has shown and stored exactly the entries from its start."""
    assert set(watcher.shown) == set(expected)
    for conv_id, seen in expected.items():
        assert watcher.shown[conv_id] == watcher.stored(conv_id)
        begin = watcher.begin_of(conv_id)
        rest = {seq: shown for seq, shown in seen.items() if seq >= begin}
        assert by_seq(watcher.shown[conv_id]) == rest

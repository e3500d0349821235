"""A device of a recipient that the sync sink of `tests.support.inactive_world` may skip."""

from __future__ import annotations

import msgspec

from gateway.log.barrier import Barrier
from gateway.reads.sync_back import read_sync_back
from gateway.reads.sync_page import read_sync, sync_end
from schemas.errors import ServerUnavailable, Trimmed
from schemas.limits import MAX_SEQ
from schemas.number_types import SeqId, SyncSeqId
from tests.support.inactive_world import APART, World, WorldBarrier


class Device:
    """A device that follows at a gateway, and rebuilds itself after `trimmed`.

    Args:
        world: The world of the device.
        barrier: The barrier at which the gateway waits.

    Attributes:
        has: The SeqIds of the entries that the device has.
        trims: How often the device was trimmed.
    """

    def __init__(self, world: World, barrier: Barrier | None = None) -> None:
        self._world = world
        self._store = world.store
        self._barrier = barrier or WorldBarrier(world)
        self.cursor = -1
        self.has: set[int] = set()
        self.trims = 0

    async def step(self, *, notes: bool) -> None:
        """One request for a page, and the device's reaction to the response.

        Args:
            notes: Whether the gateway can store a contact.
        """
        if notes:
            self._world.contacts.append(self._world.now)
        self._world.go_on()
        is_new = self.cursor < 0
        try:
            await self._read_on()
            if is_new and self.cursor >= 0:
                await self._read_store()
        except Trimmed as trimmed:
            self.trims += 1
            await self._rebuild(trimmed.oldest)

    async def _read_on(self) -> None:
        try:
            page, _ = await read_sync(
                self._store,
                "ann",
                SyncSeqId(self.cursor),
                4,
                lambda: self._world.now,
                barrier=self._barrier,
            )
        except ServerUnavailable:
            return
        for each in page.records:
            self.has.add(msgspec.json.decode(each.record)["seq"])
        self.cursor = page.next

    async def _rebuild(self, oldest: int) -> None:
        """As in `docs/devices.md`, or from ``oldest`` on, as in `consumers.device.device`."""
        if self._world.choose(2) == 0:
            self.cursor = oldest - 1
        else:
            try:
                end = await sync_end(
                    self._store, "ann", lambda: self._world.now, barrier=self._barrier
                )
            except ServerUnavailable:
                return  # the device requests a page again
            self.cursor = end.next
        await self._read_store()

    async def _read_store(self) -> None:
        conversation = await self._store.conversation("c")
        head = 0 if conversation is None else conversation.head
        seqs = list(map(SeqId, range(1, head + 1)))
        for at in range(0, head, 100):
            found = await self._store.chosen_entries("c", seqs[at : at + 100])
            self.has |= {entry.seq for entry in found}

    def missing(self) -> list[int]:
        """The records up to the cursor that the device lacks."""
        return [seq for seq in range(1, self.cursor // APART + 1) if seq not in self.has]


async def read_backwards(world: World, limit: int) -> list[int]:
    """The SeqIds of all pages, from the end of the timeline backwards."""
    found: list[int] = []
    before, more = MAX_SEQ, True
    barrier = WorldBarrier(world)
    while more:
        try:
            page = await read_sync_back(
                world.store, "ann", SyncSeqId(before), limit, lambda: world.now, barrier=barrier
            )
        except ServerUnavailable:
            world.store_entries(1)
            continue
        found += [each.sync_seq // APART for each in page.records]
        before, more = page.next, page.more
    return found

"""The inputs of the push stage that a gateway writes, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import ServerUnavailable
from schemas.push_addresses import PushAddress
from tests.support.gateway_store import FakeStore


class Addresses:
    """An `AddressLog` in memory."""

    def __init__(self, store: FakeStore) -> None:
        self.stored: dict[tuple[str, str], PushAddress] = {}
        self.is_away = False
        self.removes_device = False
        self._store = store

    async def put(self, user: str, device_id: str, address: PushAddress) -> None:
        """See `AddressLog`."""
        self._check()
        self.stored[user, device_id] = address
        if self.removes_device:
            (device,) = await self._store.devices.devices(user)
            await self._store.devices.take_out(user, device)

    async def remove(self, user: str, device_id: str) -> None:
        """See `AddressLog`."""
        self._check()
        self.stored.pop((user, device_id), None)

    def _check(self) -> None:
        if self.is_away:
            raise ServerUnavailable("away")


class Live:
    """`LiveConnections` that counts, and notes what each client says."""

    def __init__(self) -> None:
        self.users: list[str] = []
        self.noted: list[bool] = []

    @contextmanager
    def connected(self, user: str) -> Iterator[Live]:
        """See `LiveConnections`."""
        self.users.append(user)
        try:
            yield self
        finally:
            self.users.remove(user)

    def note(self, *, is_active: bool) -> None:
        """See `LiveActivity`."""
        self.noted.append(is_active)

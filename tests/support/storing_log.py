"""A pipeline in memory: a gateway whose commands are sequenced, stored and pushed at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from gateway.http.http_app import writes_to
from gateway.log.wake_ups import Wake, WakeUps
from schemas.codec import decode_entry
from schemas.limits import Limits
from schemas.number_types import SyncSeqId
from schemas.records import MessageSent
from schemas.settings import Settings
from tests.support.gateway import Caller, serving
from tests.support.gateway_store import FakeIndex
from tests.support.local_world import LaggingStore
from tests.support.sequenced_log import SequencedLog
from tests.support.sequencing import Log


class StoringLog(SequencedLog):
    """A `SequencedLog` with sinks behind it.

    Attributes:
        stores: Whether the sinks store each record at once.
        store: What the sinks have stored.
        index: All messages.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(limits)
        self.stores = True
        self.index = FakeIndex()
        self.wake_ups = WakeUps()
        self.wake_ups.now_live(is_live=True)
        self._log = Log()
        self.store = LaggingStore(self._log)

    def timeline(self, conv_id: str, value: bytes) -> None:
        """See `RecordWriter`."""
        super().timeline(conv_id, value)
        self._log.timeline(conv_id, value)
        entry = decode_entry(value)
        if isinstance(entry, MessageSent):
            self.index.messages.append(entry)

    def sync(self, recipients: Sequence[str], value: bytes) -> int:
        """See `RecordWriter`."""
        self._log.sync(recipients, value)
        return super().sync(recipients, value)

    def sequence(self) -> None:
        """Sequences the commands on the log, and stores their records."""
        super().sequence()
        if self.stores:
            self.settle()

    def settle(self) -> None:
        """Lets the sinks reach the end of the log; the log wakes all readers."""
        self.store.write_all()
        records = {user: SyncSeqId(place) for place, (user, _) in enumerate(self._log.syncs)}
        entries = [decode_entry(value) for _, value in self._log.entries]
        self.wake_ups.woke(Wake(records, {entry.conv_id: entry.seq for entry in entries}))


@asynccontextmanager
async def serving_log(settings: Settings, log: StoringLog) -> AsyncIterator[Caller]:
    """A gateway on this log, served as in production."""
    writes = writes_to(settings, log)
    log.feed(writes.waiters)
    async with serving(settings, log.store, log.index, log.wake_ups, writes=writes) as caller:
        yield caller

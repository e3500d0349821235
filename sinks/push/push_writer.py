"""The part of the push stage that the consume loop calls: it applies sync records, durably."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Final, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from schemas.codec import decode_sync_record
from schemas.errors import PoisonRecord, TransientFailure, UndecodableRecord
from schemas.number_types import Milliseconds, Offset, ShardNumber
from schemas.recipients import recipient_names
from schemas.records import ConversationMuted
from sinks.base.partitions import PartitionListener
from sinks.base.records import Record
from sinks.base.writer_port import WriteOutcome
from sinks.push.push_memory import PushMemory
from sinks.push.push_people import PushPeople
from sinks.push.push_planner import PushPlanner
from sinks.push.push_replays import OwnedReplay, PushReplays
from sinks.push.push_state import OwnedState

MAX_STATES: Final = 500_000
"""Maximum number of (person, conversation) with a state, some 900 bytes each. Beyond, the stage
reads no more records until notifications have been delivered or have expired."""

_MUTE: Final = f'{{"kind":"{ConversationMuted.__struct_config__.tag}"'.encode()
"""The beginning of the value of a mute: a mute counts also for a person without a device."""

_CHUNK: Final = 200
"""Records that are applied under one lock, so that deliveries need not wait for a whole batch."""

_logger = logging.getLogger(__name__)


class RestoredShards(Protocol):
    """The durable part of shards."""

    def read(
        self, shards: Sequence[ShardNumber]
    ) -> tuple[list[OwnedState], Mapping[ShardNumber, Offset]]:
        """The states of the persons of shards, and the present ends of the shards. Blocks.

        Raises:
            ServerUnavailable: The broker does not answer.
        """
        ...

    def homes(
        self, users: Collection[str], owned: Collection[ShardNumber]
    ) -> dict[str, ShardNumber]:
        """The present shards of those people whose shard is owned. Blocks.

        Raises:
            ServerUnavailable: The broker does not answer.
        """
        ...


class DeliveriesControl(Protocol):
    """Ends the deliveries of shards."""

    def drain(self, shards: Sequence[ShardNumber]) -> None:
        """Waits for running requests within a bound, and gives all other deliveries up."""
        ...

    def cancel(self, shards: Sequence[ShardNumber]) -> None:
        """Gives all deliveries up. Does not block."""
        ...

    def check(self) -> None:
        """Raises `FatalFailure` if notifications are not delivered any more."""
        ...


class PushWriter(PartitionListener):
    """A `sinks.base.writer_port.StoreWriter` whose store is the durable state of the planner.

    Args:
        memory: The planner.
        people: The people with devices.
        restored: Reads the durable states of new shards.
        deliveries: The deliveries in progress.
        now: The time in milliseconds since 1970.
        replays: The notifications that operators replay.
        store_trouble: The reason why the store does not answer; None if it does.
        own_metrics: The metrics of notifications.
    """

    def __init__(  # noqa: PLR0913 - the parts of the writer
        self,
        memory: PushMemory,
        people: PushPeople,
        restored: RestoredShards,
        deliveries: DeliveriesControl,
        now: Callable[[], Milliseconds],
        *,
        replays: PushReplays,
        store_trouble: Callable[[], str | None] = lambda: None,
        own_metrics: Collector | None = None,
    ) -> None:
        self.own_metrics = own_metrics or CollectorRegistry()
        """See `sinks.base.writer_port.MeteredWriter`."""
        self._replays = replays
        self._store_trouble = store_trouble
        self._memory = memory
        self._people = people
        self._restored = restored
        self._deliveries = deliveries
        self._now = now
        self._lock = Lock()
        self._restoring = Lock()
        self._new: set[ShardNumber] = set()
        self._owned: dict[ShardNumber, float] = {}
        """The owned shards, each with the moment when it was taken over."""
        self._releases = 0

    def not_reachable(self) -> str | None:
        """See `sinks.base.writer_port.CheckedWriter`. The states must be restored as well."""
        return "the states are being restored" if self.has_new else self._store_trouble()

    def write(self, records: Sequence[Record]) -> WriteOutcome:
        """See `sinks.base.writer_port.StoreWriter`. A repeated record has no effect."""
        self._deliveries.check()
        self.restore_new()
        if self.has_new:
            raise TransientFailure("the shards of this process change")
        if self._memory.do(len) > MAX_STATES:
            raise TransientFailure(f"more than {MAX_STATES} conversations wait for notifications")
        poison: list[PoisonRecord] = []
        wanted = [index for index, record in enumerate(records) if self._concerns_push(record)]
        for begin in range(0, len(wanted), _CHUNK):
            chunk = [(index, records[index]) for index in wanted[begin : begin + _CHUNK]]
            poison += self._memory.do(partial(self._apply, chunk=chunk))
        if wanted:
            self._memory.flush()
        return WriteOutcome(poison)

    @property
    def has_new(self) -> bool:
        """Whether `restore_new` has something to do."""
        return bool(self._new)

    def restore_new(self) -> None:
        """Takes over the shards that were assigned since the last call. Thread-safe; blocks.

        Nothing is taken over if shards are released meanwhile; the next call tries again.

        Raises:
            ServerUnavailable: The broker does not answer.
        """
        with self._restoring:
            with self._lock:
                new, releases = sorted(self._new), self._releases
            if not new:
                return
            states, ends = self._restored.read(new)
            with self._lock:
                if releases != self._releases:
                    return  # shards were released meanwhile: the states may be old
                self._new -= set(new)
                self._owned |= dict.fromkeys(new, self._replays.moment())
                self._memory.do(lambda planner: planner.take_over(states, ends))
            _logger.info("%d shards taken over with %d states", len(new), len(states))

    @property
    def has_replays(self) -> bool:
        """Whether `begin_replays` has something to do."""
        return bool(self._owned) and self._replays.is_due

    def begin_replays(self) -> None:
        """Lets the notifications wait again that operators replay. Thread-safe; blocks.

        A request ends when its state is durable. So a kill in between repeats the request, which
        has no effect while the message waits.

        Raises:
            ServerUnavailable: The broker does not answer.
            TransientFailure: The broker has not confirmed a state, or the end of a request.
        """
        requests = self._replays.open()
        users = {replay.user_id for replay in requests.values()}
        homes = self._restored.homes(users, list(self._owned))
        begun = []
        for key, replay in requests.items():
            home = homes.get(replay.user_id)
            with self._lock:
                since = None if home is None else self._owned.get(home)
                if home is None or since is None or not self._replays.is_read_since(since):
                    continue
                self._replays.begin(OwnedReplay(key, replay, home))
            begun.append(key)
        if begun:
            self._memory.flush()
        for key in begun:
            self._replays.end(key)

    def assigned(self, numbers: Sequence[int]) -> None:
        """See `PartitionListener`."""
        with self._lock:
            self._new.update(map(ShardNumber, numbers))

    def revoked(self, numbers: Sequence[int]) -> None:
        """See `PartitionListener`."""
        shards = [ShardNumber(number) for number in numbers]
        try:
            self._memory.do(lambda planner: planner.hold(shards))
            self._deliveries.drain(shards)
            self._memory.flush()
        except Exception as error:  # noqa: BLE001 - a rebalance continues in any case
            _logger.warning("shards are released without a drain: %s", type(error).__name__)
        self._give_up(shards)

    def lost(self, numbers: Sequence[int]) -> None:
        """See `PartitionListener`."""
        shards = [ShardNumber(number) for number in numbers]
        self._give_up(shards)
        self._deliveries.cancel(shards)

    def committed(self, offsets: Mapping[int, Offset]) -> None:
        """See `PartitionListener`."""
        now = self._now()
        with self._lock:
            mine = {
                ShardNumber(number): offset
                for number, offset in offsets.items()
                if number in self._owned
            }
        self._memory.do(lambda planner: planner.committed(mine, now))

    def _give_up(self, shards: Sequence[ShardNumber]) -> None:
        with self._lock:
            self._releases += 1
            self._new -= set(shards)
            for shard in shards:
                self._owned.pop(shard, None)
            self._memory.do(lambda planner: planner.give_up(shards))

    def _concerns_push(self, record: Record) -> bool:
        """Whether a record may change a state. Cheap, because most records change none."""
        if record.key is None or record.value is None:
            return False
        if record.value.startswith(_MUTE):
            return True
        if not len(self._people):
            return False
        return any(map(self._people.has_devices, recipient_names(record.key)))

    def _apply(
        self, planner: PushPlanner, chunk: Sequence[tuple[int, Record]]
    ) -> list[PoisonRecord]:
        poison = []
        for index, record in chunk:
            shard = ShardNumber(record.partition)
            if shard not in self._owned:
                continue  # revoked meanwhile: its next owner reads the record again
            try:
                entry = decode_sync_record(record.value)
            except UndecodableRecord as error:
                poison.append(PoisonRecord(index, str(error)))
                continue
            for user in recipient_names(record.key or b""):
                if isinstance(entry, ConversationMuted) or self._people.has_devices(user):
                    planner.apply(user, entry, shard, record.offset, self._now())
        return poison

"""Decides which device needs a notification, and when. No clock, no I/O, no randomness.

A message that waits becomes due when the collapse window has passed since the first message of the
window. So a burst of messages causes one notification for each device, about the newest message.

| condition | effect |
|---|---|
| the person wrote or read up to the message, or left the conversation | no notification |
| the message was recalled | an earlier message that waits replaces the message |
| the conversation is muted at the time of the message, or was muted later | no notification |
| a device of the person is live | no notification, if the person is still live after a grace |

The planner holds the states of the persons of some shards. The caller makes each change of a state
durable (`PushPlanner.changes`) before it commits the offset of the sync record. After a restart,
the planner gets the durable states, and reads the records from the committed offset on again. No
message of a shard becomes due before all records that the shard had at the restart are read and
committed: until then, a message may look unread although its mark is on the log.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from msgspec.structs import replace

from schemas.number_types import Milliseconds, Offset, SeqId, ShardNumber
from schemas.records import AnySyncRecord
from sinks.push.push_drops import DropReason, NoteDrops, collapsed, dropped
from sinks.push.push_events import drops_of, effect_of
from sinks.push.push_state import (
    NOTHING,
    HeldState,
    OwnedState,
    PushKey,
    PushPerson,
    PushState,
    PushTimes,
    WaitingMessage,
    is_needless,
    newest_for,
    notified,
    settled,
    without_waiting,
)

_NEVER: Final = Offset(1 << 62)
"""Above each offset."""


class PushPlanner:
    """The states of the owned shards. All times are milliseconds since 1970.

    Args:
        times: The durations.
        dropped: Counts the messages that cause no notification of their own.
    """

    def __init__(
        self, times: PushTimes, dropped: NoteDrops = lambda _reason, _count: None
    ) -> None:
        self._times = times
        self._dropped = dropped
        self._entries: dict[PushKey, HeldState] = {}
        self._due: list[tuple[Milliseconds, PushKey]] = []
        self._changed: set[PushKey] = set()
        self._lingering: defaultdict[ShardNumber, set[PushKey]] = defaultdict(set)
        """Finished states that a restart may need, by owner."""
        self._committed: dict[ShardNumber, Offset] = {}
        self._held: dict[ShardNumber, Offset] = {}
        """The offset of each shard that must be committed before its messages become due."""

    def __len__(self) -> int:
        return len(self._entries)

    def state(self, key: PushKey) -> PushState:
        """The state of a person in a conversation."""
        entry = self._entries.get(key)
        return NOTHING if entry is None else entry.state

    def apply(
        self,
        user: str,
        record: AnySyncRecord,
        shard: ShardNumber,
        offset: Offset,
        now: Milliseconds,
    ) -> None:
        """Applies a sync record for one recipient.

        Args:
            user: The recipient, who has a device if the record is a message.
            record: The record.
            shard: The shard of the record.
            offset: The offset of the record in the shard.
            now: The present time.
        """
        effect = effect_of(user, record)
        if effect is None:
            return
        key = PushKey(user, record.conv_id)
        entry = self._entries.get(key)
        if entry is None:
            if not effect.begins:
                return
            entry = HeldState(shard)
        if (shard, offset) > entry.state.place:  # otherwise it was applied before a restart
            state = effect.change(entry.state)
            self._dropped(*drops_of(effect, entry.state, state))
            if state != entry.state:
                self._set(key, entry, replace(state, shard=shard, offset=offset), now)

    def change(
        self, key: PushKey, change: Callable[[PushState], PushState], reason: DropReason | None,
        now: Milliseconds, begins: HeldState | None = None,
    ) -> None:  # fmt: skip
        """Changes a state, else ``begins``, for a reason that is not in the sync timeline."""
        entry = self._entries.get(key, begins)
        if entry is not None:
            self._set(key, entry, change(entry.state), now, reason)

    def owner(self, key: PushKey) -> ShardNumber | None:
        """The shard of a state; None if there is no such state here."""
        entry = self._entries.get(key)
        return None if entry is None else entry.owner

    def due(self, now: Milliseconds, most: int) -> list[PushKey]:
        """The states that became due, the oldest first. Each of them is returned once.

        Args:
            now: The present time.
            most: The maximum number of states.
        """
        found: list[PushKey] = []
        while self._due and self._due[0][0] <= now and len(found) < most:
            due_at, key = heapq.heappop(self._due)
            entry = self._entries.get(key)
            if entry is None or entry.due_at != due_at:
                continue
            entry.due_at = None
            if entry.owner not in self._held:
                found.append(key)
        return found

    def offers(self, key: PushKey, person: PushPerson, now: Milliseconds) -> list[str]:
        """The devices to which a delivery begins now. Each of them needs one call of `settle`."""
        entry = self._entries.get(key)
        if entry is None or not entry.state.waiting:
            return []
        if person.is_live:
            self._wait_for_live(key, entry, now)
            return []
        wanted = [
            device
            for device in person.devices
            if device not in entry.offered and newest_for(entry.state, device)
        ]
        entry.offered |= set(wanted)
        if not entry.offered:
            self._set(key, entry, settled(entry.state, person.devices), now, "no_device")
        return wanted

    def check(self, key: PushKey, device_id: str, person: PushPerson) -> WaitingMessage | None:
        """The message of the next attempt for a device; None if there is no reason any more."""
        entry = self._entries.get(key)
        if entry is None or device_id not in person.devices or person.is_live:
            return None
        return newest_for(entry.state, device_id)

    def settle(
        self,
        key: PushKey,
        device_id: str,
        seq: SeqId | None,
        person: PushPerson,
        now: Milliseconds,
    ) -> None:
        """A delivery to a device has ended.

        Args:
            key: The person and the conversation.
            device_id: The device.
            seq: The SeqId up to which the device needs no further attempt; None if the delivery
                ended without an outcome.
            person: The person.
            now: The present time.
        """
        entry = self._entries.get(key)
        if entry is None:
            return  # the shard has another owner
        entry.offered -= {device_id}
        if seq is not None:
            self._dropped("collapsed", collapsed(entry.state, seq))
        state = entry.state if seq is None else notified(entry.state, device_id, seq)
        after = settled(state, person.devices)
        self._dropped("no_device", dropped(state, after))
        self._set(key, entry, after, now)
        if not entry.state.waiting:
            self._changed.add(key)  # it may be needless now
        elif entry.due_at is None:
            self._schedule(key, entry, Milliseconds(now + self._times.window))

    def changes(self) -> dict[PushKey, PushState | None]:
        """The states that changed since the last call; None for a state that was removed."""
        changed, self._changed = self._changed, set()
        return {key: self._durable(key) for key in changed if key in self._entries}

    def committed(self, offsets: Mapping[ShardNumber, Offset], now: Milliseconds) -> None:
        """The committed offsets of owned shards. `changes` returns the states without a use."""
        for shard, offset in offsets.items():
            if self._committed.get(shard) != offset:
                self._committed[shard] = offset
                self._sweep(shard)
            if offset >= self._held.get(shard, offset + 1):
                self._release_held(shard, now)

    def take_over(self, states: Iterable[OwnedState], ends: Mapping[ShardNumber, Offset]) -> None:
        """Begins to own shards.

        Args:
            states: The durable states of the persons of these shards.
            ends: The present end of each of these shards.
        """
        self._held.update(ends)
        for shard in ends:
            self._committed[shard] = Offset(0)  # until `committed` is called
        for key, state, owner in states:
            self._entries[key] = HeldState(owner, state)
            self._note_lingering(key, self._entries[key])

    def hold(self, shards: Iterable[ShardNumber]) -> None:
        """No message of these shards becomes due any more."""
        self._held.update(dict.fromkeys(shards, _NEVER))

    def give_up(self, shards: Collection[ShardNumber]) -> None:
        """Forgets the states of shards that have another owner from now on."""
        for shard in shards:
            self._committed.pop(shard, None)
            self._held.pop(shard, None)
            self._lingering.pop(shard, None)
        self._entries = {
            key: entry for key, entry in self._entries.items() if entry.owner not in shards
        }

    def _set(
        self, key: PushKey, entry: HeldState, state: PushState, now: Milliseconds,
        reason: DropReason | None = None,
    ) -> None:  # fmt: skip
        """Sets a state. ``reason``: why it has fewer messages, if that is not counted yet."""
        if state == entry.state:
            return
        if reason is not None:
            self._dropped(reason, dropped(entry.state, state))
        entry.state = state
        self._entries[key] = entry
        self._changed.add(key)
        self._note_lingering(key, entry)
        if state.waiting and entry.due_at is None:
            self._schedule(key, entry, Milliseconds(now + self._times.window))

    def _schedule(self, key: PushKey, entry: HeldState, at: Milliseconds) -> None:
        entry.due_at = at
        heapq.heappush(self._due, (at, key))

    def _wait_for_live(self, key: PushKey, entry: HeldState, now: Milliseconds) -> None:
        """A live device shows the message. Whether it was live, is known after the grace."""
        seen_at = Milliseconds(entry.state.waiting[-1].at + self._times.live_grace)
        if now >= seen_at:
            self._set(key, entry, without_waiting(entry.state), now, "live")
        elif entry.due_at is None:
            self._schedule(key, entry, seen_at)

    def _durable(self, key: PushKey) -> PushState | None:
        entry = self._entries[key]
        if entry.offered or not is_needless(entry.state, self._committed):
            return entry.state
        del self._entries[key]
        self._lingering[entry.owner].discard(key)
        return None

    def _note_lingering(self, key: PushKey, entry: HeldState) -> None:
        if not entry.state.waiting and not entry.state.muted_until:
            self._lingering[entry.owner].add(key)

    def _sweep(self, shard: ShardNumber) -> None:
        """Marks the lingering states that a restart cannot need any more as changed."""
        for key in list(self._lingering[shard]):
            entry = self._entries.get(key)
            if entry is None or entry.state.waiting or entry.state.muted_until:
                self._lingering[shard].discard(key)
            elif not entry.offered and is_needless(entry.state, self._committed):
                self._changed.add(key)

    def _release_held(self, shard: ShardNumber, now: Milliseconds) -> None:
        del self._held[shard]
        for key, entry in self._entries.items():
            if entry.owner == shard and entry.state.waiting and entry.due_at is None:
                self._schedule(key, entry, now)

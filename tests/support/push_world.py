"""A world for the planner of notifications: a log, a durable state, devices, and crashes.

One person has two conversations and up to two devices. The world knows the whole log, so it can
say without a planner which messages need a notification (`PushWorld.wanted`). Each delivery is
compared with this, as far as the process must have read the log. A process ends at any step, also
between the acknowledgement of a provider and the write of the changed state, and after a part of a
write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from schemas.codec import encode
from schemas.ids import uuid7
from schemas.number_types import Milliseconds, Offset, SeqId, ShardNumber
from schemas.records import (
    AnySyncRecord,
    ConversationMuted,
    MembersRemoved,
    MessageRecalled,
    MessageSent,
    ReadMarked,
    TextContent,
)
from sinks.push.push_drops import DropReason
from sinks.push.push_planner import PushPlanner
from sinks.push.push_state import (
    OwnedState,
    PushKey,
    PushPerson,
    PushState,
    PushTimes,
    decode_state,
    state_key,
)

PERSON: Final = "bob"
SHARD: Final = ShardNumber(3)
TIMES: Final = PushTimes(window=Milliseconds(20), live_grace=Milliseconds(50))
_ID: Final = uuid7(1, 1)


class Wanted(NamedTuple):
    """A message that needs a notification."""

    seq: SeqId
    at: Milliseconds


class Begun(NamedTuple):
    """A delivery in progress."""

    key: PushKey
    device: str


class PushWorld:
    """The state of everything outside of the planner, and one planner at a time."""

    def __init__(self) -> None:
        self.now = Milliseconds(1_000)
        self.log: list[AnySyncRecord] = []
        self.heads: dict[str, int] = {}
        self.away: set[str] = set()
        self.durable: dict[bytes, bytes] = {}
        self.devices: dict[str, Milliseconds] = {}
        self.is_live = False
        self.last_live = Milliseconds(-1_000)
        self.committed = 0
        self.furthest = 0
        self.acknowledged: list[tuple[str, str, SeqId]] = []
        self.noted: set[tuple[str, str, SeqId]] = set()
        self.drops: Counter[DropReason] = Counter()
        self.restart()

    # The people

    def send(self, conv_id: str, sender: str = "ann") -> None:
        """Appends a message."""
        if conv_id not in self.away:
            seq, text = self._next_seq(conv_id), TextContent("text")
            self.log.append(
                MessageSent(
                    conv_id=conv_id,
                    seq=seq,
                    sender=sender,
                    client_msg_id=_ID,
                    at=self._at(),
                    messages=seq,
                    content=text,
                    mentions=[],
                )
            )

    def mark(self, conv_id: str, back: int) -> None:
        """Appends a read mark of the person."""
        seq = SeqId(self.heads.get(conv_id, 0) - back)
        if seq > 0:
            reply = ReadMarked(
                conv_id=conv_id,
                sender=PERSON,
                device_id="d",
                client_msg_id=_ID,
                at=self._at(),
                seq=seq,
            )
            self.log.append(reply)

    def recall(self, conv_id: str, back: int) -> None:
        """Appends the recall of a message of another person."""
        sent = [
            each.seq
            for each in self.log
            if isinstance(each, MessageSent) and (each.conv_id, each.sender) == (conv_id, "ann")
        ]
        if back < len(sent) and conv_id not in self.away:
            self.log.append(
                MessageRecalled(
                    conv_id=conv_id,
                    seq=self._next_seq(conv_id),
                    sender="ann",
                    at=self._at(),
                    client_msg_id=_ID,
                    target=sent[-1 - back],
                    target_at=self.now,
                    edits=[],
                )
            )

    def mute(self, conv_id: str, duration: int) -> None:
        """Appends a mute, or its end for the duration 0."""
        at = self._at()
        until = Milliseconds(at + duration if duration else 0)
        self.log.append(
            ConversationMuted(
                conv_id=conv_id,
                sender=PERSON,
                device_id="d",
                client_msg_id=_ID,
                at=at,
                seq=SeqId(self.heads.get(conv_id, 0)),
                until=until,
            )
        )

    def leave_or_return(self, conv_id: str) -> None:
        """Appends a leave of the person, after which no message arrives until the return."""
        if conv_id in self.away:
            self.away.remove(conv_id)
            self._next_seq(conv_id)
            return
        self.log.append(
            MembersRemoved(
                conv_id=conv_id,
                seq=self._next_seq(conv_id),
                sender=PERSON,
                client_msg_id=_ID,
                at=self._at(),
                members=[PERSON],
                mode="push",
            )
        )
        self.away.add(conv_id)

    def register(self, device: str) -> None:
        """A device registers, after all messages so far."""
        self.wait(1)
        self.devices.setdefault(device, self.now)

    def turn_live(self, *, is_live: bool) -> None:
        """A device of the person connects, or the last one disconnects."""
        self.wait(0)
        self.is_live = is_live

    def wait(self, milliseconds: int) -> None:
        """Time passes."""
        self.now = Milliseconds(self.now + milliseconds)
        if self.is_live:
            self.last_live = self.now

    # The process

    def restart(self) -> None:
        """The process ends at once, and a new one begins with what is durable."""
        states = [
            OwnedState(*decode_state(key, value), SHARD) for key, value in self.durable.items()
        ]
        self.planner = PushPlanner(TIMES, self._count_drops)
        self.planner.take_over(states, {SHARD: Offset(len(self.log))})
        self.position = self.committed
        self.begun: list[Begun] = []
        self.furthest = len(self.log)

    def read(self, count: int, written: int | None = None) -> None:
        """Reads records and makes their effect durable. ``written``: see `write`."""
        for record in self.log[self.position : self.position + count]:
            if self.devices or not isinstance(record, MessageSent):
                offset = Offset(self.position)
                self.planner.apply(PERSON, record, SHARD, offset, self.now)
            self.position += 1
        self.furthest = max(self.furthest, self.position)
        self.write(written)

    def read_and_commit(self) -> None:
        """Reads the whole log and commits it."""
        self.read(len(self.log))
        self.commit()

    def write(self, written: int | None = None) -> None:
        """Makes changes durable. With ``written``, the process ends after some of them."""
        changes = list(self.planner.changes().items())
        for key, state in changes[:written]:
            if state is None:
                self.durable.pop(state_key(key), None)
            else:
                self.durable[state_key(key)] = encode(state)
        if written is not None:
            self.restart()

    def commit(self) -> None:
        """Commits what was read and is durable. The planner hears of it in `begin`."""
        self.committed = self.position

    def begin(self) -> None:
        """Begins the deliveries that are due."""
        self.planner.committed({SHARD: Offset(self.committed)}, self.now)
        for key in self.planner.due(self.now, 100):
            offered = self.planner.offers(key, self.person(), self.now)
            self.begun += [Begun(key, device) for device in offered]
        assert len(self.begun) == len(set(self.begun)), "two deliveries to one device at a time"

    def deliver(self) -> None:
        """Delivers everything that becomes due in a collapse window."""
        self.wait(TIMES.window)
        self.begin()
        while self.begun:
            self.attempt(0)

    def attempt(self, index: int, *, succeeds: bool = True, survives: bool = True) -> None:
        """Makes one attempt; after a success the delivery ends, unless the process ends first."""
        if not self.begun:
            return
        begun = self.begun[index % len(self.begun)]
        message = self.planner.check(begun.key, begun.device, self.person())
        if message is not None:
            self._assert_wanted(begun, message.seq)
            if not succeeds:
                return
            self.acknowledged.append((begun.device, begun.key.conv_id, message.seq))
        if not survives:
            self.restart()
            return
        self.begun.remove(begun)
        seq = None if message is None else message.seq
        self.planner.settle(begun.key, begun.device, seq, self.person(), self.now)
        self.write()
        if seq is not None:
            self.noted.add((begun.device, begun.key.conv_id, seq))

    def finish(self) -> None:
        """Lets everything that can still happen happen."""
        self.turn_live(is_live=False)
        self.read(len(self.log))
        self.commit()
        for _ in range(20):
            self.wait(TIMES.live_grace)
            self.deliver()
        self.begin()
        self.write()

    # The truth

    def wanted(self, conv_id: str, position: int) -> list[Wanted]:
        """The messages that need a notification, as the log up to a position decides."""
        waiting: list[Wanted] = []
        muted_until = 0
        for record in self.log[:position]:
            if record.conv_id != conv_id:
                continue
            match record:
                case MessageSent(sender="ann"):
                    if record.at >= muted_until:
                        waiting.append(Wanted(record.seq, record.at))
                case MessageRecalled(target=target):
                    waiting = [each for each in waiting if each.seq != target]
                case ConversationMuted(until=until):
                    muted_until = until
                    waiting = waiting if until <= record.at else []
                case MessageSent(seq=seq) | ReadMarked(seq=seq) | MembersRemoved(seq=seq):
                    waiting = [each for each in waiting if each.seq > seq]
        return waiting

    def missing(self) -> Iterator[tuple[str, str, SeqId]]:
        """The notifications that a device should have and does not have."""
        for device, since in self.devices.items():
            for conv_id in self.heads:
                wanted = self.wanted(conv_id, len(self.log))[-1:]
                newest = max(
                    (
                        seq
                        for each, conv, seq in self.acknowledged
                        if (each, conv) == (device, conv_id)
                    ),
                    default=0,
                )
                for seq, at in wanted:
                    was_live = at + TIMES.live_grace <= self.last_live
                    if at >= since and seq > newest and not was_live:
                        yield device, conv_id, seq

    def _assert_wanted(self, begun: Begun, seq: SeqId) -> None:
        conv_id, device = begun.key.conv_id, begun.device
        assert not self.is_live
        assert seq == self.wanted(conv_id, self.furthest)[-1].seq
        before = [n for each, conv, n in self.noted if (each, conv) == (device, conv_id)]
        assert seq > max(before, default=0)

    def person(self) -> PushPerson:
        """The present facts about the person."""
        return PushPerson(list(self.devices), self.is_live)

    def _count_drops(self, reason: DropReason, count: int) -> None:
        self.drops[reason] += count

    def _next_seq(self, conv_id: str) -> SeqId:
        self.heads[conv_id] = self.heads.get(conv_id, 0) + 1
        return SeqId(self.heads[conv_id])

    def _at(self) -> Milliseconds:
        self.wait(1)
        return self.now


def remaining(world: PushWorld) -> list[PushState]:
    """The durable states."""
    return [decode_state(key, value)[1] for key, value in world.durable.items()]

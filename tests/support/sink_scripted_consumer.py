"""A Kafka consumer of a sink that a script controls."""

from __future__ import annotations

from threading import Event
from typing import Final, Literal

from confluent_kafka import KafkaError, Message, TopicPartition

from sinks.base.consumer import OnRebalance
from tests.support.killing import Killed
from tests.support.sink_fakes import OnCommit
from tests.support.sink_group_member import TOPIC, GroupMember, end_of, places
from tests.support.sink_script import BOUNDS, MOST_POLLS, ScriptedWorld

# Public in spite of the underscore: these errors come from the client library, not from a broker.
_TIMED_OUT: Final = KafkaError._TIMED_OUT  # noqa: SLF001 - see above
_TRANSPORT: Final = KafkaError._TRANSPORT  # noqa: SLF001 - see above
_FATAL: Final = KafkaError._FATAL  # noqa: SLF001 - see above

Step = Literal["deliver", "nothing", "revoke", "lose", "die", "warn", "end"]

_STEPS: Final[tuple[Step, ...]] = (
    *("deliver",) * 12, *("nothing",) * 3, *("revoke",) * 4, *("lose",) * 2, "die", "warn", "end",
)  # fmt: skip
"""Each step as often as its weight. The first step is the default after the script's end."""


class ScriptedConsumer(GroupMember):
    """A member of the group. Like librdkafka it runs callbacks inside poll, consume and close."""

    def __init__(self, world: ScriptedWorld, stop: Event, on_commit: OnCommit) -> None:
        super().__init__()
        self._world = world
        self._stop = stop
        self._on_commit = on_commit
        self._next: dict[int, int] = {}
        self._ended: set[int] = set()
        self._polls = 0

    def subscribe(
        self,
        topics: list[str],
        on_assign: OnRebalance,
        on_revoke: OnRebalance,
        on_lost: OnRebalance,
    ) -> None:
        assert topics == [TOPIC]
        super().subscribe(topics, on_assign, on_revoke, on_lost)

    def poll(self, timeout: float) -> Message | None:
        self._world.clock += timeout
        messages = self._step(1)
        return messages[0] if messages else None

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        """Like the real one, this can return records of a partition that is already revoked."""
        assert 1 <= num_messages <= BOUNDS.gulp
        self._world.clock += timeout
        gulp: list[Message] = []
        while len(gulp) < num_messages:
            messages = self._step(num_messages - len(gulp))
            if messages == []:
                break
            gulp += messages or []
        return gulp

    def commit(self, *, offsets: list[TopicPartition], asynchronous: Literal[True]) -> None:
        """Answers immediately or never, because a late answer has the same effect as a failure."""
        assert asynchronous
        if not self._world.alive:
            raise Killed
        choice = self._world.choose(8)
        if choice == 1:
            self._on_commit(KafkaError(_TIMED_OUT), offsets)
            return
        for place in offsets:
            assert place.partition in self._next, "somebody else's partition"
            assert not self._world.missing_below(place), f"lost by {place}"
            self._world.committed[place.partition] = place
        if choice != 2:
            self._on_commit(None, offsets)

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout > 0
        return [
            self._world.committed.get(place.partition, TopicPartition(TOPIC, place.partition))
            for place in partitions
        ]

    def close(self) -> None:
        if self._world.alive and self._next:
            self._give_up(list(self._next), self.on_revoke)

    def _step(self, most: int) -> list[Message] | None:
        """Takes one step of the script; returns the arrived messages, None after another step."""
        self._polls += 1
        assert self._polls < MOST_POLLS, "the loop comes to no end"
        if self._world.is_done():
            self._stop.set()
        if self._assign():
            return None
        match _STEPS[self._world.choose(len(_STEPS))]:
            case "deliver":
                return self._deliver(most - self._world.choose(most))
            case "nothing":
                return []
            case "die":
                self._world.die()
            case "warn":
                return [Message(error=KafkaError(_TRANSPORT))]
            case "end":
                return [Message(error=KafkaError(_FATAL, "the end", fatal=True))]
            case "revoke":
                self._give_up_one(self.on_revoke)
            case "lose":
                self._give_up_one(self.on_lost)
        return None

    def _assign(self) -> bool:
        missing = [partition for partition in self._world.log if partition not in self._next]
        if not missing or self._world.choose(3) == 1:
            return False
        self.assign(missing)
        for partition in missing:
            place = self._world.committed.get(partition)
            self._next[partition] = place.offset if place else 0
        return True

    def _give_up_one(self, callback: OnRebalance) -> None:
        if self._next:
            partition = list(self._next)[self._world.choose(len(self._next))]
            self._give_up([partition], callback)
            if self._world.choose(2) == 1:
                self._somebody_else_works_on(partition)

    def _give_up(self, partitions: list[int], callback: OnRebalance) -> None:
        if callback == self.on_revoke:
            callback(
                self, places(partitions)
            )  # the offsets that are lost are lost before the callback runs
        for partition in partitions:
            del self._next[partition]
            self._ended.discard(partition)
        self.remove(partitions)
        if callback == self.on_lost:
            callback(self, places(partitions))

    def _somebody_else_works_on(self, partition: int) -> None:
        """Another member of the group processes some records."""
        place = self._world.committed.get(partition)
        start = place.offset if place else 0
        end = start + self._world.choose(self._world.end(partition) - start + 1)
        done = [r for r in self._world.log[partition] if start <= r.offset < end]
        self._world.stored.update((partition, record.offset) for record in done)
        self._world.committed[partition] = TopicPartition(TOPIC, partition, end)

    def _deliver(self, most: int) -> list[Message]:
        owned = [partition for partition in self._next if partition not in self.paused]
        first = self._world.choose(len(owned)) if owned else 0
        found: list[Message] = []
        for partition in owned[first:] + owned[:first]:
            found += self._fetch(partition, most - len(found))
        return found

    def _fetch(self, partition: int, most: int) -> list[Message]:
        start, end = self._next[partition], self._world.end(partition)
        records = [r for r in self._world.log[partition] if r.offset >= start][:most]
        found = [Message(TOPIC, partition, r.offset, r.key, r.value) for r in records]
        if records:
            self._next[partition] = records[-1].offset + 1
        if len(records) < most and partition not in self._ended:
            self._ended.add(partition)
            self._next[partition] = end
            found.append(end_of(partition, end))
        return found

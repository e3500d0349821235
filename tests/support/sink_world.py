"""A world for the consume loop: a log, a group coordinator and a store that follow a script.

The script is a list of integers. Each choice takes the next number: the consumer delivers,
revokes, loses or returns partitions, the store fails, the process dies. After the end of the
script, nothing fails any more, until all records are committed. So every interleaving is a list,
and a shorter list is a simpler interleaving.

The invariant is checked at each commit: every record below the committed offset is in the store,
or confirmed as a dead letter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Final, Literal

from confluent_kafka import KafkaError, Message, TopicPartition

from schemas.errors import FatalFailure, PoisonRecord, TransientFailure
from sinks.base.commits import Commits
from sinks.base.consumer import OnRebalance
from sinks.base.counts import CountsOf
from sinks.base.delivery import BatchDelivery
from sinks.base.loop import SinkLoop
from sinks.base.poison import PoisonGuard, PoisonLimits
from sinks.base.records import Bounds, Record
from sinks.base.sink_letters import DeadLetter
from sinks.base.source import OneTopic
from sinks.base.writer_port import WriteOutcome
from tests.support.sink_fakes import OnCommit

TOPIC: Final = "t.timeline"
POISON: Final = b"poison"
BOUNDS: Final = Bounds(max_records=8, max_bytes=10_000, gulp=6)
_MOST_POLLS: Final = 3_000
"""More polls than any script needs; a loop that reaches this number does not end."""

# Public in spite of the underscore: these errors come from the client library, not from a broker.
_TIMED_OUT: Final = KafkaError._TIMED_OUT  # noqa: SLF001 - see above
_TRANSPORT: Final = KafkaError._TRANSPORT  # noqa: SLF001 - see above
_FATAL: Final = KafkaError._FATAL  # noqa: SLF001 - see above
_PARTITION_EOF: Final = KafkaError._PARTITION_EOF  # noqa: SLF001 - see above

Place = tuple[int, int]
"""(partition, offset)"""


class ProcessDied(BaseException):
    """The process ends as by `kill -9`: no later code of the process runs."""


class World:
    """The state that survives a process: the log, the commits, the store, the dead letters.

    Args:
        log: The values of each partition.
        script: The choices; see the module.
    """

    def __init__(self, log: Mapping[int, Sequence[bytes]], script: Sequence[int]) -> None:
        self.log = {
            partition: [Record(partition, 2 * at, b"k", value) for at, value in enumerate(values)]
            for partition, values in log.items()
        }
        self.committed: dict[int, TopicPartition] = {}
        self.stored: set[Place] = set()
        self.dead: dict[Place, str] = {}
        self.alive = True
        self.clock = 0.0
        self._script = iter(script)

    def choose(self, choices: int) -> int:
        """The next number of the script, below ``choices``; 0 (success) at its end."""
        return next(self._script, 0) % choices

    def end(self, partition: int) -> int:
        """The offset behind the last record of a partition. A marker follows each record."""
        return 2 * len(self.log[partition])

    def is_done(self) -> bool:
        """Whether all records are committed."""
        return all(
            partition in self.committed and self.committed[partition].offset == self.end(partition)
            for partition in self.log
        )

    def die(self) -> None:
        """Ends the current process."""
        self.alive = False
        raise ProcessDied

    def missing_below(self, place: TopicPartition) -> list[Place]:
        """The records that a commit would lose."""
        below = [r for r in self.log[place.partition] if r.offset < place.offset]
        places = [(record.partition, record.offset) for record in below]
        return [each for each in places if each not in self.stored and each not in self.dead]

    def run(self) -> int:
        """Runs processes in turn until all is committed. Returns the number of processes."""
        processes = 0
        while not self.is_done():
            processes += 1
            assert processes < 100, "no process gets to the end"
            self.alive = True
            try:
                self._run_process()
            except (ProcessDied, FatalFailure):
                continue
        return processes

    def _run_process(self) -> None:
        stop = Event()
        delivery = BatchDelivery(
            ScriptedWriter(self), ScriptedDeadLetters(self), PoisonGuard(PoisonLimits(run=1_000))
        )
        commits = Commits(lambda: self.clock)
        SinkLoop(
            ScriptedConsumer(self, stop, commits.answered),
            commits,
            OneTopic(TOPIC),
            delivery.deliver,
            BOUNDS,
            start=lambda call: ScriptedTask(self, call),
            now=lambda: self.clock,
            monotonic=lambda: self.clock,
        ).run(stop)


class ScriptedTask:
    """Runs its call at the start, or during a long enough wait; reports the end early or late."""

    def __init__(self, world: World, call: Callable[[], CountsOf]) -> None:
        self._world = world
        self._call = call
        self._result: CountsOf | None = None
        self._error: BaseException | None = None
        self._ended = False
        if world.choose(2) == 0:
            self._run()

    def wait(self, seconds: float) -> bool:
        self._world.clock += seconds
        if self._world.choose(2) == 1:
            return False
        self._run()
        return True

    def succeeded(self) -> bool:
        return self._error is None

    def result(self) -> CountsOf:
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def _run(self) -> None:
        if not self._ended:
            self._ended = True
            try:
                self._result = self._call()
            except BaseException as error:  # noqa: BLE001 - `result` raises the error
                self._error = error


class ScriptedWriter:
    """Writes all records; the script can choose a partial write, or an error of either type."""

    def __init__(self, world: World) -> None:
        self._world = world

    def write(self, records: Sequence[Record]) -> WriteOutcome:
        assert 0 < len(records) <= BOUNDS.max_records + 1
        choice = self._world.choose(12)
        in_part = choice in (1, 2, 3, 4)
        reach = self._world.choose(len(records) + 1) if in_part else len(records)
        poison = [PoisonRecord(at, "poison") for at in range(reach) if records[at].value == POISON]
        bad = {found.index for found in poison}
        self._world.stored.update(
            (r.partition, r.offset) for at, r in enumerate(records[:reach]) if at not in bad
        )
        if choice == 1:
            self._world.die()
        if choice == 2:
            raise TransientFailure("not now")
        if choice == 3:
            raise FatalFailure("never again")
        return WriteOutcome(poison, range(reach, len(records)), "in part")


class ScriptedDeadLetters:
    """Confirms all dead letters, or does what the script chooses."""

    def __init__(self, world: World) -> None:
        self._world = world

    def send(self, letters: Sequence[DeadLetter]) -> None:
        choice = self._world.choose(5)
        reach = self._world.choose(len(letters)) if choice in (1, 2) else len(letters)
        for letter in letters[:reach]:
            self._world.dead[letter.record.partition, letter.record.offset] = letter.reason
        if choice == 1:
            self._world.die()
        if choice == 2:
            raise TransientFailure("not now")


Step = Literal["deliver", "nothing", "revoke", "lose", "die", "warn", "end"]
_STEPS: Final[tuple[Step, ...]] = (
    *("deliver",) * 12, *("nothing",) * 3, *("revoke",) * 4, *("lose",) * 2, "die", "warn", "end",
)  # fmt: skip
"""Each step as often as its weight. The first step is the default after the script's end."""


class ScriptedConsumer:
    """A member of the group. Like librdkafka it runs callbacks inside poll, consume and close."""

    def __init__(self, world: World, stop: Event, on_commit: OnCommit) -> None:
        self._world = world
        self._stop = stop
        self._on_commit = on_commit
        self._next: dict[int, int] = {}
        self._told_end: set[int] = set()
        self._paused: set[int] = set()
        self._polls = 0

    def subscribe(
        self,
        topics: list[str],
        on_assign: OnRebalance,
        on_revoke: OnRebalance,
        on_lost: OnRebalance,
    ) -> None:
        assert topics == [TOPIC]
        self._on_assign, self._on_revoke, self._on_lost = on_assign, on_revoke, on_lost

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

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(TOPIC, partition) for partition in self._next]

    def pause(self, partitions: list[TopicPartition]) -> None:
        self._paused |= {place.partition for place in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self._paused -= {place.partition for place in partitions}

    def commit(self, *, offsets: list[TopicPartition], asynchronous: Literal[True]) -> None:
        """Answers immediately or never, because a late answer has the same effect as a failure."""
        assert asynchronous
        if not self._world.alive:
            raise ProcessDied
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
            self._give_up(list(self._next), self._on_revoke)

    def _step(self, most: int) -> list[Message] | None:
        """Takes one step of the script; returns the arrived messages, None after another step."""
        self._polls += 1
        assert self._polls < _MOST_POLLS, "the loop comes to no end"
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
                self._give_up_one(self._on_revoke)
            case "lose":
                self._give_up_one(self._on_lost)
        return None

    def _assign(self) -> bool:
        missing = [partition for partition in self._world.log if partition not in self._next]
        if not missing or self._world.choose(3) == 1:
            return False
        self._on_assign(self, [TopicPartition(TOPIC, partition) for partition in missing])
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
        places = [TopicPartition(TOPIC, partition) for partition in partitions]
        if callback == self._on_revoke:
            callback(self, places)  # the offsets that are lost are lost before the callback runs
        for partition in partitions:
            del self._next[partition]
            self._told_end.discard(partition)
            self._paused.discard(partition)
        if callback == self._on_lost:
            callback(self, places)

    def _somebody_else_works_on(self, partition: int) -> None:
        """Another member of the group processes some records."""
        place = self._world.committed.get(partition)
        start = place.offset if place else 0
        end = start + self._world.choose(self._world.end(partition) - start + 1)
        done = [r for r in self._world.log[partition] if start <= r.offset < end]
        self._world.stored.update((partition, record.offset) for record in done)
        self._world.committed[partition] = TopicPartition(TOPIC, partition, end)

    def _deliver(self, most: int) -> list[Message]:
        owned = [partition for partition in self._next if partition not in self._paused]
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
        if len(records) < most and partition not in self._told_end:
            self._told_end.add(partition)
            self._next[partition] = end
            error = KafkaError(_PARTITION_EOF)
            found.append(Message(TOPIC, partition, end, error=error))
        return found

"""A world for the consume loop: a log, a group coordinator and a store that follow a script.

The script is a list of integers. Each choice takes the next number: the consumer delivers,
revokes, loses or returns partitions, the store fails, the process dies. After the end of the
script, nothing fails any more, until all records are committed. So every interleaving is a list,
and a shorter list is a simpler interleaving.

The invariant is checked at each commit: every record below the committed offset is in the store,
or confirmed as a dead letter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event

from schemas.errors import FatalFailure, PoisonRecord, TransientFailure
from sinks.base.commits import Commits
from sinks.base.counts import CountsOf
from sinks.base.delivery import BatchDelivery
from sinks.base.loop import SinkLoop
from sinks.base.poison import PoisonGuard, PoisonLimits
from sinks.base.records import Record
from sinks.base.sink_letters import DeadLetter
from sinks.base.source import OneTopic
from sinks.base.writer_port import WriteOutcome
from tests.support.killing import Killed
from tests.support.sink_group_member import TOPIC
from tests.support.sink_script import BOUNDS, POISON, ScriptedWorld
from tests.support.sink_scripted_consumer import ScriptedConsumer


class ScriptedTask:
    """Runs its call at the start, or during a long enough wait; reports the end early or late."""

    def __init__(self, world: ScriptedWorld, call: Callable[[], CountsOf]) -> None:
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

    def __init__(self, world: ScriptedWorld) -> None:
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

    def __init__(self, world: ScriptedWorld) -> None:
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


class World(ScriptedWorld):
    """A world that runs its processes."""

    def run(self) -> int:
        """Runs processes in turn until all is committed. Returns the number of processes."""
        processes = 0
        while not self.is_done():
            processes += 1
            assert processes < 100, "no process gets to the end"
            self.alive = True
            try:
                self._run_process()
            except (Killed, FatalFailure):
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

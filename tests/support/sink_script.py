"""The state of a sink that survives its processes, and the choices of a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import TopicPartition

from schemas.number_types import Offset
from sinks.base.records import Bounds, Record
from tests.support.killing import Killed

POISON: Final = b"poison"
BOUNDS: Final = Bounds(max_records=8, max_bytes=10_000, gulp=6)
MOST_POLLS: Final = 3_000
"""More polls than any script needs; a loop that reaches this number does not end."""

Place = tuple[int, int]
"""(partition, offset)"""


class ScriptedWorld:
    """The state that survives a process: the log, the commits, the store, the dead letters.

    Args:
        log: The values of each partition.
        script: The choices; see the module.
    """

    def __init__(self, log: Mapping[int, Sequence[bytes]], script: Sequence[int]) -> None:
        self.log = {
            partition: [
                Record(partition, Offset(2 * at), b"k", value) for at, value in enumerate(values)
            ]
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
        raise Killed

    def missing_below(self, place: TopicPartition) -> list[Place]:
        """The records that a commit would lose."""
        below = [r for r in self.log[place.partition] if r.offset < place.offset]
        places = [(record.partition, record.offset) for record in below]
        return [each for each in places if each not in self.stored and each not in self.dead]

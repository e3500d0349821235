"""The time that a lane takes to restore its state: ``python -m benchmarks.restore``.

Two states of one partition: a million conversations of two people with a message each, and one of
100,000 members among 1,000 others. Prints wall and processor time, and the growth of memory.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from confluent_kafka import Producer

from backends.kafka.clients import producer_config
from benchmarks.deployment import deployment
from schemas.codec import encode
from schemas.errors import ServerUnavailable
from schemas.ids import uuid7
from schemas.limits import Limits
from schemas.number_types import Milliseconds, Offset
from schemas.records import AddMembers, AnyCommand, CreateConversation, SendMessage, TextContent
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.sequencing.record_writer import RecordWriter, RejectedRecord
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.state.conversations import Conversations
from stream_processors.state.restore import restore
from stream_processors.state.state_codec import LaneProgress, progress_record

MANY: Final = 1_000_000
MEMBERS: Final = 100_000
OTHERS: Final = 1_000
_AT_ONCE: Final = 1_000
_SECONDS: Final = 60.0


class Source:
    """A command with the fields of a record on the source topic."""

    timestamp: Milliseconds | None = Milliseconds(1_700_000_000_000)

    def __init__(self, offset: Offset, command: AnyCommand) -> None:
        self.offset = offset
        self.key = command.conv_id.encode()
        self.value = encode(command)


class StateAlone:
    """A writer that drops all records except the state."""

    def timeline(self, conv_id: str, value: bytes) -> None:
        """Drops the entry."""

    def sync(self, recipients: Sequence[str], value: bytes) -> int:  # noqa: ARG002 - required by the port
        """Drops the sync record."""
        return 0

    def dead_letter(self, letter: RejectedRecord) -> None:
        """Raises an error: no command here may become a dead letter."""
        raise AssertionError(letter.reason)


class HeldStates(StateAlone):
    """Holds the state records in a list."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes | None]] = []

    def state(self, key: bytes, value: bytes | None) -> None:
        """Appends a record to the list."""
        self.records.append((key, value))


class StateOnBroker(StateAlone):
    """Writes state records to the partitions of the deployment in turn.

    Attributes:
        partition: The partition of the next records.
        records: Number of records so far.
    """

    def __init__(self, settings: Settings) -> None:
        self.partition = 0
        self._topic = settings.topic(Topic.STATE)
        self._producer = Producer(
            producer_config(settings) | {"queue.buffering.max.messages": 1_000_000}
        )
        self.records = 0

    def state(self, key: bytes, value: bytes | None) -> None:
        """Writes a record; waits while the producer's queue is full."""
        self.records += 1
        while True:
            try:
                self._producer.produce(self._topic, value, key, self.partition)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def flush(self) -> None:
        """Waits until the broker has all records.

        Raises:
            ServerUnavailable: The broker did not accept all records in time.
        """
        if self._producer.flush(_SECONDS):
            raise ServerUnavailable("the broker does not take the state")


def _common(conv_id: str, number: int) -> dict[str, Any]:
    return {
        "conv_id": conv_id, "sender": "owner", "device_id": "phone",
        "client_msg_id": uuid7(1 + number, number),
    }  # fmt: skip


def small(conv_id: str) -> Iterator[AnyCommand]:
    """A conversation of two people, with a message."""
    yield CreateConversation(**_common(conv_id, 0), members=[f"friend of {conv_id}"])
    yield SendMessage(**_common(conv_id, 1), content=TextContent(text="hello"))


def large() -> Iterator[AnyCommand]:
    """A conversation of 100,000 members, who join while others talk."""
    others = [list(small(f"other {number}")) for number in range(OTHERS)]
    for two in others:
        yield two[0]
    yield CreateConversation(**_common("large", 0), members=[])
    step = 500
    for number, begin in enumerate(range(0, MEMBERS, step), 1):
        people = [f"member {n}" for n in range(begin, begin + step)]
        yield AddMembers(**_common("large", number), members=people)
        for two in others[number * 5 - 5 : number * 5]:
            yield two[1]


def name_of(number: int) -> str:
    """The id of a copied conversation. All ids have one length: the records contain lengths."""
    return f"conversation {number:07}"


def copies(count: int) -> Iterator[tuple[str, list[tuple[bytes, bytes | None]]]]:
    """Small conversations, each with its id and its state records, all copied from one."""
    template = HeldStates()
    run(template, small(name_of(0)))
    original = name_of(0).encode()
    for number in range(count):
        conv_id = name_of(number)
        copy = conv_id.encode()
        yield (
            conv_id,
            [
                (key.replace(original, copy), value and value.replace(original, copy))
                for key, value in template.records
            ],
        )


def write_many(settings: Settings) -> int:
    """Writes a million conversations; returns the number of their records."""
    writer = StateOnBroker(settings)
    for _, records in copies(MANY):
        for key, value in records:
            writer.state(key, value)
    writer.state(*progress_record(LaneProgress(Offset(2 * MANY))))
    writer.flush()
    return writer.records


def write_large(settings: Settings) -> int:
    """Writes the large conversation and the others; returns the number of their records."""
    writer = StateOnBroker(settings)
    writer.state(*progress_record(run(writer, large())))
    writer.flush()
    return writer.records


def run(writer: RecordWriter, commands: Iterable[AnyCommand]) -> LaneProgress:
    """Runs a sequencer on some commands, and writes its state."""
    sequencer = Sequencer(Limits(), Conversations(), LaneProgress())
    records = (Source(Offset(offset), command) for offset, command in enumerate(commands))
    while some := list(islice(records, _AT_ONCE)):
        for record in some:
            sequencer.process(record, writer)
        sequencer.write_last(writer)
    return sequencer.progress


def measure(settings: Settings) -> str:
    """Restores once; returns the duration."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    conversations, _ = restore(settings, 0)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    return (
        f"{len(conversations):,} conversations in {wall:.1f} s, "
        f"{cpu:.1f} s of processor time, {grown:,} MB"
    )


def main() -> None:
    """Writes both states, and restores each in a separate process."""
    if len(sys.argv) > 1:
        print(measure(Settings()))
        return
    for name, write in (("many", write_many), ("large", write_large)):
        with deployment() as settings:
            begin = time.perf_counter()
            records = write(settings)
            print(f"{name}: {records:,} records written in {time.perf_counter() - begin:.0f} s")
            sys.stdout.flush()
            command = [sys.executable, "-m", "benchmarks.restore", "measure"]
            env = os.environ | {"IM_NAMESPACE": settings.namespace}
            subprocess.run(command, env=env, check=True)  # noqa: S603 - runs this module


if __name__ == "__main__":
    main()

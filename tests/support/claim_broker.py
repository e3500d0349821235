"""A broker in memory for claims of one partition, with processes that it interleaves step by step.

Each request of a process is a step. The schedule says which process makes the next step. As in
Kafka, an initialisation aborts the open transaction of earlier producers with the same id, and
their later requests fail.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from confluent_kafka import TopicPartition

from backends.kafka.commit_notes import CommitNote, decode_note

_STEP_SECONDS: Final = 30.0


class Fenced(Exception):
    """A producer with the same id was initialised later."""


class Killed(BaseException):
    """The process was killed before this request."""


class Process:
    """A thread that waits before each request until the schedule lets it continue."""

    def __init__(self, script: Callable[[Process], None]) -> None:
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._is_killed = False
        self.is_alive = True
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(script,), daemon=True)
        self._thread.start()
        self._await_step()

    def request(self) -> None:
        """Called before each request."""
        self._done.release()
        self._go.acquire()
        if self._is_killed:
            raise Killed

    def step(self, *, kill: bool = False) -> None:
        """Lets the process make its next request, or kills it before the request."""
        if not self.is_alive:
            return
        self._is_killed = kill
        self._go.release()
        self._await_step()

    def _await_step(self) -> None:
        assert self._done.acquire(timeout=_STEP_SECONDS)

    def _run(self, script: Callable[[Process], None]) -> None:
        try:
            script(self)
        except (Fenced, Killed):
            pass
        except BaseException as failure:  # noqa: BLE001 - the test raises it
            self.failure = failure
        self.is_alive = False
        self._done.release()


class MemoryBroker:
    """The committed offset of partition 0 with its note, and the producers.

    Attributes:
        offset: The committed offset.
        committed: Each committed offset in order, with the id of the producer.
    """

    def __init__(self) -> None:
        self.offset = 0
        self.committed: list[tuple[str, int]] = []
        self._metadata: str | None = None
        self._generations: dict[str, int] = {}
        self._open: dict[str, list[TopicPartition]] = {}

    def for_process(self, process: Process) -> BrokerConnection:
        """The broker as one process uses it."""
        return BrokerConnection(self, process)

    def initialise(self, transactional_id: str) -> int:
        """Aborts the open transaction of an id; returns the new generation of the id."""
        self._open.pop(transactional_id, None)
        generation = self._generations.get(transactional_id, 0) + 1
        self._generations[transactional_id] = generation
        return generation

    def check(self, transactional_id: str, generation: int) -> None:
        """Raises `Fenced` for a producer of an earlier generation."""
        if self._generations[transactional_id] != generation:
            raise Fenced

    def generation_of(self, transactional_id: str) -> int:
        """How often the id was initialised."""
        return self._generations[transactional_id]

    def note(self) -> CommitNote:
        """The note of the last commit."""
        return decode_note(self._metadata)

    def begin(self, transactional_id: str) -> None:
        """Opens a transaction."""
        self._open[transactional_id] = []

    def add(self, transactional_id: str, places: Sequence[TopicPartition]) -> None:
        """Adds offsets to the open transaction."""
        self._open[transactional_id] += places

    def commit(self, transactional_id: str) -> None:
        """Commits the open transaction."""
        for place in self._open.pop(transactional_id):
            self.offset, self._metadata = place.offset, place.metadata
            self.committed.append((transactional_id, place.offset))


class BrokerConnection:
    """A `ClaimBroker`. Each request is a step of its process."""

    def __init__(self, broker: MemoryBroker, process: Process) -> None:
        self._broker = broker
        self._process = process

    def initialised(self, transactional_id: str) -> Any:
        """See `ClaimBroker.initialised`."""
        self._process.request()
        return MemoryProducer(
            self._broker,
            self._process,
            transactional_id,
            self._broker.initialise(transactional_id),
        )

    def last_note(self, partition: int) -> CommitNote:
        """See `ClaimBroker.last_note`."""
        assert partition == 0
        self._process.request()
        return self._broker.note()

    def restored_offset(self) -> int:
        """Step 3 of a claim."""
        self._process.request()
        return self._broker.offset


class MemoryProducer:
    """A transactional producer: the calls of `confluent_kafka.Producer` that transactions use."""

    def __init__(
        self, broker: MemoryBroker, process: Process, transactional_id: str, generation: int
    ) -> None:
        self._broker = broker
        self._process = process
        self._id = transactional_id
        self._generation = generation

    def begin_transaction(self) -> None:
        """Opens a transaction."""
        self._request()
        self._broker.begin(self._id)

    def produce(self, *_: object) -> None:
        """Adds a record; the model has offsets alone."""

    def send_offsets_to_transaction(self, places: list[TopicPartition], *_: object) -> None:
        """Adds offsets to the transaction."""
        self._request()
        self._broker.add(self._id, places)

    def commit_transaction(self, _seconds: float) -> None:
        """Commits the transaction."""
        self._request()
        self._broker.commit(self._id)

    def _request(self) -> None:
        self._process.request()
        self._broker.check(self._id, self._generation)

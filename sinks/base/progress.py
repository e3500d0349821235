"""How far each assigned partition is durable, and what its commits say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec
from confluent_kafka import TopicPartition
from msgspec import UNSET, Struct, UnsetType

from schemas.codec import decode
from schemas.errors import UndecodableRecord
from schemas.records.values import Int64
from sinks.base.counts import Counts, CountsOf
from sinks.base.records import Batch


class CommitNote(Struct):
    """The metadata of an offset commit, as JSON. `im status` reads it.

    ``delay_ms``: how long after the broker had the command of the newest entry that entry was
    durable; ``at``: when that was, in milliseconds since 1970. Both absent before the first.
    ``dead_letters``: of this partition since its first record. ``written`` and ``skipped``: see
    `sinks.base.counts.Counts`, since the setting ``skip_inactive`` was first on; absent before.
    A record that is written again after a restart is counted once.
    """

    delay_ms: Int64 | UnsetType = UNSET
    at: Int64 | UnsetType = UNSET
    dead_letters: Int64 = 0
    written: Int64 | UnsetType = UNSET
    skipped: Int64 | UnsetType = UNSET

    def add(self, counts: Counts) -> None:
        """Adds counts."""
        self.dead_letters += counts.dead_letters
        if counts.written or counts.skipped:
            self.written = (self.written or 0) + counts.written
            self.skipped = (self.skipped or 0) + counts.skipped

    @property
    def counts(self) -> Counts:
        """The counts."""
        return Counts(self.dead_letters, self.written or 0, self.skipped or 0)


class _At(Struct):
    at: Int64


_encode = msgspec.json.Encoder().encode
_note = msgspec.json.Decoder(CommitNote)
_at = msgspec.json.Decoder(_At)


class _Position:
    """Where one partition stands. ``committed`` is None until the broker has answered."""

    def __init__(self, place: TopicPartition) -> None:
        self.place = place.topic, place.partition
        self.committed: int | None = None
        self.durable: int | None = None
        self.note = CommitNote()

    def learn(self, committed: TopicPartition) -> None:
        """Takes over what the last commit says, by whichever process."""
        before = _decode_note(committed.metadata)
        self.committed = committed.offset
        if self.durable is None:
            self.durable = committed.offset
            self.note.at, self.note.delay_ms = before.at, before.delay_ms
        self.note.add(before.counts)

    @property
    def is_new(self) -> bool:
        """Whether there is something to commit."""
        return None not in {self.committed, self.durable} and self.committed != self.durable


class Progress:
    """The assigned partitions, by number.

    Args:
        now: The time in seconds since 1970.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._positions: dict[int, _Position] = {}

    def assign(self, number: int, place: TopicPartition) -> None:
        """Adds a partition. Nothing of it is committed before `learn`."""
        self._positions[number] = _Position(place)

    def unknown(self) -> list[TopicPartition]:
        """The partitions whose last commit is not known."""
        return [
            TopicPartition(*position.place)
            for position in self._positions.values()
            if position.committed is None
        ]

    def learn(self, places: Iterable[TopicPartition]) -> None:
        """Takes over partitions where their last commits left them."""
        for position, place in self._at(places):
            position.learn(place)

    def revoke(self, partitions: Iterable[int]) -> None:
        """Forgets partitions."""
        for partition in partitions:
            self._positions.pop(partition, None)

    def durable(self, batch: Batch, counts: CountsOf) -> None:
        """Notes that all of a batch is durable."""
        nothing = Counts()
        now_ms = int(self._now() * 1000)
        for partition, offset in batch.next_offsets.items():
            position = self._positions[partition]
            position.durable = offset
            position.note.add(counts.get(partition, nothing))
        for partition, record in batch.newest.items():
            at = _entry_time(record.value)
            if at is not None:
                note = self._positions[partition].note
                note.at, note.delay_ms = now_ms, max(0, now_ms - at)

    def uncommitted(self) -> list[TopicPartition]:
        """What to commit now: offsets with their notes, empty when nothing is new."""
        return [
            TopicPartition(
                *position.place, position.durable or 0, metadata=_encode(position.note).decode()
            )
            for position in self._positions.values()
            if position.is_new
        ]

    def committed(self, places: Iterable[TopicPartition]) -> None:
        """Notes that a commit has reached the broker."""
        for position, place in self._at(places):
            if position.committed is not None:  # otherwise it was assigned anew meanwhile
                position.committed = place.offset

    def durable_places(self) -> list[TopicPartition]:
        """Up to where each partition is durable, where that is known."""
        return [
            TopicPartition(*position.place, position.durable)
            for position in list(self._positions.values())  # another thread may ask
            if position.durable is not None
        ]

    def _at(self, places: Iterable[TopicPartition]) -> Iterator[tuple[_Position, TopicPartition]]:
        """Each place with its position, apart from those of partitions that are gone."""
        positions = {position.place: position for position in self._positions.values()}
        for place in places:
            if (place.topic, place.partition) in positions:
                yield positions[place.topic, place.partition], place


def _decode_note(metadata: str | None) -> CommitNote:
    try:
        return decode(_note, (metadata or "{}").encode())
    except UndecodableRecord:
        return CommitNote()  # somebody else's words; nothing is lost but the count


def _entry_time(value: bytes | None) -> int | None:
    try:
        return decode(_at, value).at
    except UndecodableRecord:
        return None  # a dead letter

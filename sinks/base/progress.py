"""The durable offset of each assigned partition, and the notes of its commits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import msgspec
from confluent_kafka import TopicPartition
from msgspec import Struct

from backends.kafka.commit_notes import CommitNote, decode_note, encode_note
from schemas.codec import decode
from schemas.errors import UndecodableRecord
from schemas.number_types import Milliseconds, Offset
from schemas.records.values import Ms
from sinks.base.counts import CountsOf, DeliveryCounts
from sinks.base.records import Batch


class _At(Struct):
    at: Ms


_at = msgspec.json.Decoder(_At)


class _Position:
    """The state of one partition. ``committed`` is None until the broker has answered."""

    def __init__(self, place: TopicPartition) -> None:
        self.place = place.topic, place.partition
        self.committed: Offset | None = None
        self.durable: Offset | None = None
        self.note = CommitNote(records=0)

    def learn(self, committed: TopicPartition) -> None:
        """Sets the state from the last commit, which may be from another process."""
        before = decode_note(committed.metadata)
        self.committed = Offset(committed.offset)
        if self.durable is None:
            self.durable = self.committed
            self.note.at, self.note.delay_ms = before.at, before.delay_ms
        _add(self.note, _counts_of(before))

    @property
    def is_new(self) -> bool:
        """Whether there is an offset to commit."""
        return None not in {self.committed, self.durable} and self.committed != self.durable


class SinkProgress:
    """The assigned partitions, by number.

    Args:
        now: The time in seconds since 1970.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._positions: dict[int, _Position] = {}

    def assign(self, number: int, place: TopicPartition) -> None:
        """Adds a partition. None of its offsets are committed before `learn`."""
        self._positions[number] = _Position(place)

    def unknown(self) -> list[TopicPartition]:
        """The partitions with unknown last commit."""
        return [
            TopicPartition(*position.place)
            for position in self._positions.values()
            if position.committed is None
        ]

    def learn(self, places: Iterable[TopicPartition]) -> None:
        """Sets the state of partitions from their last commits."""
        for position, place in self._at(places):
            position.learn(place)

    def revoke(self, partitions: Iterable[int]) -> None:
        """Removes partitions."""
        for partition in partitions:
            self._positions.pop(partition, None)

    def durable(self, batch: Batch, counts: CountsOf) -> None:
        """Notes that a whole batch is durable."""
        nothing = DeliveryCounts()
        now_ms = Milliseconds(int(self._now() * 1000))
        finished = Counter(record.partition for record in batch.records)
        for partition, offset in batch.next_offsets.items():
            position = self._positions[partition]
            position.durable = offset
            _add(position.note, counts.get(partition, nothing))
            _add(position.note, DeliveryCounts(records=finished[partition]))
        for partition, record in batch.newest.items():
            at = entry_time(record.value)
            if at is not None:
                note = self._positions[partition].note
                note.at, note.delay_ms = now_ms, Milliseconds(max(0, now_ms - at))

    def uncommitted(self) -> list[TopicPartition]:
        """The offsets to commit now, with their notes; empty if there are no new offsets."""
        return [
            TopicPartition(
                *position.place, position.durable or 0, metadata=encode_note(position.note)
            )
            for position in self._positions.values()
            if position.is_new
        ]

    def committed(self, places: Iterable[TopicPartition]) -> None:
        """Notes that a commit has reached the broker."""
        for position, place in self._at(places):
            if position.committed is not None:  # otherwise it was assigned again meanwhile
                position.committed = Offset(place.offset)

    def committed_offsets(self) -> dict[int, Offset]:
        """The committed offset of each partition for which it is known, by number."""
        return {
            number: position.committed
            for number, position in self._positions.items()
            if position.committed is not None and position.committed >= 0
        }

    def durable_places(self) -> list[TopicPartition]:
        """The durable offset of each partition for which it is known."""
        return [
            TopicPartition(*position.place, position.durable)
            for position in list(self._positions.values())  # other threads may call
            if position.durable is not None
        ]

    def _at(self, places: Iterable[TopicPartition]) -> Iterator[tuple[_Position, TopicPartition]]:
        """Each place with its position, except places of removed partitions."""
        positions = {position.place: position for position in self._positions.values()}
        for place in places:
            if (place.topic, place.partition) in positions:
                yield positions[place.topic, place.partition], place


def _counts_of(note: CommitNote) -> DeliveryCounts:
    """A sink's counts in a note. `CommitNote` has a field of the same name for each count."""
    names = DeliveryCounts.__struct_fields__
    return DeliveryCounts(**{name: getattr(note, name) or 0 for name in names})


def _add(note: CommitNote, counts: DeliveryCounts) -> None:
    """Adds counts to a note. A count that was always 0 remains absent."""
    for name, more in msgspec.structs.asdict(counts).items():
        if more:
            setattr(note, name, (getattr(note, name) or 0) + more)


def entry_time(value: bytes | None) -> Milliseconds | None:
    """The broker's time of the command behind a record; None if the record cannot be decoded."""
    try:
        return decode(_at, value).at
    except UndecodableRecord:
        return None  # a dead letter

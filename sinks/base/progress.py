"""How far each assigned partition is durable, and what its commits say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec
from confluent_kafka import TopicPartition
from msgspec import UNSET, Struct, UnsetType

from schemas.codec import decode
from schemas.errors import UndecodableRecord
from schemas.records.values import Int64
from sinks.base.records import Batch


class CommitNote(Struct):
    """The metadata of an offset commit, as JSON. `im status` reads it.

    ``delay_ms``: how long after the broker had the command of the newest entry that entry was
    durable; ``at``: when that was, in milliseconds since 1970. Both absent before the first.
    ``dead_letters``: of this partition since its first record.
    """

    delay_ms: Int64 | UnsetType = UNSET
    at: Int64 | UnsetType = UNSET
    dead_letters: Int64 = 0


class _At(Struct):
    at: Int64


_encode = msgspec.json.Encoder().encode
_note = msgspec.json.Decoder(CommitNote)
_at = msgspec.json.Decoder(_At)


class _Position:
    """Where one partition stands."""

    def __init__(self, committed: TopicPartition, note: CommitNote) -> None:
        self.place = committed.topic, committed.partition
        self.committed = committed.offset
        self.durable = committed.offset
        self.note = note


class Progress:
    """The assigned partitions, by number.

    Args:
        now: The time in seconds since 1970.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._positions: dict[int, _Position] = {}

    def assign(self, number: int, committed: TopicPartition) -> None:
        """Takes over a partition where its last commit, by whomever, left it."""
        self._positions[number] = _Position(committed, _decode_note(committed.metadata))

    def revoke(self, partitions: Iterable[int]) -> None:
        """Forgets partitions."""
        for partition in partitions:
            self._positions.pop(partition, None)

    def durable(self, batch: Batch, dead_letters: Mapping[int, int]) -> None:
        """Notes that all of a batch is durable."""
        now_ms = int(self._now() * 1000)
        for partition, offset in batch.next_offsets.items():
            position = self._positions[partition]
            position.durable = offset
            position.note.dead_letters += dead_letters.get(partition, 0)
        for partition, record in batch.newest.items():
            at = _entry_time(record.value)
            if at is not None:
                note = self._positions[partition].note
                note.at, note.delay_ms = now_ms, max(0, now_ms - at)

    def uncommitted(self) -> list[TopicPartition]:
        """What to commit now: offsets with their notes, empty when nothing is new."""
        return [
            TopicPartition(
                *position.place, position.durable, metadata=_encode(position.note).decode()
            )
            for position in self._positions.values()
            if position.durable != position.committed
        ]

    def committed(self, places: Iterable[TopicPartition]) -> None:
        """Notes that a commit has reached the broker."""
        positions = {position.place: position for position in self._positions.values()}
        for place in places:
            positions[place.topic, place.partition].committed = place.offset


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

"""How far each assigned partition is durable, and what its commits say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec
from confluent_kafka import TopicPartition
from msgspec import UNSET, Struct, UnsetType

from sinks.base.records import Batch


class CommitNote(Struct):
    """The metadata of an offset commit, as JSON. `im status` reads it.

    ``delay_ms``: how long after the broker had the command of the newest entry that entry was
    durable; ``at``: when that was, in milliseconds since 1970. Both absent before the first.
    ``dead_letters``: of this partition since its first record.
    """

    delay_ms: int | UnsetType = UNSET
    at: int | UnsetType = UNSET
    dead_letters: int = 0


class _At(Struct):
    at: int


_encode = msgspec.json.Encoder().encode
_note = msgspec.json.Decoder(CommitNote)
_at = msgspec.json.Decoder(_At)


class _Position:
    """Where one partition stands."""

    def __init__(self, committed: int, note: CommitNote) -> None:
        self.committed = committed
        self.durable = committed
        self.note = note


class Progress:
    """The assigned partitions of one topic.

    Args:
        topic: Its name.
        now: The time in seconds since 1970.
    """

    def __init__(self, topic: str, now: Callable[[], float]) -> None:
        self._topic = topic
        self._now = now
        self._positions: dict[int, _Position] = {}

    @property
    def owned(self) -> Collection[int]:
        """The partitions that are assigned."""
        return self._positions.keys()

    def assign(self, committed: Iterable[TopicPartition]) -> None:
        """Takes over partitions where their last commit, by whomever, left them."""
        for place in committed:
            note = _decode_note(place.metadata)
            self._positions[place.partition] = _Position(place.offset, note)

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
                self._topic, partition, position.durable, metadata=_encode(position.note).decode()
            )
            for partition, position in self._positions.items()
            if position.durable != position.committed
        ]

    def committed(self, places: Iterable[TopicPartition]) -> None:
        """Notes that a commit has reached the broker."""
        for place in places:
            self._positions[place.partition].committed = place.offset


def _decode_note(metadata: str | None) -> CommitNote:
    try:
        return _note.decode(metadata or "{}")
    except msgspec.MsgspecError:
        return CommitNote()  # somebody else's words; nothing is lost but the count


def _entry_time(value: bytes | None) -> int | None:
    try:
        return _at.decode(value or b"").at
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None  # a dead letter

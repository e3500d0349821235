"""What the shards of the sync timelines hold, kept small: five bytes a record."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Final
from zlib import crc32

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder

from backends.sync_layout import SyncShards
from ops.verify.replies import Replies
from ops.verify.topics import Span
from schemas.sync_seq import epoch_of, sync_seq

NOTHING: Final = 0
"""State of an offset that holds no record: the mark of a transaction."""
DUE: Final = 1
"""The record has to be in the store."""
OPTIONAL: Final = 2
"""It may be there: its lifetime is over, or nearly so."""
SEEN: Final = 3
"""It was found there."""


class SyncPosition(Struct, frozen=True):
    """What is read of a sync record.

    ``seq`` is absent from a rejection; a retraction has no sender, and alone a target with it.
    """

    kind: str
    conv_id: str
    at: int
    sender: str = ""
    device_id: str = ""
    client_msg_id: str = ""
    seq: int = 0
    target: int = 0
    code: str = ""


_position = Decoder(SyncPosition)


def position_of(value: bytes | None) -> SyncPosition | None:
    """Where a sync record belongs, or None if it is not one."""
    try:
        return _position.decode(value or b"")
    except (DecodeError, ValidationError, UnicodeDecodeError):
        return None


def record_digest(key: bytes, value_digest: int) -> int:
    """Tells (recipient, content) apart.

    Args:
        key: The recipient.
        value_digest: `ops.verify.log.digest_of` the content.
    """
    return crc32(key, value_digest)


class Shard:
    """One shard, with a place for each offset from ``low`` to below ``end``.

    ``digests`` has the `record_digest` of each record, ``states`` what became of it. ``marks`` has
    the highest read mark of each (conversation, recipient).
    ``end_now`` is as ``end``, but may be set later on.

    Args:
        number: Its number.
        low: The oldest offset that retention has left.
        end: Where the audit ends.
        home: The shard of a recipient in the same epoch, by its number.
        name: What a person calls it.
        expired_before: Entries of an earlier time (ms) may have left the store.
    """

    def __init__(  # noqa: PLR0913 - the last two have defaults
        self,
        number: int,
        low: int,
        end: int,
        home: Callable[[str], int | None],
        *,
        name: str = "sync",
        expired_before: int = 0,
    ) -> None:
        self.number = number
        self.name = name
        self.epoch = epoch_of(number)
        self.first_seq = sync_seq(self.epoch, 0)
        """The sync SeqId of offset 0."""
        self.low = low
        self.end = max(low, end)
        self.end_now = self.end
        self.home = home
        self.expired_before = expired_before
        self.digests = array("I", bytes(4 * (self.end - low)))
        self.size = self.end - low
        self.states = bytearray(self.size)
        self.marks: dict[tuple[str, str], int] = {}
        self.first_at: dict[int, int] = {}
        """By lane the time (ms) of its first record in here."""

    @property
    def last_offset(self) -> int:
        """Of the last record, -1 if there is none. Behind it there are only marks."""
        return self.low + len(self.states.rstrip(b"\0")) - 1 if any(self.states) else -1

    def holds(self, user: str) -> bool:
        """Whether the records of this recipient belong here."""
        return self.home(user) == self.number

    def mark(self, conv_id: str, user: str, seq: int) -> None:
        """Takes a read mark of a recipient; the highest counts."""
        self.marks[conv_id, user] = max(seq, self.marks.get((conv_id, user), 0))

    def has_marked(self, conv_id: str, user: str, seq: int) -> bool:
        """Whether a recipient's read mark, as of all that was taken, has come to this SeqId."""
        return self.marks.get((conv_id, user), 0) >= seq

    def reaches(self, offset: int) -> bool:
        """Whether the shard, as of ``end_now``, has come to this offset."""
        return offset < self.end_now

    def state_of(self, at: int) -> int:
        """`DUE` or `OPTIONAL`."""
        return OPTIONAL if at < self.expired_before else DUE


class Shards:
    """All shards, and which of them hold whose records.

    Args:
        places: Which there are.
        spans: What of each is audited.
        expired_before: See `Shard`.
    """

    def __init__(self, places: SyncShards, spans: Iterable[Span], expired_before: int = 0) -> None:
        self._places_now = places
        self.replies = Replies()
        # Remembered, because the hash is slow.
        self._homes = {epoch: cache(partial(_home, places, epoch)) for epoch in places.epochs}
        self.by_number = {
            span.partition: Shard(
                span.partition,
                span.low,
                span.end,
                self._homes[epoch_of(span.partition)],
                name=places.name(span.partition),
                expired_before=expired_before,
            )
            for span in sorted(spans)
            if span.partition in places.places
        }

    def groups(self) -> list[list[Shard]]:
        """The shards in groups that no recipient's timeline leaves, each in the order of epochs.

        Where timelines go on in other shards that is all of them, and the whole takes as much
        memory as it takes; so it does where each recipient has a shard.
        """
        shards = list(self.by_number.values())
        return [[shard] for shard in shards] if len(self._homes) == 1 else [shards]

    def of(self, user: str, epoch: int) -> Shard | None:
        """Where a recipient's records of an epoch are; None if that is nowhere."""
        home = self._homes.get(epoch)
        number = None if home is None else home(user)
        return None if number is None else self.by_number.get(number)

    def look_again(self, places: SyncShards) -> None:
        """Takes which shards there are when the audit is at its end."""
        self._places_now = places

    def has_marked(self, conv_id: str, user: str, seq: int) -> bool:
        """Whether a recipient's read mark, as of all that was taken, has come to this SeqId."""
        return any(shard.has_marked(conv_id, user, seq) for shard in self.chain(user))

    def marked(self, conv_id: str, user: str, number: int) -> int:
        """A recipient's read mark, as of all that was taken up to a shard; 0 if there is none."""
        chain = (shard for shard in self.chain(user) if shard.number <= number)
        return max((shard.marks.get((conv_id, user), 0) for shard in chain), default=0)

    def has_come(self, user: str, epoch: int) -> bool:
        """Whether a recipient has a shard in an epoch by now."""
        return self._places_now.home(user, epoch) is not None

    def has_replies_of(self, user: str, lane: int, at: int) -> bool:
        """Whether a reply to a command of that time (ms) cannot have expired.

        The records of one lane in a shard are in the order of their commands.
        """
        chain = self.chain(user)
        cut = [place for place, shard in enumerate(chain) if shard.low > 0]
        if not cut:
            return True
        for shard in chain[cut[-1] :]:
            if lane in shard.first_at:
                return at > shard.first_at[lane]
        return False

    def chain(self, user: str) -> list[Shard]:
        """All shards of a recipient, in the order of epochs."""
        found = [self.of(user, epoch) for epoch in self._homes]
        return [shard for shard in found if shard is not None]


def _home(places: SyncShards, epoch: int, user: str) -> int | None:
    return places.home(user, epoch)

"""The shards of the sync timelines, and what each of them holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Final, NamedTuple

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder

from backends.sync_layout import SyncShards
from ops.verify.deliveries import DUE, NO_KEY, OPTIONAL, Deliveries
from ops.verify.replies import Replies
from ops.verify.topics import Span
from schemas.recipients import SEPARATOR, recipients_of
from schemas.sync_seq import epoch_of, sync_seq


class Recipients(NamedTuple):
    """What a shard knows of a key.

    Attributes:
        number: See `Deliveries.number_of`; `NO_KEY` if the key is no list of ids.
        distinct: How many distinct recipients the key lists.
        are_sound: The key lists each recipient once, and all of them live in that shard.
    """

    number: int
    distinct: int
    are_sound: bool


_NO_RECIPIENTS: Final = Recipients(NO_KEY, 0, are_sound=False)


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


class Shard:
    """One shard: its deliveries from the offset ``low`` to below ``end``.

    ``marks`` has the highest read mark of each (conversation, recipient).
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
        self.deliveries = Deliveries()
        self._recipients: dict[bytes, Recipients] = {}
        self.marks: dict[tuple[str, str], int] = {}
        self.first_at: dict[int, int] = {}
        """By lane the time (ms) of its first record in here."""

    @property
    def last_offset(self) -> int:
        """The offset of the last record, -1 if there is none. Only markers are behind it."""
        place = self.deliveries.last_place
        return -1 if place < 0 else self.low + place

    def recipients(self, key: bytes) -> Recipients:
        """What there is to know of the key of a record; remembered for each distinct key."""
        found = self._recipients.get(key)
        if found is None:
            found = self._recipients[key] = self._look_at(key)
        return found

    def _look_at(self, key: bytes) -> Recipients:
        try:
            key.decode()
        except UnicodeDecodeError:
            return _NO_RECIPIENTS
        users = recipients_of(key)
        if not all(users):
            return _NO_RECIPIENTS
        distinct = dict.fromkeys(users)
        is_set = len(distinct) == len(users)
        number = self.deliveries.number_of(key if is_set else SEPARATOR.join(distinct))
        are_sound = is_set and all(self.holds(user.decode()) for user in users)
        return Recipients(number, len(distinct), are_sound)

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

    def seal(self) -> None:
        """Ends the taking of records."""
        self.deliveries.pad(self.end - self.low)


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

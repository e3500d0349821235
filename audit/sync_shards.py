"""The shards of the sync timelines, and the content of each shard."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Final, NamedTuple

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder

from audit.deliveries import DUE, NO_KEY, OPTIONAL, Deliveries
from audit.reply_records import Replies
from audit.topic_readers import OffsetSpan
from backends.sync_layout.layouts import SyncShards
from schemas.number_types import NO_SEQ, EpochNumber, Milliseconds, Offset, SeqId, ShardNumber
from schemas.recipients import SEPARATOR, recipients_of
from schemas.sync_seq import epoch_of, sync_seq


class ShardRecipients(NamedTuple):
    """A shard's information about one key.

    Attributes:
        number: See `Deliveries.number_of`; `NO_KEY` if the key is not a list of ids.
        distinct: The number of distinct recipients in the key.
        are_sound: The key lists each recipient once, and all of them belong to that shard.
    """

    number: int
    distinct: int
    are_sound: bool


_NO_RECIPIENTS: Final = ShardRecipients(NO_KEY, 0, are_sound=False)


class SyncPosition(Struct, frozen=True):
    """The decoded fields of a sync record.

    A rejection has no ``seq``. A retraction has no ``sender``. Only a retraction has a ``target``,
    only a mute has an ``until``.
    """

    kind: str
    conv_id: str
    at: Milliseconds
    sender: str = ""
    device_id: str = ""
    client_msg_id: str = ""
    seq: SeqId = NO_SEQ
    target: SeqId = NO_SEQ
    code: str = ""
    until: Milliseconds = Milliseconds(0)


_position = Decoder(SyncPosition)


def position_of(value: bytes | None) -> SyncPosition | None:
    """The position of a sync record; None if the value is not a sync record."""
    try:
        return _position.decode(value or b"")
    except (DecodeError, ValidationError, UnicodeDecodeError):
        return None


class Shard:
    """One shard: its deliveries from the offset ``low`` to below ``end``.

    ``marks``: the highest read mark of each (conversation, recipient).
    ``mutes``: the end of the last mute of each (conversation, recipient), in ms.
    ``newer_mutes``: the mutes behind the audited offsets.
    ``end_now``: the end of the shard; may be updated after ``end`` was read.

    Args:
        number: The number of the shard.
        low: The oldest retained offset.
        end: The end of the audited offsets.
        home: Returns the shard number of a recipient in the same epoch.
        name: The name of the shard in messages.
        expired_before: Records of an earlier time (ms) may have expired in the store.
    """

    def __init__(  # noqa: PLR0913 - the last two have defaults
        self,
        number: ShardNumber,
        low: Offset,
        end: Offset,
        home: Callable[[str], ShardNumber | None],
        *,
        name: str = "sync",
        expired_before: Milliseconds = Milliseconds(0),
    ) -> None:
        self.number = number
        self.name = name
        self.epoch = epoch_of(number)
        self.first_seq = sync_seq(self.epoch, Offset(0))
        """The sync SeqId of offset 0."""
        self.low = low
        self.end = max(low, end)
        self.end_now = self.end
        self.home = home
        self.expired_before = expired_before
        self.deliveries = Deliveries()
        self._recipients: dict[bytes, ShardRecipients] = {}
        self.marks: dict[tuple[str, str], SeqId] = {}
        self.mutes: dict[tuple[str, str], Milliseconds] = {}
        self.newer_mutes: set[tuple[str, str, Milliseconds]] = set()
        self.first_at: dict[int, Milliseconds] = {}
        """By source partition, the time (ms) of its first record in this shard."""

    @property
    def last_offset(self) -> int:
        """The offset of the last record; -1 without records. Only markers may follow."""
        place = self.deliveries.last_place
        return -1 if place < 0 else self.low + place

    def recipients(self, key: bytes) -> ShardRecipients:
        """The information about the key of a record; cached for each distinct key."""
        found = self._recipients.get(key)
        if found is None:
            found = self._recipients[key] = self._look_at(key)
        return found

    def _look_at(self, key: bytes) -> ShardRecipients:
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
        return ShardRecipients(number, len(distinct), are_sound)

    def holds(self, user: str) -> bool:
        """Whether the records of this recipient belong to this shard."""
        return self.home(user) == self.number

    def take_mark(self, position: SyncPosition, user: str) -> None:
        """Record a read mark or a mute of a recipient: the highest mark counts, the last mute."""
        place = position.conv_id, user
        if position.kind == "conversation_muted":
            self.mutes[place] = position.until
        else:
            self.marks[place] = max(position.seq, self.marks.get(place, position.seq))

    def take_newer_mark(self, position: SyncPosition, user: str) -> None:
        """The same, for a record behind the audited offsets."""
        if position.kind == "conversation_muted":
            self.newer_mutes.add((position.conv_id, user, position.until))
        else:
            self.take_mark(position, user)

    def has_marked(self, conv_id: str, user: str, seq: SeqId) -> bool:
        """Whether a recipient's read mark has reached this SeqId, in all records read so far."""
        return self.marks.get((conv_id, user), 0) >= seq

    def reaches(self, offset: Offset) -> bool:
        """Whether the shard, up to ``end_now``, includes this offset."""
        return offset < self.end_now

    def state_of(self, at: Milliseconds) -> int:
        """The initial state of a delivery of this time (ms): `DUE` or `OPTIONAL`."""
        return OPTIONAL if at < self.expired_before else DUE

    def seal(self) -> None:
        """End the adding of records."""
        self.deliveries.pad(self.end - self.low)


class AuditedShards:
    """All shards, and the assignment of recipients to shards.

    Args:
        places: The existing shards.
        spans: The audited offsets of each shard.
        expired_before: See `Shard`.
    """

    def __init__(
        self,
        places: SyncShards,
        spans: Iterable[OffsetSpan],
        expired_before: Milliseconds = Milliseconds(0),
    ) -> None:
        self._places_now = places
        self.replies = Replies()
        # Cached, because the hash is slow.
        self._homes = {epoch: cache(partial(_home, places, epoch)) for epoch in places.epochs}
        self.by_number = {
            span.partition: Shard(
                ShardNumber(span.partition),
                span.low,
                span.end,
                self._homes[epoch_of(ShardNumber(span.partition))],
                name=places.name(ShardNumber(span.partition)),
                expired_before=expired_before,
            )
            for span in sorted(spans)
            if span.partition in places.places
        }

    def groups(self) -> list[list[Shard]]:
        """Independent groups of shards: no recipient has shards in two groups. In epoch order.

        With several epochs, timelines continue in other shards, so one group holds all shards, and
        the audit needs memory for all of them. With one epoch, each shard is a group.
        """
        shards = list(self.by_number.values())
        return [[shard] for shard in shards] if len(self._homes) == 1 else [shards]

    def of(self, user: str, epoch: EpochNumber) -> Shard | None:
        """The shard of a recipient in an epoch; None if there is none."""
        home = self._homes.get(epoch)
        number = None if home is None else home(user)
        return None if number is None else self.by_number.get(number)

    def look_again(self, places: SyncShards) -> None:
        """Set the shards that exist at the end of the audit."""
        self._places_now = places

    def has_marked(self, conv_id: str, user: str, seq: SeqId) -> bool:
        """Whether a recipient's read mark has reached this SeqId, in all records read so far."""
        return any(shard.has_marked(conv_id, user, seq) for shard in self.chain(user))

    def muted_until(self, conv_id: str, user: str) -> Milliseconds | None:
        """The end of a recipient's last mute in the records read so far; None without one."""
        ends = (shard.mutes.get((conv_id, user)) for shard in reversed(self.chain(user)))
        return next((end for end in ends if end is not None), None)

    def has_newer_mute(self, conv_id: str, user: str, until: Milliseconds) -> bool:
        """Whether a recipient has a mute with this end behind the audited offsets."""
        return any((conv_id, user, until) in shard.newer_mutes for shard in self.chain(user))

    def marked(self, conv_id: str, user: str, number: ShardNumber) -> int:
        """A recipient's read mark in the records read so far, up to a shard; 0 if none."""
        chain = (shard for shard in self.chain(user) if shard.number <= number)
        return max((shard.marks.get((conv_id, user), 0) for shard in chain), default=0)

    def has_come(self, user: str, epoch: EpochNumber) -> bool:
        """Whether a recipient has a shard in an epoch by now.

        In the layout ``topic-per-recipient``, `SyncShards.home` returns the topic of a recipient
        also for an epoch that does not exist.
        """
        return epoch in self._places_now.epochs and self._places_now.home(user, epoch) is not None

    def has_replies_of(self, user: str, partition: int, at: Milliseconds) -> bool:
        """Whether a reply to a command of that time (ms) cannot have expired.

        The records of one source partition are in a shard in the order of their commands.
        """
        chain = self.chain(user)
        cut = [place for place, shard in enumerate(chain) if shard.low > 0]
        if not cut:
            return True
        for shard in chain[cut[-1] :]:
            if partition in shard.first_at:
                return at > shard.first_at[partition]
        return False

    def chain(self, user: str) -> list[Shard]:
        """All shards of a recipient, in the order of epochs."""
        found = [self.of(user, epoch) for epoch in self._homes]
        return [shard for shard in found if shard is not None]


def _home(places: SyncShards, epoch: EpochNumber, user: str) -> ShardNumber | None:
    return places.home(user, epoch)

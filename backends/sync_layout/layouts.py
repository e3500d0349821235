"""The Kafka partitions of a recipient's sync timeline: a port with two layouts.

A timeline is a chain of *shards*, one for each epoch. A shard is a Kafka partition; a reader reads
the shards one after the other, each to its end. A layout names the topics of the shards; all other
modules use shards.

| | epoch 0 | later epochs |
|---|---|---|
| `Sharded` | ``im.sync``, partition by recipient | ``im.sync-<e>``, another number of partitions |
| `TopicPerRecipient` | the same: replies to people without a topic | 1: ``im.sync.<recipient>`` |

A shard has a *number* that is the same in every process and at every time: (epoch, index), packed
as `schemas.sync_seq` packs (epoch, offset). The index is the partition. The index of a recipient's
own topic, one of thousands, is a hash of the topic's name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, Protocol, TypeVar

from confluent_kafka import TopicPartition

from backends.kafka.clients import partition_of
from schemas.errors import ConfigurationError
from schemas.number_types import FIRST_EPOCH, EpochNumber, ShardNumber
from schemas.settings import Settings
from schemas.sync_seq import epoch_of, shard_number
from schemas.topics import Topic

OWN_EPOCH: Final = EpochNumber(1)
"""The epoch of the recipients' own topics in the layout ``topic-per-recipient``."""

_LONGEST_NAME: Final = 249
"""Maximum length of a Kafka topic's name, in characters."""

_INDEX_BYTES: Final = 6
"""With 10,000 topics, two topics have the same index in one of some five million deployments."""

_NAMES: Final = 100_000
"""Maximum number of topic names in the cache: some 20 MB, however many names strangers invent."""

_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")


_S = TypeVar("_S")
_R = TypeVar("_R")


class SyncLayout(Protocol):
    """Names the shards of recipients."""

    @property
    def name(self) -> str:
        """The value of the setting ``sync_layout``."""
        ...

    @property
    def base(self) -> str:
        """The topic of epoch 0, which both layouts have."""
        ...

    def topic(self, user: str, epoch: EpochNumber) -> str:
        """The topic on which a recipient's records of an epoch are."""
        ...

    def epoch(self, topic: str) -> EpochNumber | None:
        """The epoch whose records a topic holds; None if it holds no sync records."""
        ...

    def number(self, topic: str, partition: int) -> ShardNumber:
        """The number of a shard."""
        ...


class Sharded:
    """All recipients of an epoch share the partitions of one topic.

    Args:
        base: The topic of epoch 0.
    """

    name: Final = "sharded"

    def __init__(self, base: str) -> None:
        self.base = base
        self._later = re.compile(re.escape(base) + r"-([1-9][0-9]{0,4})", re.ASCII)

    def topic(self, user: str, epoch: EpochNumber) -> str:  # noqa: ARG002 - the port's
        """See `SyncLayout`."""
        return self.topic_of(epoch)

    def topic_of(self, epoch: EpochNumber) -> str:
        """The topic of an epoch."""
        return f"{self.base}-{epoch}" if epoch else self.base

    def epoch(self, topic: str) -> EpochNumber | None:
        """See `SyncLayout`."""
        if topic == self.base:
            return FIRST_EPOCH
        match = self._later.fullmatch(topic)
        return None if match is None else EpochNumber(int(match[1]))

    def number(self, topic: str, partition: int) -> ShardNumber:
        """See `SyncLayout`."""
        return shard_number(self.epoch(topic) or FIRST_EPOCH, partition)


class TopicPerRecipient:
    """Every recipient who is a member has their own topic, with one partition.

    Args:
        base: The topic of all other recipients.
    """

    name: Final = "topic-per-recipient"

    def __init__(self, base: str) -> None:
        self.base = base
        self._prefix = f"{base}."
        self.recipient_topic = lru_cache(_NAMES)(self._named)
        """The own topic of a recipient, by the recipient's id."""

    def topic(self, user: str, epoch: EpochNumber) -> str:
        """See `SyncLayout`."""
        return self.recipient_topic(user) if epoch else self.base

    def epoch(self, topic: str) -> EpochNumber | None:
        """See `SyncLayout`."""
        if topic == self.base:
            return FIRST_EPOCH
        return OWN_EPOCH if topic.startswith(self._prefix) else None

    def number(self, topic: str, partition: int) -> ShardNumber:
        """See `SyncLayout`."""
        if topic == self.base:
            return shard_number(FIRST_EPOCH, partition)
        digest = hashlib.blake2b(topic.encode(), digest_size=_INDEX_BYTES).digest()
        return shard_number(OWN_EPOCH, int.from_bytes(digest, "big"))

    def _named(self, user: str) -> str:
        """A name that no other recipient has, even if ``_`` and dot count as equal (Kafka)."""
        plain = "".join(chr(byte) if byte in _PLAIN else f"_{byte:02x}" for byte in user.encode())
        if len(self._prefix) + len(plain) > _LONGEST_NAME:
            plain = "_h" + hashlib.sha256(user.encode()).hexdigest()
        return self._prefix + plain


def sync_layout(settings: Settings) -> SyncLayout:
    """The layout of a deployment."""
    return by_layout(
        settings, sharded=lambda layout: layout, topic_per_recipient=lambda layout: layout
    )


def sharded_layout(settings: Settings) -> Sharded:
    """The layout of a deployment whose number of shards can change.

    Raises:
        ConfigurationError: The deployment has the other layout.
    """

    def refuse(layout: TopicPerRecipient) -> Sharded:
        raise ConfigurationError(f"the layout {layout.name} has no number of shards to change")

    return by_layout(settings, sharded=lambda layout: layout, topic_per_recipient=refuse)


def by_layout(
    settings: Settings,
    *,
    sharded: Callable[[Sharded], _S],
    topic_per_recipient: Callable[[TopicPerRecipient], _R],
) -> _S | _R:
    """The result of the function for the layout of a deployment.

    Each folder that reads or writes sync timelines calls this function once, to choose its
    implementation of a port. No other module compares the layout of the settings.
    """
    base = settings.topic(Topic.SYNC)
    if settings.sync_layout == Sharded.name:
        return sharded(Sharded(base))
    return topic_per_recipient(TopicPerRecipient(base))


class SyncShards:
    """All existing shards, from one listing of the broker's topics.

    Args:
        layout: The layout that names the topics.
        partitions: The number of partitions by topic; topics of other kinds are ignored.

    Raises:
        ConfigurationError: Two shards have the same number.
    """

    def __init__(self, layout: SyncLayout, partitions: Mapping[str, int]) -> None:
        self.layout = layout
        self._partitions = {
            topic: count for topic, count in partitions.items() if layout.epoch(topic) is not None
        }
        self.places: dict[ShardNumber, TopicPartition] = {}
        """The topic and partition of each shard, by the shard's number."""
        for topic, count in self._partitions.items():
            for partition in range(count):
                number = layout.number(topic, partition)
                if number in self.places:
                    raise ConfigurationError(f"{topic} and {self.places[number].topic} collide")
                self.places[number] = TopicPartition(topic, partition)
        self.epochs = sorted({epoch_of(number) for number in self.places})
        """The epochs that have shards, in ascending order."""

    def number(self, place: TopicPartition) -> ShardNumber:
        """The number of the shard in this topic and partition."""
        return self.layout.number(place.topic, place.partition)

    def name(self, number: ShardNumber) -> str:
        """The readable name of a shard, without the namespace: ``sync[3]``, ``sync-1[0]``."""
        place, base = self.places[number], self.layout.base
        return f"sync{place.topic.removeprefix(base)}[{place.partition}]"

    def home(self, user: str, epoch: EpochNumber) -> ShardNumber | None:
        """The shard with a recipient's records of an epoch; None if it does not exist."""
        topic = self.layout.topic(user, epoch)
        count = self._partitions.get(topic)
        return None if not count else self.layout.number(topic, partition_of(user, count))

"""The shards of the push stage on the broker: their states, their ends, and their dead letters."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaException, TopicPartition

from backends.kafka.clients import admin_client
from backends.kafka.partition_ends import stable_ends
from backends.stages.stage_names import PUSH_STAGE
from backends.sync_layout.layouts import SyncShards, sync_layout
from backends.sync_layout.topic_creation import sync_shards
from schemas.codec import encode
from schemas.errors import ServerUnavailable, TransientFailure
from schemas.number_types import Offset, ShardNumber
from schemas.replays import GivenUpNotification
from schemas.settings import Settings
from schemas.sync_seq import epoch_of
from sinks.base.records import Record
from sinks.base.sink_letters import DeadLetter, KafkaDeadLetters
from sinks.push.push_memory import read_states
from sinks.push.push_state import OwnedState, PushKey, PushState

ANSWER_SECONDS: Final = 10.0

_logger = logging.getLogger(__name__)


def owned_states(
    states: Mapping[PushKey, PushState], new: Sequence[ShardNumber], shards: SyncShards
) -> list[OwnedState]:
    """The states whose persons have one of these shards as their present shard.

    After a reshard, a person has another shard in a later epoch. Then the states of earlier epochs
    belong to the owner of the later shard.
    """
    found = []
    for key, state in states.items():
        home = owned_home(key.user, new, shards)
        if home is not None and epoch_of(state.shard) <= epoch_of(home):
            found.append(OwnedState(key, state, home))
    return found


def owned_home(
    user: str, owned: Collection[ShardNumber], shards: SyncShards
) -> ShardNumber | None:
    """The present shard of a person, by the epochs of owned shards; None if it is not owned."""
    epochs = sorted({epoch_of(shard) for shard in owned}, reverse=True)
    homes = (shards.home(user, epoch) for epoch in epochs)
    home = next((each for each in homes if each is not None), None)
    return home if home in owned else None


class KafkaRestoredShards:
    """See `sinks.push.push_writer.RestoredShards`.

    Args:
        settings: The settings of the deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin = admin_client(settings)

    def homes(
        self, users: Collection[str], owned: Collection[ShardNumber]
    ) -> dict[str, ShardNumber]:
        """See `sinks.push.push_writer.RestoredShards`."""
        existing = self._existing()
        found = {user: owned_home(user, owned, existing) for user in users}
        return {user: home for user, home in found.items() if home is not None}

    def _existing(self) -> SyncShards:
        try:
            return sync_shards(self._admin, self._settings)
        except (KafkaException, TimeoutError) as error:
            raise ServerUnavailable(
                f"the shards cannot be read: {type(error).__name__}"
            ) from error

    def read(
        self, shards: Sequence[ShardNumber]
    ) -> tuple[list[OwnedState], Mapping[ShardNumber, Offset]]:
        """See `sinks.push.push_writer.RestoredShards`."""
        try:
            existing = sync_shards(self._admin, self._settings)
            places = {shard: existing.places[shard] for shard in shards}
            ends = stable_ends(self._admin, list(places.values()), ANSWER_SECONDS)
        except (KafkaException, TimeoutError, KeyError) as error:
            raise ServerUnavailable(
                f"the shards cannot be read: {type(error).__name__}"
            ) from error
        states = owned_states(read_states(self._settings), shards, existing)
        return states, {
            shard: ends[place.topic, place.partition] for shard, place in places.items()
        }


class _ShardPlaces:
    """The topic and the partition of each shard, for dead letters: a `SinkSource`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._layout = sync_layout(settings)
        self._admin = admin_client(settings)
        self._places: dict[ShardNumber, TopicPartition] = {}

    @property
    def consumer_config(self) -> dict[str, Any]:
        return {}

    def topics(self) -> list[str]:
        return [self._layout.base]

    def number(self, place: TopicPartition) -> int:
        return self._layout.number(place.topic, place.partition)

    def place(self, number: int) -> TopicPartition:
        shard = ShardNumber(number)
        if shard not in self._places:
            try:
                self._places = sync_shards(self._admin, self._settings).places
            except (KafkaException, TimeoutError) as error:
                raise TransientFailure("the shards cannot be listed") from error
        return self._places.get(shard, TopicPartition(self._layout.base, 0))


class KafkaPushLetters:
    """Dead letters of notifications: the ids without a text, and the newest sync record's place.

    Args:
        settings: The settings of the deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._letters = KafkaDeadLetters(settings, _ShardPlaces(settings), PUSH_STAGE)

    def send(self, user: str, given_up: GivenUpNotification, reason: str) -> None:
        """See `sinks.push.push_dispatcher.PushLetters`."""
        _logger.warning("a notification is a dead letter: %s", reason)
        record = Record(given_up.shard, given_up.offset, user.encode(), None)
        letter = DeadLetter(record, f"notification: {reason}", encode(given_up))
        self._letters.send([letter])

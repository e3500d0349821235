"""The lag and delay of each stage, read from its offset commits.

Every commit of a stage has a note, see `backends.kafka.commit_notes`. So the broker alone shows
the health of the pipeline.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Final

from confluent_kafka import (
    ConsumerGroupState,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, not in __all__
    AdminClient,
    ConsumerGroupDescription,
)
from msgspec import UNSET, Struct

from backends.kafka.clients import admin_client
from backends.kafka.commit_notes import CommitNote, decode_note
from backends.kafka.groups import committed_places, described_group, group_places, group_reader
from backends.kafka.partition_ends import begin_offsets, written_ends
from backends.kafka.topic_reading import NO_TOPIC
from backends.stages.stage_names import SOURCES, sources_of
from backends.stages.unread_records import Unread, UnreadCounter
from backends.stages.webhook_groups import webhook_stages
from backends.stages.webhook_log import WEBHOOKS_STAGE, read_subscriptions, subscription_stage
from backends.sync_layout.topic_creation import places_of
from schemas.errors import ServerUnavailable
from schemas.number_types import Milliseconds, ShardNumber
from schemas.settings import Settings
from schemas.sync_seq import epoch_of
from schemas.topics import Topic

_REQUEST_SECONDS: Final = 5.0

_NO_TOPIC: Final = NO_TOPIC | {
    KafkaError._NOENT  # noqa: SLF001 - the library's only name
}
"""In addition, the answer of an admin client about a partition that does not exist."""


class StageHealth(Struct, frozen=True, kw_only=True):
    """The health of one stage at ``read_at``, in milliseconds since 1970.

    ``lag``: the number of source records that the stage has not finished. ``oldest_at``: the
    broker's time of the oldest of them; None if there is none. ``position``: the sum of the
    committed offsets. ``delay_ms``: delay of the newest finished entry, measured at
    ``measured_at`` (ms since 1970); None before the first entry. ``members``: number of processes
    in the consumer group. ``assigned``: whether every partition of the source has a process.
    ``counts``: the stage's counts, summed over partitions.
    """

    read_at: Milliseconds
    lag: int
    oldest_at: Milliseconds | None
    position: int
    delay_ms: Milliseconds | None
    measured_at: Milliseconds | None
    members: int
    assigned: bool
    counts: dict[str, int]


def pipeline_health(settings: Settings) -> dict[str, StageHealth]:
    """The health of every stage, and of each subscription of the stage ``webhooks``.

    Raises:
        ServerUnavailable: The broker does not answer, or a topic does not exist.
    """
    webhooks = {subscription_stage(each): Topic.TIMELINE for each in read_subscriptions(settings)}
    with closing(StageProbe(settings, sources_of(settings) | webhooks)) as probe:
        return probe.health()


class StageProbe:
    """Reads the health of all stages, repeatedly with the same clients.

    Args:
        settings: The deployment.
        sources: The topic that each stage reads; by default, the stages of the deployment.
    """

    def __init__(self, settings: Settings, sources: Mapping[str, Topic] | None = None) -> None:
        self._settings = settings
        self._given = sources_of(settings) if sources is None else sources
        self._sources = dict(self._given)
        self._admin = admin_client(settings)
        self._unread = UnreadCounter(settings)
        self._groups = {
            stage: group_reader(settings, settings.group(stage)) for stage in self._sources
        }

    def health(self) -> dict[str, StageHealth]:
        """The health of every stage.

        Raises:
            ServerUnavailable: The broker does not answer, or a topic does not exist.
        """
        with _unavailable(self._settings):
            return {stage: self._health(stage) for stage in self._sources}

    def follow_webhooks(self) -> None:
        """Reads also the webhooks that exist now.

        Raises:
            ServerUnavailable: The broker does not answer.
        """
        with _unavailable(self._settings):
            found = webhook_stages(self._admin, self._settings)
        self._sources = {**self._given, **dict.fromkeys(found, Topic.TIMELINE)}
        for gone in self._groups.keys() - self._sources.keys():
            self._groups.pop(gone).close()
        for new in self._sources.keys() - self._groups.keys():
            self._groups[new] = group_reader(self._settings, self._settings.group(new))

    def close(self) -> None:
        """Close the clients."""
        self._unread.close()
        for reader in self._groups.values():
            reader.close()

    def _health(self, stage: str) -> StageHealth:
        source = places_of(self._admin, self._settings, self._sources[stage], _REQUEST_SECONDS)
        group = self._settings.group(stage)
        described = described_group(self._admin, group, _REQUEST_SECONDS)
        commits = committed_places(self._groups[stage], list(source.values()), _REQUEST_SECONDS)
        read_at = Milliseconds(time.time_ns() // 1_000_000)
        places = _from_the_beginning(self._admin, commits)
        notes = [decode_note(place.metadata) for place in places if place.metadata]
        newest = max(notes, key=lambda note: note.at or 0, default=CommitNote())
        unread = self._unread_behind(places)
        return StageHealth(
            read_at=read_at,
            lag=unread.records,
            oldest_at=unread.oldest_at,
            position=sum(place.offset for place in places),
            delay_ms=None if newest.delay_ms is UNSET else newest.delay_ms,
            measured_at=newest.at or None,
            members=len(described.members),
            assigned=_is_assigned(described, source),
            counts=_counts(notes),
        )

    def _unread_behind(self, places: list[TopicPartition]) -> Unread:
        ends = written_ends(self._admin, places, _REQUEST_SECONDS)
        behind = {place: ends[place.topic, place.partition] - place.offset for place in places}
        return self._unread.count({place: gap for place, gap in behind.items() if gap > 0})


def webhooks_together(stages: Mapping[str, StageHealth]) -> dict[str, StageHealth]:
    """The same stages, with all webhooks as one stage ``webhooks`` at the end."""
    one = subscription_stage("")
    together = {name: stage for name, stage in stages.items() if not name.startswith(one)}
    webhooks = [stage for name, stage in stages.items() if name.startswith(one)]
    if webhooks:
        newest = max(webhooks, key=lambda each: each.measured_at or 0)
        counts: Counter[str] = Counter()
        for each in webhooks:
            counts.update(each.counts)
        together[WEBHOOKS_STAGE] = StageHealth(
            read_at=max(each.read_at for each in webhooks),
            lag=sum(each.lag for each in webhooks),
            oldest_at=min(
                (e.oldest_at for e in webhooks if e.oldest_at is not None), default=None
            ),
            position=sum(each.position for each in webhooks),
            delay_ms=newest.delay_ms,
            measured_at=newest.measured_at,
            members=max(each.members for each in webhooks),
            assigned=all(each.assigned for each in webhooks),
            counts=dict(counts),
        )
    return together


def members_if_assigned(admin: AdminClient, settings: Settings, stage: str) -> int:
    """The number of processes of a stage; 0 while any partition has no process.

    Raises:
        ServerUnavailable: The broker does not answer.
    """
    with _unavailable(settings):
        source = places_of(admin, settings, SOURCES[stage], _REQUEST_SECONDS)
        described = described_group(admin, settings.group(stage), _REQUEST_SECONDS)
    return len(described.members) if _is_assigned(described, source) else 0


def committed(
    admin: AdminClient, settings: Settings, group: str, partitions: list[TopicPartition]
) -> list[TopicPartition]:
    """The committed offsets of a group; the beginning of a partition without a commit."""
    places = group_places(settings, group, partitions, _REQUEST_SECONDS)
    return _from_the_beginning(admin, places)


def _from_the_beginning(admin: AdminClient, places: list[TopicPartition]) -> list[TopicPartition]:
    """The same places; a place without a commit gets the oldest offset of its partition."""
    without = [place for place in places if place.offset < 0]
    begin = begin_offsets(admin, without, _REQUEST_SECONDS)
    for place in places:
        place.offset = begin.get((place.topic, place.partition), place.offset)
    return places


def _is_assigned(group: ConsumerGroupDescription, source: Mapping[int, TopicPartition]) -> bool:
    """Whether each partition has a reader. For sync shards: each partition of any one epoch."""
    assigned = {
        (place.topic, place.partition)
        for member in group.members
        for place in member.assignment.topic_partitions
    }
    epochs: defaultdict[int, set[tuple[str, int]]] = defaultdict(set)
    for number, place in source.items():
        epochs[epoch_of(ShardNumber(number))].add((place.topic, place.partition))
    stable = group.state == ConsumerGroupState.STABLE
    return stable and any(wanted <= assigned for wanted in epochs.values())


def _counts(notes: Iterable[CommitNote]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for note in notes:
        total.update(note.counts)
    return dict(total)


@contextmanager
def _unavailable(settings: Settings) -> Iterator[None]:
    where = settings.kafka_bootstrap
    try:
        yield
    except (KafkaException, TimeoutError) as error:
        if isinstance(error, KafkaException) and error.args[0].code() in _NO_TOPIC:
            raise ServerUnavailable(
                f"Kafka at {where} lacks topics of {settings.namespace}: `im prepare` creates them"
            ) from error
        raise ServerUnavailable(f"Kafka at {where} does not answer: {error}") from error

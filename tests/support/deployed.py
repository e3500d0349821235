"""Writes a deployment directly to real servers, without any process of the pipeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from cassandra.cluster import Session
from confluent_kafka import Consumer, Producer, TopicPartition
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk

from audit.input_readers import read_input
from audit.log import KafkaRecord
from audit.member_rows import MembershipRow
from audit.read_marks import ReadMarkRow
from audit.store import ConversationRow, MessageRow
from audit.sync_store import AuditedSyncRow
from audit.topic_readers import committed_spans
from backends.elasticsearch.index import create_index
from backends.identity.index_claim import claim_index
from backends.identity.log_identity import check_log
from backends.identity.store_claim import claim_store
from backends.kafka.clients import (
    admin_client,
    consumer_config,
    create_topics,
    make_topics,
    producer_config,
    sync_topic,
)
from backends.sync_layout.layouts import SyncShards
from backends.sync_layout.topic_creation import places_of, sync_shards
from schemas.codec import encode
from schemas.lifetime import SKIPPED_SINCE, SKIPPED_UNTIL
from schemas.number_types import EpochNumber, Milliseconds, Offset, ShardNumber
from schemas.records import AnyCommand
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.audited import System
from tests.support.audited_building import system_on
from tests.support.damage.tools import with_column
from tests.support.placing import Placed, Placing, in_one_epoch
from tests.support.sequencing import run
from tests.support.shared_records import shared_records
from tests.support.topics import is_caught_up, read_all

SECONDS = 180.0
_BY_KEY: Final = -1
"""In place of a partition: the client computes the partition from the key."""
STAGES = (
    ("sequencer", Topic.MESSAGES),
    ("sink-message", Topic.TIMELINE),
    ("sink-search", Topic.TIMELINE),
    ("sink-sync", Topic.SYNC),
)

TABLES = (
    "message", "conversation", "membership_by_user", "membership_by_conversation", "read_mark",
    "sync", "sync_bucket", "sync_expiry",
)  # fmt: skip


def deploy(  # noqa: PLR0913 - the last has a default
    settings: Settings,
    session: Session,
    search: Elasticsearch,
    steps: Sequence[AnyCommand],
    place: Placing = in_one_epoch,
    *,
    damage: Callable[[System], object] = lambda _: None,
) -> System:
    """Writes topics, tables and index so that they agree, and commits the offsets of all stages.

    The commands have the times that the broker assigns. ``damage`` changes the tables and the
    index before they are written.
    """
    create_topics(settings)
    append(settings, Topic.MESSAGES, [(step.conv_id, encode(step)) for step in steps])
    found = list(read_input(settings, committed_spans(settings, Topic.MESSAGES)))
    times = {record.value: record.at for record in found}
    log = run(steps, at=[times[encode(step)] for step in steps])
    placed = place(log.syncs)
    _make_shards(settings, placed)
    append(settings, Topic.TIMELINE, log.entries)
    shards = sync_shards(admin_client(settings), settings)
    users = [user for user, _ in log.syncs]
    homes = [
        shards.home(user, EpochNumber(epoch))
        for user, epoch in zip(users, placed.epochs, strict=True)
    ]
    append_shared(settings, shards, shared_records(log.syncs, homes))
    system = system_on(records(settings, Topic.TIMELINE), records(settings, Topic.SYNC), shards)
    system.input = found
    damage(system)
    deployment = check_log(settings)
    claim_store(session, settings, deployment)
    _insert(session, system)
    _index(settings, search, system)
    claim_index(search, settings, deployment, Milliseconds(0))
    commit(settings)
    return system


def _make_shards(settings: Settings, placed: Placed) -> None:
    """Creates the topics of later epochs."""
    base, own = placed.shards.layout.base, settings.topic(Topic.SYNC)
    partitions = Counter(each.topic for each in placed.shards.places.values())
    later = {own + name.removeprefix(base): n for name, n in partitions.items() if name != base}
    topics = [sync_topic(settings, name, count) for name, count in later.items()]
    if topics:
        make_topics(admin_client(settings), topics)


def append(settings: Settings, topic: Topic, pairs: Iterable[tuple[str, bytes]]) -> None:
    """Writes (key, value) with `append_to`."""
    append_to(settings, [(settings.topic(topic), key, value) for key, value in pairs])


def append_to(settings: Settings, records: Iterable[tuple[str, str, bytes]]) -> None:
    """Writes (topic, key, value) with `append_on`, each on the partition of its key."""
    append_on(settings, [(topic, _BY_KEY, key, value) for topic, key, value in records])


def append_shared(
    settings: Settings, shards: SyncShards, records: Iterable[tuple[int, bytes, bytes]]
) -> None:
    """Writes (shard, key, value) with `append_on`."""
    found = [(shards.places[ShardNumber(number)], key, value) for number, key, value in records]
    append_on(
        settings,
        [(place.topic or "", place.partition, key, value) for place, key, value in found],
    )


def append_on(settings: Settings, records: Sequence[tuple[str, int, bytes | str, bytes]]) -> None:
    """Writes (topic, partition, key, value) in one committed transaction.

    Before this transaction, the function writes the same records in an aborted one.
    """
    transactional = {"transactional.id": f"{settings.namespace}-by-hand"}
    producer = Producer(producer_config(settings) | transactional)
    producer.init_transactions(SECONDS)
    for is_committed in (False, True):
        producer.begin_transaction()
        for topic, partition, key, value in records:
            producer.produce(topic, value, key, partition)
        producer.flush(SECONDS)
        if is_committed:
            producer.commit_transaction(SECONDS)
        else:
            producer.abort_transaction(SECONDS)


def records(settings: Settings, topic: Topic) -> list[KafkaRecord]:
    """All committed records of a topic, by partition and offset; for sync timelines by shard."""
    places = places_of(admin_client(settings), settings, topic)
    numbers = {(place.topic, place.partition): number for number, place in places.items()}
    return [
        KafkaRecord(
            numbers[message.topic() or "", message.partition() or 0],
            Offset(message.offset() or 0),
            message.key(),
            message.value(),
        )
        for message in read_all(settings, topic)
    ]


def commit(settings: Settings) -> None:
    """Commits for each stage the offset behind the last record of each partition."""
    for stage, topic in STAGES:
        ends = {partition: offset + 1 for partition, offset, _, _ in records(settings, topic)}
        consumer = Consumer(consumer_config(settings, settings.group(stage)))
        places = places_of(admin_client(settings), settings, topic)
        done = [
            TopicPartition(place.topic, place.partition, ends.get(number, 0))
            for number, place in places.items()
        ]
        consumer.commit(offsets=done, asynchronous=False)
        consumer.close()


def _insert(session: Session, system: System) -> None:
    """A column without a value is not written: a null would hide a later write of the column."""
    membership = MembershipRow._fields
    tables: dict[str, tuple[Sequence[str], list[tuple[object, ...]]]] = {
        "message": (
            MessageRow._fields,
            [with_column(row, "entry", (row.entry or b"").decode()) for row in system.messages],
        ),
        "conversation": (ConversationRow._fields, list(system.conversations)),
        "membership_by_user": (
            (*membership, "place", "since"),
            [(*row, _place_of(system, row, at), row.seq) for at, row in enumerate(system.by_user)],
        ),
        "membership_by_conversation": (
            membership,
            [row._replace(messages=None) for row in system.by_conversation],
        ),
        "sync": (
            AuditedSyncRow._fields,
            [
                with_column(row, "records", (row.records or b"").decode())
                for row in system.sync_rows
            ],
        ),
        "sync_bucket": (("user_id", "bucket"), list(system.buckets)),
        "read_mark": (ReadMarkRow._fields, list(system.read_marks)),
        "sync_expiry": (
            ("user_id", "newest", "since", "until"),
            [
                *((*row, 0, 1) for row in system.expiries),
                *((*row, SKIPPED_SINCE, SKIPPED_UNTIL) for row in system.skip_notes),
            ],
        ),
    }
    for table, (columns, rows) in tables.items():
        for row in rows:
            given = [(c, each) for c, each in zip(columns, row, strict=True) if each is not None]
            names, marks = ", ".join(c for c, _ in given), ", ".join("%s" for _ in given)
            session.execute(
                f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608 - our own names
                [each for _, each in given],
            )


def _place_of(system: System, row: MembershipRow, at: int) -> int:
    """The place of a row in its partition; a free place for a row of no entry."""
    free = 1_000 + 2 * at if row.joined else 1_001 + 2 * at
    for (user, conv_id, place), found in system.places.items():
        if (user, conv_id, found.seq) == (row.user_id, row.conv_id, row.seq):
            assert isinstance(place, int)
            return place
    return free


def _index(settings: Settings, search: Elasticsearch, system: System) -> None:
    at = min(document.source["at"] for document in system.documents)
    index = create_index(search, settings, at)
    bulk(
        search,
        [
            {
                "_index": index,
                "_id": each.id,
                "routing": each.routing,
                "version": each.version,
                "version_type": "external_gte",
                "_source": each.source,
            }
            for each in system.documents
        ],
    )


def lose_all_rows(session: Session) -> None:
    """Empties the tables, without the tombstones of a deletion."""
    for table in TABLES:
        session.execute(f"TRUNCATE {table}", timeout=60)


def all_stored(settings: Settings) -> bool:
    """Whether all stages have committed all records."""
    return all(is_caught_up(settings, stage, topic) for stage, topic in STAGES)

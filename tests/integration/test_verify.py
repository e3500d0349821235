"""The audit on real servers: no difference if all agrees, and every place is really compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import msgspec
import pytest
import typer
from cassandra.cluster import Session
from confluent_kafka import Producer, TopicPartition
from elasticsearch import Elasticsearch
from typer.testing import CliRunner, Result

from audit import index_documents as documents
from audit import real_sources as real
from audit import scan
from audit import topic_readers as topics
from audit.report import AuditReport
from audit.sync_store import AuditedSyncRow
from audit.topic_readers import OffsetSpan
from backends.cassandra.memberships import join_place, member_bucket, user_bucket
from backends.cassandra.session import cassandra_session
from backends.elasticsearch.index import elasticsearch_client, index_name
from backends.identity.log_identity import check_log
from backends.kafka.clients import admin_client, create_topics, producer_config
from ops.commands.verify import verify
from schemas.codec import decode_entry
from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.number_types import BucketNumber, Offset, ShardNumber, SyncSeqId
from schemas.recipients import recipients_of
from schemas.settings import Settings
from schemas.sync_rows import encode_row
from schemas.topics import Topic
from tests.support.audited import System
from tests.support.auditing import SMALL_LIMITS_AS_SETTINGS, report_on
from tests.support.damage.rows import Held, entries_of, held_once, row_at, take_out
from tests.support.damage.tools import entries_at
from tests.support.deployed import append, append_to, commit, deploy, records
from tests.support.placing import PLACINGS, Placing, in_one_epoch
from tests.support.processes import environment
from tests.support.servers import Servers
from tests.support.stories import STORY

pytestmark = pytest.mark.servers


class Deployed(NamedTuple):
    """A consistent deployment on real servers, and functions to damage it."""

    settings: Settings
    session: Session
    search: Elasticsearch
    system: System

    def audit(self, wait_seconds: float = 10.0) -> AuditReport:
        """The report of the audit."""
        return report_on(self.settings, wait_seconds)

    def found(self) -> set[tuple[str, str, str, int, str]]:
        """The differences by check, kind, conversation, SeqId and user."""
        return {
            (each.check, each.kind, each.conv_id, each.seq, each.user)
            for each in self.audit().differences
        }


@pytest.fixture
def deployed(servers: Servers) -> Iterator[Deployed]:
    """A deployment with the records of the story of two conversations."""
    settings = servers.settings(partitions=2, sync_partitions=3, **SMALL_LIMITS_AS_SETTINGS)
    with _deployed(settings) as found:
        yield found


@pytest.fixture(params=[("sharded", "later epochs"), ("topic-per-recipient", "own topics")])
def deployed_later(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Deployed]:
    """The same, with sync records in epochs after the first, by either layout."""
    layout, placing = request.param
    limits = SMALL_LIMITS_AS_SETTINGS
    settings = servers.settings(partitions=2, sync_partitions=3, sync_layout=layout, **limits)
    with _deployed(settings, PLACINGS[placing]) as found:
        yield found


@contextmanager
def _deployed(settings: Settings, place: Placing = in_one_epoch) -> Iterator[Deployed]:
    with cassandra_session(settings) as session, elasticsearch_client(settings) as search:
        system = deploy(settings, session, search, STORY, place)
        yield Deployed(settings, session, search, system)
        session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)
        search.indices.delete(index=list(search.indices.get_alias(name=settings.index_alias)))


def _two_in_long_partitions(system: System) -> tuple[Held, Held]:
    """References of two people, each in exactly one row; their partitions have more rows."""
    rows = Counter(_partition_of(row) for row in system.sync_rows)
    in_long = [
        each
        for each in entries_of(held_once(system))
        if rows[_partition_of(system.sync_rows[each.at])] > 2
    ]
    first = in_long[0]
    return first, next(each for each in in_long if each.user != first.user)


def _partition_of(row: AuditedSyncRow) -> tuple[str, BucketNumber]:
    """The partition of a row of ``sync``."""
    return row.user_id, row.bucket


def _key_of(row: AuditedSyncRow) -> tuple[str, BucketNumber, SyncSeqId]:
    """The primary key of a row of ``sync``."""
    return row.user_id, row.bucket, row.sync_seq


def _missing_with(system: System, lost: Held) -> set[tuple[str, str, str, int, str]]:
    """The differences if the row of a reference is missing."""
    return {
        ("sync-store", "missing", each.conv_id, each.seq, each.user)
        for each in held_once(system)
        if each.at == lost.at
    }


Difference = tuple[str, str, str, int, str]
"""Check, kind, conversation, SeqId and user."""


class Damages:
    """Damages of a deployment, each in another table. Each method returns its differences."""

    def __init__(self, deployed: Deployed) -> None:
        self._deployed = deployed
        self._execute = deployed.session.execute
        self._system = deployed.system

    def all(self) -> set[Difference]:
        """Makes all damages."""
        found: set[Difference] = set()
        for damage in (
            self.alter_a_conversation,
            self.delete_a_membership,
            self.alter_a_member,
            self.alter_a_document,
            self.delete_a_read_mark,
            self.alter_and_lose_sync_rows,
            self.list_an_empty_bucket,
        ):
            found |= damage()
        return found

    def delete_a_message(self) -> set[Difference]:
        """Deletes a row of ``message``."""
        self._execute("DELETE FROM message WHERE conv_id = 'c1' AND bucket = 0 AND seq = 3")
        return {("store", "missing", "c1", 3, "")}

    def alter_a_conversation(self) -> set[Difference]:
        """Changes the mode of a conversation."""
        self._execute("UPDATE conversation SET mode = 'pull' WHERE conv_id = 'c2'")
        head = next(row.head or 0 for row in self._system.conversations if row.conv_id == "c2")
        return {("store", "altered", "c2", head, "")}

    def delete_a_membership(self) -> set[Difference]:
        """Deletes a join in the table by user."""
        self._execute(
            "DELETE FROM membership_by_user"
            " WHERE user_id = 'bob' AND bucket = %s AND conv_id = 'c1' AND place = %s",
            (user_bucket("c1"), join_place(0)),
        )
        return {("membership", "missing", "c1", 1, "bob")}

    def alter_a_member(self) -> set[Difference]:
        """Changes the history rule of a join in the table by conversation."""
        self._execute(
            "UPDATE membership_by_conversation SET history_rule = 'since_join'"
            " WHERE bucket = %s AND conv_id = 'c2' AND user_id = 'ann'",
            (member_bucket("ann"),),
        )
        return {("membership", "altered", "c2", 1, "ann")}

    def alter_a_document(self) -> set[Difference]:
        """Changes the text of a document of the index."""
        found = next(
            each
            for each in self._system.documents
            if (each.source["conv_id"], each.source["seq"]) != ("c1", 3)
        )
        self._deployed.search.update(
            index=index_name(self._deployed.settings, found.source["at"]),
            id=found.id, routing=found.routing, doc={"text": "another"},
        )  # fmt: skip
        return {("index", "altered", found.source["conv_id"], found.source["seq"], "")}

    def delete_a_read_mark(self) -> set[Difference]:
        """Deletes the read mark of a person who has sent a message."""
        spoke = next(row for row in self._system.read_marks if row.own_seq)
        self._execute(
            "DELETE FROM read_mark WHERE conv_id = %s AND user_id = %s",
            (spoke.conv_id, spoke.user_id),
        )
        return {("marks", "missing", spoke.conv_id, spoke.own_seq or 0, spoke.user_id)}

    def alter_and_lose_sync_rows(self) -> set[Difference]:
        """Changes a reference in a row of ``sync``, and deletes another row."""
        system = self._system
        named, lost = _two_in_long_partitions(system)
        row = row_at(system, named.at)
        take_out(row, named.reference)
        row.entries["nowhere"] = [named.reference.sync_seq, named.seq]
        self._execute(
            "UPDATE sync SET records = %s WHERE user_id = %s AND bucket = %s AND sync_seq = %s",
            (encode_row(row).decode(), *_key_of(system.sync_rows[named.at])),
        )
        self._execute(
            "DELETE FROM sync WHERE user_id = %s AND bucket = %s AND sync_seq = %s",
            _key_of(system.sync_rows[lost.at]),
        )
        altered = ("sync-store", "altered", "nowhere", named.seq, named.user)
        return {altered} | _missing_with(system, lost)

    def list_an_empty_bucket(self) -> set[Difference]:
        """Lists a bucket without rows."""
        self._execute("INSERT INTO sync_bucket (user_id, bucket) VALUES ('ann', 7)")
        return {("sync-store", "extra", "", 0, "ann")}


def assert_consistent(deployed: Deployed, verify_json: Callable[[], Result]) -> None:
    """Asserts that the audit compares every record, and that the command exits with 0."""
    system, report = deployed.system, deployed.audit()
    assert report.differences == []
    assert report.section("log").counts["entries"] == len(system.timeline)
    assert report.section("store").counts["rows"] == len(system.messages)
    assert report.section("index").counts["documents"] == len(system.documents)
    assert report.section("sync-log").counts["records"] == len(system.sync)
    assert report.section("sync-store").counts["rows"] == len(system.sync_rows)

    passed = verify_json()
    assert passed.exit_code == 0, passed.output
    assert msgspec.json.decode(passed.stdout.splitlines()[-1])["ok"] is True


def assert_the_command_fails(verify_json: Callable[[], Result], differences: int) -> None:
    """Asserts that the command exits with 1 and prints this number of differences."""
    failed = verify_json()
    *printed, last = [msgspec.json.decode(each) for each in failed.stdout.splitlines()]
    assert failed.exit_code == 1
    assert last["differences"] == len(printed) == differences


def test_consistent_data_passes_and_each_damage_is_named(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consistent deployment has no difference; then each of several damages is named.

    The pages are so small that each table needs several. The command reports the same differences.
    """
    app = typer.Typer()
    app.command()(verify)
    verify_json = partial(CliRunner(env=environment(deployed.settings)).invoke, app, ["--json"])
    monkeypatch.setattr(scan, "ROWS_PER_PAGE", 3)
    monkeypatch.setattr(documents, "DOCUMENTS_PER_PAGE", 2)
    damages = Damages(deployed)

    assert_consistent(deployed, verify_json)
    expected = damages.delete_a_message()
    assert deployed.found() == expected
    expected |= damages.all()
    assert deployed.found() == expected
    assert_the_command_fails(verify_json, len(expected))


def test_foreign_records_on_the_topics_are_named(deployed: Deployed) -> None:
    """A sync record and an entry too many are named; before that, the lag of the sinks is."""
    settings, system = deployed.settings, deployed.system
    record = next(each for each in system.sync if each.key == b"ann")
    append(settings, Topic.SYNC, [("ann", record.value or b"")])
    entry = system.timeline[0]
    append(settings, Topic.TIMELINE, [((entry.key or b"").decode(), entry.value or b"")])

    behind = [
        each for each in deployed.audit(wait_seconds=0.1).differences if each.kind == "behind"
    ]
    commit(settings)
    found = {each[:2] for each in deployed.found()}

    assert {each.check for each in behind} == {"store", "index", "sync-store"}
    assert any("sink-sync is" in each.detail for each in behind)
    # The sink's offsets now include the record, but the record has no row.
    assert found == {("sync-log", "double"), ("log", "double"), ("sync-store", "missing")}


def test_damages_in_later_epochs_are_named(deployed_later: Deployed) -> None:
    """In later epochs, a duplicate, a record for a wrong person and a lost row are named."""
    settings, system = deployed_later.settings, deployed_later.system
    assert deployed_later.audit().differences == []

    def topic_of(user: str) -> str:
        return system.shards.places[ShardNumber(system.last_home(user))].topic or ""

    records = [system.sync[at] for at in entries_at(system)]
    own = [record for record in records if b"ann" in recipients_of(record.key or b"")]
    twice = own[-1].value or b""
    secret = next(each.value for each in own if each.value and b'"just us"' in each.value)
    append_to(settings, [(topic_of("ann"), "ann", twice), (topic_of("bob"), "bob", secret)])
    lost = next(each for each in held_once(system) if each.user == "ann")
    deployed_later.session.execute(
        "DELETE FROM sync WHERE user_id = %s AND bucket = %s AND sync_seq = %s",
        _key_of(system.sync_rows[lost.at]),
    )
    commit(settings)

    last = decode_entry(twice)
    assert deployed_later.found() == {
        ("sync-log", "double", last.conv_id, last.seq, "ann"),
        ("sync-log", "extra", "c2", decode_entry(secret).seq, "bob"),
        ("sync-store", "missing", last.conv_id, last.seq, "ann"),
        ("sync-store", "missing", "c2", decode_entry(secret).seq, "bob"),
    } | _missing_with(system, lost)


def test_records_removed_by_retention_are_not_differences(deployed: Deployed) -> None:
    """A partition that lost its first records is audited from the rest, and the report says so."""
    partition = deployed.system.sync[0].partition
    low = [each.offset for each in deployed.system.sync if each.partition == partition][2]
    place = TopicPartition(deployed.settings.topic(Topic.SYNC), partition, low)
    _drop_before(deployed.settings, place)

    report = deployed.audit()

    assert report.differences == []
    assert report.section("sync-log").counts["trimmed"] > 0
    assert f"offset {low}" in report.section("sync-log").notes[0]


def test_a_span_that_was_removed_during_the_audit_is_an_error(servers: Servers) -> None:
    """Records that are dropped while they are read cause an error; they are not skipped."""
    settings = servers.settings(partitions=1, sync_partitions=1)
    create_topics(settings)
    append(settings, Topic.SYNC, [("ann", b"1"), ("ann", b"2")])
    last = records(settings, Topic.SYNC)[-1][1]
    place = TopicPartition(settings.topic(Topic.SYNC), 0, last)
    _drop_before(settings, place)

    with pytest.raises(ServerUnavailable, match="dropped"):
        list(
            topics.read(
                settings, Topic.SYNC, [OffsetSpan(ShardNumber(0), Offset(0), Offset(last + 1))]
            )
        )


def test_the_audit_waits_for_an_open_transaction(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit waits, within a bound, for an open transaction of a sync timeline.

    Its records belong to the snapshot after the commit.
    """
    settings = servers.settings(partitions=1, sync_partitions=1)
    create_topics(settings)
    producer = Producer(producer_config(settings) | {"transactional.id": settings.namespace})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(settings.topic(Topic.SYNC), b"value", b"key")
    producer.flush(30)

    with monkeypatch.context() as patch:
        patch.setattr(topics, "OPEN_TRANSACTION_SECONDS", 0.3)
        with pytest.raises(ServerUnavailable, match="open"):
            topics.settled_spans(settings, Topic.SYNC)
    producer.commit_transaction(30)

    spans = topics.settled_spans(settings, Topic.SYNC)
    assert [(span.partition, span.low) for span in spans] == [(0, 0)]
    assert list(topics.read(settings, Topic.SYNC, spans)) == [(0, 0, b"key", b"value")]
    assert records(settings, Topic.SYNC) == [(0, 0, b"key", b"value")]


def test_a_missing_deployment_is_reported_in_one_clear_line(servers: Servers) -> None:
    """An unknown namespace is an error, not an audit without differences."""
    settings = servers.settings()

    with (
        pytest.raises(ConfigurationError, match="IM_NAMESPACE"),
        real.real_servers(settings, advance=lambda _check, _number: None, wait_seconds=0),
    ):
        raise AssertionError("it was entered")
    with pytest.raises(ConfigurationError, match="no topic"):
        topics.committed_spans(settings, Topic.TIMELINE)


def test_a_missing_keyspace_is_attributed_to_the_namespace_only_with_a_reason(
    servers: Servers,
) -> None:
    """If Kafka is down, the error says so; with topics, only the keyspace is reported missing."""
    settings = servers.settings(partitions=1, sync_partitions=1)
    away = settings.model_copy(update={"kafka_bootstrap": "127.0.0.1:1"})
    found = []
    create_topics(settings)
    check_log(settings)

    for each in (away, settings):
        with (
            pytest.raises((ServerUnavailable, ConfigurationError)) as caught,
            real.real_servers(each, advance=lambda _check, _number: None, wait_seconds=0),
        ):
            raise AssertionError("it was entered")
        found.append(str(caught.value))

    assert "Kafka" in found[0]
    assert "IM_CASSANDRA_HOSTS" in found[1]


def _drop_before(settings: Settings, place: TopicPartition) -> None:
    """Deletes the first records of a partition, as retention does."""
    admin = admin_client(settings)  # keep a reference: without it the future never completes
    admin.delete_records([place])[place].result(30)

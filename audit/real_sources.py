"""The real servers of a deployment, as `audit.sources.Sources`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias, TypeVar

from cassandra import InvalidRequest
from cassandra.cluster import Session
from elasticsearch import Elasticsearch

from audit import input_readers as inputs
from audit import topic_readers as topics
from audit.index import IndexedDocument
from audit.index_documents import read_documents
from audit.input_records import NO_POSITION, InputLetter, InputRecord
from audit.log import KafkaRecord
from audit.member_rows import MembershipRow
from audit.read_marks import ReadMarkRow
from audit.report import CheckName
from audit.scan import scan_pages
from audit.sources import SinkName
from audit.store import ConversationRow, MessageRow
from audit.sync_buckets import BucketRow
from audit.sync_expiry import ExpiryRow
from audit.sync_store import AuditedSyncRow
from audit.topic_readers import OffsetSpan
from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import use_keyspace
from backends.elasticsearch.generations import read_generation
from backends.elasticsearch.index import elasticsearch_client, index_name
from backends.identity.index_claim import check_index
from backends.identity.log_identity import check_log, read_deployment
from backends.identity.store_claim import check_store
from backends.processes.polling import poll_until
from backends.sync_layout.layouts import SyncShards
from schemas.errors import ConfigurationError
from schemas.limits import Limits
from schemas.number_types import Milliseconds, Offset
from schemas.settings import Settings
from schemas.topics import Topic

Advance: TypeAlias = Callable[[CheckName, int], None]
"""Receives the number of records that a check has read since the last call."""

_POLL_SECONDS: Final = 0.5
_KAFKA_SECONDS: Final = 5.0
"""Timeout of the query whether a deployment has topics."""
_CALLS: Final = 2_000
"""Records between two calls of `Advance`, for records that do not arrive in pages."""

RecordT = TypeVar("RecordT")


class Servers:
    """Implements `Sources` on the real servers.

    Args:
        settings: The deployment.
        session: A Cassandra session in the deployment's keyspace.
        search: An Elasticsearch client.
        advance: Receives the progress.
        wait_seconds: Maximum wait for each sink.
    """

    def __init__(
        self,
        settings: Settings,
        session: Session,
        search: Elasticsearch,
        *,
        advance: Advance,
        wait_seconds: float,
    ) -> None:
        self._settings = settings
        self._session = session
        self._search = search
        self._advance = advance
        self._wait_seconds = wait_seconds
        self._generation = 0

    def limits(self) -> Limits:
        """See `Sources`."""
        return self._settings.limits

    def timeline_spans(self) -> list[OffsetSpan]:
        """See `Sources`."""
        return topics.committed_spans(self._settings, Topic.TIMELINE)

    def timeline(self, spans: Sequence[OffsetSpan]) -> Iterable[KafkaRecord]:
        """See `Sources`."""
        return self._counted("log", topics.read(self._settings, Topic.TIMELINE, spans))

    def input_spans(self) -> list[OffsetSpan]:
        """See `Sources`."""
        spans = topics.committed_spans(self._settings, Topic.MESSAGES)
        partitions = [span.partition for span in spans]
        done = topics.committed_offsets(self._settings, Topic.MESSAGES, "sequencer", partitions)
        ends = {number: Offset(max(NO_POSITION, offset)) for number, offset in done.items()}
        return [span._replace(end=ends[span.partition]) for span in spans]

    def input(self, spans: Sequence[OffsetSpan]) -> Iterable[InputRecord]:
        """See `Sources`."""
        return self._counted("input", inputs.read_input(self._settings, spans))

    def letters(self) -> Iterable[InputLetter]:
        """See `Sources`."""
        return inputs.read_input_letters(self._settings)

    def sync_spans(self) -> list[OffsetSpan]:
        """See `Sources`."""
        return topics.settled_spans(self._settings, Topic.SYNC)

    def sync_shards(self) -> SyncShards:
        """See `Sources`."""
        return topics.audited_shards(self._settings)

    def sync(self, spans: Sequence[OffsetSpan]) -> Iterable[KafkaRecord]:
        """See `Sources`."""
        return self._counted("sync-log", topics.read(self._settings, Topic.SYNC, spans))

    def sync_at(
        self, partition: int, offsets: Sequence[Offset]
    ) -> Mapping[Offset, tuple[bytes | None, bytes | None]]:
        """See `Sources`."""
        return topics.read_at(self._settings, Topic.SYNC, partition, offsets)

    def behind(self, stage: SinkName, last_offsets: Mapping[int, Offset]) -> int:
        """See `Sources`."""
        topic = Topic.SYNC if stage == "sink-sync" else Topic.TIMELINE

        def lag() -> int:
            committed = topics.committed_offsets(self._settings, topic, stage, last_offsets)
            # A transaction mark may follow the last record. Sinks need not commit its offset.
            return sum(max(0, last + 1 - max(0, committed[p])) for p, last in last_offsets.items())

        return poll_until(lag, self._wait_seconds, done=operator.not_, pause=_POLL_SECONDS)

    def messages(self) -> Iterable[MessageRow]:
        """See `Sources`."""
        columns = (
            "conv_id, bucket, seq, kind, sender, at, text_as_blob(entry), edited_by, recalled_by, "
            "messages"
        )
        rows = self._rows("store", "message", "conv_id, bucket", columns)
        return map(MessageRow._make, rows)

    def conversations(self) -> Iterable[ConversationRow]:
        """See `Sources`."""
        columns = ", ".join(ConversationRow._fields)
        rows = self._rows("store", "conversation", "conv_id", columns)
        return map(ConversationRow._make, rows)

    def membership_by_user(self) -> Iterable[MembershipRow]:
        """See `Sources`."""
        columns = ", ".join(MembershipRow._fields)
        rows = self._rows("membership", "membership_by_user", "user_id, bucket", columns)
        return map(MembershipRow._make, rows)

    def membership_by_conversation(self) -> Iterable[MembershipRow]:
        """See `Sources`."""
        columns = "user_id, conv_id, seq, joined, history_rule, bucket, at"
        rows = self._rows("membership", "membership_by_conversation", "conv_id, bucket", columns)
        return (MembershipRow(*row)._replace(at=at) for *row, at in rows)

    def sync_rows(self) -> Iterable[AuditedSyncRow]:
        """See `Sources`."""
        columns = "user_id, bucket, sync_seq, text_as_blob(records)"
        rows = self._rows("sync-store", "sync", "user_id, bucket", columns, together=2)
        return map(AuditedSyncRow._make, rows)

    def sync_buckets(self) -> Iterable[BucketRow]:
        """See `Sources`."""
        return self._rows("sync-store", "sync_bucket", "user_id", "user_id, bucket")

    def sync_expiries(self) -> Iterable[ExpiryRow]:
        """See `Sources`."""
        return self._rows("sync-store", "sync_expiry", "user_id", "user_id, since, newest")

    def read_marks(self) -> Iterable[ReadMarkRow]:
        """See `Sources`."""
        columns = ", ".join(ReadMarkRow._fields)
        rows = self._rows("marks", "read_mark", "conv_id, user_id", columns)
        return map(ReadMarkRow._make, rows)

    def documents(self) -> Iterable[IndexedDocument]:
        """See `Sources`."""
        self._generation = read_generation(self._search, self._settings).state.current
        return self._counted("index", read_documents(self._search, self._settings))

    def index_of(self, at: Milliseconds) -> str:
        """See `Sources`."""
        return index_name(self._settings, at, self._generation)

    def expired_before(self) -> Milliseconds:
        """See `Sources`. Rows expire by the clock of Cassandra, so this uses the same clock."""
        lifetime = self._settings.sync_lifetime.total_seconds()
        # Rows near their expiry may expire while the audit runs.
        margin = min(600.0, lifetime / 10)
        ((now,),) = self._session.execute("SELECT toUnixTimestamp(now()) FROM system.local")
        return Milliseconds(int(now - (lifetime - margin) * 1000))

    def _rows(
        self, check: CheckName, table: str, key: str, columns: str, *, together: int = 0
    ) -> Iterator[Any]:
        for page in scan_pages(self._session, table, key, columns, together=together):
            self._advance(check, len(page))
            yield from page

    def _counted(self, check: CheckName, records: Iterable[RecordT]) -> Iterator[RecordT]:
        number = 0
        for number, record in enumerate(records, start=1):
            if number % _CALLS == 0:
                self._advance(check, _CALLS)
            yield record
        self._advance(check, number % _CALLS)


@contextmanager
def real_servers(
    settings: Settings, *, advance: Advance, wait_seconds: float
) -> Iterator[Servers]:
    """The servers of a deployment.

    Raises:
        ServerUnavailable: Cassandra or Kafka does not answer.
        ConfigurationError: The deployment has no tables, or those of an earlier version.
        WrongDeployment: Topics, keyspace and index do not belong together.
        TransientFailure: The deployment is not prepared yet.
    """
    with cassandra_session(settings) as session, elasticsearch_client(settings) as search:
        try:
            use_keyspace(session, settings)
        except InvalidRequest as error:
            raise _no_keyspace(settings) from error
        deployment = check_log(settings)
        check_store(session, settings, deployment)
        check_index(search, settings, deployment)
        yield Servers(settings, session, search, advance=advance, wait_seconds=wait_seconds)


def _no_keyspace(settings: Settings) -> ConfigurationError:
    """The error for a missing keyspace. The topics show whether the namespace is right.

    Raises:
        ServerUnavailable: Kafka does not answer, so the reason is unknown.
    """
    if read_deployment(settings, _KAFKA_SECONDS) is None:
        return ConfigurationError(
            f"there is no keyspace {settings.keyspace} and there are no topics: check IM_NAMESPACE"
        )
    return ConfigurationError(
        f"there is no keyspace {settings.keyspace} at {settings.cassandra_hosts}, but there are"
        " topics: correct IM_CASSANDRA_HOSTS, or have the sinks fill a new keyspace"
    )

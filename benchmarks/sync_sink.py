"""Sync records a second that one ``sink-sync`` stores: ``python -m benchmarks.sync_sink``.

Two shapes of traffic, in interleaved rounds of one run. "Grouped": a record has many recipients,
and a recipient has several records in a flush. "Spread": each record goes to another recipient.
For "spread", a second program sends the same requests with all their statements built beforehand.
Both shapes run again with ``skip_inactive``, where all recipients are active or a tenth of them.
Each run is checked: every delivery to an active recipient is stored exactly once.
IM_KAFKA_BOOTSTRAP and IM_CASSANDRA_HOSTS name the servers.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Final

from cassandra.cluster import Session
from confluent_kafka import Consumer, Producer

from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import create_tables
from backends.kafka.clients import (
    admin_client,
    consumer_config,
    create_topics,
    new_topics,
    producer_config,
    topic_partitions,
)
from backends.kafka.groups import committed_places
from benchmarks import report
from benchmarks.built_requests import Recorder
from benchmarks.contacts import append_contacts, chosen
from benchmarks.results import Figure, Target, WrongOutput
from benchmarks.worker import worker
from benchmarks.workload import FLUSH_SECONDS, TEXT
from schemas.codec import encode
from schemas.errors import ServerUnavailable
from schemas.lifetime import SKIPPED_SINCE
from schemas.number_types import Milliseconds, Offset, SeqId
from schemas.recipients import recipients_key, recipients_of
from schemas.records import MessageSent, TextContent
from schemas.settings import Settings
from schemas.sync_rows import decode_row, references
from schemas.topics import Topic
from sinks.assembly import STAGES
from sinks.base.records import Record
from sinks.cassandra.requests import send_statements
from sinks.cassandra.sync_writer import SyncWriter

ROUNDS: Final = 5
SHARES: Final = (1.0, 0.1)
"""Shares of the recipients who are active, when the sink skips the others."""

SHARDS: Final = 8
GROUP_RECORDS: Final = 100_000
GROUPS: Final = 80
MEMBERS: Final = 140
SPREAD_RECORDS: Final = 150_000
PEOPLE: Final = 50_000

SINK: Final = "sink-sync"
BUILT: Final = "statements built beforehand"

_DELIVERIES: Final = 150_000
_SPREAD: Final = 25_000
_SPREAD_SHARE: Final = 0.8
_SPREAD_IF_MISSED: Final = (
    "the driver and Cassandra are the limit at 2.7 inserts for a record; next: the notes of"
    " expiry as static columns, which makes one insert"
)
"""`benchmarks.spread_inserts` measures the inserts."""

_POLL_SECONDS: Final = 0.2
_RUN_SECONDS: Final = 300.0


def main() -> None:
    """Prints a line for each figure."""
    for figure in figures():
        print(report.line(figure), flush=True)
        print(figure.rounds, flush=True)


def figures() -> Iterator[Figure]:
    """One figure for each shape."""
    grouped: list[float] = []
    spread: dict[str, list[float]] = {SINK: [], BUILT: []}
    for _ in range(ROUNDS):
        grouped.append(measure(grouped_records))
        spread[SINK].append(measure(spread_records))
        spread[BUILT].append(measure_built(spread_records))
    yield Figure("sync sink, groups", "deliveries/s", {SINK: grouped}, [Target(SINK, _DELIVERIES)])
    targets = [
        Target(SINK, _SPREAD, if_missed=_SPREAD_IF_MISSED),
        Target(SINK, _SPREAD_SHARE, BUILT),
    ]
    yield Figure("sync sink, each record to another recipient", "records/s", spread, targets)


def skipping() -> Iterator[Figure]:
    """One figure for each shape, when the sink skips the recipients who are not active."""
    for what, traffic in {"groups": grouped_records, "spread": spread_records}.items():
        rates: dict[str, list[float]] = {f"{share:.0%} active": [] for share in SHARES}
        for _ in range(ROUNDS):
            for share, of_share in zip(SHARES, rates.values(), strict=True):
                of_share.append(measure(traffic, share))
        yield Figure(f"sync sink that skips, {what}", "deliveries/s", rates, [])


Traffic = Callable[[], Iterator[Record]]
"""Records by their shard and offset."""


def grouped_records() -> Iterator[Record]:
    """Messages to one group after the other, as the sequencer writes them."""
    keys = [
        recipients_key(f"user-{group}-{n}" for n in range(shard, MEMBERS, SHARDS))
        for group in range(GROUPS)
        for shard in range(SHARDS)
    ]
    for number in range(GROUP_RECORDS):
        message, shard = divmod(number, SHARDS)
        seq, group = divmod(message, GROUPS)
        value = _message(f"conv-{group}", seq + 1)
        yield Record(shard, Offset(message), keys[group * SHARDS + shard], value)


def spread_records() -> Iterator[Record]:
    """A message to one recipient after the other, each in a separate chat."""
    for number in range(SPREAD_RECORDS):
        offset, shard = divmod(number, SHARDS)
        seq, person = divmod(number, PEOPLE)
        yield Record(
            shard, Offset(offset), b"user-%d" % person, _message(f"chat-{person}", seq + 1)
        )


def _message(conv_id: str, seq: int) -> bytes:
    return encode(
        MessageSent(
            conv_id=conv_id, seq=SeqId(seq), sender="ann", client_msg_id="bench",
            at=Milliseconds(1_700_000_000_000 + seq), content=TextContent(text=TEXT), mentions=[],
        )
    )  # fmt: skip


def measure(traffic: Traffic, share: float | None = None) -> float:
    """Deliveries a second of one fresh sink over one fresh topic, from its first commit on.

    Args:
        traffic: The records.
        share: The share of the recipients who are active. The sink skips the others, and their
            deliveries count as well. None: ``skip_inactive`` is off.

    Raises:
        WrongOutput: A delivery is missing or occurs twice.
        ServerUnavailable: Not all records were stored in time.
    """
    with deployment(skip_inactive=share is not None) as (settings, session):
        _fill(settings, traffic())
        deliveries = Counter(user for r in traffic() for user in recipients_of(r.key or b""))
        active = set(deliveries)
        if share is not None:
            active = {user.encode() for user in chosen((u.decode() for u in deliveries), share)}
            append_contacts(settings, (user.decode() for user in active))
        with worker(settings, "sinks", "sync"):
            rate = _rate(settings, traffic)
        _check(session, sum(deliveries[user] for user in active))
        _check_skipped(session, deliveries.keys() - active)
        return rate


@contextmanager
def deployment(*, skip_inactive: bool = False) -> Iterator[tuple[Settings, Session]]:
    """Topics and tables in their own namespace; they are removed at the end."""
    settings = Settings(
        namespace=f"bench-{secrets.token_hex(4)}",
        sync_partitions=SHARDS,
        skip_inactive=skip_inactive,
    )
    create_topics(settings)
    with cassandra_session(settings) as session:
        create_tables(session, settings)
        try:
            yield settings, session
        finally:
            session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)
            admin_client(settings).delete_topics([topic.topic for topic in new_topics(settings)])


def _fill(settings: Settings, records: Iterable[Record]) -> None:
    """Appends records to their shards."""
    producer = Producer(
        producer_config(settings) | {"queue.buffering.max.messages": 1_000_000, "linger.ms": 20}
    )
    topic = settings.topic(Topic.SYNC)
    for record in records:
        producer.produce(topic, record.value, record.key, partition=record.partition)
    if producer.flush(FLUSH_SECONDS):
        raise TimeoutError(f"the broker did not take all records in {FLUSH_SECONDS:.0f} s")


def _rate(settings: Settings, traffic: Traffic) -> float:
    counts = [len(recipients_of(record.key or b"")) for record in traffic()]
    total, each = len(counts), sum(counts) / len(counts)
    consumer = Consumer(consumer_config(settings, settings.group("sink-sync")))
    places = topic_partitions(settings, Topic.SYNC)
    deadline = time.monotonic() + _RUN_SECONDS
    begun, began, now = 0, 0.0, 0
    while time.monotonic() < deadline:
        now = sum(max(0, place.offset) for place in committed_places(consumer, places))
        if now and not begun:
            begun, began = now, time.monotonic()
        if now == total:
            return (total - begun) * each / (time.monotonic() - began)
        time.sleep(_POLL_SECONDS)
    raise ServerUnavailable(f"only {now} of {total} records were stored in time")


def measure_built(traffic: Traffic) -> float:
    """Records a second of the sink's own requests, sent without any other work.

    Raises:
        WrongOutput: A record is missing or occurs twice.
    """
    with deployment() as (settings, session):
        recorder = Recorder(session)
        writer, records = SyncWriter(recorder, settings), list(traffic())
        size = STAGES["sync"].bounds.max_records
        for start in range(0, len(records), size):
            writer.write(records[start : start + size])
        began = time.monotonic()
        refused, again = send_statements(session, recorder.requests)
        seconds = time.monotonic() - began
        if refused or again:
            raise ServerUnavailable("Cassandra did not take all statements")
        _check(session, len(records))
        return len(records) / seconds


def _check(session: Session, deliveries: int) -> None:
    found = [
        (user, reference.sync_seq)
        for user, records in session.execute("SELECT user_id, records FROM sync", timeout=120)
        for reference in references(decode_row(records))
    ]
    if not len(found) == len(set(found)) == deliveries:
        raise WrongOutput(f"{len(found)} of {deliveries} deliveries, {len(set(found))} different")


def _check_skipped(session: Session, people: AbstractSet[bytes]) -> None:
    rows = session.execute("SELECT user_id, since FROM sync_expiry", timeout=120)
    noted = {user.encode() for user, since in rows if since == SKIPPED_SINCE}
    if noted != people:
        raise WrongOutput(f"{len(noted)} skip notes, {len(people)} people are inactive")


if __name__ == "__main__":
    main()

"""Hostile records for the writer of each sink."""

from __future__ import annotations

import json
from collections.abc import Callable
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cassandra.cluster import Session
from confluent_kafka import TopicPartition
from elasticsearch import Elasticsearch
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import encode
from schemas.limits import MAX_REASON_LENGTH
from schemas.number_types import Offset
from schemas.settings import Settings
from schemas.sync_rows import decode_row
from sinks.base.delivery import BatchDelivery
from sinks.base.poison import PoisonGuard, PoisonLimits
from sinks.base.progress import SinkProgress
from sinks.base.records import Batch, Record
from sinks.base.writer_port import StoreWriter
from sinks.cassandra.messages import MessageWriter
from sinks.cassandra.sync_writer import SyncWriter
from sinks.elasticsearch.index_writer import SearchWriter
from tests.support.fake_cassandra import FakeSession, Sent
from tests.support.hostile import hostile, keys, mutated_json, worst
from tests.support.sink_fakes import FakeDeadLetters
from tests.support.sink_stores import Conversation

SETTINGS = Settings()
GOOD = encode(Conversation("mine").said(1, "hello"))

entries = st.sampled_from(
    [
        json.loads(encode(entry))
        for entry in [*Conversation("c").history(), Conversation("c").said(3, "hi")]
    ]
)
values = hostile | mutated_json(entries)


class Stored:
    """Records the conversations in the requests to a fake server."""

    def __init__(self) -> None:
        self.conversations: set[str] = set()

    def answer(self, sent: Sent) -> None:
        for row in sent.rows:
            self.conversations.add(str(row.get("conv_id")))
            self.conversations.update(decode_row(row.get("records", "{}")).entries)

    def bulk(self, operations: list[bytes], **_: object) -> dict[str, Any]:
        sources = [json.loads(source) for source in operations[1::2]]
        self.conversations.update(source["conv_id"] for source in sources)
        return {"items": [{"index": {"status": 201}} for _ in sources]}


def message_writer(stored: Stored) -> StoreWriter:
    """The writer of ``sink-message``."""
    return MessageWriter(cast("Session", FakeSession(stored.answer)))


def sync_writer(stored: Stored) -> StoreWriter:
    """The writer of ``sink-sync``."""
    return SyncWriter(cast("Session", FakeSession(stored.answer)), SETTINGS)


def search_writer(stored: Stored) -> StoreWriter:
    """The writer of ``sink-search``."""

    class Client:
        bulk = staticmethod(stored.bulk)
        get = staticmethod(lambda **_: SimpleNamespace(body=NO_REINDEX))

        class indices:  # noqa: N801 - the name of the client's attribute
            create = staticmethod(lambda **_: None)
            exists_alias = staticmethod(lambda **_: True)

    return SearchWriter(cast("Elasticsearch", Client()), SETTINGS)


NO_REINDEX = {"_source": {}, "_seq_no": 1, "_primary_term": 1}
"""The state of the index's generations in a deployment whose index was never built again."""

WRITERS = [message_writer, sync_writer, search_writer]
MakeWriter = Callable[[Stored], StoreWriter]


def deliver(make: MakeWriter, records: list[Record]) -> FakeDeadLetters:
    """Deliver records and a good one after them, which must be stored; return the dead letters."""
    stored, letters = Stored(), FakeDeadLetters()
    batch = [*records, Record(0, Offset(1_000), b"ann", GOOD)]
    guard = PoisonGuard(PoisonLimits(run=1_000, share=1.0))
    BatchDelivery(make(stored), letters, guard).deliver(batch, Event())
    assert "mine" in stored.conversations
    assert 1_000 not in dict(letters.letters)
    assert all(len(reason) <= MAX_REASON_LENGTH for _, reason in letters.letters)
    return letters


@pytest.mark.parametrize("make", WRITERS)
def test_hostile_values_are_dead_letters(make: MakeWriter) -> None:
    """Deep nesting, huge numbers and long strings do not stop a sink; reasons quote nothing."""
    letters = deliver(
        make, [Record(0, Offset(at), b"c", value) for at, value in enumerate(worst())]
    )
    assert not any("kkk" in reason for _, reason in letters.letters)


@pytest.mark.parametrize("make", WRITERS)
@given(st.lists(st.tuples(keys, values), max_size=3))
def test_a_good_record_after_any_other_is_stored(
    make: MakeWriter, odd: list[tuple[bytes | None, bytes | None]]
) -> None:
    """Arbitrary bytes and mutated entries are stored or become dead letters."""
    deliver(make, [Record(0, Offset(at), key, value) for at, (key, value) in enumerate(odd)])


@given(st.lists(values, min_size=1, max_size=3))
def test_a_commit_can_be_written_after_any_record(odd: list[bytes | None]) -> None:
    """The metadata of a commit can be written for a record with any time."""
    progress = SinkProgress(lambda: 1.0)
    progress.assign(0, TopicPartition("t", 0))
    progress.learn([TopicPartition("t", 0, 0, metadata="[" * 2_000)])
    for at, value in enumerate([*odd, b'{"at":' + b"9" * 30 + b"}", b'{"at":-9e9}']):
        record = Record(0, Offset(at), None, value)
        progress.durable(Batch([record], {0: Offset(at + 1)}, {0: record}), {})
        assert progress.uncommitted()

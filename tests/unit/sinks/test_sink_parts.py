"""Small parts of the sinks: buffer, requests, cache of recent keys, documents."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from cassandra.query import BatchStatement, BoundStatement, PreparedStatement
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import encode
from schemas.number_types import Milliseconds, Offset, SeqId
from schemas.records import MessageSent, TextContent
from schemas.settings import Settings
from sinks.base.records import Bounds, Buffer, Record
from sinks.cassandra.recent_texts import Recent
from sinks.cassandra.requests import (
    MAX_BYTES,
    MAX_ROWS,
    MAX_SHARED_BYTES,
    MAX_SHARED_PARTITIONS,
    Request,
    Row,
    requests_of,
    shared_requests,
)
from sinks.elasticsearch.documents import (
    BULK_BYTES,
    BULK_DOCUMENTS,
    SearchDocument,
    bulks_of,
    documents_of,
)
from tests.support.sink_fakes import record

PREPARED = PreparedStatement([], b"id", [], "INSERT", None, 5, [], None)


@given(st.lists(st.integers(1, MAX_BYTES * 2), max_size=400))
def test_requests_contain_every_row_once_within_their_bounds(sizes: list[int]) -> None:
    """Requests have all rows in order, and are full but within bounds (unless a row is larger)."""
    rows = [Row(BoundStatement(PREPARED), origin, size) for origin, size in enumerate(sizes)]
    requests = list(requests_of(rows))
    assert [row for request in requests for row in request.rows] == rows
    totals = [sum(row.size for row in request.rows) for request in requests]
    for request, total in zip(requests, totals, strict=True):
        assert len(request.rows) <= MAX_ROWS
        assert total <= MAX_BYTES or len(request.rows) == 1
    for (former, later), total in zip(pairwise(requests), totals, strict=False):
        assert len(former.rows) == MAX_ROWS or total + later.rows[0].size > MAX_BYTES


@given(st.lists(st.lists(st.integers(1, MAX_SHARED_BYTES), min_size=1, max_size=15), max_size=40))
def test_small_partitions_share_requests_within_the_bounds(partitions: list[list[int]]) -> None:
    """Each row is in one request. Only small partitions share one, within the server's bounds."""
    place = iter(range(1_000))
    rows = [
        [Row(BoundStatement(PREPARED), next(place), size) for size in sizes]
        for sizes in partitions
    ]
    partition_of_row = {row.origin: number for number, part in enumerate(rows) for row in part}
    requests = list(shared_requests(rows))
    assert sorted(row.origin for request in requests for row in request.rows) == sorted(
        partition_of_row
    )
    for request in requests:
        shared = {partition_of_row[row.origin] for row in request.rows}
        total = sum(row.size for row in request.rows)
        if len(shared) == 1:
            assert total <= MAX_BYTES or len(request.rows) == 1
        else:
            assert len(shared) <= MAX_SHARED_PARTITIONS
            assert total <= MAX_SHARED_BYTES


def test_many_small_partitions_need_few_requests() -> None:
    """Rows of 25 conversations with one message each need three requests."""
    rows = [[Row(BoundStatement(PREPARED), origin, 100)] for origin in range(25)]
    assert [len(request.rows) for request in shared_requests(rows)] == [10, 10, 5]


def test_only_many_rows_make_a_batch() -> None:
    """A single large row is no batch, so that the server's limit of batches does not apply."""
    rows = [Row(BoundStatement(PREPARED), 0, 1)] * 2
    assert isinstance(Request(rows[:1]).statement(), BoundStatement)
    batch = Request(rows).statement()
    assert isinstance(batch, BatchStatement)
    assert batch.is_idempotent


@given(st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=30)), max_size=60))
def test_the_buffer_returns_its_records(added: list[tuple[int, bytes]]) -> None:
    """A batch has the added records in order without the dropped ones, and their next offsets."""
    buffer = Buffer(Bounds(20, 300, 5))
    records = [Record(p, Offset(at), None, value) for at, (p, value) in enumerate(added)]
    taken = 0
    for each in records:
        if not buffer.room:
            break
        buffer.add(each)
        taken += 1
    assert taken == len(records) or taken == 20 or sum(len(v) for _, v in added[:taken]) >= 300
    buffer.drop([1])
    batch = buffer.take()
    left = [each for each in records[:taken] if each.partition != 1]
    assert batch.records == left
    assert batch.next_offsets == {each.partition: each.offset + 1 for each in left}
    assert not buffer
    assert buffer.room == 5


def test_a_large_batch_leaves_no_negative_room() -> None:
    """A call may exceed the buffer's bound, and then the room is 0 and not negative."""
    buffer = Buffer(Bounds(2, 100, 5))
    for offset in range(4):
        buffer.add(record(offset))
    assert buffer.room == 0


def test_recent_keys_are_forgotten_by_time_and_by_number() -> None:
    """A key is recent only for a time, and only among a bounded number of keys."""
    time = 0.0
    recent: Recent[str] = Recent(size=2, seconds=10, monotonic=lambda: time)

    def known() -> list[str]:
        return list(filter(recent.is_recent(), "abc"))

    recent.note("ab")
    assert known() == ["a", "b"]
    time = 5
    recent.note("a")
    recent.note("c")  # one key too many: b is the oldest
    assert known() == ["a", "c"]
    time = 15
    assert known() == []


def entry(seq: int, text: str, at: int = 1_700_000_000_000) -> Record:
    """A text message on the log."""
    sent = MessageSent(
        conv_id="c:1 /?", seq=SeqId(seq), sender="ann", client_msg_id="x", at=Milliseconds(at),
        content=TextContent(text=text), mentions=[],
    )  # fmt: skip
    return record(seq, encode(sent))


def test_a_message_makes_one_document() -> None:
    """A document is made from its entry alone, with the tokens of a search."""
    documents, poison = documents_of(Settings(), [entry(1, "Hello"), entry(2, "\uff21\uff22")])
    assert poison == []
    first, second = documents
    assert msgspec.json.decode(first.action) == {
        "index": {
            "_index": "im-message-2023.11",
            "_id": "c:1 /?:1",
            "routing": "c:1 /?",
            "version": 1,
            "version_type": "external_gte",
        }
    }
    plain = {"conv_id": "c:1 /?", "sender": "ann", "at": 1_700_000_000_000}
    assert msgspec.json.decode(first.source) == plain | {
        "seq": 1, "text": "Hello", "tokens": ["hello"],
    }  # fmt: skip
    assert msgspec.json.decode(second.source) == plain | {
        "seq": 2, "text": "\uff21\uff22", "tokens": ["ab"],
    }  # fmt: skip


def test_entries_without_text_make_no_document() -> None:
    """Other entries make no document; undecodable or out-of-range ones are poison."""
    records = [
        record(0, b'{"kind":"fanout_changed","conv_id":"c","seq":1,"sender":"a","at":1,'
                  b'"client_msg_id":"x","mode":"pull","member_count":1,"push_limit":1,'
                  b'"push_again_below":1}'),
        record(1, None),
        record(2, b"\xff"),
        entry(0, "no seq"),
        entry(1 << 63, "too far"),
        entry(5, "too late", at=1 << 62),
    ]  # fmt: skip
    documents, poison = documents_of(Settings(), records)
    assert documents == []
    assert [found.index for found in poison] == [1, 2, 3, 4, 5]
    assert "too" not in " ".join(found.reason for found in poison)


@given(st.lists(st.integers(1, BULK_BYTES * 2 // 3), max_size=20), st.integers(0, BULK_DOCUMENTS))
def test_bulk_requests_contain_every_document_once_within_their_bounds(
    sizes: list[int], small: int
) -> None:
    """Bulks have all documents in order, within the bounds unless one document is larger."""
    documents = [
        SearchDocument(origin, "i", Milliseconds(0), b"", bytes(size))
        for origin, size in enumerate([*sizes, *[1] * small])
    ]
    bulks = list(bulks_of(documents))
    assert [document for bulk in bulks for document in bulk] == documents
    for bulk in bulks:
        assert len(bulk) <= BULK_DOCUMENTS
        assert sum(len(document.source) for document in bulk) <= BULK_BYTES or len(bulk) == 1

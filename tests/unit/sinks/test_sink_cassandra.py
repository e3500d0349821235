"""The Cassandra writers with a server whose answers the test defines."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from cassandra import InvalidRequest, OperationTimedOut, Unauthorized, WriteTimeout, WriteType
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionBusy, ConnectionShutdown
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import OverloadedErrorMessage, ServerError
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from schemas.codec import encode
from schemas.errors import AccessRefused, FatalFailure, TransientFailure
from schemas.lifetime import retention_times
from schemas.limits import SYNC_BUCKET
from schemas.number_types import Milliseconds, Offset, SeqId, SyncSeqId
from schemas.records import AnyEntry, ConversationCreated, Duplicate, MembersAdded
from schemas.settings import Settings
from schemas.sync_rows import SyncRow, decode_row, references
from sinks.base.records import Record
from sinks.base.writer_port import WriteOutcome
from sinks.cassandra import sync_places
from sinks.cassandra.messages import MessageWriter
from sinks.cassandra.requests import IN_FLIGHT, REFUSED_BY_SERVER
from sinks.cassandra.sync_requests import MAX_STATEMENTS
from sinks.cassandra.sync_writer import SyncWriter
from tests.support.fake_cassandra import FakeSession, Sent
from tests.support.sink_stores import Conversation, on_log
from tests.support.sync_rows import SyncRows

CONVERSATION = Conversation("c")
VALUE = encode(CONVERSATION.said(1, "hello"))
TRANSIENT = [
    OperationTimedOut(),
    WriteTimeout("late", write_type=WriteType.BATCH),
    NoHostAvailable("nobody", {}),
    NoConnectionsAvailable(),
    ConnectionShutdown("lost"),
    ConnectionBusy("full"),
    OverloadedErrorMessage(0x1001, "too much", None),
    ServerError(0x0000, "oops", None),
]


def name(error: object) -> str:
    """Return the name of a parameter's type."""
    return type(error).__name__


def entries() -> list[Record]:
    """A membership change, a message, and one more of each."""
    made = ConversationCreated(**CONVERSATION.common(1), members=["ann"], join="open", mode="push")
    added = MembersAdded(**CONVERSATION.common(3), members=["bob"], mode="push")
    all_of_them: list[AnyEntry] = [
        made,
        CONVERSATION.said(2, "a"),
        added,
        CONVERSATION.said(4, "b"),
    ]
    return [on_log(entry, offset) for offset, entry in enumerate(all_of_them)]


def sync_records(count: int) -> list[Record]:
    """Records for one recipient each."""
    return [Record(0, Offset(at), b"user %d" % at, VALUE) for at in range(count)]


def test_memberships_are_written_before_messages_and_messages_before_heads() -> None:
    """A step begins after the requests of the previous step are answered."""
    session = FakeSession()
    MessageWriter(session).write(entries())
    steps = {
        "membership_by_user": 1, "membership_by_conversation": 1, "message": 2, "read_mark": 2,
    }  # fmt: skip
    order = [steps.get(table, 3) for table in session.tables()]
    assert order == sorted(order)
    assert set(order) == {1, 2, 3}
    for step, others in zip(order, session.in_flight_when_sent, strict=True):
        assert {steps.get(other, 3) for other in others} <= {step}


@pytest.mark.parametrize(
    "failing", ["membership_by_user", "membership_by_conversation", "message"]
)
def test_a_step_that_fails_ends_the_batch(failing: str) -> None:
    """After a failed step no later step is written, and the whole batch is written again."""
    session = FakeSession(lambda sent: OperationTimedOut() if sent.table == failing else None)
    with pytest.raises(TransientFailure):
        MessageWriter(session).write(entries())
    assert "conversation" not in session.tables()
    assert ("message" in session.tables()) == (failing == "message")


def test_a_refused_entry_does_not_move_the_head() -> None:
    """A refused entry is poison and does not move the head."""

    def refuse_last(sent: Sent) -> Exception | None:
        refused = sent.table == "message" and (len(sent.rows) > 1 or sent.rows[0]["seq"] == 4)
        return InvalidRequest("no") if refused else None

    session = FakeSession(refuse_last)
    outcome = MessageWriter(session).write(entries())
    assert [(found.index, found.reason) for found in outcome.poison] == [(3, REFUSED_BY_SERVER)]
    assert [row["head"] for row in session.sent[-1].rows if "head" in row] == [3]


def listed(sent: Sent) -> list[str]:
    """Return the recipients whose partitions a request lists."""
    rows = [row for row in sent.rows if "bucket" in row and "records" not in row]
    return [row["user_id"] for row in rows]


def test_a_partition_is_listed_with_its_first_row() -> None:
    """A partition is listed with its first row, and not again within the time of the cache."""
    session = FakeSession()
    writer = SyncWriter(session, Settings())
    writer.write(sync_records(3))
    writer.write(sync_records(4))
    assert [listed(sent) for sent in session.sent] == [["user 0", "user 1", "user 2"], ["user 3"]]


def test_a_partition_is_listed_again_after_a_failure() -> None:
    """A failed request is not counted as listed, because unlisted rows would never be read."""
    errors = iter([OperationTimedOut()])
    session = FakeSession(lambda _: next(errors, None))
    writer = SyncWriter(session, Settings())
    with pytest.raises(TransientFailure):
        writer.write(sync_records(2))
    writer.write(sync_records(2))
    assert [listed(sent) for sent in session.sent] == [["user 0", "user 1"]] * 2


def test_a_failed_bucket_listing_is_repeated() -> None:
    """A record whose listing is refused is poison; other records of the request are written.

    The recipient is listed with a later record.
    """
    bad = ["user 1"]

    def refuse(sent: Sent) -> Exception | None:
        refusal: Exception = InvalidRequest("no")
        return refusal if bad and "user 1" in listed(sent) else None

    session = FakeSession(refuse)
    writer = SyncWriter(session, Settings())
    outcome = writer.write(sync_records(3))
    assert [(found.index, found.reason) for found in outcome.poison] == [(1, REFUSED_BY_SERVER)]
    bad.clear()
    session.sent.clear()
    writer.write(sync_records(3))
    assert ["user 1" in listed(sent) for sent in session.sent] == [True]


@pytest.mark.parametrize("error", TRANSIENT, ids=name)
def test_after_a_failure_the_whole_batch_is_written_again(error: Exception) -> None:
    """After a temporary failure the whole batch is written again, with the same rows."""

    def fail(sent: Sent) -> Exception | None:
        return error if sent.table == "sync" else None

    with pytest.raises(TransientFailure, match=name(error)):
        SyncWriter(FakeSession(fail), Settings()).write(sync_records(3))


def test_a_refused_client_ends_the_sink() -> None:
    """Refused credentials end the sink: no record is the cause, and a retry cannot succeed."""
    session = FakeSession(lambda _: Unauthorized("who are you"))
    with pytest.raises(AccessRefused, match="who are you"):
        SyncWriter(session, Settings()).write(sync_records(1))


def test_a_missing_table_makes_no_record_poison() -> None:
    """A missing table ends the sink, although the server's error is that for a bad row."""
    session = FakeSession(lambda _: InvalidRequest("no"), tables=["sync", "sync_expiry"])
    with pytest.raises(FatalFailure, match=r"no table k\.sync_bucket"):
        SyncWriter(session, Settings()).write(sync_records(1))


def test_requests_are_concurrent_within_a_bound() -> None:
    """The number of requests in flight reaches its bound and does not exceed it."""
    full = threading.Event()

    def answer(_: Sent) -> None:
        if len(session.in_flight) == IN_FLIGHT:
            full.set()
        assert full.wait(10)

    session = FakeSession(answer)
    SyncWriter(session, Settings()).write(sync_records(2 * IN_FLIGHT * MAX_STATEMENTS))
    assert session.most_in_flight == IN_FLIGHT


def rows_of(session: FakeSession) -> list[tuple[str, int, SyncRow]]:
    """Return recipient, key and content of each row of ``sync``, in the order of sending."""
    return [
        (row["user_id"], row["sync_seq"], decode_row(row["records"]))
        for sent in session.sent
        for row in sent.rows
        if "records" in row
    ]


def test_a_row_has_all_records_of_a_flush_for_a_recipient() -> None:
    """A flush makes one row for each recipient and bucket, with all references and replies.

    The key is the highest sync SeqId.
    """
    session = FakeSession()
    reply = {"conv_id": "c", "sender": "a", "device_id": "d", "client_msg_id": "x"}
    duplicate = encode(Duplicate(**reply, at=Milliseconds(1), seq=SeqId(7)))
    hello, other = VALUE, encode(Conversation("d").said(5, "hello"))
    last = SYNC_BUCKET - 1
    outcome = SyncWriter(session, Settings()).write(
        [
            Record(0, Offset(3), b"ann\nbob", hello),
            Record(0, Offset(5), b"ann", duplicate),
            Record(0, Offset(last), b"bob\nann", other),
            Record(0, Offset(last + 1), b"bob", hello),
        ]
    )
    assert outcome == WriteOutcome([])
    both = {"c": [3, 1], "d": [last, 5]}
    assert sorted(rows_of(session), key=lambda row: row[:2]) == [
        ("ann", last, SyncRow(entries=both, replies={SyncSeqId(5): Raw(duplicate)})),
        ("bob", last, SyncRow(entries=both)),
        ("bob", last + 1, SyncRow(entries={"c": [last + 1, 1]})),
    ]


def test_many_or_long_references_become_several_rows() -> None:
    """A row has at most 100 references and the length of an entry; rows are in ascending order."""
    session = FakeSession()
    many = [Record(0, Offset(at), b"ann", VALUE) for at in range(250)]
    reply = {"conv_id": "c", "sender": "a", "device_id": "d", "client_msg_id": "x" * 3_000}
    long = encode(Duplicate(**reply, at=Milliseconds(1), seq=SeqId(7)))
    SyncWriter(session, Settings()).write(
        [*many, *(Record(0, Offset(at), b"bob", long) for at in range(20))]
    )
    found = rows_of(session)
    assert [(key, len(references(row))) for user, key, row in found if user == "ann"] == [
        (99, 100), (199, 100), (249, 50),
    ]  # fmt: skip
    assert [len(references(row)) for user, _, row in found if user == "bob"] == [2, 3] * 4


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=40), st.data())
def test_a_refused_request_is_split_down_to_the_record(
    users: list[str], data: st.DataObject
) -> None:
    """Only refused records become poison, and the other records of their rows are stored."""
    bad = data.draw(st.sets(st.integers(0, len(users) - 1), max_size=3))

    def answer(sent: Sent) -> Exception | None:
        held = {
            reference.sync_seq
            for row in sent.rows
            if "records" in row
            for reference in references(decode_row(row["records"]))
        }
        if held & bad:
            refusal: Exception = InvalidRequest("no")
            return refusal
        for row in sent.rows:
            if "records" in row:
                stored.put(row["user_id"], row["sync_seq"], row["records"])
        return None

    stored = SyncRows()
    records = [Record(0, Offset(at), user.encode(), VALUE) for at, user in enumerate(users)]
    outcome = SyncWriter(FakeSession(answer), Settings()).write(records)
    assert [found.index for found in outcome.poison] == sorted(bad)
    for user in set(users):
        good = [at for at, each in enumerate(users) if each == user and at not in bad]
        assert stored.read(user) == good


def test_lifetimes_follow_the_clock_of_the_store() -> None:
    """Times follow the clock of the store, and not the clock of the sink's machine."""
    session = FakeSession()
    session.time_ms = 5_000_000_000
    writer = SyncWriter(session, Settings(sync_lifetime=timedelta(seconds=80)))

    writer.write(sync_records(1))

    (expiry,) = [row for sent in session.sent for row in sent.rows if "until" in row]
    assert (expiry["since"], expiry["until"]) == (5_000_000, 5_000_090)


def test_rows_have_the_time_at_which_they_may_expire() -> None:
    """Each row comes with a note: its interval, the interval's end, and the row's last record."""
    session, kept = FakeSession(), retention_times(timedelta(seconds=80))
    writer = SyncWriter(session, Settings(sync_lifetime=timedelta(seconds=80)), now=lambda: 1_009)
    writer.write(
        [Record(0, Offset(at), user, VALUE) for at, user in [(7, b"ann"), (5, b"ann"), (6, b"b")]]
    )
    (request,) = [sent.rows for sent in session.sent]
    assert [row["user_id"] for row in request] == ["ann"] * 3 + ["b"] * 3
    times = {"since": 1_000, "until": 1_000 + kept.surely}
    assert [row for row in request if "until" in row] == [
        {"user_id": "ann", **times, "newest": 7, "timestamp": 7},
        {"user_id": "b", **times, "newest": 6, "timestamp": 6},
    ]


def test_a_recipient_who_is_named_twice_gets_one_reference() -> None:
    """A recipient named twice in a key gets one reference."""
    session = FakeSession()
    SyncWriter(session, Settings()).write([Record(0, Offset(1), b"ann\nbob\nann", VALUE)])
    assert sorted(user for user, _, _ in rows_of(session)) == ["ann", "bob"]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b'{"kind":"recalled","conv_id":"c","seq":1}', id="never on a topic"),
        pytest.param(VALUE.replace(b'"seq":1', b'"seq":0'), id="an entry without a SeqId"),
        pytest.param(b'{"kind":"rejected","conv_id":"c","x":' + b"[" * 700 + b"]" * 700 + b"}",
                     id="deeply nested"),
        pytest.param(b'{"kind":"rejected","conv_id":"c","x":"' + b"x" * 9_400 + b'"}', id="long"),
    ],
)  # fmt: skip
def test_a_record_that_would_make_a_row_unreadable_is_poison(value: bytes) -> None:
    """A value that would make a row unreadable is poison, and the next record is stored."""
    session = FakeSession()
    outcome = SyncWriter(session, Settings()).write(
        [Record(0, Offset(1), b"ann", value), Record(0, Offset(2), b"ann", VALUE)]
    )
    assert [found.index for found in outcome.poison] == [0]
    assert [key for _, key, _ in rows_of(session)] == [2]


def test_the_deliveries_of_a_flush_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More recipients than the bound become several flushes, one after the other."""
    monkeypatch.setattr(sync_places, "MAX_DELIVERIES", 10)
    session = FakeSession()
    records = [Record(0, Offset(at), b"a\nb\nc\nd", VALUE) for at in range(5)]
    SyncWriter(session, Settings()).write(records)
    assert [key for user, key, _ in rows_of(session) if user == "a"] == [1, 3, 4]

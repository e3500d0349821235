"""The Cassandra writers before a server that answers as it is told."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from cassandra import InvalidRequest, OperationTimedOut, Unauthorized, WriteTimeout, WriteType
from cassandra.cluster import NoHostAvailable
from cassandra.protocol import OverloadedErrorMessage, ServerError
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import encode
from schemas.errors import FatalFailure, TransientFailure
from schemas.lifetime import keeping
from schemas.records import AnyEntry, ConversationCreated, MembersAdded
from schemas.settings import Settings
from sinks.base.records import Record
from sinks.cassandra.messages import MessageWriter
from sinks.cassandra.requests import IN_FLIGHT, MAX_ROWS, REFUSED
from sinks.cassandra.sync import SyncWriter
from tests.support.fake_cassandra import FakeSession, Sent
from tests.support.sink_stores import Conversation, on_log

CONVERSATION = Conversation("c")
VALUE = encode(CONVERSATION.said(1, "hello"))
TRANSIENT = [
    OperationTimedOut(),
    WriteTimeout("late", write_type=WriteType.BATCH),
    NoHostAvailable("nobody", {}),
    OverloadedErrorMessage(0x1001, "too much", None),
    ServerError(0x0000, "oops", None),
]


def name(error: object) -> str:
    """Names a parameter."""
    return type(error).__name__


def entries() -> list[Record]:
    """One membership change, one message, one more of each."""
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
    """Each for another recipient."""
    return [Record(0, at, b"user %d" % at, VALUE) for at in range(count)]


def test_memberships_then_messages_then_heads() -> None:
    """No step begins while a request of the one before has no answer."""
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
    """Nothing that depends on it is written, and all of the batch is to be written again."""
    session = FakeSession(lambda sent: OperationTimedOut() if sent.table == failing else None)
    with pytest.raises(TransientFailure):
        MessageWriter(session).write(entries())
    assert "conversation" not in session.tables()
    assert ("message" in session.tables()) == (failing == "message")


def test_a_refused_entry_moves_no_head() -> None:
    """It goes no further than the step that refuses it."""

    def refuse_last(sent: Sent) -> Exception | None:
        refused = sent.table == "message" and (len(sent.rows) > 1 or sent.rows[0]["seq"] == 4)
        return InvalidRequest("no") if refused else None

    session = FakeSession(refuse_last)
    outcome = MessageWriter(session).write(entries())
    assert [(found.index, found.reason) for found in outcome.poison] == [(3, REFUSED)]
    assert [row["head"] for row in session.sent[-1].rows if "head" in row] == [3]


def test_a_partition_is_listed_before_its_first_row() -> None:
    """And only once, as long as that is recent."""
    session = FakeSession()
    writer = SyncWriter(session, Settings())
    writer.write(sync_records(3))
    assert session.tables() == ["sync_bucket"] * 3 + ["sync"] * 3
    assert all(others <= {"sync_bucket"} for others in session.in_flight_when_sent[:3])
    assert all(others <= {"sync"} for others in session.in_flight_when_sent[3:])
    writer.write(sync_records(4))
    assert session.tables()[6:] == ["sync_bucket"] + ["sync"] * 4


def test_a_partition_that_cannot_be_listed_gets_no_rows() -> None:
    """Rows that nobody finds would be lost."""
    session = FakeSession(
        lambda sent: OperationTimedOut() if sent.table == "sync_bucket" else None
    )
    writer = SyncWriter(session, Settings())
    for _ in range(2):  # and it does not count as listed
        with pytest.raises(TransientFailure):
            writer.write(sync_records(2))
    assert "sync" not in session.tables()


@pytest.mark.parametrize("error", TRANSIENT, ids=name)
def test_only_what_failed_for_now_is_written_again(error: Exception) -> None:
    """The rest is durable."""

    def refuse_one(sent: Sent) -> Exception | None:
        hit = sent.table == "sync" and sent.rows[0]["user_id"] == "user 1"
        return error if hit else None

    outcome = SyncWriter(FakeSession(refuse_one), Settings()).write(sync_records(3))
    assert list(outcome.again) == [1]
    assert name(error) in outcome.why
    assert not outcome.poison


def test_a_client_that_is_refused_ends() -> None:
    """No record is to blame, and waiting does not help."""
    session = FakeSession(lambda _: Unauthorized("who are you"))
    with pytest.raises(FatalFailure, match="Unauthorized"):
        SyncWriter(session, Settings()).write(sync_records(1))


def test_a_missing_table_is_nobodys_poison() -> None:
    """The server gives the same error as for a bad row."""
    session = FakeSession(lambda _: InvalidRequest("no"), tables=["sync"])
    with pytest.raises(FatalFailure, match=r"no table k\.sync_bucket"):
        SyncWriter(session, Settings()).write(sync_records(1))


def test_requests_are_on_their_way_side_by_side_within_a_bound() -> None:
    """As many as the bound, and none more."""
    full = threading.Event()

    def answer(_: Sent) -> None:
        if len(session.in_flight) == IN_FLIGHT:
            full.set()
        assert full.wait(10)

    session = FakeSession(answer)
    SyncWriter(session, Settings()).write(sync_records(3 * IN_FLIGHT))
    assert session.most_in_flight == IN_FLIGHT


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=80), st.data())
def test_rows_of_one_recipient_share_requests_in_any_mixture(
    users: list[str], data: st.DataObject
) -> None:
    """One request a recipient; taken apart when it is refused, down to the rows that are meant."""
    bad = data.draw(st.sets(st.integers(0, len(users) - 1), max_size=3))

    def answer(sent: Sent) -> Exception | None:
        if sent.table != "sync":
            return None
        offsets = {row.get("sync_seq") for row in sent.rows}
        return InvalidRequest("no") if offsets & bad else None

    session = FakeSession(answer)
    records = [Record(0, at, user.encode(), VALUE) for at, user in enumerate(users)]
    outcome = SyncWriter(session, Settings()).write(records)
    assert [found.index for found in outcome.poison] == sorted(bad)
    first = [sent for sent in session.sent if sent.table == "sync"][: len(set(users))]
    rows = [[row for row in sent.rows if "sync_seq" in row] for sent in first]
    assert sorted(map(len, rows)) == sorted(users.count(u) for u in set(users))


def test_lifetimes_follow_the_clock_of_the_store() -> None:
    """A sink whose own clock is wrong by years notes the same times as any other."""
    session = FakeSession()
    session.time_ms = 5_000_000_000
    writer = SyncWriter(session, Settings(sync_lifetime=timedelta(seconds=80)))

    writer.write(sync_records(1))

    (expiry,) = [row for sent in session.sent for row in sent.rows if "until" in row]
    assert (expiry["since"], expiry["until"]) == (5_000_000, 5_000_090)


def test_rows_say_from_when_on_they_may_be_gone() -> None:
    """Behind the rows of each recipient, in their request: the slot, its end, the last of them."""
    session, kept = FakeSession(), keeping(timedelta(seconds=80))
    writer = SyncWriter(session, Settings(sync_lifetime=timedelta(seconds=80)), now=lambda: 1_009)
    writer.write(
        [Record(0, at, user, VALUE) for at, user in [(7, b"ann"), (5, b"ann"), (6, b"b")]]
    )
    requests = [sent.rows for sent in session.sent if sent.table == "sync"]
    assert [[row.get("sync_seq") for row in rows] for rows in requests] == [
        [7, 5, None],
        [6, None],
    ]
    times = {"since": 1_000, "until": 1_000 + kept.surely}
    assert [rows[-1] for rows in requests] == [
        {"user_id": "ann", **times, "newest": 7, "timestamp": 7},
        {"user_id": "b", **times, "newest": 6, "timestamp": 6},
    ]


def test_a_lost_request_is_told_of_once_for_each_record() -> None:
    """Also where what follows the rows is all that a later request of the recipient has."""
    session = FakeSession(lambda sent: OperationTimedOut() if sent.table == "sync" else None)
    records = [Record(0, at, b"ann", VALUE) for at in range(2 * MAX_ROWS)]
    outcome = SyncWriter(session, Settings()).write(records)
    assert list(outcome.again) == list(range(2 * MAX_ROWS))

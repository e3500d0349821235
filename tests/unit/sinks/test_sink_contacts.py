"""Active and inactive recipients, and the sync sink's rows and notes for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest
from cassandra import InvalidRequest, OperationTimedOut
from confluent_kafka import KafkaError, Message

from schemas.codec import encode
from schemas.errors import TransientFailure
from schemas.lifetime import SKIPPED_SINCE, SKIPPED_UNTIL, inactive_after
from schemas.number_types import Offset
from schemas.settings import Settings
from sinks.base.counts import DeliveryCounts
from sinks.base.records import Record
from sinks.cassandra.requests import REFUSED_BY_SERVER
from sinks.cassandra.sync_requests import MAX_STATEMENTS
from sinks.cassandra.sync_writer import SyncWriter
from sinks.contact_reader import ContactBook, ContactLog
from sinks.topic_follower import CATCH_UP_SECONDS, TopicFollower
from tests.support.fake_cassandra import FakeSession, Sent
from tests.support.sink_stores import Conversation

LIFETIME = timedelta(days=8)
COUNTS = inactive_after(LIFETIME).total_seconds()
VALUE = encode(Conversation("c").said(1, "hello"))


class Active:
    """Contacts of some people, without a log."""

    def __init__(self, *active: bytes) -> None:
        self.active = set(active)

    def inactive(self, users: Sequence[bytes], now: float) -> set[bytes]:
        """See `RecipientActivity`."""
        return set(users) - self.active if now else set()


def notes(session: FakeSession) -> dict[str, int]:
    """Return the sent skip notes: the newest sync SeqId of each recipient."""
    rows = [row for sent in session.sent for row in sent.rows if row.get("since") == SKIPPED_SINCE]
    assert all(row["until"] == SKIPPED_UNTIL for row in rows)
    assert all(row["timestamp"] == row["newest"] for row in rows)
    return {row["user_id"]: row["newest"] for row in rows}


def recipients(session: FakeSession) -> set[str]:
    """Return the recipients of rows."""
    return {row["user_id"] for sent in session.sent for row in sent.rows if "records" in row}


def test_a_contact_counts_for_a_lifetime_and_two_intervals() -> None:
    """A person without a contact, or with an older one, is inactive."""
    book = ContactBook(LIFETIME)
    book.take(b"ann", 1_000)
    assert book.inactive([b"ann", b"bob"], 1_000 + COUNTS) == {b"bob"}
    assert book.inactive([b"ann", b"bob"], 1_001 + COUNTS) == {b"ann", b"bob"}


def test_an_older_contact_replaces_no_newer_one() -> None:
    """Partitions are read in any order and repeatedly, so an older contact is ignored."""
    book = ContactBook(LIFETIME)
    book.take(b"ann", 1_000)
    book.take(b"ann", 5)
    assert not book.inactive([b"ann"], 1_000 + COUNTS)


def test_expired_contacts_are_forgotten() -> None:
    """The memory contains only people who are active."""
    book = ContactBook(LIFETIME)
    book.take(b"ann", 1_000)
    book.take(b"bob", 90_000)
    book.inactive([], 90_000 + COUNTS)
    assert len(book) == 1


def test_nobody_is_inactive_beyond_the_bound_of_remembered_people() -> None:
    """With more contacts than fit into memory nobody is inactive, so nobody loses a row."""
    book = ContactBook(LIFETIME, size=1)
    book.take(b"ann", 1_000)
    book.take(b"bob", 1_000)
    assert not book.inactive([b"ann", b"bob", b"cid"], 1_000)


class FakeMessage:
    """A record, or the end of a partition (``user`` None)."""

    def __init__(self, offset: int, user: bytes | None, at: float = 0) -> None:
        self._offset, self._user, self._at = offset, user, at

    def error(self) -> KafkaError | None:
        """See `Message`."""
        return KafkaError(KafkaError._PARTITION_EOF) if self._user is None else None  # noqa: SLF001 - its public name

    def partition(self) -> int:
        """See `Message`."""
        return 0

    def offset(self) -> int:
        """See `Message`."""
        return self._offset

    def key(self) -> bytes | None:
        """See `Message`."""
        return self._user

    def timestamp(self) -> tuple[int, int]:
        """See `Message`."""
        return 2, int(self._at * 1000)


class FakeConsumer:
    """Returns a message from each poll with a timeout; without messages the time passes."""

    def __init__(self, *messages: FakeMessage) -> None:
        self._messages: Iterator[FakeMessage] = iter(messages)
        self.now = 0.0

    def poll(self, timeout: float) -> Message | None:
        """See `FollowingConsumer`."""
        found = next(self._messages, None) if timeout else None
        self.now += timeout
        return cast("Message | None", found)

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        """See `FollowingConsumer`."""
        assert num_messages
        assert not timeout
        return []


def log_of(consumer: FakeConsumer, ends: list[int]) -> ContactLog:
    """A log of one partition; each query for the end takes the next of ``ends``."""
    book = ContactBook(LIFETIME)
    follower = TopicFollower(
        consumer, lambda: {0: Offset(ends.pop(0))}, book.take_record, "contacts",
        lambda: consumer.now,
    )  # fmt: skip
    return ContactLog(follower, book)


def test_nobody_is_inactive_before_the_log_is_read_to_its_end() -> None:
    """A contact from before the query counts, also behind other records."""
    consumer = FakeConsumer(FakeMessage(0, b"ann", 50), FakeMessage(1, b"bob", 50))
    assert log_of(consumer, [2]).inactive([b"bob", b"cid"], 60) == {b"cid"}


def test_the_broker_receives_no_request_while_everybody_is_active() -> None:
    """A message among active people costs no request to the broker."""
    ends = [1]
    log = log_of(FakeConsumer(FakeMessage(0, b"ann", 50)), ends)
    assert not log.inactive([b"ann"], 60)
    assert not ends
    assert not log.inactive([b"ann"], 60)


def test_the_end_of_a_partition_counts_after_removed_records() -> None:
    """A log whose contacts have all expired is read to its end above 0."""
    assert log_of(FakeConsumer(FakeMessage(7, None)), [7]).inactive([b"ann"], 60) == {b"ann"}


def test_a_slow_read_of_the_log_continues_with_the_next_call() -> None:
    """A log that is not read in time is a temporary failure; the next call continues the read."""
    records = [FakeMessage(0, b"ann", 50)]
    consumer = FakeConsumer(*records)
    log = log_of(consumer, [2, 1])
    with pytest.raises(TransientFailure, match="contacts were not read within 20 s"):
        log.inactive([b"bob"], 60)
    assert consumer.now > CATCH_UP_SECONDS
    assert log.inactive([b"ann", b"bob"], 60) == {b"bob"}


def writer_of(session: FakeSession, *active: bytes) -> SyncWriter:
    """A writer for which only these people are active."""
    return SyncWriter(session, Settings(), contacts=Active(*active))


def test_an_inactive_recipient_gets_one_note_and_no_row() -> None:
    """An inactive recipient gets no row but one note with their highest record of the flush."""
    session = FakeSession()
    records = [
        Record(0, Offset(1), b"ann\nbob", VALUE),
        Record(0, Offset(9), b"bob", VALUE),
        Record(0, Offset(4), b"ann\nbob\ncid", VALUE),
    ]
    outcome = writer_of(session, b"ann").write(records)
    assert not outcome.poison
    assert notes(session) == {"bob": 9, "cid": 4}
    assert recipients(session) == {"ann"}
    assert outcome.counts == {0: DeliveryCounts(written=2, skipped=4)}
    listed = {r["user_id"] for s in session.sent for r in s.rows if set(r) >= {"bucket", "ttl"}}
    assert listed == {"ann"}


def test_skip_notes_are_batched_within_bounds() -> None:
    """A request has as many notes as rows."""
    session = FakeSession()
    records = [Record(0, Offset(at), b"user %d" % at, VALUE) for at in range(MAX_STATEMENTS + 1)]
    writer_of(session).write(records)
    assert sorted(len(sent.rows) for sent in session.sent) == [1, MAX_STATEMENTS]


def test_no_later_row_is_written_before_a_skip_note_is_durable() -> None:
    """A note that fails ends the batch, and the whole batch is written again."""

    def fail(sent: Sent) -> Exception | None:
        failed: Exception = OperationTimedOut()
        return failed if "bob" in {row["user_id"] for row in sent.rows} else None

    with pytest.raises(TransientFailure):
        writer_of(FakeSession(fail)).write([Record(0, Offset(1), b"bob", VALUE)])


def test_a_refused_skip_note_makes_only_its_own_records_dead_letters() -> None:
    """Only the records of a refused note become dead letters; other notes are written."""

    def refuse(sent: Sent) -> Exception | None:
        refused: Exception = InvalidRequest("no")
        return refused if "bob" in {row["user_id"] for row in sent.rows} else None

    session = FakeSession(refuse)
    records = [Record(0, Offset(1), b"ann", VALUE), Record(0, Offset(2), b"bob", VALUE)]
    outcome = writer_of(session).write(records)
    assert [(each.index, each.reason) for each in outcome.poison] == [(1, REFUSED_BY_SERVER)]
    last: list[Any] = [row["user_id"] for sent in session.sent[1:] for row in sent.rows]
    assert last == ["ann", "bob"]


def test_without_contacts_nobody_is_skipped() -> None:
    """Without the setting, which is the default, everybody gets rows."""
    session = FakeSession()
    outcome = SyncWriter(session, Settings()).write([Record(0, Offset(1), b"ann", VALUE)])
    assert not outcome.counts
    assert recipients(session) == {"ann"}
    assert not notes(session)

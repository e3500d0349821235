"""The feed of a live connection, joined to pages of the store: each record once, in order."""

from __future__ import annotations

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from gateway.log.record_feed import LoggedRecord, RecordFeed
from schemas.number_types import SyncSeqId

SHARDS: Final = 2
"""Shards of the recipient, in the order of epochs."""

STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, SHARDS - 1)),
        st.tuples(st.just("send"), st.integers(1, 5)),
        st.tuples(st.just("store"), st.integers(0, 30)),
        st.tuples(st.just("again"), st.integers(-6, 6)),
    ),
    max_size=80,
)
"""The log brings the next record of a shard; the connection sends from the feed; the connection
sends a page of the store, which may be ahead of the feed or behind it; the log is interrupted, and
continues before or after the place of the interruption."""


class Timeline:
    """A timeline of messages and other records, and a connection that sends it."""

    def __init__(self, kinds: list[bool]) -> None:
        half = max(1, len(kinds) // SHARDS)
        self.records = [
            LoggedRecord(
                ("ann",),
                ("sync", min(number // half, SHARDS - 1)),
                SyncSeqId(3 * number),
                b"message" if is_message else None,
            )
            for number, is_message in enumerate(kinds)
        ]
        self.feed = RecordFeed()
        self.sent: list[int] = []
        self.cursor = SyncSeqId(-1)
        self._of_shard = [
            [each for each in self.records if each.source[1] == shard] for shard in range(SHARDS)
        ]
        self._next = [0] * SHARDS

    def read(self, shard: int) -> None:
        """The log brings the next record of a shard."""
        if self._next[shard] < len(self._of_shard[shard]):
            self.feed.put(self._of_shard[shard][self._next[shard]])
            self._next[shard] += 1

    def send(self, limit: int) -> None:
        """Sends from the feed."""
        for sync_seq, message in self.feed.after(self.cursor, limit):
            assert message == b"message"
            self._note(sync_seq)

    def store(self, count: int) -> None:
        """Sends all records that the store has: this number of the first ones."""
        for record in self.records[:count]:
            if record.sync_seq > self.cursor:
                self._note(record.sync_seq)

    def again(self, by: int) -> None:
        """Interrupts the log."""
        self.feed.reset()
        self._next = [max(0, number + by) for number in self._next]

    def _note(self, sync_seq: SyncSeqId) -> None:
        self.sent.append(sync_seq)
        self.cursor = sync_seq


@given(kinds=st.lists(st.sampled_from((True, True, True, False)), max_size=24), steps=STEPS)
def test_each_record_is_sent_once_in_order(
    kinds: list[bool], steps: list[tuple[str, int]]
) -> None:
    """Whatever the log and the store have at each time, nothing is skipped or repeated.

    What the log has skipped comes from the store, also across the shards of two epochs.
    """
    timeline = Timeline(kinds)
    for name, number in steps:
        getattr(timeline, name)(number)
        expected = [each.sync_seq for each in timeline.records[: len(timeline.sent)]]
        assert timeline.sent == expected
    timeline.store(len(kinds))
    assert timeline.sent == [each.sync_seq for each in timeline.records]


def test_messages_of_the_log_are_sent_without_the_store() -> None:
    """After the first record, all messages come from the feed."""
    timeline = Timeline([True] * 8)
    timeline.read(0)
    timeline.store(1)
    for _ in range(3):
        timeline.read(0)
    timeline.send(10)
    assert len(timeline.sent) == 4

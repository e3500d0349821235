"""A device whose owner joins a conversation again shows messages with their current text."""

from __future__ import annotations

from typing import Any

import msgspec

from consumers.device.knowledge import BEFORE_ALL, HistoryPart, TimelineItem
from consumers.device.local_store import LocalStore
from schemas.codec import encode
from schemas.number_types import SeqId
from schemas.records import MembersAdded, MembersRemoved
from tests.support.gateway_store import message
from tests.support.local_records import arrived, hole, page, said, seqs

COMMON: dict[str, Any] = {
    "conv_id": "c", "sender": "bob", "client_msg_id": "i", "at": 1, "members": ["ann"],
    "mode": "push",
}  # fmt: skip
JOINED = MembersAdded(**COMMON, seq=SeqId(1))
LEFT = MembersRemoved(**COMMON, seq=SeqId(3))
BACK = MembersAdded(**COMMON, seq=SeqId(6))


def item(entry: MembersAdded | MembersRemoved) -> TimelineItem:
    """An entry as the store returns it."""
    return TimelineItem("c", entry.seq, entry.seq, None, encode(entry))


def edited() -> TimelineItem:
    """Message 2 with the text of its edit 5."""
    words = {"content": {"type": "text", "text": "now"}, "edited": 5}
    json = msgspec.json.decode(encode(message("c", 2))) | words
    return TimelineItem("c", SeqId(2), SeqId(2), None, msgspec.json.encode(json))


def away_and_back(store: LocalStore) -> None:
    """Message 2 is shown; entry 3 removes the device's owner, and entry 6 adds the owner again."""
    first = [arrived(7, JOINED), arrived(8, message("c", 2)), arrived(9, LEFT)]
    store.apply(page(BEFORE_ALL, *first))
    for each in store.unshown(9):
        store.mark_shown(each)
    store.apply(page(9, arrived(12, BACK)))


def test_messages_edited_during_an_absence_are_read_and_shown_again(store: LocalStore) -> None:
    """After the join the device reads the earlier entries again, and shows an edited one."""
    away_and_back(store)
    (gap,) = store.gaps(9)
    assert gap.span.first == 1
    part = HistoryPart("c", SeqId(6), [item(JOINED), edited(), item(LEFT), hole("hidden", 4, 5)])
    assert store.learn(part)
    assert edited() in store.unshown(9)
    assert seqs(store.timeline("c")) == [1, 2, 3, 4, 5, 6]


def test_an_answer_from_before_the_join_is_ignored(store: LocalStore) -> None:
    """A page from a store without the join is not applied: an edit may be missing."""
    away_and_back(store)
    assert not store.learn(HistoryPart("c", SeqId(3), [item(JOINED), said(2), item(LEFT)]))
    assert store.gaps(9)[0].span.first == 1


def test_a_sync_record_from_before_the_join_is_ignored(store: LocalStore) -> None:
    """A repeated sync record has the original text, so it does not fill the gap."""
    away_and_back(store)
    store.apply(page(BEFORE_ALL, arrived(8, message("c", 2))))
    assert store.gaps(9)[0].span.first == 1
    assert store.cursor == 12

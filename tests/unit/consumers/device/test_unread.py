"""Read marks and unread counts of a local store."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from msgspec import structs

from consumers.device.knowledge import (
    BEFORE_ALL,
    Arrived,
    HistoryPart,
    Listed,
    TimelineItem,
)
from consumers.device.local_store import LocalStore
from schemas.codec import encode
from schemas.number_types import Milliseconds, SeqId
from schemas.records import ReadMarked
from tests.support.gateway_store import message
from tests.support.local_records import arrived, page


def counted(seq: int, messages: int, sender: str = "bob") -> TimelineItem:
    """A message of ``c`` with the number of messages up to it."""
    entry = structs.replace(message("c", seq, sender=sender), messages=messages)
    return TimelineItem("c", SeqId(seq), SeqId(seq), None, encode(entry))


def marked(sync_seq: int, seq: int) -> Arrived:
    """A read mark by another device of the same person."""
    record = ReadMarked(
        conv_id="c",
        sender="ann",
        device_id="desk",
        client_msg_id="i",
        at=Milliseconds(1),
        seq=SeqId(seq),
    )
    return arrived(sync_seq, record)


def test_a_mark_of_another_device_counts_when_its_entry_has_arrived(store: LocalStore) -> None:
    """A mark without its entry makes the count unknown, not wrong; a lower mark is ignored."""
    store.learn(HistoryPart("c", SeqId(9), [counted(5, 3), counted(9, 7)]))
    assert store.unread("c") == 7
    store.apply(page(BEFORE_ALL, marked(1, 7)))
    assert store.unread("c") is None
    assert store.lacks_count()
    store.learn(HistoryPart("c", SeqId(9), [counted(7, 5)]))
    assert (store.unread("c"), store.read_mark("c")) == (2, 7)
    store.apply(page(1, marked(2, 5)))
    assert (store.unread("c"), store.read_mark("c")) == (2, 7)
    store.apply(page(2, marked(3, 12)))  # ahead of the stored entries
    assert store.unread("c") == 0
    assert not store.lacks_count()


def test_listed_unread_counts_need_no_entries(store: LocalStore) -> None:
    """The store's list gives the count where the entry of the mark is not on the device."""
    store.apply(page(BEFORE_ALL, marked(1, 7)))
    store.note_heads([Listed("c", SeqId(40), "push", 30, SeqId(7), 25)], everything=True)
    assert (store.unread("c"), store.read_mark("c")) == (25, 7)
    store.learn(HistoryPart("c", SeqId(41), [counted(41, 31, "ann")]))
    assert (store.unread("c"), store.read_mark("c")) == (0, 41)


def test_unread_counts_survive_a_restart(tmp_path: Path) -> None:
    """A new process reads the same counts and marks from the file."""
    path = tmp_path / "local.db"
    with closing(LocalStore(path, "ann", "phone")) as store:
        store.learn(HistoryPart("c", SeqId(9), [counted(5, 3), counted(9, 7)]))
        store.apply(page(BEFORE_ALL, marked(1, 5)))
    with closing(LocalStore(path, "ann", "phone")) as store:
        assert (store.unread("c"), store.read_mark("c")) == (4, 5)

"""A local store that starts later than its conversations."""

from __future__ import annotations

from consumers.device.knowledge import (
    BEFORE_ALL,
    Gap,
    HistoryPart,
    Listed,
    ShownFrom,
)
from consumers.device.local_store import LocalStore
from consumers.device.spans import Span
from schemas.number_types import SeqId
from tests.support.gateway_store import message
from tests.support.local_records import arrived, hole, late, page, said, seqs


def test_a_late_device_shows_entries_from_its_start(store: LocalStore) -> None:
    """Entries before the start are neither stored nor gaps, even when they arrive again."""
    store.begin(late(ShownFrom("c", SeqId(10), SeqId(9), "push")))
    assert (store.cursor, store.timeline("c"), store.gaps(9)) == (4, [], [])
    store.apply(page(4, arrived(5, message("c", 8)), arrived(6, message("c", 10))))
    store.learn(HistoryPart("c", SeqId(12), [hole("hidden", 7, 11), said(12)]))
    assert seqs(store.timeline("c")) == [10, 11, 12]
    assert store.gaps(9) == []
    store.apply(page(6, arrived(9, message("c", 14))))
    assert store.gaps(9) == [Gap("c", Span(SeqId(13), SeqId(13)))]


def test_a_late_device_knows_that_a_conversation_is_pulled(store: LocalStore) -> None:
    """A device knows from its start which conversations are pulled, and reads their entries."""
    store.begin(
        late(
            ShownFrom("c", SeqId(10), SeqId(9), "pull"), ShownFrom("d", SeqId(3), SeqId(2), "push")
        )
    )
    assert store.reads_store()
    store.note_heads(
        [Listed("c", SeqId(12), "pull"), Listed("d", SeqId(5), "push")], everything=False
    )
    assert store.gaps(9) == [Gap("c", Span(SeqId(10), SeqId(12)))]


def test_entries_after_the_start_of_a_late_device_are_shown_completely(store: LocalStore) -> None:
    """A conversation after the device's start begins with its first record that arrives in order.

    A record that arrives out of order waits until the records before it have arrived.
    """
    store.begin(late())
    store.apply(page(None, arrived(9, message("new", 8))))
    assert store.conversations() == []
    store.apply(page(4, arrived(7, message("new", 6)), arrived(8, message("new", 7))))
    store.apply(page(8, arrived(9, message("new", 8))))
    assert seqs(store.timeline("new")) == [6, 7, 8]
    assert store.gaps(9) == []
    store.note_heads([Listed("missed", SeqId(9), "push", since=SeqId(5))], everything=True)
    assert store.gaps(9) == [Gap("missed", Span(SeqId(5), SeqId(9)))]


def test_a_device_stores_its_starts_once(store: LocalStore) -> None:
    """A device that has data ignores a later start: it neither shows less nor skips records."""
    store.apply(page(BEFORE_ALL, arrived(2, message("c", 1))))
    store.begin(late(ShownFrom("c", SeqId(10), SeqId(9), "push"), cursor=700))
    assert store.has_begun()
    assert (store.cursor, seqs(store.timeline("c"))) == (2, [1])
    store.begin(late(ShownFrom("c", SeqId(20), SeqId(19), "push"), cursor=800))
    store.apply(page(2, arrived(3, message("c", 2))))
    assert seqs(store.timeline("c")) == [1, 2]

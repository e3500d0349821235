"""Contents, gaps, shown entries and file of a local store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from consumers.device.knowledge import (
    BEFORE_ALL,
    Arrived,
    Gap,
    HistoryPart,
    Listed,
    LocalDescription,
    TimelineItem,
)
from consumers.device.local_store import LocalStore
from consumers.device.spans import Span
from schemas.codec import encode
from schemas.errors import (
    ConfigurationError,
    TransientFailure,
    UndecodableRecord,
)
from schemas.number_types import Milliseconds, SeqId, SyncSeqId
from schemas.records import Duplicate
from tests.support.gateway_store import message
from tests.support.local_records import arrived, described, hole, page, said, seqs, switched

NEWER = b'{"kind":"message_recalled","conv_id":"c","seq":2,"sender":"ann","at":1}'
"""An entry of a newer version, which this version cannot decode."""


def test_entries_and_cursor_survive_a_restart(tmp_path: Path) -> None:
    """A new process reads the entries and the cursor of the previous process."""
    path = tmp_path / "local.db"
    with closing(LocalStore(path, "ann", "phone")) as store:
        assert store.cursor == BEFORE_ALL
        store.apply(page(BEFORE_ALL, arrived(7, message("c", 1)), arrived(9, message("c", 2))))
    with closing(LocalStore(path, "ann", "phone")) as store:
        assert store.cursor == 9
        assert store.timeline("c") == [said(1), said(2)]


def test_a_batch_that_does_not_follow_the_cursor_does_not_move_it(store: LocalStore) -> None:
    """A batch beyond the cursor is stored, and the cursor waits for the missing records."""
    store.apply(page(BEFORE_ALL, arrived(7, message("c", 1))))
    store.apply(page(8, arrived(9, message("c", 3))))
    store.apply(page(None, arrived(12, message("c", 4))))
    assert store.cursor == 7
    assert seqs(store.timeline("c")) == [1]
    assert store.gaps(9) == [Gap("c", Span(SeqId(2), SeqId(2)))]
    store.apply(page(7, arrived(8, message("c", 2))))
    store.apply(page(BEFORE_ALL, arrived(7, message("c", 1))))
    assert store.cursor == 8
    assert seqs(store.timeline("c")) == [1, 2, 3, 4]


def test_a_reply_is_not_an_entry(store: LocalStore) -> None:
    """A reply moves the cursor and adds no entry, although the reply names a SeqId."""
    reply = Duplicate(
        conv_id="c",
        sender="ann",
        device_id="d",
        client_msg_id="i",
        at=Milliseconds(1),
        seq=SeqId(5),
    )
    store.apply(page(BEFORE_ALL, arrived(3, reply)))
    assert store.cursor == 3
    assert store.conversations() == []


def test_a_hole_counts_up_to_the_head_of_its_answer(store: LocalStore) -> None:
    """Above the head of its page a hole does not count: the store may lag behind a new join."""
    store.apply(page(BEFORE_ALL, arrived(3, message("c", 9))))
    assert store.learn(HistoryPart("c", SeqId(4), [hole("hidden", 1, 8)]))
    assert store.timeline("c") == [hole("hidden", 1, 4)]
    assert store.gaps(9) == [Gap("c", Span(SeqId(5), SeqId(8)))]
    assert not store.learn(HistoryPart("c", SeqId(8), [hole("not_yet", 5, 8)]))
    assert store.learn(HistoryPart("c", SeqId(9), [hole("hidden", 1, 6), said(7), said(8)]))
    assert seqs(store.timeline("c")) == list(range(1, 10))


def test_an_entry_of_an_unknown_kind_is_read_from_the_store(store: LocalStore) -> None:
    """An unknown kind on the sync timeline is a gap; the store returns it as an entry."""
    store.apply(page(BEFORE_ALL, arrived(1, message("c", 1)), Arrived(SyncSeqId(2), NEWER, None)))
    store.apply(page(2, arrived(3, message("c", 3))))
    assert store.gaps(9) == [Gap("c", Span(SeqId(2), SeqId(2)))]
    store.learn(HistoryPart("c", SeqId(3), [TimelineItem("c", SeqId(2), SeqId(2), None, NEWER)]))
    items = store.timeline("c")
    assert seqs(items) == [1, 2, 3]
    assert items[1].json == NEWER
    with pytest.raises(UndecodableRecord):
        items[1].entry()


def test_a_shown_entry_is_not_shown_again(store: LocalStore) -> None:
    """An entry is shown once, and only after all entries before it."""
    store.apply(page(BEFORE_ALL, arrived(1, message("c", 1)), arrived(2, message("c", 3))))
    assert store.unshown(9) == [said(1)]
    store.mark_shown(said(3))
    assert store.conversation("c").shown == 1
    store.learn(HistoryPart("c", SeqId(3), [said(2)]))
    assert store.unshown(1) == [said(2)]
    store.mark_shown(said(2))
    assert store.unshown(9) == [said(3)]


def test_heads_count_only_while_a_conversation_is_pulled(store: LocalStore) -> None:
    """Heads make gaps in a pulled conversation; in a pushed one only after a full list."""
    store.apply(page(BEFORE_ALL, arrived(1, message("c", 1))))
    store.note_heads([Listed("c", SeqId(5), "push")], everything=False)
    assert store.gaps(9) == []
    store.note_heads([Listed("c", SeqId(5), "pull")], everything=False)
    assert store.gaps(9) == [Gap("c", Span(SeqId(2), SeqId(5)))]
    store.apply(page(1, arrived(2, switched(6, "pull"))))
    assert store.reads_store()
    store.note_heads([Listed("c", SeqId(8), "push")], everything=False)
    assert store.gaps(9) == [Gap("c", Span(SeqId(2), SeqId(8)))]
    store.note_heads([Listed("other", SeqId(3), "push")], everything=True)
    assert store.gaps(9)[1] == Gap("other", Span(SeqId(1), SeqId(3)))


def test_the_newest_description_wins(store: LocalStore) -> None:
    """Entries in any order and the store's list make the same name; absent values stay."""
    assert store.description("c") == LocalDescription()
    first, second = (
        arrived(seq, described(seq, **fields))
        for seq, fields in ((1, {"name": "old", "metadata": "{}"}), (2, {"name": "new"}))
    )
    store.apply(page(BEFORE_ALL, second, first))
    assert store.description("c") == LocalDescription("new", "{}")
    listed = LocalDescription("newer", "")
    store.note_heads([Listed("c", SeqId(0), "push", description=listed)], everything=False)
    assert store.description("c") == LocalDescription("new", "{}")
    store.note_heads(
        [Listed("c", SeqId(5), None, description=LocalDescription())], everything=False
    )
    assert store.description("c") == LocalDescription("new", "{}")
    store.note_heads([Listed("c", SeqId(5), "push", description=listed)], everything=False)
    assert store.description("c") == listed


def test_a_file_of_an_earlier_version_gets_the_table_of_descriptions(tmp_path: Path) -> None:
    """A file without the table is opened, and stores descriptions from then on."""
    path = tmp_path / "local.db"
    with closing(LocalStore(path, "ann", "phone")):
        pass
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE description")
    with closing(LocalStore(path, "ann", "phone")) as store:
        store.apply(page(BEFORE_ALL, arrived(1, described(1, name="team"))))
        assert store.description("c").name == "team"


def test_a_late_mode_switch_does_not_restore_an_old_mode(store: LocalStore) -> None:
    """The mode follows the switch with the highest SeqId, not the switch that arrived last."""
    store.apply(page(BEFORE_ALL, arrived(1, message("c", 1)), arrived(9, switched(7, "pull"))))
    late = encode(switched(3, "push"))
    rest = [said(2), TimelineItem("c", SeqId(3), SeqId(3), None, late), said(4), said(5), said(6)]
    assert store.learn(HistoryPart("c", SeqId(7), rest))
    assert store.reads_store()
    store.apply(page(9, arrived(10, switched(8, "push"))))
    assert not store.reads_store()


def test_the_local_store_is_a_cursor_store(store: LocalStore) -> None:
    """The store meets the contract of `CursorStore` for its device, and refuses other devices."""
    assert store.load("ann", "phone") is None
    store.save("ann", "phone", SyncSeqId(0))
    assert store.load("ann", "phone") == 0
    for place in (5, 3):
        store.save("ann", "phone", SyncSeqId(place))
    assert store.load("ann", "phone") == 5
    store.forget("ann", "phone")
    assert store.load("ann", "phone") is None
    uses: list[Callable[[], object]] = [
        lambda: store.load("ann", "desk"),
        lambda: store.forget("bob", "phone"),
        lambda: store.save("ann", "desk", SyncSeqId(1)),
    ]
    for use in uses:
        with pytest.raises(ConfigurationError, match="another"):
            use()


def test_a_local_store_has_one_process(tmp_path: Path) -> None:
    """A second process on the file is refused, because both would show every entry."""
    path = tmp_path / "local.db"
    with (
        closing(LocalStore(path, "ann", "phone")),
        pytest.raises(ConfigurationError, match=r"local\.db is in use"),
    ):
        LocalStore(path, "ann", "phone")
    LocalStore(path, "ann", "phone").close()


def of_another(path: Path) -> None:
    """Make a store of another device at the path."""
    LocalStore(path, "ann", "desk").close()


@pytest.mark.parametrize(
    "spoil", [Path.mkdir, lambda path: path.write_bytes(b"no database" * 99), of_another]
)
def test_an_error_names_the_unusable_file(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    """A file that is not a store of this device is a `ConfigurationError` with the file's name."""
    path = tmp_path / "local.db"
    spoil(path)
    with pytest.raises(ConfigurationError, match=r"local\.db"):
        LocalStore(path, "ann", "phone")


def test_a_full_disk_changes_nothing(store: LocalStore) -> None:
    """A full disk changes neither entries nor cursor; with free space the batch is applied."""
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()  # noqa: SLF001
    store._db.execute(f"PRAGMA max_page_count = {pages}")  # noqa: SLF001
    many = [arrived(seq, message("c", seq, "x" * 500)) for seq in range(1, 100)]
    with pytest.raises(TransientFailure):
        store.apply(page(BEFORE_ALL, *many))
    assert store.cursor == BEFORE_ALL
    assert store.conversations() == []
    store._db.execute("PRAGMA max_page_count = 100000")  # noqa: SLF001
    store.apply(page(BEFORE_ALL, *many))
    assert seqs(store.timeline("c")) == list(range(1, 100))

"""Recalled and edited messages in a device's local store and in its file."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from consumers.device.knowledge import Arrived, HistoryPart, SyncBatch, TimelineItem
from consumers.device.local_change import LocalChange
from consumers.device.local_store import LocalStore
from schemas.codec import encode
from schemas.number_types import Milliseconds, SeqId, SyncSeqId
from schemas.records import AnySyncRecord, MessageRecalled, RecalledHole, Retracted
from tests.support.device_files import copy_killed
from tests.support.gateway_store import edit, message

SECRET = "hush, hush"


def recall(seq: int, target: int, *edits: int) -> MessageRecalled:
    """A recall entry by ann."""
    return MessageRecalled(
        conv_id="c",
        seq=SeqId(seq),
        sender="ann",
        client_msg_id="i",
        at=Milliseconds(1),
        target=SeqId(target),
        target_at=Milliseconds(1),
        edits=list(map(SeqId, edits)),
    )


def hear(store: LocalStore, records: Sequence[AnySyncRecord]) -> None:
    """Apply the records, in one batch of the sync timeline."""
    arrived = [Arrived(SyncSeqId(n), encode(record), record) for n, record in enumerate(records)]
    store.apply(SyncBatch(None, arrived, SyncSeqId(len(arrived)), more=False))


def bytes_of(path: Path) -> bytes:
    """All bytes on disk of a store: its file and its journal."""
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def shown(store: LocalStore) -> dict[int, str]:
    """The stored text of each SeqId: the kind of a hole, or the message's text."""
    found: dict[int, str] = {}
    for item in store.timeline("c"):
        content = msgspec.json.decode(item.json).get("content", {}) if item.json else {}
        found[item.first] = item.hole or content.get("text", "-")
    return found


HISTORY: list[AnySyncRecord] = [
    message("c", 1, "hello"),
    message("c", 2, SECRET),
    edit("c", 3, 1, "good day"),
    edit("c", 4, 2, SECRET + " again"),
    edit("c", 5, 1, "good night"),
    recall(6, 2, 4),
]


ORDERS = list(itertools.permutations(range(6)))[::31]
"""Some of the 720 orders. Each position has each record at least once."""


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_alterations_in_any_order_leave_the_last_text_and_no_recalled_text(
    store: LocalStore, order: tuple[int, ...]
) -> None:
    """After any order of messages, edits and a recall, the store has the last edit's text."""
    for number in order:
        hear(store, [HISTORY[number]])
    assert all({order[place] for order in ORDERS} == set(range(6)) for place in range(6))
    assert shown(store) == {
        1: "good night", 2: "recalled", 3: "good day", 4: "recalled", 5: "good night", 6: "-",
    }  # fmt: skip
    first = msgspec.json.decode(store.timeline("c")[0].json)
    assert first == msgspec.to_builtins(HISTORY[0]) | {
        "content": {"type": "text", "text": "good night"},
        "edited": 5,
    }


@pytest.mark.parametrize(
    "gone",
    [
        [recall(6, 2, 4)],
        [Retracted(conv_id="c", target=SeqId(2), edits=[SeqId(4)], at=Milliseconds(1))],
        [RecalledHole(conv_id="c", seq=SeqId(2)), RecalledHole(conv_id="c", seq=SeqId(4))],
    ],
)
def test_a_recalled_text_is_erased_from_the_file_at_once(
    store: LocalStore, path: Path, gone: list[AnySyncRecord]
) -> None:
    """Any form of a recall erases the text from file and journal while the store is open."""
    hear(store, HISTORY[:5])
    assert SECRET.encode() in bytes_of(path)
    hear(store, gone)
    assert SECRET.encode() not in bytes_of(path)
    assert (shown(store)[2], shown(store)[4]) == ("recalled", "recalled")


def test_a_hole_of_the_store_erases_the_local_entry(store: LocalStore, path: Path) -> None:
    """A hole from the store erases the text before the recall entry arrives at the device."""
    hear(store, HISTORY[:5])
    hole = TimelineItem("c", SeqId(2), SeqId(2), "recalled", b"")
    store.learn(HistoryPart("c", SeqId(6), [hole]))
    # the text of the edit is not erased yet
    assert SECRET + " again" in bytes_of(path).decode(errors="replace")
    store.learn(HistoryPart("c", SeqId(6), [hole._replace(first=SeqId(4), last=SeqId(4))]))
    assert SECRET.encode() not in bytes_of(path)


def test_a_text_that_arrives_after_its_recall_is_never_written(
    store: LocalStore, path: Path
) -> None:
    """The device writes the text of a recalled message neither to the file nor to the journal."""
    hear(store, [HISTORY[5]])
    hear(store, HISTORY[:5])
    assert SECRET.encode() not in bytes_of(path)


def test_the_journal_of_a_killed_process_is_erased_at_the_next_start(
    store: LocalStore, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start erases the text that a process killed right after a recall left in the journal."""
    hear(store, HISTORY[:5])
    monkeypatch.setattr(LocalChange, "has_erased", False)
    hear(store, [HISTORY[5]])
    grave = tmp_path / "grave"
    copy_killed(path, grave)
    assert SECRET.encode() in bytes_of(grave / path.name)
    with closing(LocalStore(grave / path.name, "ann", "phone")) as again:
        assert SECRET.encode() not in bytes_of(grave / path.name)
        assert shown(again)[2] == "recalled"

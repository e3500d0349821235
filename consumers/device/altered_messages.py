"""Applies recalls and edits to the items of a local store, in any order of arrival.

The store notes for each message whether it was recalled and its last edit. So a text that arrives
after its recall is never stored, and a message that arrives after its edit is stored with the
text of the edit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw, Struct

from consumers.device.knowledge import RECALLED_TEXT, TimelineItem
from schemas.number_types import NO_SEQ, SeqId
from schemas.records import MessageEdited

_decode: Final = msgspec.json.Decoder(dict[str, Raw]).decode


class _Shown(Struct, frozen=True):
    """The SeqId of the edit whose text an item has; 0 if none."""

    edited: SeqId = NO_SEQ


_shown: Final = msgspec.json.Decoder(_Shown).decode

_NOTE_EDIT: Final = """
INSERT INTO altered (conv_id, seq, edited_by, recalled) VALUES (?, ?, ?, 0)
ON CONFLICT (conv_id, seq) DO UPDATE SET edited_by = max(edited_by, excluded.edited_by)
"""

_NOTE_RECALL: Final = """
INSERT INTO altered (conv_id, seq, edited_by, recalled) VALUES (?, ?, 0, 1)
ON CONFLICT (conv_id, seq) DO UPDATE SET recalled = 1
"""


class _Altered(NamedTuple):
    """``edited_by``: the SeqId of the last known edit; 0 if none."""

    edited_by: SeqId
    recalled: int


_AS_IT_WAS: Final = _Altered(NO_SEQ, 0)


class Alterations:
    """Part of one transaction on the file of a local store.

    ``has_erased``: a text was erased that is still in the write-ahead log of the file.

    Args:
        db: The file, inside a transaction.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.has_erased = False

    def applied_to(self, item: TimelineItem) -> TimelineItem:
        """Return an entry as it has to be stored, after all known recalls and edits."""
        altered = self._altered(item.conv_id, item.first)
        if altered.recalled:
            return item._replace(hole=RECALLED_TEXT, json=b"")
        if altered.edited_by:
            return self._edited(item, altered.edited_by)
        return item

    def recall(self, conv_id: str, seqs: Iterable[SeqId]) -> None:
        """Erase the text of these entries, and note that it must not be stored again."""
        for seq in seqs:
            self._db.execute(_NOTE_RECALL, (conv_id, seq))
            changed = self._db.execute(
                "UPDATE item SET hole = ?, json = x'' WHERE conv_id = ? AND first = ?"
                " AND hole IS NULL",
                (RECALLED_TEXT, conv_id, seq),
            )
            self.has_erased = self.has_erased or changed.rowcount > 0

    def edit(self, edit: MessageEdited) -> None:
        """Give a message the text of a stored edit, unless the message has a later edit."""
        place = (edit.conv_id, edit.target)
        self._db.execute(_NOTE_EDIT, (*place, edit.seq))
        row = self._db.execute(
            "SELECT json FROM item WHERE conv_id = ? AND first = ? AND hole IS NULL", place
        ).fetchone()
        if row is None:
            return
        (stored,) = row
        item = TimelineItem(edit.conv_id, edit.target, edit.target, None, stored)
        json = self.applied_to(item).json
        if json != stored:
            self._db.execute(
                "UPDATE item SET json = ? WHERE conv_id = ? AND first = ?", (json, *place)
            )

    def _altered(self, conv_id: str, seq: SeqId) -> _Altered:
        row = self._db.execute(
            "SELECT edited_by, recalled FROM altered WHERE conv_id = ? AND seq = ?",
            (conv_id, seq),
        ).fetchone()
        return _Altered(*row) if row else _AS_IT_WAS

    def _edited(self, item: TimelineItem, by: SeqId) -> TimelineItem:
        row = self._db.execute(
            "SELECT json FROM item WHERE conv_id = ? AND first = ? AND hole IS NULL",
            (item.conv_id, by),
        ).fetchone()
        if row is None or _shown(item.json).edited >= by:
            return item
        (edit_json,) = row
        edit = _decode(edit_json)
        words = {name: edit[name] for name in ("content", "mentions")}
        shown = _decode(item.json) | words | {"edited": Raw(b"%d" % by)}
        return item._replace(json=msgspec.json.encode(shown))

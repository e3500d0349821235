"""One transaction on the file of a local store, with its SQL statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from consumers.device.altered_messages import Alterations
from consumers.device.knowledge import (
    BEFORE_ALL,
    RECALLED_TEXT,
    UNKNOWN,
    Beginning,
    Gap,
    Listed,
    LocalConversation,
    Standing,
    TimelineItem,
    later,
    standing_told_by,
)
from consumers.device.rejoining import after_join, known_entry
from consumers.device.spans import Span, missing, next_to_read, reach
from consumers.device.unread_counts import ReadState, after_entry, count_of
from schemas.records import (
    MessageEdited,
    MessageRecalled,
)
from schemas.unread import Counted

_OVERLAPPING: Final = """
SELECT first, last FROM item
WHERE conv_id = :conv AND first <= :last AND first >= coalesce(
    (SELECT max(first) FROM item WHERE conv_id = :conv AND first <= :first), 0)
ORDER BY first
"""

_ABOVE: Final = "SELECT first, last FROM item WHERE conv_id = ? AND first > ? ORDER BY first"

_SAVE_READING: Final = "INSERT OR REPLACE INTO reading VALUES (?, ?, ?, ?, ?)"
_SAVE: Final = "INSERT OR REPLACE INTO conversation VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


class LocalChange:
    """One transaction. Changed conversation rows are written at the end, once each.

    Any method may raise an SQLite error; `LocalStore` translates it.

    Args:
        db: The file, inside a transaction that the caller begins and ends.
        user: The owner of the device.
    """

    def __init__(self, db: sqlite3.Connection, user: str) -> None:
        self._db = db
        self._user = user
        self._rows: dict[str, LocalConversation] = {}
        self._changed: set[str] = set()
        self._readings: dict[str, ReadState] = {}
        self._told: set[str] = set()
        self._alterations = Alterations(db)
        self._known: set[str] = set()

    def cursor(self) -> int:
        """The sync SeqId up to which everything was applied, or `BEFORE_ALL`."""
        (cursor,) = self._db.execute("SELECT cursor FROM device").fetchone()
        return int(cursor)

    def move_cursor(self, sync_seq: int) -> None:
        """Move the cursor forward, never back."""
        self._db.execute("UPDATE device SET cursor = max(cursor, ?)", (sync_seq,))

    def forget_cursor(self) -> None:
        """Reset the cursor to `BEFORE_ALL`."""
        self._db.execute("UPDATE device SET cursor = ?", (BEFORE_ALL,))

    def conversation(self, conv_id: str) -> LocalConversation:
        """Return what is known, this change included; all zeros if nothing is known."""
        if conv_id not in self._rows:
            found = self._db.execute(
                "SELECT * FROM conversation WHERE conv_id = ?", (conv_id,)
            ).fetchone()
            self._rows[conv_id] = LocalConversation(*found or (conv_id,))
            if found:
                self._known.add(conv_id)
        return self._rows[conv_id]

    def has_begun(self) -> bool:
        """Return whether the device has received its start positions."""
        (begun,) = self._db.execute("SELECT begun FROM device").fetchone()
        return bool(begun)

    def begin(self, beginning: Beginning) -> None:
        """Store the start positions; a device that has data already keeps its own."""
        self._db.execute("UPDATE device SET begun = 1")
        if self.cursor() > BEFORE_ALL or self.conversations():
            return
        self.move_cursor(beginning.cursor)
        self._db.execute("UPDATE device SET late = ?", (beginning.is_late,))
        for conv_id, first, head, mode in beginning.starts:
            begun = self._opened(conv_id, first)
            self._keep(begun, max(begun.head, head), begun.through, Standing(mode, head))

    def is_new(self, conv_id: str) -> bool:
        """Whether a conversation is unknown and this device did not start with everything."""
        self.conversation(conv_id)
        if conv_id in self._known:
            return False
        (late,) = self._db.execute("SELECT late FROM device").fetchone()
        return bool(late)

    def open_new(self, conv_id: str, first: int) -> None:
        """If a conversation `is_new`, store the SeqId from which the device shows it."""
        if self.is_new(conv_id):
            opened = self._opened(conv_id, first)
            self._keep(opened, opened.head, opened.through, opened.standing)

    def conversations(self) -> list[LocalConversation]:
        """Return all known conversations, by id, as the file has them."""
        rows = self._db.execute("SELECT * FROM conversation ORDER BY conv_id")
        return [LocalConversation(*row) for row in rows]

    def has_pulled(self) -> bool:
        """Return whether the file has a conversation in mode pull."""
        row = self._db.execute("SELECT 1 FROM conversation WHERE mode = 'pull' LIMIT 1").fetchone()
        return row is not None

    def to_show(self, most: int) -> list[LocalConversation]:
        """Return the first ``most`` conversations that have something to show, by id."""
        rows = self._db.execute(
            "SELECT * FROM conversation WHERE shown < through ORDER BY conv_id LIMIT ?", (most,)
        )
        return [LocalConversation(*row) for row in rows]

    def items(self, conversation: LocalConversation, after: int, most: int) -> list[TimelineItem]:
        """Return up to ``most`` items above a SeqId, in order, none of them after a gap."""
        rows = self._db.execute(
            "SELECT conv_id, first, last, hole, json FROM item "
            "WHERE conv_id = ? AND first > ? AND last <= ? ORDER BY first LIMIT ?",
            (conversation.conv_id, after, conversation.through, most),
        )
        return [TimelineItem(*row) for row in rows]

    def gaps(self, most: int) -> list[Gap]:
        """Return the first gap of each of the first ``most`` conversations that have one."""
        rows = self._db.execute(
            "SELECT * FROM conversation WHERE through < head ORDER BY conv_id LIMIT ?", (most,)
        ).fetchall()
        return [gap for row in rows for gap in self._gap(LocalConversation(*row))]

    def put(self, item: TimelineItem) -> bool:
        """Store the unknown parts of an item; return whether there were any."""
        if item.hole is None:
            reading = self.reading(item.conv_id)
            self._tell(item.conv_id, after_entry(reading, item.json, self._user))
        start = self.conversation(item.conv_id).start
        item = item._replace(first=max(item.first, start))
        if item.last < start:
            return False
        asked = {"conv": item.conv_id, "first": item.first, "last": item.last}
        known = [Span(*row) for row in self._db.execute(_OVERLAPPING, asked)]
        fresh = missing(item.span, known)
        kept = item
        if item.hole is None:
            kept = self._alterations.applied_to(item)
        elif item.hole == RECALLED_TEXT:
            self.recall(item.conv_id, range(item.first, item.last + 1))
        self._db.executemany(
            "INSERT INTO item VALUES (?, ?, ?, ?, ?)",
            [(item.conv_id, part.first, part.last, kept.hole, kept.json) for part in fresh],
        )
        if fresh:
            self._advance(item)
        if fresh and kept.hole is None:
            self._apply_alteration(kept)
            before = self.conversation(item.conv_id)
            joined = after_join(self._db, before, kept, self._user)
            self._keep(joined, joined.head, joined.through, joined.standing)
        return bool(fresh)

    def is_before_join(self, item: TimelineItem) -> bool:
        """Return whether an item lies before a join: only the store has its current text."""
        return item.last < self.conversation(item.conv_id).joined

    def recall(self, conv_id: str, seqs: Iterable[int]) -> None:
        """Erase the text of entries, also of those that arrive later."""
        self._alterations.recall(conv_id, seqs)

    @property
    def has_erased(self) -> bool:
        """Whether a text was erased that is still in the write-ahead log of the file."""
        return self._alterations.has_erased

    def _apply_alteration(self, item: TimelineItem) -> None:
        entry = known_entry(item)
        if isinstance(entry, MessageRecalled):
            self.recall(entry.conv_id, (entry.target, *entry.edits))
        elif isinstance(entry, MessageEdited):
            self._alterations.edit(entry)

    def reading(self, conv_id: str) -> ReadState:
        """Return how far the owner has read, this change included."""
        if conv_id not in self._readings:
            found = self._db.execute(
                "SELECT end_seq, messages, mark, counted FROM reading WHERE conv_id = ?",
                (conv_id,),
            ).fetchone()
            reading = ReadState(Counted(*found[:2]), *found[2:]) if found else ReadState()
            self._readings[conv_id] = reading
        return self._readings[conv_id]

    def lacks_count(self) -> bool:
        """Return whether the unread number of some conversation in the file is unknown."""
        row = self._db.execute(
            "SELECT 1 FROM reading WHERE counted IS NULL AND mark < end_seq LIMIT 1"
        ).fetchone()
        return row is not None

    def mark_read(self, conv_id: str, seq: int) -> None:
        """Store a read mark, and its message count if its entry is here."""
        found = self._db.execute(
            "SELECT json FROM item WHERE conv_id = ? AND first = ? AND hole IS NULL",
            (conv_id, seq),
        ).fetchone()
        counted = count_of(found[0]) if found else None
        self._tell(conv_id, self.reading(conv_id).read_to(seq, counted))

    def note_reading(self, listed: Listed) -> None:
        """Store the end of a conversation and the owner's read mark, as the store lists them."""
        reading = self.reading(listed.conv_id).ends_at(Counted(listed.head, listed.messages))
        counted = listed.messages - listed.unread
        self._tell(listed.conv_id, reading.read_to(listed.read, counted))

    def note_head(self, listed: Listed) -> None:
        """Store the head of a conversation, as the store lists it."""
        # The listed mode is ignored: the store may have read head and mode at different times.
        # The entries up to the head, which the device reads now, contain the mode.
        before = self.conversation(listed.conv_id)
        head = max(before.head, listed.head)
        self._keep(before, head, before.through, before.standing)

    def note_told(self, conv_id: str, head: int) -> bool:
        """Store the head of a conversation; return whether the conversation is known."""
        before = self.conversation(conv_id)
        if conv_id not in self._known:
            return False
        self._keep(before, max(before.head, head), before.through, before.standing)
        return True

    def mark_shown(self, item: TimelineItem) -> None:
        """Note that an item was shown; the mark does not pass the first gap."""
        self._db.execute(
            "UPDATE conversation SET shown = max(shown, min(through, ?)) WHERE conv_id = ?",
            (item.last, item.conv_id),
        )

    def write(self) -> None:
        """Write the rows that have changed."""
        self._db.executemany(_SAVE, [self._rows[conv_id] for conv_id in self._changed])
        self._db.executemany(
            _SAVE_READING,
            [(c, *self._readings[c].end, *self._readings[c][1:]) for c in self._told],
        )

    def _tell(self, conv_id: str, reading: ReadState) -> None:
        if reading != self._readings[conv_id]:
            self._readings[conv_id] = reading
            self._told.add(conv_id)

    def _advance(self, item: TimelineItem) -> None:
        before = self.conversation(item.conv_id)
        above = map(Span._make, self._db.execute(_ABOVE, (item.conv_id, before.through)))
        standing = later(before.standing, self._told_by(item))
        self._keep(before, max(before.head, item.last), reach(before.through, above), standing)

    def _told_by(self, item: TimelineItem) -> Standing | None:
        entry = None if item.hole is not None else known_entry(item)
        return None if entry is None else standing_told_by(entry, self._user)

    def _keep(
        self, before: LocalConversation, head: int, through: int, standing: Standing
    ) -> None:
        self._rows[before.conv_id] = before._replace(
            head=head, through=through, mode=standing.mode, mode_seq=standing.seq
        )
        self._changed.add(before.conv_id)
        self._known.add(before.conv_id)

    def _opened(self, conv_id: str, first: int) -> LocalConversation:
        before = first - 1
        return LocalConversation(conv_id, before, before, before, *UNKNOWN, first)

    def _gap(self, conversation: LocalConversation) -> Iterator[Gap]:
        asked = Span(conversation.through + 1, conversation.head)
        above = self._db.execute(_ABOVE, (conversation.conv_id, conversation.through))
        span = next_to_read(asked, map(Span._make, above))
        if span is not None:
            yield Gap(conversation.conv_id, span)

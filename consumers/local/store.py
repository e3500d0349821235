"""The local store: what one device knows, in a SQLite file.

Everything that one call brings, entries and cursor, goes into one transaction: after a crash it
is all there, or none of it and it comes again. What is known already is passed over, so that
records may come as often and in whatever order they like.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from consumers.local.knowledge import (
    BEFORE_ALL,
    UNKNOWN,
    HistoryPart,
    Listed,
    Standing,
    SyncBatch,
    TimelineItem,
    certain,
    is_to_be_read,
    later,
    standing_told_by,
)
from consumers.local.spans import Span, missing, next_to_read, reach
from consumers.local.tables import open_file
from schemas.errors import ConfigurationError, TransientFailure, UndecodableRecord
from schemas.records import Entry, FanoutMode

_OVERLAPPING: Final = """
SELECT first, last FROM item
WHERE conv_id = :conv AND first <= :last AND first >= coalesce(
    (SELECT max(first) FROM item WHERE conv_id = :conv AND first <= :first), 0)
ORDER BY first
"""

_ABOVE: Final = "SELECT first, last FROM item WHERE conv_id = ? AND first > ? ORDER BY first"

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_SAVE: Final = "INSERT OR REPLACE INTO conversation VALUES (?, ?, ?, ?, ?, ?)"


class LocalConversation(NamedTuple):
    """What a device knows about one conversation.

    ``head`` is the last SeqId that is known to exist, ``through`` the one up to which nothing is
    missing, ``shown`` the one up to which it was shown. ``mode`` is as of ``mode_seq``, and None
    if the user was not a member then.
    """

    conv_id: str
    head: int = 0
    through: int = 0
    shown: int = 0
    mode: FanoutMode | None = UNKNOWN.mode
    mode_seq: int = UNKNOWN.seq

    @property
    def standing(self) -> Standing:
        """How it reaches this device."""
        return Standing(self.mode, self.mode_seq)


class Gap(NamedTuple):
    """SeqIds of a conversation that are known to exist, and missing."""

    conv_id: str
    span: Span


class LocalStore:
    """Keeps the conversations and the cursor of one device. One process; safe among threads.

    It is a `consumers.cursor.CursorStore` as well, of its one cursor.

    Args:
        path: The file; it and its folder are made if they are missing.
        user: Whose device.
        device_id: Which one.

    Raises:
        ConfigurationError: The file cannot be opened, is in use, or belongs to another device.
    """

    def __init__(self, path: Path, user: str, device_id: str) -> None:
        self._path = path
        self._user, self._device_id = user, device_id
        self._lock = threading.Lock()
        self._db = open_file(path, user, device_id)

    @property
    def cursor(self) -> int:
        """The sync SeqId up to which everything was applied, or `BEFORE_ALL`."""
        with self._transaction() as change:
            return change.cursor()

    def apply(self, batch: SyncBatch) -> None:
        """Takes in records of the sync timeline and, if they follow the cursor, moves it.

        Replies are not kept. Nor are records of kinds that are not known here: if they were
        entries, they will be missed and read from the store.

        Raises:
            TransientFailure: The disk does not take it; everything is as before.
        """
        with self._transaction() as change:
            for arrived in batch.arrived:
                entry = arrived.record
                if isinstance(entry, Entry):
                    change.put(
                        TimelineItem(entry.conv_id, entry.seq, entry.seq, None, arrived.json)
                    )
            if batch.after is not None and batch.after <= change.cursor():
                change.move_cursor(batch.next)

    def learn(self, part: HistoryPart) -> bool:
        """Takes in what the store answered about a gap. Errors as of `apply`.

        Returns:
            Whether it had anything new.
        """
        with self._transaction() as change:
            fresh = [change.put(item) for item in certain(part)]
            return any(fresh)

    def note_heads(self, listed: Sequence[Listed], *, everything: bool) -> None:
        """Takes in how far conversations go. Errors as of `apply`.

        Args:
            listed: What the store lists.
            everything: After being away; otherwise only what has to be read from the store.
        """
        with self._transaction() as change:
            for each in listed:
                standing = change.conversation(each.conv_id).standing
                if is_to_be_read(standing, each, everything=everything):
                    change.note_head(each)

    def skip_to(self, sync_seq: int) -> None:
        """Moves the cursor forward over records that do not come. Errors as of `apply`."""
        with self._transaction() as change:
            change.move_cursor(sync_seq)

    def gaps(self, most: int) -> list[Gap]:
        """What is to be read next, of the first so many conversations that miss something."""
        with self._transaction() as change:
            return change.gaps(most)

    def unshown(self, most: int) -> list[TimelineItem]:
        """Up to so many items to show next: those with no gap before them, in order."""
        with self._transaction() as change:
            found: list[TimelineItem] = []
            for conversation in change.to_show(most):
                if len(found) < most:
                    found += change.items(conversation, conversation.shown, most - len(found))
            return found

    def mark_shown(self, item: TimelineItem) -> None:
        """Remembers that an item was shown, and thereby all before it. Errors as of `apply`."""
        with self._transaction() as change:
            change.mark_shown(item)

    def timeline(self, conv_id: str, after: int = 0, most: int = 100) -> list[TimelineItem]:
        """Part of a conversation; it ends before the first SeqId that is missing."""
        with self._transaction() as change:
            return change.items(change.conversation(conv_id), after, most)

    def conversation(self, conv_id: str) -> LocalConversation:
        """What is known about a conversation; all zeros if nothing is."""
        with self._transaction() as change:
            return change.conversation(conv_id)

    def conversations(self) -> list[LocalConversation]:
        """All that are known, by id."""
        with self._transaction() as change:
            return change.conversations()

    def reads_store(self) -> bool:
        """Whether there is a conversation whose messages do not come by themselves."""
        with self._transaction() as change:
            return change.has_pulled()

    def load(self, user: str, device_id: str) -> int | None:
        """As of `CursorStore`."""
        self._check_owner(user, device_id)
        cursor = self.cursor
        return None if cursor == BEFORE_ALL else cursor

    def save(self, user: str, device_id: str, sync_seq: int) -> None:
        """As of `CursorStore`."""
        self._check_owner(user, device_id)
        self.skip_to(sync_seq)

    def forget(self, user: str, device_id: str) -> None:
        """As of `CursorStore`."""
        self._check_owner(user, device_id)
        with self._transaction() as change:
            change.forget_cursor()

    def close(self) -> None:
        """Lets another process have the file. May be called again."""
        with self._lock:
            self._db.close()

    def _check_owner(self, user: str, device_id: str) -> None:
        if (user, device_id) != (self._user, self._device_id):
            raise ConfigurationError(f"the local store {self._path} is of another user or device")

    @contextmanager
    def _transaction(self) -> Iterator[_Change]:
        with self._lock:
            try:
                with self._db as db:
                    change = _Change(db, self._user)
                    yield change
                    change.write()
            except sqlite3.OperationalError as error:
                raise TransientFailure(
                    f"the local store {self._path} does not answer: {error}"
                ) from error
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode not in _DAMAGED:
                    raise
                raise ConfigurationError(
                    f"the local store {self._path} is damaged: remove it, and it is read anew"
                ) from error


class _Change:
    """One transaction. Rows of conversations are written at its end, once each."""

    def __init__(self, db: sqlite3.Connection, user: str) -> None:
        self._db = db
        self._user = user
        self._rows: dict[str, LocalConversation] = {}
        self._changed: set[str] = set()

    def cursor(self) -> int:
        (cursor,) = self._db.execute("SELECT cursor FROM device").fetchone()
        return int(cursor)

    def move_cursor(self, sync_seq: int) -> None:
        self._db.execute("UPDATE device SET cursor = max(cursor, ?)", (sync_seq,))

    def forget_cursor(self) -> None:
        self._db.execute("UPDATE device SET cursor = ?", (BEFORE_ALL,))

    def conversation(self, conv_id: str) -> LocalConversation:
        if conv_id not in self._rows:
            found = self._db.execute(
                "SELECT * FROM conversation WHERE conv_id = ?", (conv_id,)
            ).fetchone()
            self._rows[conv_id] = LocalConversation(*found or (conv_id,))
        return self._rows[conv_id]

    def conversations(self) -> list[LocalConversation]:
        rows = self._db.execute("SELECT * FROM conversation ORDER BY conv_id")
        return [LocalConversation(*row) for row in rows]

    def has_pulled(self) -> bool:
        row = self._db.execute("SELECT 1 FROM conversation WHERE mode = 'pull' LIMIT 1").fetchone()
        return row is not None

    def to_show(self, most: int) -> list[LocalConversation]:
        rows = self._db.execute(
            "SELECT * FROM conversation WHERE shown < through ORDER BY conv_id LIMIT ?", (most,)
        )
        return [LocalConversation(*row) for row in rows]

    def items(self, conversation: LocalConversation, after: int, most: int) -> list[TimelineItem]:
        rows = self._db.execute(
            "SELECT conv_id, first, last, hole, json FROM item "
            "WHERE conv_id = ? AND first > ? AND last <= ? ORDER BY first LIMIT ?",
            (conversation.conv_id, after, conversation.through, most),
        )
        return [TimelineItem(*row) for row in rows]

    def gaps(self, most: int) -> list[Gap]:
        rows = self._db.execute(
            "SELECT * FROM conversation WHERE through < head ORDER BY conv_id LIMIT ?", (most,)
        ).fetchall()
        return [gap for row in rows for gap in self._gap(LocalConversation(*row))]

    def put(self, item: TimelineItem) -> bool:
        """Keeps what is not known of an item; says whether anything was not."""
        asked = {"conv": item.conv_id, "first": item.first, "last": item.last}
        known = [Span(*row) for row in self._db.execute(_OVERLAPPING, asked)]
        fresh = missing(item.span, known)
        self._db.executemany(
            "INSERT INTO item VALUES (?, ?, ?, ?, ?)",
            [(item.conv_id, part.first, part.last, item.hole, item.json) for part in fresh],
        )
        if fresh:
            self._advance(item)
        return bool(fresh)

    def note_head(self, listed: Listed) -> None:
        # Its mode is left aside: head and mode of the store may be of different moments. The
        # entries up to the head, which are read now, tell how the next ones come.
        before = self.conversation(listed.conv_id)
        head = max(before.head, listed.head)
        self._keep(before, head, before.through, before.standing)

    def mark_shown(self, item: TimelineItem) -> None:
        self._db.execute(
            "UPDATE conversation SET shown = max(shown, min(through, ?)) WHERE conv_id = ?",
            (item.last, item.conv_id),
        )

    def write(self) -> None:
        """Writes the rows that have changed."""
        self._db.executemany(_SAVE, [self._rows[conv_id] for conv_id in self._changed])

    def _advance(self, item: TimelineItem) -> None:
        before = self.conversation(item.conv_id)
        above = map(Span._make, self._db.execute(_ABOVE, (item.conv_id, before.through)))
        standing = later(before.standing, self._told_by(item))
        self._keep(before, max(before.head, item.last), reach(before.through, above), standing)

    def _told_by(self, item: TimelineItem) -> Standing | None:
        if item.hole is not None:
            return None
        try:
            return standing_told_by(item.entry(), self._user)
        except UndecodableRecord:
            return None  # of a later version: kept as it is, for who knows it

    def _keep(
        self, before: LocalConversation, head: int, through: int, standing: Standing
    ) -> None:
        self._rows[before.conv_id] = LocalConversation(
            before.conv_id, head, through, before.shown, *standing
        )
        self._changed.add(before.conv_id)

    def _gap(self, conversation: LocalConversation) -> Iterator[Gap]:
        asked = Span(conversation.through + 1, conversation.head)
        above = self._db.execute(_ABOVE, (conversation.conv_id, conversation.through))
        span = next_to_read(asked, map(Span._make, above))
        if span is not None:
            yield Gap(conversation.conv_id, span)

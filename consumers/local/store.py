"""The local store: what one device knows, in a SQLite file.

Everything that one call brings, entries and cursor, goes into one transaction: after a crash it
is all there, or none of it and it comes again. What is known already is passed over, so that
records may come as often and in whatever order they like.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from consumers.local.change import Change
from consumers.local.knowledge import (
    BEFORE_ALL,
    RECALLED,
    Arrived,
    Beginning,
    Gap,
    HistoryPart,
    Listed,
    LocalConversation,
    SyncBatch,
    TimelineItem,
    certain,
    is_to_be_read,
)
from consumers.local.tables import open_file
from schemas.errors import ConfigurationError, TransientFailure
from schemas.records import Entry, ReadMarked, RecalledHole, Retracted

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


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

    @property
    def device_id(self) -> str:
        """Which device this is."""
        return self._device_id

    def has_begun(self) -> bool:
        """Whether the device was told where it begins."""
        with self._transaction() as change:
            return change.has_begun()

    def begin(self, beginning: Beginning) -> None:
        """Takes in where the device begins, once. Errors as of `apply`.

        What lies before is not asked for, not kept and not shown. It may be read nevertheless, by
        whoever asks the store for it.
        """
        with self._transaction() as change:
            if not change.has_begun():
                change.begin(beginning)

    def apply(self, batch: SyncBatch) -> None:
        """Takes in records of the sync timeline and, if they follow the cursor, moves it.

        Of replies only read marks are kept. What was recalled is taken out, and never comes in.
        Records of kinds that are not known here are not kept: if they were entries, they will be
        missed and read from the store.

        Raises:
            TransientFailure: The disk does not take it; everything is as before.
        """
        with self._transaction() as change:
            follows = batch.after is not None and batch.after <= change.cursor()
            for arrived in batch.arrived:
                _take(change, arrived, follows=follows)
            if follows:
                change.move_cursor(batch.next)

    def learn(self, part: HistoryPart) -> bool:
        """Takes in what the store answered about a gap. Errors as of `apply`.

        Returns:
            Whether it had anything new.
        """
        with self._transaction() as change:
            if part.head < change.conversation(part.conv_id).joined:
                return False  # an answer from before the join
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
                change.note_reading(each)
                standing = change.conversation(each.conv_id).standing
                if is_to_be_read(standing, each, everything=everything):
                    change.open_new(each.conv_id, each.since)
                    change.note_head(each)

    def note_told(self, heads: Mapping[str, int]) -> bool:
        """Takes in how far some conversations go. Errors as of `apply`.

        Returns:
            Whether all are known here. Of one that is not, the store's list has to tell where
            this device shows it from.
        """
        with self._transaction() as change:
            noted = [change.note_told(conv_id, head) for conv_id, head in heads.items()]
            return all(noted)

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

    def unread(self, conv_id: str) -> int | None:
        """How many messages of a conversation its owner has not read, on any device.

        When all is applied, that is the gateway's number. None while it cannot be told: what was
        marked as read on another device has yet to come here. `Device` asks for it.
        """
        with self._transaction() as change:
            return change.reading(conv_id).unread

    def read_mark(self, conv_id: str) -> int:
        """Up to which SeqId its owner has read a conversation, on any device; 0 if nothing."""
        with self._transaction() as change:
            return change.reading(conv_id).mark

    def lacks_count(self) -> bool:
        """Whether there is a conversation of which it cannot be told what is unread."""
        with self._transaction() as change:
            return change.lacks_count()

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
    def _transaction(self) -> Iterator[Change]:
        with self._lock:
            try:
                with self._db as db:
                    change = Change(db, self._user)
                    yield change
                    change.write()
                if change.has_erased:
                    # The text is in the journal, too, until that is written over.
                    self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
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


def _take(change: Change, arrived: Arrived, *, follows: bool) -> None:
    """Takes in one record of the sync timeline; of kinds that are not known here, nothing."""
    record = arrived.record
    match record:
        case Entry():
            place = (record.conv_id, record.seq, record.seq)
            _put(change, TimelineItem(*place, None, arrived.json), follows=follows)
        case RecalledHole():
            place = (record.conv_id, record.seq, record.seq)
            _put(change, TimelineItem(*place, RECALLED, b""), follows=follows)
        case ReadMarked():
            change.mark_read(record.conv_id, record.seq)
        case Retracted():
            change.recall(record.conv_id, (record.target, *record.edits))


def _put(change: Change, item: TimelineItem, *, follows: bool) -> None:
    if follows:
        change.open_new(item.conv_id, item.first)
    elif change.is_new(item.conv_id):
        return  # it comes again, with what lies before it
    if not change.is_before_join(item):
        change.put(item)
    else:
        change.note_told(item.conv_id, item.last)

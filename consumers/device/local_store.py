"""The local store: what one device knows, in a SQLite file.

Each call writes its entries and the cursor in one transaction. After a crash, the file has all of
a call or nothing, and the device receives the same records again. Known items are ignored, so
records may be repeated and may arrive in any order.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from consumers.device.knowledge import (
    BEFORE_ALL,
    RECALLED_TEXT,
    Arrived,
    Beginning,
    Gap,
    HistoryPart,
    Listed,
    LocalConversation,
    LocalDescription,
    SyncBatch,
    TimelineItem,
    certain,
    is_to_be_read,
)
from consumers.device.local_change import LocalChange
from consumers.device.local_tables import open_file
from schemas.errors import ConfigurationError, TransientFailure
from schemas.number_types import NO_SEQ, Milliseconds, SeqId, SyncSeqId
from schemas.records import ConversationMuted, Entry, ReadMarked, RecalledHole, Retracted

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class LocalStore:
    """Stores the conversations and the cursor of one device. One process; thread-safe.

    Also a `consumers.cursor.CursorStore` for this one cursor.

    Args:
        path: The file. The file and its folder are created if they are missing.
        user: The owner of the device.
        device_id: The device.

    Raises:
        ConfigurationError: The file cannot be opened, is in use, or belongs to another device.
    """

    def __init__(self, path: Path, user: str, device_id: str) -> None:
        self._path = path
        self._user, self._device_id = user, device_id
        self._lock = threading.Lock()
        self._db = open_file(path, user, device_id)

    @property
    def cursor(self) -> SyncSeqId:
        """The sync SeqId up to which everything was applied, or `BEFORE_ALL`."""
        with self._transaction() as change:
            return change.device.cursor()

    @property
    def device_id(self) -> str:
        """The id of this device."""
        return self._device_id

    def has_begun(self) -> bool:
        """Return whether the device has received its start positions."""
        with self._transaction() as change:
            return change.device.has_begun()

    def begin(self, beginning: Beginning) -> None:
        """Store the start positions, once: no earlier entry is shown. Errors: see `apply`."""
        with self._transaction() as change:
            if not change.device.has_begun():
                change.begin(beginning)

    def begin_again(self, beginning: Beginning | None) -> None:
        """Forget all items: the log has lost records. See `LocalChange`. Errors: see `apply`."""
        with self._transaction() as change:
            change.begin_again(beginning)

    def apply(self, batch: SyncBatch) -> None:
        """Apply records of the sync timeline; if they follow the cursor, move the cursor.

        The only replies stored are read marks and mutes. Recalled text is erased, and never
        stored again. Records of unknown kinds are not stored; if such a record is an entry, it
        leaves a gap, and the device reads the entry from the store.

        Raises:
            TransientFailure: The disk does not accept the write; nothing changed.
        """
        with self._transaction() as change:
            follows = batch.after is not None and batch.after <= change.device.cursor()
            for arrived in batch.arrived:
                _apply(change, arrived, follows=follows)
            if follows:
                change.device.move_cursor(batch.next)

    def learn(self, part: HistoryPart) -> bool:
        """Apply the store's answer about a gap. Errors: see `apply`.

        Returns:
            Whether the answer had anything new.
        """
        with self._transaction() as change:
            if part.head < change.conversations.get(part.conv_id).joined:
                return False  # an answer from before the join
            fresh = [change.put(item) for item in certain(part)]
            return any(fresh)

    def note_heads(self, listed: Sequence[Listed], *, everything: bool) -> None:
        """Note how far conversations extend. Errors: see `apply`.

        Args:
            listed: Conversations as the store lists them.
            everything: Note all heads, as after a disconnection. Otherwise only the heads of
                conversations that have to be read from the store.
        """
        with self._transaction() as change:
            for each in listed:
                change.note_read_mark(each)
                change.note_description(each)
                change.note_mute(each)
                standing = change.conversations.get(each.conv_id).standing
                if is_to_be_read(standing, each, everything=everything):
                    change.open_new(each.conv_id, each.since)
                    # The listed mode is ignored: the store may have read head and mode at
                    # different times. The entries up to the head contain the mode.
                    change.conversations.raise_head(each.conv_id, each.head)

    def note_pushed_heads(self, heads: Mapping[str, SeqId]) -> bool:
        """Note the heads that a live connection reported. Errors: see `apply`.

        Returns:
            Whether all these conversations are known here. For an unknown one, the store's list
            has to provide the SeqId from which this device shows it.
        """
        with self._transaction() as change:
            noted = [change.note_pushed_head(conv_id, head) for conv_id, head in heads.items()]
            return all(noted)

    def skip_to(self, sync_seq: SyncSeqId) -> None:
        """Move the cursor forward over records that will not arrive. Errors: see `apply`."""
        with self._transaction() as change:
            change.device.move_cursor(sync_seq)

    def gaps(self, most: int) -> list[Gap]:
        """Return what to read next in at most ``most`` conversations that miss something."""
        with self._transaction() as change:
            return change.gaps(most)

    def unshown(self, most: int) -> list[TimelineItem]:
        """Return up to ``most`` items to show next, in order, none of them after a gap."""
        with self._transaction() as change:
            items: list[TimelineItem] = []
            for each in change.conversations.to_show(most):
                if len(items) < most:
                    items += change.items.complete(each, each.shown, most - len(items))
            return items

    def mark_shown(self, item: TimelineItem) -> None:
        """Note that an item was shown, and thereby all before it. Errors: see `apply`."""
        with self._transaction() as change:
            change.conversations.mark_shown(item)

    def timeline(self, conv_id: str, after: SeqId = NO_SEQ, most: int = 100) -> list[TimelineItem]:
        """Return part of a conversation, up to the first missing SeqId."""
        with self._transaction() as change:
            return change.items.complete(change.conversations.get(conv_id), after, most)

    def conversation(self, conv_id: str) -> LocalConversation:
        """Return what is known about a conversation; all zeros if it is unknown."""
        with self._transaction() as change:
            return change.conversations.get(conv_id)

    def conversations(self) -> list[LocalConversation]:
        """Return all known conversations, by id."""
        with self._transaction() as change:
            return change.conversations.stored()

    def description(self, conv_id: str) -> LocalDescription:
        """Return the name and the metadata of a conversation; empty texts if there is none."""
        with self._transaction() as change:
            return change.descriptions.get(conv_id)

    def unread(self, conv_id: str) -> int | None:
        """Return the number of messages that the owner has not read on any device.

        When all records are applied, the number equals the gateway's number. None while a read
        mark of another device has no count here; `Device` then queries the store for it.
        """
        with self._transaction() as change:
            return change.read_marks.get(conv_id).unread

    def read_mark(self, conv_id: str) -> SeqId:
        """Return the SeqId up to which the owner has read on any device; 0 if nothing."""
        with self._transaction() as change:
            return change.read_marks.get(conv_id).mark

    def muted_until(self, conv_id: str) -> Milliseconds:
        """Return the end of the owner's mute, in milliseconds since 1970; 0 without a mute."""
        with self._transaction() as change:
            return change.mutes.get(conv_id)

    def lacks_count(self) -> bool:
        """Return whether the unread number of some conversation is unknown."""
        with self._transaction() as change:
            return change.read_marks.lacks_count()

    def reads_store(self) -> bool:
        """Return whether some conversation has to be read from the store (mode pull)."""
        with self._transaction() as change:
            return change.conversations.has_pulled()

    def load(self, user: str, device_id: str) -> SyncSeqId | None:
        """See `CursorStore`."""
        self._check_owner(user, device_id)
        cursor = self.cursor
        return None if cursor == BEFORE_ALL else cursor

    def save(self, user: str, device_id: str, sync_seq: SyncSeqId) -> None:
        """See `CursorStore`."""
        self._check_owner(user, device_id)
        self.skip_to(sync_seq)

    def forget(self, user: str, device_id: str) -> None:
        """See `CursorStore`."""
        self._check_owner(user, device_id)
        with self._transaction() as change:
            change.device.reset_cursor()

    def close(self) -> None:
        """Close the file, so that another process can open it. May be called again."""
        with self._lock:
            self._db.close()

    def _check_owner(self, user: str, device_id: str) -> None:
        if (user, device_id) != (self._user, self._device_id):
            raise ConfigurationError(f"the local store {self._path} is of another user or device")

    @contextmanager
    def _transaction(self) -> Iterator[LocalChange]:
        with self._lock:
            try:
                with self._db as db:
                    change = LocalChange(db, self._user)
                    yield change
                    change.write()
                if change.has_erased:
                    # The erased text stays in the write-ahead log until a checkpoint.
                    self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.OperationalError as error:
                raise TransientFailure(
                    f"the local store {self._path} does not answer: {error}"
                ) from error
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode not in _DAMAGED:
                    raise
                raise ConfigurationError(
                    f"the local store {self._path} is damaged: delete the file, and the device "
                    "reads everything again"
                ) from error


def _apply(change: LocalChange, arrived: Arrived, *, follows: bool) -> None:
    """Apply one record of the sync timeline. Records of unknown kinds change nothing."""
    record = arrived.record
    match record:
        case Entry():
            place = (record.conv_id, record.seq, record.seq)
            _put(change, TimelineItem(*place, None, arrived.json), follows=follows)
        case RecalledHole():
            place = (record.conv_id, record.seq, record.seq)
            _put(change, TimelineItem(*place, RECALLED_TEXT, b""), follows=follows)
        case ReadMarked():
            change.mark_read(record.conv_id, record.seq)
        case ConversationMuted():
            change.mutes.put(record.conv_id, record.until, arrived.sync_seq)
        case Retracted():
            change.alterations.recall(record.conv_id, (record.target, *record.edits))


def _put(change: LocalChange, item: TimelineItem, *, follows: bool) -> None:
    if follows:
        change.open_new(item.conv_id, item.first)
    elif change.is_new(item.conv_id):
        return  # ignored: it arrives again, together with the records before it
    if not change.is_before_join(item):
        change.put(item)
    else:
        change.note_pushed_head(item.conv_id, item.last)

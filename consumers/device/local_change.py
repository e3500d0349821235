"""One transaction on the file of a local store: the rules that concern several of its tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from consumers.device.altered_messages import Alterations
from consumers.device.conversation_rows import ConversationRows, shown_from
from consumers.device.description_rows import DescriptionRows
from consumers.device.device_row import DeviceRow
from consumers.device.item_rows import ItemRows
from consumers.device.knowledge import (
    BEFORE_ALL,
    RECALLED_TEXT,
    Beginning,
    Gap,
    Listed,
    TimelineItem,
    later,
    standing_after,
)
from consumers.device.mute_rows import MuteRows
from consumers.device.read_mark_rows import ReadMarkRows
from consumers.device.rejoining import after_join, known_entry
from consumers.device.spans import Span, missing, next_to_read, reach
from consumers.device.unread_counts import after_entry, count_of
from schemas.number_types import SeqId
from schemas.records import ConversationDescribed, MessageEdited, MessageRecalled
from schemas.unread import Counted

_CONTENT: Final = ("item", "altered", "reading", "conversation", "mute", "description")
"""The tables that have something of a conversation."""


class LocalChange:
    """One transaction. Any method may raise an SQLite error; `LocalStore` translates it.

    Args:
        db: The file, inside a transaction that the caller begins and ends.
        user: The owner of the device.

    Attributes:
        device: The cursor and the start of the device.
        conversations: Heads, shown SeqIds, modes and starts.
        items: Entries and holes.
        descriptions: Names and metadata.
        read_marks: Read marks and counts of messages.
        mutes: Mutes of the owner.
        alterations: Recalls and edits.
    """

    def __init__(self, db: sqlite3.Connection, user: str) -> None:
        self._db = db
        self._user = user
        self._has_forgotten = False
        self.device = DeviceRow(db)
        self.conversations = ConversationRows(db)
        self.items = ItemRows(db)
        self.descriptions = DescriptionRows(db)
        self.read_marks = ReadMarkRows(db)
        self.mutes = MuteRows(db)
        self.alterations = Alterations(db)

    def begin(self, beginning: Beginning) -> None:
        """Store the start positions; a device that has data already keeps its own."""
        self.device.set_begun()
        if self.device.cursor() > BEFORE_ALL or self.conversations.stored():
            return
        self.device.move_cursor(beginning.cursor)
        self._begin_at(beginning, {})

    def begin_again(self, beginning: Beginning | None) -> None:
        """Forget all items.

        The device follows from the oldest retained record, and begins each conversation where it
        began before, or earlier if a new device begins earlier now.

        Args:
            beginning: The start positions of a new device; None for a device without a registry.
        """
        firsts = {each.conv_id: each.start for each in self.conversations.stored()}
        for table in _CONTENT:
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - a constant
        self._has_forgotten = True
        self.device.reset_cursor()
        if beginning is not None:
            self.device.set_begun()
            self._begin_at(beginning, firsts)

    def _begin_at(self, beginning: Beginning, firsts: Mapping[str, SeqId]) -> None:
        self.device.set_late(is_late=beginning.is_late)
        for conv_id, first, head, mode in beginning.starts:
            new = shown_from(conv_id, min(first, firsts.get(conv_id, first)))
            self.conversations.put(
                new._replace(head=max(new.head, head), mode=mode, mode_seq=head)
            )

    def is_new(self, conv_id: str) -> bool:
        """Whether a conversation is unknown and this device did not start with everything."""
        return not self.conversations.is_known(conv_id) and self.device.is_late()

    def open_new(self, conv_id: str, first: SeqId) -> None:
        """If a conversation `is_new`, store the SeqId from which the device shows it."""
        if self.is_new(conv_id):
            self.conversations.put(shown_from(conv_id, first))

    def gaps(self, limit: int) -> list[Gap]:
        """Return the first gap of each of the first ``limit`` conversations that have one."""
        gaps: list[Gap] = []
        for conversation in self.conversations.incomplete(limit):
            conv_id, through = conversation.conv_id, conversation.through
            above = self.items.spans_above(conv_id, through)
            span = next_to_read(Span(SeqId(through + 1), conversation.head), above)
            if span is not None:
                gaps.append(Gap(conv_id, span))
        return gaps

    def put(self, item: TimelineItem) -> bool:
        """Store the unknown parts of an item; return whether there were any."""
        if item.hole is None:
            state = self.read_marks.get(item.conv_id)
            self.read_marks.put(item.conv_id, after_entry(state, item.json, self._user))
        start = self.conversations.get(item.conv_id).start
        item = item._replace(first=max(item.first, start))
        if item.last < start:
            return False
        unknown = missing(item.span, self.items.spans_in(item.conv_id, item.span))
        altered = item
        if item.hole is None:
            altered = self.alterations.applied_to(item)
        elif item.hole == RECALLED_TEXT:
            self.alterations.recall(item.conv_id, map(SeqId, range(item.first, item.last + 1)))
        self.items.insert(altered, unknown)
        if unknown:
            self._advance(item)
        if unknown and altered.hole is None:
            self._apply_entry(altered)
        return bool(unknown)

    def is_before_join(self, item: TimelineItem) -> bool:
        """Return whether an item lies before a join: only the store has its current text."""
        return item.last < self.conversations.get(item.conv_id).joined

    def mark_read(self, conv_id: str, seq: SeqId) -> None:
        """Store a read mark, and its message count if its entry is here."""
        json = self.items.entry_json(conv_id, seq)
        counted = None if json is None else count_of(json)
        self.read_marks.put(conv_id, self.read_marks.get(conv_id).read_to(seq, counted))

    def note_read_mark(self, listed: Listed) -> None:
        """Store the end of a conversation and the owner's read mark, as the store lists them."""
        end = Counted(listed.head, listed.messages)
        state = self.read_marks.get(listed.conv_id).ends_at(end)
        counted = listed.messages - listed.unread
        self.read_marks.put(listed.conv_id, state.read_to(listed.read, counted))

    def note_description(self, listed: Listed) -> None:
        """Store name and metadata as the store lists them; a former member sees neither."""
        if listed.mode is not None:
            self.descriptions.put(listed.conv_id, listed.head, *listed.description)

    def note_mute(self, listed: Listed) -> None:
        """Store a mute as the store lists it. A mute with a higher sync SeqId is retained."""
        if listed.mute is not None:
            self.mutes.put(listed.conv_id, listed.mute.until, listed.mute.sync_seq)

    def note_pushed_head(self, conv_id: str, head: SeqId) -> bool:
        """Store a head from a live connection; return whether the conversation is known."""
        is_known = self.conversations.is_known(conv_id)
        if is_known:
            self.conversations.raise_head(conv_id, head)
        return is_known

    @property
    def has_erased(self) -> bool:
        """Whether a text was erased that is still in the write-ahead log of the file."""
        return self._has_forgotten or self.alterations.has_erased

    def write(self) -> None:
        """Write the rows that have changed."""
        self.conversations.write()
        self.read_marks.write()

    def _advance(self, item: TimelineItem) -> None:
        before = self.conversations.get(item.conv_id)
        above = self.items.spans_above(item.conv_id, before.through)
        entry = None if item.hole is not None else known_entry(item)
        newer = None if entry is None else standing_after(entry, self._user)
        standing = later(before.standing, newer)
        self.conversations.put(
            before._replace(
                head=max(before.head, item.last), through=reach(before.through, above),
                mode=standing.mode, mode_seq=standing.seq,
            )
        )  # fmt: skip

    def _apply_entry(self, item: TimelineItem) -> None:
        entry = known_entry(item)
        if isinstance(entry, MessageRecalled):
            self.alterations.recall(entry.conv_id, (entry.target, *entry.edits))
        elif isinstance(entry, MessageEdited):
            self.alterations.edit(entry)
        elif isinstance(entry, ConversationDescribed):
            self.descriptions.put(entry.conv_id, entry.seq, entry.name, entry.metadata)
        before = self.conversations.get(item.conv_id)
        self.conversations.put(after_join(self._db, before, item, self._user))

"""The conversations in a local store: heads, shown SeqIds, modes and starts."""

from __future__ import annotations

import sqlite3
from typing import Final

from consumers.device.knowledge import UNKNOWN, LocalConversation, TimelineItem
from schemas.number_types import SeqId

_SELECT: Final = (
    "SELECT conv_id, head, through, shown, mode, mode_seq, start, joined FROM conversation"
)
"""The columns are the fields of `LocalConversation`."""

_SAVE: Final = """
INSERT OR REPLACE INTO conversation
    (conv_id, head, through, shown, mode, mode_seq, start, joined)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


class ConversationRows:
    """Part of one transaction. `write` writes the changed rows at its end, once each.

    Args:
        db: The file, inside a transaction.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._rows: dict[str, LocalConversation] = {}
        self._changed: set[str] = set()
        self._known: set[str] = set()

    def get(self, conv_id: str) -> LocalConversation:
        """Return what is known, this transaction included; all zeros if nothing is known."""
        if conv_id not in self._rows:
            row = self._db.execute(f"{_SELECT} WHERE conv_id = ?", (conv_id,)).fetchone()
            self._rows[conv_id] = LocalConversation(*row or (conv_id,))
            if row:
                self._known.add(conv_id)
        return self._rows[conv_id]

    def is_known(self, conv_id: str) -> bool:
        """Return whether a conversation has a row, this transaction included."""
        self.get(conv_id)
        return conv_id in self._known

    def put(self, conversation: LocalConversation) -> None:
        """Replace the row of a conversation."""
        self._rows[conversation.conv_id] = conversation
        self._changed.add(conversation.conv_id)
        self._known.add(conversation.conv_id)

    def raise_head(self, conv_id: str, head: SeqId) -> None:
        """Store the head of a conversation, unless a later head is known."""
        before = self.get(conv_id)
        self.put(before._replace(head=max(before.head, head)))

    def stored(self) -> list[LocalConversation]:
        """Return all known conversations, by id, as the file has them."""
        rows = self._db.execute(f"{_SELECT} ORDER BY conv_id")
        return [LocalConversation(*row) for row in rows]

    def has_pulled(self) -> bool:
        """Return whether the file has a conversation in mode pull."""
        row = self._db.execute("SELECT 1 FROM conversation WHERE mode = 'pull' LIMIT 1").fetchone()
        return row is not None

    def to_show(self, limit: int) -> list[LocalConversation]:
        """Return the first ``limit`` conversations that have something to show, by id."""
        rows = self._db.execute(
            f"{_SELECT} WHERE shown < through ORDER BY conv_id LIMIT ?", (limit,)
        )
        return [LocalConversation(*row) for row in rows]

    def incomplete(self, limit: int) -> list[LocalConversation]:
        """Return the first ``limit`` conversations that have a gap, by id."""
        rows = self._db.execute(
            f"{_SELECT} WHERE through < head ORDER BY conv_id LIMIT ?", (limit,)
        )
        return [LocalConversation(*row) for row in rows]

    def mark_shown(self, item: TimelineItem) -> None:
        """Store that an item was shown; the mark does not pass the first gap."""
        self._db.execute(
            "UPDATE conversation SET shown = max(shown, min(through, ?)) WHERE conv_id = ?",
            (item.last, item.conv_id),
        )

    def write(self) -> None:
        """Write the rows that have changed."""
        self._db.executemany(_SAVE, [self._rows[conv_id] for conv_id in self._changed])


def shown_from(conv_id: str, first: SeqId) -> LocalConversation:
    """Return a new conversation that the device shows from the SeqId ``first``."""
    before = SeqId(first - 1)
    return LocalConversation(conv_id, before, before, before, *UNKNOWN, first)

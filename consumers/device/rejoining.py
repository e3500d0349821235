"""The items that a device deletes after its owner rejoined, and reads again from the store.

Messages may have been edited during the absence. An edit only reaches a limited number of SeqIds
back, so only items within this distance before the join are deleted.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from consumers.device.knowledge import LocalConversation, TimelineItem
from schemas.errors import UndecodableRecord
from schemas.limits import RECENT_PAGE, RECENT_PAGES
from schemas.records import AnyEntry, ConversationCreated, MembersAdded

_REMEMBERED: Final = RECENT_PAGE * (RECENT_PAGES + 1)
"""A message is at most this number of SeqIds before its edits."""

_FIRST_TO_READ: Final = """
SELECT coalesce(
    (SELECT max(first) FROM item WHERE conv_id = :conv AND first <= last_entry - :most),
    (SELECT min(first) FROM item WHERE conv_id = :conv AND last_entry IS NOT NULL))
FROM (SELECT max(first) AS last_entry FROM item
      WHERE conv_id = :conv AND first < :seq AND hole IS NULL)
"""


def after_join(
    db: sqlite3.Connection, before: LocalConversation, item: TimelineItem, user: str
) -> LocalConversation:
    """Return the conversation after an item; a join of ``user`` deletes some items before it.

    A join that is known, or older than a known join, changes nothing.
    """
    entry = known_entry(item)
    if not isinstance(entry, ConversationCreated | MembersAdded) or user not in entry.members:
        return before
    if entry.seq <= before.joined:
        return before
    place = {"conv": entry.conv_id, "seq": entry.seq, "most": _REMEMBERED}
    (first,) = db.execute(_FIRST_TO_READ, place).fetchone()
    if first is None:
        return before._replace(joined=entry.seq)
    db.execute(
        "DELETE FROM item WHERE conv_id = ? AND first >= ? AND last < ?",
        (entry.conv_id, first, entry.seq),
    )
    through = min(before.through, first - 1)
    return before._replace(joined=entry.seq, through=through, shown=min(before.shown, through))


def known_entry(item: TimelineItem) -> AnyEntry | None:
    """Return the entry; None if it is of a later version, which is stored as it is."""
    try:
        return item.entry()
    except UndecodableRecord:
        return None

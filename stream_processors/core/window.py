"""The ids that one device had accepted last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from schemas.limits import DEDUP_WINDOW

PAGE_SLOTS: Final = 8
"""Slots of a window that one state record holds.

More make fewer records where a device sends much, and larger ones where it sends little.
"""


PAGES: Final = DEDUP_WINDOW // PAGE_SLOTS


class Accepted(Struct, frozen=True, array_like=True, gc=False):
    """One accepted id: the place it takes in its window, its SeqId, a digest of its command."""

    slot: int
    seq: int
    digest: int


class Window:
    """The greatest accepted ids of one (conversation, sender, device), oldest first.

    An id below a full window is not in it although it may have been accepted: that is what
    *stale* means. The smallest makes room, so all that were ever dropped are below all that are
    held, and an id above the smallest that is not held was never accepted.
    """

    __slots__ = ("_touched", "ids")

    def __init__(self, ids: dict[str, Accepted] | None = None) -> None:
        self.ids = {} if ids is None else ids
        self._touched = 0  # a bit for each page

    def slot_for(self, client_msg_id: str) -> int | None:
        """The slot that an id takes if it is accepted: a free one, or the oldest one's.

        None where the id is stale: older than a full window.
        """
        ids = self.ids
        held = len(ids)
        if held < DEDUP_WINDOW:
            return held
        oldest = next(iter(ids))
        return None if client_msg_id < oldest else ids[oldest].slot

    def accept(self, client_msg_id: str, accepted: Accepted) -> bool:
        """Remembers an id that `slot_for` gave its slot; a full window drops its oldest.

        Returns:
            Whether this is the first since `take_touched`.
        """
        first = not self._touched
        self._touched |= 1 << accepted.slot // PAGE_SLOTS
        ids = self.ids
        if len(ids) >= DEDUP_WINDOW:
            del ids[next(iter(ids))]
        arrived_late = bool(ids) and client_msg_id < next(reversed(ids))
        ids[client_msg_id] = accepted
        if arrived_late:
            self.ids = dict(sorted(ids.items()))
        return first

    def take_touched(self) -> list[int]:
        """The pages that changed since this was last asked."""
        pages = [page for page in range(PAGES) if self._touched >> page & 1]
        self._touched = 0
        return pages

    def page(self, page: int) -> list[tuple[str, Accepted]]:
        """The ids that the slots of this page hold."""
        return [item for item in self.ids.items() if item[1].slot // PAGE_SLOTS == page]

    def restore(self, page: int, ids: Sequence[tuple[str, Accepted]]) -> None:
        """Replaces a page. A compacted log brings the pages in any order."""
        others = [item for item in self.ids.items() if item[1].slot // PAGE_SLOTS != page]
        self.ids = dict(sorted([*others, *ids]))

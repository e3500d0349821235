"""The ids that one device had accepted last."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

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


Held: TypeAlias = tuple[str, Accepted]
"""An accepted id, and what is known of it."""


class Window:
    """The greatest accepted ids of one (conversation, sender, device), oldest first.

    An id below a full window is not in it although it may have been accepted: that is what
    *stale* means. The smallest makes room, so all that were ever dropped are below all that are
    held, and an id above the smallest that is not held was never accepted.

    Nearly every id is greater than all before it, and is told so by one comparison. A table of
    ids would have to be looked up each time, in memory that the processor has long forgotten.

    Args:
        held: Its ids, in their order.
    """

    __slots__ = ("_held", "_newest", "_touched")

    def __init__(self, held: Iterable[Held] = ()) -> None:
        self._newest = ""
        self._hold(held)
        self._touched = 0  # a bit for each page

    @property
    def held(self) -> Sequence[Held]:
        """All that it holds, oldest first."""
        return self._held

    def known(self, client_msg_id: str) -> Accepted | None:
        """What is known of an id; None where it was never accepted, or too long ago."""
        if client_msg_id > self._newest:
            return None
        return next((known for held, known in self._held if held == client_msg_id), None)

    def slot_for(self, client_msg_id: str) -> int | None:
        """The slot that an id takes if it is accepted: a free one, or the oldest one's.

        None where the id is stale: older than a full window.
        """
        held = self._held
        if len(held) < DEDUP_WINDOW:
            return len(held)
        oldest, known = held[0]
        return None if client_msg_id < oldest else known.slot

    def accept(self, client_msg_id: str, accepted: Accepted) -> bool:
        """Remembers an id that `slot_for` gave its slot; a full window drops its oldest.

        Returns:
            Whether this is the first since `take_touched`.
        """
        first = not self._touched
        self._touched |= 1 << accepted.slot // PAGE_SLOTS
        if client_msg_id > self._newest:
            self._held.append((client_msg_id, accepted))
            self._newest = client_msg_id
        else:
            self._hold(sorted([*self._held, (client_msg_id, accepted)]))
        return first

    def take_touched(self) -> list[int]:
        """The pages that changed since this was last asked."""
        pages = [page for page in range(PAGES) if self._touched >> page & 1]
        self._touched = 0
        return pages

    def page(self, page: int) -> list[Held]:
        """The ids that the slots of this page hold."""
        return [item for item in self._held if item[1].slot // PAGE_SLOTS == page]

    def restore(self, page: int, ids: Sequence[Held]) -> None:
        """Replaces a page. A compacted log brings the pages in any order."""
        others = [item for item in self._held if item[1].slot // PAGE_SLOTS != page]
        self._hold(sorted([*others, *ids]))

    def _hold(self, held: Iterable[Held]) -> None:
        self._held = deque(held, DEDUP_WINDOW)  # what is too much goes from the front
        self._newest = self._held[-1][0] if self._held else ""

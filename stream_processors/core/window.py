"""The latest decided ids of one device, and the outcome of each.

The ids of a device grow, so a window is only appended to: an id that is not above the newest is
known, or it is stale. A rejection is an outcome as an entry is, and takes a place, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from schemas.errors import RejectionCode
from schemas.limits import DEDUP_WINDOW

PAGE_SLOTS: Final = 8
"""Slots of a window that one state record holds.

More make fewer records where a device sends much, and larger ones where it sends little.
"""


PAGES: Final = DEDUP_WINDOW // PAGE_SLOTS

_EACH_PAGE: Final = (1 << PAGES) - 1
_WHOLE: Final = 1 << PAGES


class Decided(Struct, frozen=True, array_like=True, gc=False):
    """The outcome of one id: a SeqId, or a rejection ``code`` and 0 as ``seq``.

    ``slot`` is the place of the id in its window, ``digest`` that of the command.
    """

    slot: int
    seq: int
    digest: int
    code: RejectionCode | None = None


Held: TypeAlias = tuple[str, Decided]
"""A decided id and its outcome."""


class Window:
    """The latest decided ids of one device in one conversation, oldest first.

    Nearly every id is above the newest, which one comparison shows. A table of ids would have to
    be looked up each time, in memory that is no longer in the cache of the processor.

    Args:
        held: The ids, in their order.
        newest: No id up to this one is new; that of ``held`` if it is greater.

    Attributes:
        newest: The greatest id that was decided; an id above it is new.
        place: Which of the windows of its sender it is, from 0.
    """

    __slots__ = ("_held", "_touched", "newest", "place")

    def __init__(self, held: Iterable[Held] = (), newest: str = "", place: int = 0) -> None:
        self.place = place
        self._held = deque(held, DEDUP_WINDOW)  # the oldest leave a full window
        self.newest = max(newest, self._held[-1][0]) if self._held else newest
        self._touched = 0  # a bit for each page, and one for all of them

    @property
    def held(self) -> Sequence[Held]:
        """All ids of the window, oldest first."""
        return self._held

    def known(self, client_msg_id: str) -> Decided | None:
        """The outcome of an id; None where the id is new, or too old to be remembered."""
        if client_msg_id > self.newest:
            return None
        return next((known for held, known in self._held if held == client_msg_id), None)

    def has_dropped(self, client_msg_id: str) -> bool:
        """Whether the window may have held this id and has lost it since."""
        return len(self._held) == DEDUP_WINDOW and client_msg_id < self._held[0][0]

    def append(
        self, client_msg_id: str, seq: int, digest: int, code: RejectionCode | None = None
    ) -> bool:
        """Remembers the outcome of an id above the newest; a full window drops its oldest.

        Returns:
            Whether this is the first id since `take_touched`.
        """
        held = self._held
        slot = (held[-1][1].slot + 1) % DEDUP_WINDOW if held else 0
        first = not self._touched & _EACH_PAGE
        self._touched |= 1 << slot // PAGE_SLOTS
        held.append((client_msg_id, Decided(slot, seq, digest, code)))
        self.newest = client_msg_id
        return first

    def touch(self) -> None:
        """Has every page written, the empty ones included: another window had the place before."""
        self._touched |= _WHOLE

    def take_touched(self) -> list[int]:
        """The pages that changed since this was last asked."""
        whole = self._touched & _WHOLE
        pages = [page for page in range(PAGES) if whole or self._touched >> page & 1]
        self._touched = 0
        return pages

    def page(self, page: int) -> list[Held]:
        """The ids that the slots of this page hold."""
        return [item for item in self._held if item[1].slot // PAGE_SLOTS == page]

    def restore(self, page: int, ids: Sequence[Held]) -> None:
        """Replaces a page. A compacted log brings the pages in any order."""
        others = [item for item in self._held if item[1].slot // PAGE_SLOTS != page]
        self._held = deque(sorted([*others, *ids]), DEDUP_WINDOW)
        self.newest = self._held[-1][0] if self._held else ""

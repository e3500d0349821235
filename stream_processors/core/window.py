"""The latest decided ids of one device, and the outcome of each.

The ids of a device grow, so ids are only appended to a window: an id that is not above the newest
is known, or it is stale. A rejection is an outcome like an entry, and takes a place as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from msgspec import Struct

from schemas.errors import RejectionCode
from schemas.limits import DEDUP_WINDOW
from schemas.number_types import SeqId

PAGE_IDS: Final = 8
"""Ids of a window in one state record.

More ids mean fewer records for a busy device, and larger records for a quiet device.
"""


PAGES: Final = DEDUP_WINDOW // PAGE_IDS

_EACH_PAGE: Final = (1 << PAGES) - 1
_ALL_PAGES: Final = 1 << PAGES

_PAGES_OF: Final = [
    tuple(page for page in range(PAGES) if touched & _ALL_PAGES or touched >> page & 1)
    for touched in range(2 * _ALL_PAGES)
]
"""The pages to write, by the bits of touched pages."""

_by_id: Final = attrgetter("client_msg_id")


class Decided(Struct, frozen=True, array_like=True, gc=False):
    """A decided id and its outcome: a SeqId, or a rejection ``code`` and 0 as ``seq``.

    ``index`` is the place of the id in its window, ``digest`` is the digest of the command.
    """

    client_msg_id: str
    index: int
    seq: SeqId
    digest: int
    code: RejectionCode | None = None


class Window:
    """The latest decided ids of one device in one conversation, oldest first.

    Nearly every id is above the newest, which one comparison shows. A table of ids would need a
    look-up for each id, in memory that is not in the processor's cache.

    Args:
        held: The latest ids, in their order. The caller must not use the list after this call.
        newest: No id up to this one is new; the newest id in ``held`` counts if it is greater.

    Attributes:
        newest: The greatest decided id; an id above it is new.
        place: The place of the window among the sender's windows, from 0.
    """

    __slots__ = ("_held", "_touched", "newest", "place")

    def __init__(
        self, held: list[Decided] | None = None, newest: str = "", place: int = 0
    ) -> None:
        self.place = place
        self._held = held or []
        self.newest = max(newest, held[-1].client_msg_id) if held else newest
        self._touched = 0  # a bit for each page, and one for all of them

    @property
    def held(self) -> Sequence[Decided]:
        """All ids of the window, oldest first."""
        return self._held

    def known(self, client_msg_id: str) -> Decided | None:
        """The outcome of an id; None if the id is new, or too old to be remembered."""
        if client_msg_id > self.newest:
            return None
        return next((each for each in self._held if each.client_msg_id == client_msg_id), None)

    def has_dropped(self, client_msg_id: str) -> bool:
        """Whether the window may have held this id and dropped it."""
        held = self._held
        return len(held) == DEDUP_WINDOW and client_msg_id < held[0].client_msg_id

    def append(
        self, client_msg_id: str, seq: SeqId, digest: int, code: RejectionCode | None = None
    ) -> bool:
        """Remembers the outcome of an id above the newest; a full window drops its oldest.

        Returns:
            Whether this is the first id since `take_touched`.
        """
        held = self._held
        index = (held[-1].index + 1) % DEDUP_WINDOW if held else 0
        first = not self._touched & _EACH_PAGE
        self._touched |= 1 << index // PAGE_IDS
        if len(held) == DEDUP_WINDOW:
            del held[0]
        held.append(Decided(client_msg_id, index, seq, digest, code))
        self.newest = client_msg_id
        return first

    def touch(self) -> None:
        """Marks every page to be written, even empty ones: another window had the place before."""
        self._touched |= _ALL_PAGES

    def take_touched(self) -> Sequence[int]:
        """The pages that changed since the last call."""
        pages = _PAGES_OF[self._touched]
        self._touched = 0
        return pages

    def page(self, page: int) -> list[Decided]:
        """The ids of this page."""
        return [each for each in self._held if each.index // PAGE_IDS == page]

    def restore(self, page: int, ids: Sequence[Decided]) -> None:
        """Replaces a page. A compacted log may have the pages in any order."""
        others = [each for each in self._held if each.index // PAGE_IDS != page]
        self._held = sorted([*others, *ids], key=_by_id)[-DEDUP_WINDOW:]
        self.newest = self._held[-1].client_msg_id if self._held else ""

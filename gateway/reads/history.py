"""History: a range of a conversation timeline, page by page, forwards or backwards.

Every SeqId of the range is an entry or part of a typed hole. A page ends at its number of items,
at its bytes, or at the end of the range.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from msgspec import Raw

from gateway.reads.access import ConversationAccess
from gateway.reads.shown import as_shown, hole_of
from gateway.store.store_port import SLICE, Store, StoredEntry
from schemas.http.answers import HistoryItem, HistoryPage, Hole, HoleKind
from schemas.number_types import SeqId
from schemas.visibility import visible

MAX_PAGE_BYTES: Final = 1_048_576
"""Maximum size of a page. A page is larger only if it has one entry that is larger."""


class HistoryRequest(NamedTuple):
    """The SeqIds ``first`` to ``last``, in pages of at most ``limit`` items."""

    first: SeqId
    last: SeqId
    limit: int
    newest_first: bool


class SeqRun(NamedTuple):
    """Adjacent SeqIds with the same result; ``hole`` is None if entries are to be read."""

    first: SeqId
    last: SeqId
    hole: HoleKind | None


def runs(access: ConversationAccess, request: HistoryRequest) -> Iterator[SeqRun]:
    """Cuts a range where the caller's access changes, in the requested order.

    The head is a cut only for a member. For a former member, a cut there would reveal the present
    head of the conversation.
    """
    starts = {request.first}
    unstored = SeqId(access.stored + 1)
    if visible(access.readable, unstored):
        starts.add(unstored)
    for part in access.readable:
        starts.add(part.first)
        starts.update(() if part.last is None else (SeqId(part.last + 1),))
    firsts = sorted(seq for seq in starts if request.first <= seq <= request.last)
    lasts = [*(SeqId(seq - 1) for seq in firsts[1:]), request.last]
    pairs = list(zip(firsts, lasts, strict=False))  # an empty range has none
    for first, last in reversed(pairs) if request.newest_first else pairs:
        yield SeqRun(first, last, _hole(access, first))


def _hole(access: ConversationAccess, seq: SeqId) -> HoleKind | None:
    if access.may_see(seq):
        return None
    return "not_yet" if visible(access.readable, seq) else "hidden"


async def read_history(
    store: Store, access: ConversationAccess, request: HistoryRequest
) -> HistoryPage[HistoryItem]:
    """One page of a range.

    Raises:
        ServerUnavailable: The store does not answer.
    """
    page = _Page(request)
    for run in runs(access, request):
        if page.full:
            break
        if run.hole is not None:
            page.add_hole(run.hole, run.first, run.last)
        else:
            await _read_run(store, access, run, page)
    return HistoryPage(
        conv_id=access.conv_id, head=access.head, items=page.items, next=page.next_seq()
    )


async def _read_run(store: Store, access: ConversationAccess, run: SeqRun, page: _Page) -> None:
    first, last = run.first, run.last
    while first <= last and not page.full:
        count = min(SLICE, page.room, last - first + 1)
        if page.request.newest_first:
            part = (SeqId(last - count + 1), last)
            last = SeqId(last - count)
        else:
            part = (first, SeqId(first + count - 1))
            first = SeqId(first + count)
        entries = await store.entries(access.conv_id, *part)
        page.add_slice(part, await as_shown(store, access, entries))


class _Page:
    """The items so far, and the part of the range that they cover."""

    def __init__(self, request: HistoryRequest) -> None:
        self.request = request
        self.items: list[HistoryItem] = []
        self.full = False
        self._bytes = 0
        self._covered: SeqId | None = None

    @property
    def room(self) -> int:
        """The number of items that fit."""
        return self.request.limit - len(self.items)

    def next_seq(self) -> SeqId | None:
        """The SeqId at which the next page begins."""
        request = self.request
        step, end = (-1, request.first) if request.newest_first else (1, request.last)
        if self._covered is None or self._covered == end:
            return None
        return SeqId(self._covered + step)

    def add_slice(self, part: tuple[SeqId, SeqId], stored: list[StoredEntry]) -> None:
        """Adds adjacent SeqIds, each as its entry or as a hole."""
        entries = {entry.seq: entry for entry in stored}
        first, last = part
        seqs = range(first, last + 1)
        for seq in map(SeqId, reversed(seqs) if self.request.newest_first else seqs):
            if self.full:
                return
            hole = hole_of(entries.get(seq))
            if hole is None:
                self._add_entry(entries[seq])
            else:
                self.add_hole(hole, seq, seq)

    def _add_entry(self, entry: StoredEntry) -> None:
        self._bytes += len(entry.json)
        if self.items and self._bytes > MAX_PAGE_BYTES:
            self.full = True
            return
        self._add(Raw(entry.json), entry.seq)

    def add_hole(self, kind: HoleKind, first: SeqId, last: SeqId) -> None:
        """Adds a hole, or merges it into the adjacent hole."""
        covered = first if self.request.newest_first else last
        before = self.items[-1] if self.items else None
        if isinstance(before, Hole) and before.hole == kind:
            merged = Hole(kind, min(before.first, first), max(before.last, last))
            self.items[-1] = merged
            self._covered = covered
        else:
            self._add(Hole(kind, first, last), covered)

    def _add(self, item: HistoryItem, covered: SeqId) -> None:
        self.items.append(item)
        self._covered = covered
        self.full = self.room <= 0

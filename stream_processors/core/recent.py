"""The latest messages of a conversation: who said them and when, for who recalls or edits them.

A ring of pages of `RECENT_PAGE` SeqIds each. The page that is written to is kept as it is; the
others, which are read once in a while, are kept as bytes, a tenth of the size. A page that is
full is logged once; the open one is logged with the head of the conversation.

The same SeqIds are remembered whenever it is asked, whatever has been restored in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from schemas.limits import RECENT_PAGE, RECENT_PAGES

_encode: Final = msgspec.msgpack.Encoder().encode


class Said(Struct, frozen=True, array_like=True, gc=False):
    """One message. ``at`` is the broker's time of its command, in milliseconds since 1970.

    ``pulled``: which of the message and its edits did not go to everybody. ``told``: the others
    whom the message went to then.
    ``edits``: the SeqIds of its edits, in their order.
    """

    sender: str
    at: int
    pulled: tuple[int, ...] = ()
    told: tuple[str, ...] = ()
    edits: tuple[int, ...] = ()
    recalled: bool = False


Plain: TypeAlias = tuple[str, int]
"""`Said` of a message that went to everybody and that nothing has happened to: sender and time.

Nearly all are, and a tuple costs a fifth of what a struct costs.
"""


class ClosedPage(NamedTuple):
    """A page that is logged by itself. ``number`` is its place in the ring."""

    number: int
    packed: bytes


_Odd = tuple[int, tuple[int, ...], tuple[str, ...], tuple[int, ...], bool]


class _Packed(Struct, frozen=True, array_like=True):
    """Messages by column. ``places``: SeqId, sender and time of each, less those of the first."""

    page: int
    at: int
    senders: list[str]
    places: list[int]
    odd: list[_Odd]


_decode: Final = msgspec.msgpack.Decoder(_Packed).decode


class RecentMessages:
    """The messages among the last SeqIds of one conversation.

    Args:
        page: The number of the open page, counted from SeqId 0.
        messages: What it holds, by SeqId. Belongs to this object from now on, as ``closed`` does.
        closed: The pages before it, by their place in the ring.
    """

    __slots__ = ("_closed", "_end", "_open", "_page")

    def __init__(
        self,
        page: int = 0,
        messages: dict[int, Said | Plain] | None = None,
        closed: dict[int, bytes] | None = None,
    ) -> None:
        self._closed = {} if closed is None else closed
        self._open: dict[int, Said | Plain] = {} if messages is None else messages
        self._page, self._end = page, (page + 1) * RECENT_PAGE

    @property
    def page(self) -> int:
        """The number of the open page."""
        return self._page

    @property
    def open(self) -> Mapping[int, Said | Plain]:
        """What the open page holds, by SeqId."""
        return self._open

    @property
    def closed(self) -> Mapping[int, bytes]:
        """The other pages, by their place in the ring."""
        return self._closed

    def add(self, seq: int, said: Said | Plain) -> ClosedPage | None:
        """Takes in a message that is later than all others.

        Returns:
            The page that was closed by it, to be logged.
        """
        if seq < self._end:
            self._open[seq] = said
            return None
        closed = self._keep(self._page, self._open) if self._open else None
        self.restore_open(seq // RECENT_PAGE, {seq: said})
        return closed

    def replace(self, seq: int, said: Said) -> ClosedPage | None:
        """Takes in what has become of a message that `find` has found.

        Returns:
            The page that was changed by it, to be logged; the open one is logged anyway.
        """
        page = seq // RECENT_PAGE
        if page == self._page:
            self._open[seq] = said
            return None
        return self._keep(page, {**_unpack(self._closed[page % RECENT_PAGES]), seq: said})

    def find(self, seq: int) -> Said | None:
        """The message of this SeqId, if it is one and `remembers` it."""
        page = seq // RECENT_PAGE
        if page == self._page:
            said = self._open.get(seq)
            return Said(*said) if isinstance(said, tuple) else said
        packed = self._closed.get(page % RECENT_PAGES)
        return None if packed is None else _unpack(packed).get(seq)

    def remembers(self, seq: int) -> bool:
        """Whether the page of this SeqId is kept: then it is a message only if it is found."""
        page = seq // RECENT_PAGE
        if page == self._page:
            return True
        packed = self._closed.get(page % RECENT_PAGES)
        return self._page - RECENT_PAGES < page < self._page and (
            packed is not None and _decode(packed).page == page
        )

    def restore_page(self, closed: ClosedPage) -> None:
        """Replaces a page by what was logged of it."""
        self._closed[closed.number] = closed.packed

    def restore_open(self, page: int, messages: Mapping[int, Said | Plain]) -> None:
        """Replaces the open page by what was logged of it."""
        self._page, self._end = page, (page + 1) * RECENT_PAGE
        self._open = dict(messages)

    def _keep(self, page: int, messages: Mapping[int, Said | Plain]) -> ClosedPage:
        closed = ClosedPage(page % RECENT_PAGES, _pack(page, messages))
        self._closed[closed.number] = closed.packed
        return closed


def _pack(page: int, messages: Mapping[int, Said | Plain]) -> bytes:
    first, at = page * RECENT_PAGE, 0
    senders: dict[str, int] = {}
    places: list[int] = []
    odd: list[_Odd] = []
    for seq, said in messages.items():
        if isinstance(said, tuple):
            sender, said_at = said
        else:
            sender, said_at = said.sender, said.at
            odd.append((seq - first, said.pulled, said.told, said.edits, said.recalled))
        at = at or said_at
        places += (seq - first, senders.setdefault(sender, len(senders)), said_at - at)
    return _encode((page, at, list(senders), places, odd))


def _unpack(packed: bytes) -> dict[int, Said]:
    page = _decode(packed)
    first, numbers = page.page * RECENT_PAGE, iter(page.places)
    odd = {place: rest for place, *rest in page.odd}
    return {
        first + place: Said(page.senders[sender], page.at + later, *odd.get(place, ()))
        for place, sender, later in zip(numbers, numbers, numbers, strict=True)
    }

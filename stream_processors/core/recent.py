"""The latest messages of a conversation with sender and time, for recalls and edits.

A ring of pages of `RECENT_PAGE` SeqIds each. The open page, which is written to, is held as
objects. The other pages, which are rarely read, are held as bytes, at a tenth of the size. A full
page is logged once; the open page is logged with the head of the conversation.

A restore does not change the remembered SeqIds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from schemas.limits import RECENT_PAGE, RECENT_PAGES
from schemas.number_types import Milliseconds, SeqId

_encode: Final = msgspec.msgpack.Encoder().encode


class RememberedMessage(Struct, frozen=True, array_like=True, gc=False):
    """One message. ``at`` is the broker's time of its command, in milliseconds since 1970.

    ``pulled``: the message and edits that were not sent to all members. ``notified``: the other
    members to whom they were sent. ``edits``: the SeqIds of its edits, in their order.
    """

    sender: str
    at: Milliseconds
    pulled: tuple[SeqId, ...] = ()
    notified: tuple[str, ...] = ()
    edits: tuple[SeqId, ...] = ()
    recalled: bool = False


UnalteredMessage: TypeAlias = tuple[str, Milliseconds]
"""`RememberedMessage` of an unaltered message that was sent to all members: sender and time.

Nearly all messages are, and a tuple costs a fifth of a struct.
"""


class ClosedPage(NamedTuple):
    """A page with its own state record. ``number`` is its place in the ring."""

    number: int
    packed: bytes


_Odd = tuple[int, tuple[SeqId, ...], tuple[str, ...], tuple[SeqId, ...], bool]


class _Packed(Struct, frozen=True, array_like=True):
    """Messages by column. ``places``: SeqId, sender and time of each, relative to the first."""

    page: int
    at: Milliseconds
    senders: list[str]
    places: list[int]
    odd: list[_Odd]


_decode: Final = msgspec.msgpack.Decoder(_Packed).decode


class RecentMessages:
    """The messages among the last SeqIds of one conversation.

    Args:
        page: The number of the open page, counted from SeqId 0.
        messages: The messages of the open page by SeqId. The caller must not use this mapping or
            ``closed`` after the call.
        closed: The earlier pages, by their place in the ring.
    """

    __slots__ = ("_closed", "_end", "_open", "_page")

    def __init__(
        self,
        page: int = 0,
        messages: dict[SeqId, RememberedMessage | UnalteredMessage] | None = None,
        closed: dict[int, bytes] | None = None,
    ) -> None:
        self._closed = {} if closed is None else closed
        self._open: dict[SeqId, RememberedMessage | UnalteredMessage] = (
            {} if messages is None else messages
        )
        self._page, self._end = page, (page + 1) * RECENT_PAGE

    @property
    def page(self) -> int:
        """The number of the open page."""
        return self._page

    @property
    def open(self) -> Mapping[SeqId, RememberedMessage | UnalteredMessage]:
        """The messages of the open page, by SeqId."""
        return self._open

    @property
    def closed(self) -> Mapping[int, bytes]:
        """The other pages, by their place in the ring."""
        return self._closed

    def add(
        self, seq: SeqId, remembered: RememberedMessage | UnalteredMessage
    ) -> ClosedPage | None:
        """Adds a message that is later than all others.

        Returns:
            The page that this closed and that must be logged, or None.
        """
        if seq < self._end:
            self._open[seq] = remembered
            return None
        closed = self._close(self._page, self._open) if self._open else None
        self.restore_open(seq // RECENT_PAGE, {seq: remembered})
        return closed

    def replace(self, seq: SeqId, remembered: RememberedMessage) -> ClosedPage | None:
        """Replaces a message that `find` has found.

        Returns:
            The changed page, to be logged; None for the open page, which is logged anyway.
        """
        page = seq // RECENT_PAGE
        if page == self._page:
            self._open[seq] = remembered
            return None
        return self._close(page, {**_unpack(self._closed[page % RECENT_PAGES]), seq: remembered})

    def find(self, seq: SeqId) -> RememberedMessage | None:
        """The message with this SeqId; None if it is not a message or not remembered."""
        page = seq // RECENT_PAGE
        if page == self._page:
            remembered = self._open.get(seq)
            return RememberedMessage(*remembered) if isinstance(remembered, tuple) else remembered
        packed = self._closed.get(page % RECENT_PAGES)
        return None if packed is None else _unpack(packed).get(seq)

    def remembers(self, seq: SeqId) -> bool:
        """Whether the page of this SeqId is held. Then `find` is None only for other entries."""
        page = seq // RECENT_PAGE
        if page == self._page:
            return True
        packed = self._closed.get(page % RECENT_PAGES)
        return self._page - RECENT_PAGES < page < self._page and (
            packed is not None and _decode(packed).page == page
        )

    def restore_page(self, closed: ClosedPage) -> None:
        """Replaces a page by its logged content."""
        self._closed[closed.number] = closed.packed

    def restore_open(
        self, page: int, messages: Mapping[SeqId, RememberedMessage | UnalteredMessage]
    ) -> None:
        """Replaces the open page by its logged content."""
        self._page, self._end = page, (page + 1) * RECENT_PAGE
        self._open = dict(messages)

    def _close(
        self, page: int, messages: Mapping[SeqId, RememberedMessage | UnalteredMessage]
    ) -> ClosedPage:
        closed = ClosedPage(page % RECENT_PAGES, _pack(page, messages))
        self._closed[closed.number] = closed.packed
        return closed


def _pack(page: int, messages: Mapping[SeqId, RememberedMessage | UnalteredMessage]) -> bytes:
    first, at = page * RECENT_PAGE, 0
    senders: dict[str, int] = {}
    places: list[int] = []
    odd: list[_Odd] = []
    for seq, remembered in messages.items():
        if isinstance(remembered, tuple):
            sender, remembered_at = remembered
        else:
            sender, remembered_at = remembered.sender, remembered.at
            odd.append(
                (
                    seq - first,
                    remembered.pulled,
                    remembered.notified,
                    remembered.edits,
                    remembered.recalled,
                )
            )
        at = at or remembered_at
        places += (seq - first, senders.setdefault(sender, len(senders)), remembered_at - at)
    return _encode((page, at, list(senders), places, odd))


def _unpack(packed: bytes) -> dict[SeqId, RememberedMessage]:
    page = _decode(packed)
    first, numbers = page.page * RECENT_PAGE, iter(page.places)
    odd = {place: rest for place, *rest in page.odd}
    return {
        SeqId(first + place): RememberedMessage(
            page.senders[sender], Milliseconds(page.at + later), *odd.get(place, ())
        )
        for place, sender, later in zip(numbers, numbers, numbers, strict=True)
    }

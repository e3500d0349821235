"""The methods of a client that read."""

from __future__ import annotations

from collections.abc import AsyncIterator

from im_timeline_client import routes
from im_timeline_client.answers import Conversation, Item, Member, SearchPage, SyncRecord
from im_timeline_client.gateway import HISTORY_PAGE, LIST_PAGE
from im_timeline_client.items import Items
from im_timeline_client.session import Session


class Reads(Session):
    """The methods that read. Errors: see `Client`."""

    def items(self, since: str | None = None, *, patience: float | None = None) -> Items:
        """Return an endless iteration over the entries of all conversations, as they arrive.

        Within a conversation, the items are in the order of SeqIds, each SeqId once, and nothing
        is left out. After a lost connection the iteration continues by itself.

        Args:
            since: A checkpoint of an earlier iteration (`Items.checkpoint`), also of an earlier
                process. None: what is sent from now on.
            patience: Seconds without an answer of the gateway after which the iteration raises
                `GatewayUnavailable`; None: it retries without end.

        Raises:
            ValueError: ``since`` is not a checkpoint.
        """
        items = Items(self._open(), self._user, since, patience)
        self._iterations.add(items)
        return items

    async def conversations(self, *, newest_first: bool = True) -> AsyncIterator[Conversation]:
        """Yield all conversations that the person is or was in, page by page.

        Args:
            newest_first: By the time of the last entry. A conversation that changes between two
                pages may then be missing. False: by id, and complete.
        """
        async for each in self._open().conversations("activity" if newest_first else "id"):
            yield each

    async def members(self, conv_id: str) -> AsyncIterator[Member]:
        """Yield the present members of a conversation by id, page by page."""
        route, after = routes.MEMBERS, None
        while True:
            path = route.at(id=conv_id)
            page = await self._open().read(route, path, after=after, limit=LIST_PAGE)
            for each in page.members:
                yield each
            after = page.next
            if after is None:
                return

    async def history(
        self,
        conv_id: str,
        first: int = 1,
        last: int | None = None,
        *,
        newest_first: bool = False,
    ) -> AsyncIterator[Item]:
        """Yield a range of a conversation, each SeqId as an entry or as a part of a hole.

        Args:
            conv_id: The conversation.
            first: The lowest SeqId.
            last: The highest SeqId; None: the present head.
            newest_first: Descending SeqIds.
        """
        route, order = routes.HISTORY, "desc" if newest_first else "asc"
        while True:
            page = await self._open().read(
                route, route.at(id=conv_id), from_=first, to=last, order=order, limit=HISTORY_PAGE
            )
            for item in page.shown():
                yield item
            if page.next is None:
                return
            last = (page.next if newest_first else last) or page.head
            first = first if newest_first else page.next

    async def search(
        self,
        query: str,
        *,
        conv_id: str | None = None,
        sender: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> SearchPage:
        """Return a page of messages that match a query.

        Args:
            query: All words must occur; quotes make a phrase.
            conv_id: Only in this conversation.
            sender: Only by this person.
            limit: The maximum number of messages; the gateway has a default.
            cursor: The ``next`` of an earlier page.
        """
        route = routes.SEARCH
        return await self._open().read(
            route, route.at(), q=query, conversation=conv_id, sender=sender, limit=limit,
            cursor=cursor,
        )  # fmt: skip

    async def sync(self, after: int = -1) -> AsyncIterator[SyncRecord]:
        """Yield the records of the sync timeline above a cursor, up to its present end.

        Args:
            after: A sync SeqId; -1: from the oldest record on.

        Raises:
            Trimmed: Records after the cursor have expired.
            CursorAhead: The log has lost the records up to the cursor: begin again with -1.
        """
        while True:
            page = await self._open().sync(after)
            for each in page.records:
                yield each
            after = page.next
            if not page.more:
                return

"""The order of a person's conversations, and the cursors of its pages.

By id, a page needs one query for any number of conversations. By activity, each page reads the
times of all conversations of the person and sorts them, so the number is bounded
(`gateway.store.store_port.MAX_SORTED`). A person above the bound gets pages by id, and the page
says so.

A cursor of a page by activity is the time and the id of the last conversation on the page. A
conversation that gets an entry between two pages moves to the front, so a later page may miss it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gateway.errors import CursorOfAnotherOrder
from gateway.store.store_port import MAX_SORTED, Store
from schemas.http.queries import ConversationOrder

_CURSOR: Final = re.compile(r"i:(?P<only>.+)|t(?P<at>[0-9]{1,19}):(?P<id>.+)", re.DOTALL)
"""A cursor of a request by activity: after an id, or after a time and an id."""


class ConversationChoice(NamedTuple):
    """The conversations of one page, in order.

    ``times``: the times by which they were sorted; empty in a page by id. ``by_request`` is the
    requested order, which decides the form of the cursor.
    """

    conv_ids: list[str]
    more: bool
    order: ConversationOrder
    by_request: ConversationOrder
    times: dict[str, int]

    def cursor(self, conv_id: str, active: int) -> str:
        """The cursor after a conversation of this page.

        Args:
            conv_id: The conversation.
            active: The time that the caller may know. A person who was just removed may not know
                the time that sorted the conversation.
        """
        if self.by_request == "id":
            return conv_id
        if self.order == "id":
            return f"i:{conv_id}"
        return f"t{min(active, self.times[conv_id])}:{conv_id}"


async def choose_conversations(
    store: Store, user: str, order: ConversationOrder, after: str | None, limit: int
) -> ConversationChoice:
    """The conversations of one page.

    Raises:
        CursorOfAnotherOrder: The cursor is not from a page in this order.
        ServerUnavailable: The store does not answer.
    """
    if order == "id":
        return await _by_id(store, user, after or "", limit, order)
    cursor = None if after is None else _CURSOR.fullmatch(after)
    if after is not None and cursor is None:
        raise CursorOfAnotherOrder
    if cursor is not None and cursor["only"] is not None:
        return await _by_id(store, user, cursor["only"], limit, order)
    times = await store.activities(user, MAX_SORTED)
    if times is None:
        if cursor is not None:
            raise CursorOfAnotherOrder
        return await _by_id(store, user, "", limit, order)
    begin = None if cursor is None else (-int(cursor["at"]), cursor["id"])
    keys = sorted((-at, conv_id) for conv_id, at in times.items())
    ids = [key[1] for key in keys if begin is None or key > begin]
    return ConversationChoice(ids[:limit], len(ids) > limit, "activity", order, times)


async def _by_id(
    store: Store, user: str, after: str, limit: int, by_request: ConversationOrder
) -> ConversationChoice:
    ids = await store.conversation_ids(user, after, limit + 1)
    return ConversationChoice(ids[:limit], len(ids) > limit, "id", by_request, {})

"""One live connection: the caller's sync timeline in pages, and heads of pulled conversations.

A live connection reads the store like any other request, when `gateway.log.wake_ups` wakes it.
Steps:

1. listen; 2. read the list of the person's conversations, and watch them; 3. send `LiveBegun`: a
client that reads heads from the store after this message misses no later head;
4. repeat: send the records after the cursor, then the heads that have moved; wait.

**Heads.** Most members get no sync records of a pulled conversation. The log announces its new
heads, and `gateway.reads.access` decides whether this person may see a head: the conversation must
be pulled, and the head must be in the person's open membership period. If the conversation is
pushed, or the person has left, the connection stops watching it. It watches the conversation again
when the person's sync timeline has a join or a change of the mode: these entries go to every
member whom they affect.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from msgspec import Struct

from gateway.bounds import REQUEST_SECONDS, within
from gateway.http.problems import Problem
from gateway.live.pace import Pace
from gateway.log.barrier import NO_BARRIER, Barrier
from gateway.log.wake_ups import Listener
from gateway.reads.access import ConversationAccess, access_conversation
from gateway.reads.sync_page import read_sync
from gateway.store.store_port import Store
from schemas.codec import decode_position
from schemas.errors import ServerUnavailable, UndecodableRecord
from schemas.http.answers import LiveBegun, LiveHead, LiveRecords
from schemas.visibility import periods, visible

HEADS_SECONDS: Final = 0.2
"""Interval of reading heads. Several new heads of a conversation in an interval become one."""

HEADS_AT_ONCE: Final = 16

_STORE_AWAY_SECONDS: Final = 1.0
_FIRST_REVIEW: Final = 5.0
_REVIEW_SECONDS: Final = 60.0
"""Interval of reading the person's conversations. Only needed for a conversation that the store
did not have yet when the connection had already passed its record."""

_OPENING: Final = frozenset({"conversation_created", "members_added", "fanout_changed"})
"""Entries after which the person may have to receive the heads of another conversation."""

Send = Callable[[Struct], Awaitable[None]]


class LiveSession:
    """Sends records and heads over one connection.

    Args:
        store: The store that is read.
        listener: A listener of the person that is already registered.
        after: The cursor of the device.
        limit: Maximum number of records in a page.
        send: Sends an answer; may block for some time. An error of it ends the session.
        barrier: Waits for the message sink.
    """

    def __init__(  # noqa: PLR0913 - its parts
        self,
        store: Store,
        listener: Listener,
        after: int,
        limit: int,
        send: Send,
        *,
        barrier: Barrier = NO_BARRIER,
    ) -> None:
        self._store = store
        self._listener = listener
        self._limit = limit
        self._send = send
        self._barrier = barrier
        self._cursor = after
        self._now = asyncio.get_running_loop().time
        self._pace, self._heads_pace = Pace(), Pace()
        self._was_live = listener.is_live
        self._look_at = self._heads_at = self._review_at = 0.0
        self._told: dict[str, int] = {}
        self._left_alone: set[str] = set()

    async def run(self) -> None:
        """Runs until the gateway is about to end. Waits for an unreachable store.

        Raises:
            Problem: 410, if records after the cursor may have expired.
        """
        begun = False
        while not self._listener.is_over:
            try:
                await self._review()
                if not begun:
                    await self._send(LiveBegun(next=self._cursor))
                    begun = True
                if not await self._turn():
                    await self._rest()
            except ServerUnavailable:
                await self._listener.pause(_STORE_AWAY_SECONDS)

    async def _review(self) -> None:
        """Step 2, and its repetitions every `_REVIEW_SECONDS`."""
        if self._now() < self._review_at:
            return
        changes = await within(REQUEST_SECONDS, self._store.all_changes(self._listener.user))
        first = not self._review_at
        for conv_id, happened in changes.items():
            stays = periods((change.seq, change.joined) for change in happened)
            if stays and stays[-1].last is None and conv_id not in self._left_alone:
                self._watch(conv_id, None if first else 0)
        self._review_at = self._now() + (_FIRST_REVIEW if first else _REVIEW_SECONDS)

    def _watch(self, conv_id: str, seq: int | None) -> None:
        """Watches a conversation. Reads its head when the store has entry ``seq``, if given."""
        is_new = conv_id not in self._listener.watched
        self._left_alone.discard(conv_id)
        self._listener.watch([conv_id])
        if seq is not None and (is_new or seq):
            heads = self._listener.heads
            heads[conv_id] = max(seq, heads.get(conv_id, 0))

    async def _turn(self) -> bool:
        """Step 4. Returns whether there may be more to send at once."""
        is_due = self._now() >= self._look_at
        is_live = self._listener.is_live
        if is_live != self._was_live:
            self._look_again(self._listener.watched)
            self._was_live = is_live
        elif is_due and not is_live:
            self._look_again(self._told)
        is_due = is_due or self._listener.known > self._cursor
        if is_due and await self._tell_records():
            return True
        if self._listener.heads and self._now() >= self._heads_at:
            await self._tell_heads()
        return False

    def _look_again(self, conv_ids: Iterable[str]) -> None:
        """Schedules reads of heads that may have moved without a wake-up."""
        for conv_id in conv_ids:
            self._listener.heads.setdefault(conv_id, 0)

    async def _rest(self) -> None:
        if self._listener.known > self._cursor:
            await self._listener.pause(self._pace.until_retry())
            return
        if not self._listener.is_live:
            self._look_at = min(self._look_at, self._now() + self._pace.until_look(is_live=False))
        until = min(self._look_at, self._heads_at) if self._listener.heads else self._look_at
        await self._listener.wait(max(0.0, until - self._now()))

    async def _tell_records(self) -> bool:
        listener = self._listener
        reading = read_sync(
            self._store, listener.user, self._cursor, self._limit, barrier=self._barrier
        )
        page, awaited = await within(REQUEST_SECONDS, reading)
        listener.announce(awaited)
        if page.next == self._cursor:
            self._look_at = self._now() + self._pace.until_look(is_live=listener.is_live)
            return False
        await self._send(LiveRecords(records=page.records, next=page.next, more=page.more))
        self._cursor = page.next
        self._pace = Pace()
        self._look_at = 0.0
        for each in page.records:
            self._learn(bytes(each.record))
        return True

    def _learn(self, record: bytes) -> None:
        with contextlib.suppress(UndecodableRecord):  # from a later version
            position = decode_position(record)
            if position.kind in _OPENING:
                self._watch(position.conv_id, position.seq)

    async def _tell_heads(self) -> None:
        heads = self._listener.heads
        wanted = dict(itertools.islice(heads.items(), HEADS_AT_ONCE))
        found = await asyncio.gather(*map(self._look, wanted))
        is_behind = is_news = False
        for (conv_id, seq), access in zip(wanted.items(), found, strict=True):
            latest = max(seq, heads.pop(conv_id, 0))
            stored = 0 if access is None else access.stored
            head = open_head(access)
            if head is not None and head > self._told.get(conv_id, 0):
                self._told[conv_id] = head
                is_news = True
                await self._send(LiveHead(conv_id=conv_id, seq=head))
            if stored < latest:
                heads[conv_id] = latest  # after the others, so that each gets its turn
                is_behind = is_behind or stored < seq
            elif head is None:
                self._leave_alone(conv_id)
        if is_news or not is_behind:
            self._heads_pace = Pace()
        pause = self._heads_pace.until_retry() if is_behind else HEADS_SECONDS
        self._heads_at = self._now() + pause

    def _leave_alone(self, conv_id: str) -> None:
        self._listener.unwatch(conv_id)
        self._told.pop(conv_id, None)
        self._left_alone.add(conv_id)

    async def _look(self, conv_id: str) -> ConversationAccess | None:
        try:
            # Created where it is awaited: a session may end before this begins.
            access = access_conversation(self._store, self._listener.user, conv_id)
            return await within(REQUEST_SECONDS, access)
        except Problem:
            return None


def open_head(access: ConversationAccess | None) -> int | None:
    """The head that is sent to a person; None if no head may be sent.

    A head is sent if the conversation is pulled and the head is in the person's open membership
    period.
    """
    if access is None or access.mode != "pull" or not access.is_member:
        return None
    return access.stored if visible(access.stays[-1:], access.stored) else None

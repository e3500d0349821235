"""The heads of one live connection: the new heads of the person's pulled conversations.

Most members get no sync records of a pulled conversation. The log announces its new heads, and
`gateway.reads.access` decides whether this person may see a head: the conversation must be pulled,
and the head must be in the person's open membership period. If the conversation is pushed, or the
person has left, the connection stops watching it. It watches the conversation again when the
person's sync timeline has a join or a change of the mode: these entries go to every member whom
they affect.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import Iterable
from typing import Final, NamedTuple

from gateway.bounds import REQUEST_SECONDS, within
from gateway.errors import ConversationNotFound
from gateway.live.pace import Pace
from gateway.live.record_pump import SendAnswer
from gateway.log.wake_ups import Listener
from gateway.reads.access import ConversationAccess, access_after_head
from gateway.store.store_port import Store
from schemas.codec import decode_position
from schemas.errors import UndecodableRecord
from schemas.http.answers import SyncPageItem
from schemas.http.live_messages import LiveHead
from schemas.number_types import NO_SEQ, SeqId
from schemas.visibility import periods, visible

HEADS_SECONDS: Final = 0.2
"""Interval of reading heads. Several new heads of a conversation in an interval become one."""

HEADS_PER_READ: Final = 16
"""Maximum number of conversations whose heads are read concurrently."""

_FIRST_REVIEW_SECONDS: Final = 5.0
_REVIEW_SECONDS: Final = 60.0
"""Interval of reading the person's conversations. Only needed for a conversation that the store
did not have yet when the connection had already passed its record."""

_OPENING: Final = frozenset({"conversation_created", "members_added", "fanout_changed"})
"""Entries after which the person may have to receive the heads of another conversation."""


class _Look(NamedTuple):
    """The head of a conversation in the store, and the head to send to the person, if any."""

    stored: SeqId
    head: SeqId | None


class HeadPump:
    """Watches the person's conversations, and sends the heads that have moved.

    Args:
        store: The store that is read.
        listener: A listener of the person that is already registered.
        send: Sends a head.
    """

    def __init__(self, store: Store, listener: Listener, send: SendAnswer) -> None:
        self._store = store
        self._listener = listener
        self._send = send
        self._now = asyncio.get_running_loop().time
        self._pace = Pace()
        self._read_at = self._review_at = 0.0
        self._was_live = listener.is_live
        self._sent: dict[str, SeqId] = {}
        self._unwatched: set[str] = set()

    async def review(self) -> None:
        """Watches the person's conversations, at first and every `_REVIEW_SECONDS`.

        Raises:
            ServerUnavailable: The store does not answer.
        """
        if self._now() < self._review_at:
            return
        changes = await within(REQUEST_SECONDS, self._store.all_changes(self._listener.user))
        first = not self._review_at
        for conv_id, happened in changes.items():
            stays = periods((change.seq, change.joined) for change in happened)
            if stays and stays[-1].last is None and conv_id not in self._unwatched:
                self._watch(conv_id, None if first else NO_SEQ)
        interval = _FIRST_REVIEW_SECONDS if first else _REVIEW_SECONDS
        self._review_at = self._now() + interval

    def watch_opened(self, records: Iterable[SyncPageItem]) -> None:
        """Watches the conversations of which these sync records have a join or a mode."""
        for each in records:
            with contextlib.suppress(UndecodableRecord):  # from a later version
                position = decode_position(bytes(each.record))
                if position.kind in _OPENING:
                    self._watch(position.conv_id, position.seq)

    def schedule_lost_heads(self, *, is_poll_due: bool) -> None:
        """Schedules reads of heads that may have moved without a wake-up.

        Args:
            is_poll_due: Whether it is time to read without a wake-up.
        """
        is_live = self._listener.is_live
        if is_live != self._was_live:
            self._schedule(self._listener.watched)
            self._was_live = is_live
        elif is_poll_due and not is_live:
            self._schedule(self._sent)

    @property
    def is_due(self) -> bool:
        """Whether there are heads to read now."""
        return bool(self._listener.heads) and self._now() >= self._read_at

    def next_read_at(self) -> float:
        """The time of the next read, in seconds of the event loop's clock."""
        return self._read_at if self._listener.heads else math.inf

    async def send_heads(self) -> None:
        """Reads some of the announced heads, and sends those that have moved.

        Raises:
            ServerUnavailable: The store does not answer.
        """
        heads = self._listener.heads
        announced = dict(itertools.islice(heads.items(), HEADS_PER_READ))
        looks = await asyncio.gather(*(self._look(*each) for each in announced.items()))
        is_behind = has_sent = False
        for (conv_id, seq), (stored, head) in zip(announced.items(), looks, strict=True):
            latest = max(seq, heads.pop(conv_id, seq))
            if head is not None and head > self._sent.get(conv_id, 0):
                self._sent[conv_id] = head
                has_sent = True
                await self._send(LiveHead(conv_id=conv_id, seq=head))
            if stored < latest:
                heads[conv_id] = latest  # after the others, so that the others are read first
                is_behind = is_behind or stored < seq
            elif head is None:
                self._unwatch(conv_id)
        if has_sent or not is_behind:
            self._pace = Pace()
        interval = self._pace.until_retry() if is_behind else HEADS_SECONDS
        self._read_at = self._now() + interval

    def _watch(self, conv_id: str, seq: SeqId | None) -> None:
        """Watches a conversation. Reads its head when the store has entry ``seq``, if given."""
        is_new = conv_id not in self._listener.watched
        self._unwatched.discard(conv_id)
        self._listener.watch([conv_id])
        if seq is not None and (is_new or seq):
            heads = self._listener.heads
            heads[conv_id] = max(seq, heads.get(conv_id, seq))

    def _unwatch(self, conv_id: str) -> None:
        self._listener.unwatch(conv_id)
        self._sent.pop(conv_id, None)
        self._unwatched.add(conv_id)

    def _schedule(self, conv_ids: Iterable[str]) -> None:
        for conv_id in conv_ids:
            self._listener.heads.setdefault(conv_id, NO_SEQ)

    async def _look(self, conv_id: str, announced: SeqId) -> _Look:
        """Reads a head, and the person's membership if the head is new to this connection.

        All connections share the read of the head. While the store lags behind the log, the
        members of a large group do not each repeat the read of their membership.
        """
        head = await within(REQUEST_SECONDS, self._store.conversation(conv_id))
        stored = NO_SEQ if head is None else head.head
        if stored < announced and stored <= self._sent.get(conv_id, NO_SEQ):
            return _Look(stored, None)
        try:
            # Created where it is awaited: a session may end before this begins.
            access = access_after_head(self._store, self._listener.user, conv_id, head)
            found = await within(REQUEST_SECONDS, access)
        except ConversationNotFound:
            return _Look(NO_SEQ, None)
        return _Look(found.stored, open_head(found))


def open_head(access: ConversationAccess) -> SeqId | None:
    """The head that is sent to a person; None if no head may be sent.

    A head is sent if the conversation is pulled and the head is in the person's open membership
    period.
    """
    if access.mode != "pull" or not access.is_member:
        return None
    return access.stored if visible(access.stays[-1:], access.stored) else None

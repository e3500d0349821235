"""All conversations of one partition: the busy ones as objects, the idle ones as bytes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from stream_processors.core.state import Conversation
from stream_processors.core.strangers import Strangers
from stream_processors.frozen import freeze, thaw
from stream_processors.packed_records import MARK, built
from stream_processors.state_codec import restored_refusal

BUSY_CONVERSATIONS: Final = 1_000
"""Kept as objects in each partition; at 100 members some 20 KB each, so 20 MB."""

_IN_USE: Final = b""
"""In place of an idle conversation that is an object now. Its place in the table stays: a table
whose places come and go takes twice the memory."""


class Conversations:
    """Looks conversations up by id, and keeps those that nobody uses small.

    ``strangers``: what was refused to senders who have no place in a conversation.

    Args:
        busy_limit: How many are kept as objects.
    """

    def __init__(self, busy_limit: int = BUSY_CONVERSATIONS) -> None:
        self._busy_limit = busy_limit
        self._busy: OrderedDict[str, Conversation] = OrderedDict()
        self._idle: dict[bytes, bytes] = {}  # ids as bytes take less memory than as strings
        self._in_use = 0
        self.strangers = Strangers()

    def __len__(self) -> int:
        return len(self._busy) + self.idle_count

    @property
    def idle_bytes(self) -> int:
        """Bytes that the idle conversations take, without the table that holds them."""
        return sum(len(frozen) for frozen in self._idle.values())

    @property
    def idle_count(self) -> int:
        """How many conversations are idle."""
        return len(self._idle) - self._in_use

    def get(self, conv_id: str) -> Conversation | None:
        """The conversation, or None where there is none."""
        conversation = self._busy.get(conv_id)
        if conversation is not None:
            if len(self._idle) > self._in_use:  # else nobody has to go: the order does not matter
                self._busy.move_to_end(conv_id)
            return conversation
        key = conv_id.encode()
        idle = self._idle.get(key)
        if idle is None:
            return None
        self._idle[key] = _IN_USE
        self._in_use += 1
        is_packed = idle.startswith(MARK)
        return self._hold(conv_id, built(idle) if is_packed else thaw(idle))

    def get_or_make(self, conv_id: str) -> Conversation:
        """The conversation, an empty one where there is none."""
        return self.get(conv_id) or self._hold(conv_id, Conversation())

    def begin_with(self, conversations: dict[bytes, bytes]) -> None:
        """Takes in the records of all conversations, each of which is built when it is used.

        Args:
            conversations: By id, in UTF-8, see `stream_processors.packed_records`. Belongs to
                this object from now on.
        """
        self._idle = conversations

    def restore_refusal(self, key: bytes, value: bytes | None) -> None:
        """Takes in one record of the log.

        Raises:
            ValueError: It is not a state record that this version knows.
        """
        self.strangers.restore(*restored_refusal(key, value))

    def _hold(self, conv_id: str, conversation: Conversation) -> Conversation:
        self._busy[conv_id] = conversation
        if len(self._busy) > self._busy_limit:
            idle_id, idle = self._busy.popitem(last=False)
            key = idle_id.encode()
            if key in self._idle:
                self._in_use -= 1
            self._idle[key] = freeze(idle)
        return conversation

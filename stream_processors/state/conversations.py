"""All conversations of one partition: recently used ones as objects, idle ones as bytes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from stream_processors.core.state import Conversation
from stream_processors.core.strangers import Strangers
from stream_processors.state.frozen import freeze, thaw
from stream_processors.state.idle_table import IdleTable
from stream_processors.state.packed_records import MARK, built
from stream_processors.state.state_codec import restored_refusal

BUSY_CONVERSATIONS: Final = 1_000
"""Conversations that each partition holds as objects: with 100 members some 20 KB each, so 20 MB.
"""


class Conversations:
    """The conversations by id, with unused ones in a compact form.

    ``strangers``: the refused commands of senders without a place in the conversation.

    Args:
        busy_limit: Maximum number of conversations that are held as objects.
    """

    def __init__(self, busy_limit: int = BUSY_CONVERSATIONS) -> None:
        self._busy_limit = busy_limit
        self._busy: OrderedDict[str, Conversation] = OrderedDict()
        self._idle = IdleTable()
        self.strangers = Strangers()

    def __len__(self) -> int:
        return len(self._busy) + self._idle.count

    @property
    def idle_bytes(self) -> int:
        """Size of the idle conversations in bytes, without the table that holds them."""
        return self._idle.size

    @property
    def idle_count(self) -> int:
        """The number of idle conversations."""
        return self._idle.count

    def get(self, conv_id: str) -> Conversation | None:
        """The conversation, or None if there is none."""
        conversation = self._busy.get(conv_id)
        if conversation is not None:
            if self._idle.count:  # otherwise none is ever evicted
                self._busy.move_to_end(conv_id)
            return conversation
        idle = self._idle.take(conv_id.encode())
        if idle is None:
            return None
        is_packed = idle.startswith(MARK)
        return self._hold(conv_id, built(idle) if is_packed else thaw(idle))

    def get_or_make(self, conv_id: str) -> Conversation:
        """The conversation; a new empty one if there is none."""
        return self.get(conv_id) or self._hold(conv_id, Conversation())

    def begin(self, expected: int) -> None:
        """Makes room for this number of conversations."""
        self._idle = IdleTable(expected)

    def restore(self, conv_id: bytes, records: bytes) -> None:
        """Adds a conversation that is not there. The conversation is built at its first use.

        Args:
            conv_id: The id in UTF-8.
            records: The records, see `packed_records`.
        """
        self._idle.add(conv_id, records)

    def restore_refusal(self, key: bytes, value: bytes | None) -> None:
        """Applies one record of the log.

        Raises:
            ValueError: The record is not a state record that this version knows.
        """
        self.strangers.restore(*restored_refusal(key, value))

    def _hold(self, conv_id: str, conversation: Conversation) -> Conversation:
        self._busy[conv_id] = conversation
        if len(self._busy) > self._busy_limit:
            idle_id, idle = self._busy.popitem(last=False)
            self._idle.add(idle_id.encode(), freeze(idle))
        return conversation

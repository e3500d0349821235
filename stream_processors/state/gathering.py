"""Groups the records of ``im.state`` by conversation: each is built once, at its first use.

The log has the records of all conversations in the order of their writes. To build a conversation
record by record, a restore would have to pack and unpack it for each record, although most
conversations are not used for days. So a restore only collects the records of each conversation.
"""

from __future__ import annotations

from typing import Final

from stream_processors.state.conversations import Conversations
from stream_processors.state.packed_records import MARK, packed, without_replaced
from stream_processors.state.state_codec import REFUSAL_KEY, split_key

_FIRST_LIMIT: Final = 4 * 1024
"""Bytes of a conversation's records at which replaced records are first dropped."""


class Gathering:
    """The last record of each key. Memory grows with the keys, not with the records.

    Args:
        conversations: Receives the records.
    """

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations
        self._small: dict[bytes, bytes] = {}
        # Appending to bytes copies them, so long ones are bytearrays, each with its next limit.
        self._large: dict[bytes, tuple[bytearray, int]] = {}

    def take(self, key: bytes, value: bytes | None) -> None:
        """Adds the next record of the log.

        Raises:
            ValueError: The record is not a state record that this version knows.
        """
        if key.startswith(REFUSAL_KEY):
            self._conversations.restore_refusal(key, value)
            return
        conv_id, rest = split_key(key)
        record = packed(rest, value)
        if conv_id in self._large:
            self._append(conv_id, record)
            return
        records = self._small.get(conv_id, MARK) + record
        if len(records) > _FIRST_LIMIT:
            self._small.pop(conv_id, None)
            self._large[conv_id] = bytearray(records), 0
            self._append(conv_id, b"")
        else:
            self._small[conv_id] = records

    def hand_over(self) -> None:
        """Passes the records of each conversation to the conversations."""
        for conv_id in list(self._large):
            self._small[conv_id] = without_replaced(self._large.pop(conv_id)[0])
        self._conversations.begin_with(self._small)

    def _append(self, conv_id: bytes, record: bytes) -> None:
        records, limit = self._large[conv_id]
        records += record
        if len(records) > limit:
            records = bytearray(without_replaced(records))
            self._large[conv_id] = records, max(_FIRST_LIMIT, 4 * len(records))

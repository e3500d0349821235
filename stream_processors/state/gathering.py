"""Groups the records of ``im.state`` by conversation: each is built once, at its first use.

The log has the records of all conversations in the order of their writes. To build a conversation
record by record, a restore would have to pack and unpack it for each record, although most
conversations are not used for days. So a restore only collects the records of each conversation.

The records are collected in *heaps*: a heap has the records of many conversations, in the order of
the log. An object for each conversation would take more memory than the conversations take later,
and Python would not return this memory to the system.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

from stream_processors.state.conversations import Conversations
from stream_processors.state.packed_records import MARK, packed, pairs_of, without_replaced
from stream_processors.state.state_codec import REFUSAL_KEY, split_key

_HEAPS: Final = 256
"""Number of heaps. A million conversations make heaps of a megabyte."""

_FIRST_LIMIT: Final = 16 * 1024
"""Bytes of a heap at which replaced records are first dropped."""


class Gathering:
    """The last record of each key. Memory grows with the keys, not with the records.

    Args:
        conversations: Receives the records.
    """

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations
        self._heaps = [_Heap() for _ in range(_HEAPS)]

    def take(self, key: bytes, value: bytes | None) -> None:
        """Adds the next record of the log.

        Raises:
            ValueError: The record is not a state record that this version knows.
        """
        if key.startswith(REFUSAL_KEY):
            self._conversations.restore_refusal(key, value)
            return
        conv_id, rest = split_key(key)
        self._heaps[hash(conv_id) % _HEAPS].take(conv_id, packed(rest, value))

    def hand_over(self) -> None:
        """Passes the records of each conversation to the conversations."""
        expected = len(self._heaps[-1].conversations()) * len(self._heaps)
        self._conversations.begin(expected)
        while self._heaps:  # each heap is freed before the next one is read
            for conv_id, records in self._heaps.pop().conversations().items():
                self._conversations.restore(conv_id, MARK + records)
        _return_memory()


def _return_memory() -> None:
    """Returns freed memory to the system. Of the C libraries, only glibc has this function."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


class _Heap:
    """The records of some conversations, each after the id of its conversation.

    The id is empty if the record before belongs to the same conversation.
    """

    __slots__ = ("_last", "_limit", "_records")

    def __init__(self) -> None:
        self._records = bytearray()
        self._last = b""
        self._limit = _FIRST_LIMIT

    def take(self, conv_id: bytes, record: bytes) -> None:
        """Appends a record."""
        self._records += packed(b"" if conv_id == self._last else conv_id, record)
        self._last = conv_id
        if len(self._records) > self._limit:
            self._drop_replaced()

    def conversations(self) -> dict[bytes, bytes]:
        """The last record of each key, by conversation: as `packed_records` without `MARK`."""
        found: dict[bytes, bytearray] = {}
        records = bytearray()
        for conv_id, record in pairs_of(bytes(self._records)):
            if conv_id:
                records = found.setdefault(conv_id, bytearray())
            records += record
        return {conv_id: without_replaced(records) for conv_id, records in found.items()}

    def _drop_replaced(self) -> None:
        last = [packed(*each) for each in self.conversations().items()]
        self._records, self._last = bytearray().join(last), b""
        self._limit = max(_FIRST_LIMIT, 4 * len(self._records))

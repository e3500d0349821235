"""Gathers the records of ``im.state`` by conversation: each is built once, when it is used.

A log brings the records of all conversations mixed up. A conversation that is built record by
record is packed and unpacked again and again, and most conversations are not used for days.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from stream_processors.conversations import Conversations
from stream_processors.state_codec import REFUSAL_KEY, conversation_of, logged

_FIRST_LIMIT: Final = 64
"""Keys and values of a conversation that are gathered before replaced ones are dropped."""


class Gathering:
    """The last record of each key. Memory grows with the keys, not with the records.

    Args:
        conversations: Gets what is gathered.
    """

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations
        self._records: dict[bytes, list[Any]] = {}

    def take(self, key: bytes, value: bytes | None) -> None:
        """Takes in the next record of the log.

        Raises:
            ValueError: It is not a state record that this version knows.
        """
        if key.startswith(REFUSAL_KEY):
            self._conversations.restore_refusal(key, value)
            return
        conv_id = conversation_of(key)
        records = self._records.get(conv_id)
        if records is None:
            records = self._records[conv_id] = [_FIRST_LIMIT]
        records += (key, value)
        if len(records) > records[0]:
            self._records[conv_id] = _without_replaced(records)

    def hand_over(self) -> None:
        """Gives the records of each conversation to the conversations."""
        for conv_id in list(self._records):
            records = self._records.pop(conv_id)  # so that memory does not hold both forms
            self._conversations.add_logged(conv_id.decode(), logged(records[1:]))


def _without_replaced(records: list[Any]) -> list[Any]:
    last = list(_last_of_each(records))
    return [max(_FIRST_LIMIT, 4 * len(last)), *(part for record in last for part in record)]


def _last_of_each(records: list[Any]) -> Iterable[tuple[bytes, bytes | None]]:
    """As a broker compacts: of each key the last record, in the order of these."""
    last: dict[bytes, bytes | None] = {}
    parts: Iterator[Any] = iter(records)
    next(parts)  # the limit
    for key, value in zip(parts, parts, strict=True):
        last.pop(key, None)
        last[key] = value
    return last.items()

"""Builds conversations from the records of ``im.state``, each conversation once.

A log brings the records of all conversations mixed up, and a conversation that is built record by
record is packed and unpacked again and again. So the records are gathered first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from stream_processors.conversations import Conversations
from stream_processors.core.state import Conversation
from stream_processors.state_codec import REFUSAL_KEY, conversation_of, restored

_FIRST_LIMIT: Final = 64
"""Keys and values of a conversation that are gathered before replaced ones are dropped."""


class Gathering:
    """The last record of each key. Memory grows with the keys, not with the records.

    Args:
        conversations: Gets what is built.
    """

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations
        self._records: dict[str, list[Any]] = {}

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

    def build(self) -> None:
        """Builds all conversations.

        Raises:
            ValueError: A record is not a state record that this version knows.
        """
        for conv_id in list(self._records):
            records = self._records.pop(conv_id)  # so that memory does not hold both forms
            self._conversations.add(conv_id, _built(_last_of_each(records)))


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


def _built(records: Iterable[tuple[bytes, bytes | None]]) -> Conversation:
    conversation = Conversation()
    for key, value in records:
        conversation.restore(restored(key, value).kept)
    return conversation

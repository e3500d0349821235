"""The entries of the log that were found in a copy: one byte for each entry."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator

from audit.conversation import AuditedConversation
from audit.digests import ABSENT
from audit.log import Log
from schemas.number_types import SeqId


class Seen:
    """Marks entries as found.

    Args:
        log: All of ``im.timeline``.
        column: Digests of the copy's expected content; `ABSENT` where nothing is expected.
    """

    def __init__(self, log: Log, column: Callable[[AuditedConversation], array[int]]) -> None:
        self._log = log
        self._column = column
        self._marks: dict[str, bytearray] = {}

    def due(self, conv_id: str, seq: SeqId) -> int:
        """The digest of the expected content."""
        conversation = self._log.conversations.get(conv_id)
        if conversation is None or not 0 < seq <= conversation.head:
            return ABSENT
        return self._column(conversation)[seq - 1]

    def tick(self, conv_id: str, seq: SeqId) -> bool:
        """Mark an expected entry as found, and return whether it is the first time."""
        marks = self._marks.get(conv_id)
        if marks is None:
            marks = self._marks[conv_id] = bytearray(self._log.head(conv_id))
        first = not marks[seq - 1]
        marks[seq - 1] = 1
        return first

    def missing(self) -> Iterator[tuple[str, SeqId]]:
        """(conversation, SeqId) of all expected entries that were not found."""
        for conv_id, conversation in self._log.conversations.items():
            marks = self._marks.get(conv_id) or bytes(conversation.head)
            for seq, digest in enumerate(self._column(conversation), start=1):
                if digest != ABSENT and not marks[seq - 1]:
                    yield conv_id, SeqId(seq)

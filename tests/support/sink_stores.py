"""Stores that a sink's writer fills and that a test reads back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from msgspec import UNSET

from schemas.codec import encode
from schemas.errors import PoisonRecord
from schemas.limits import MESSAGE_BUCKET
from schemas.number_types import Offset, SeqId
from schemas.records import (
    AnyEntry,
    ConversationCreated,
    ConversationDescribed,
    FanoutChanged,
    MembersAdded,
    MembersRemoved,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    TextContent,
)
from sinks.base.records import Record
from sinks.base.writer_port import StoreWriter, WriteOutcome

Contents = dict[str, Any]
"""The content of a store, in a form that can be compared."""

AT: Final = 1_700_000_000_000
NEXT_MONTH: Final = AT + 30 * 24 * 3600 * 1000
TOO_LONG_FOR_A_KEY: Final = "x" * 70_000


class SinkStore(Protocol):
    """A store, a writer for the store, and records for the store that no other test uses."""

    def writer(self) -> StoreWriter:
        """A new writer, as in a process that just started."""
        ...

    def good(self) -> list[Record]:
        """Records that can be written, in the order of the log; the same at every call."""
        ...

    def bad(self) -> list[Record]:
        """Records that can never be written, each for another reason."""
        ...

    def expected(self, records: Iterable[Record]) -> Contents:
        """The content of the store after some of the good records."""
        ...

    def contents(self) -> Contents:
        """The present content of the store."""
        ...


class MemoryStore:
    """The simplest possible writer, for tests of the loop."""

    def __init__(self) -> None:
        self._rows: Contents = {}

    def writer(self) -> MemoryStore:
        return self

    def write(self, records: Sequence[Record]) -> WriteOutcome:
        self._rows |= self.expected(r for r in records if r.value is not None)
        nulls = [at for at, record in enumerate(records) if record.value is None]
        return WriteOutcome([PoisonRecord(at, "the value is null") for at in nulls])

    def good(self) -> list[Record]:
        return [Record(0, Offset(offset), b"key", b"%d" % offset) for offset in range(20)]

    def bad(self) -> list[Record]:
        return [Record(0, Offset(offset), b"key", None) for offset in (100, 101)]

    def expected(self, records: Iterable[Record]) -> Contents:
        return {str(record.offset): record.value for record in records}

    def contents(self) -> Contents:
        return self._rows


def on_log(entry: AnyEntry, offset: int) -> Record:
    """A possible record for an entry on ``im.timeline``, with a field that is unknown here."""
    return Record(
        3, Offset(offset), entry.conv_id.encode(), encode(entry)[:-1] + b' , "new_field":[] }'
    )


class Conversation:
    """Makes entries of one conversation."""

    def __init__(self, conv_id: str) -> None:
        self.conv_id = conv_id

    def common(self, seq: int, at: int = AT) -> dict[str, Any]:
        """The fields that all entries have."""
        ids = {"conv_id": self.conv_id, "sender": "ann", "client_msg_id": f"id-{seq}"}
        return ids | {"seq": seq, "at": at + seq, "messages": seq // 2}

    def said(self, seq: int, text: str, at: int = AT) -> MessageSent:
        """A text message."""
        return MessageSent(**self.common(seq, at), content=TextContent(text=text), mentions=[])

    def edited(self, seq: int, target: int, text: str) -> MessageEdited:
        """An edit of a message."""
        place: Contents = {"target": target, "target_at": AT + target}
        return MessageEdited(**self.common(seq), **place, content=TextContent(text=text))

    def recalled(self, seq: int, target: int, *edits: int) -> MessageRecalled:
        """A recall of a message."""
        place: Contents = {"target": target, "target_at": AT + target}
        return MessageRecalled(**self.common(seq), **place, edits=list(map(SeqId, edits)))

    def history(self) -> list[AnyEntry]:
        """Entries of every kind, on both sides of a bucket boundary."""
        rest = MESSAGE_BUCKET - 2
        created = ConversationCreated(
            **self.common(1), members=["ann", "bob", "陈"], join="open", mode="push", history="all"
        )
        switched = FanoutChanged(
            **self.common(4), mode="pull", member_count=3, push_limit=2, push_again_below=1
        )
        return [
            created,
            self.said(2, "hello"),
            MembersRemoved(**self.common(3), members=["bob"], mode="push", member_count=2),
            switched,
            MembersAdded(**self.common(5), members=["bob", "cid"], mode="pull", history="all"),
            MembersRemoved(**self.common(6), members=["cid"], mode="pull"),
            self.said(7, ""),
            self.edited(8, 7, "other words"),
            self.said(9, "hush"),
            self.edited(10, 9, "hush, too"),
            self.edited(11, 7, "the last words"),
            self.recalled(12, 9, 10),
            ConversationDescribed(**self.common(rest), name="team", metadata='{"n": 1}'),
            ConversationDescribed(**self.common(rest + 1), name="团队"),
            ConversationDescribed(**self.common(rest + 2), metadata=""),
            *(
                self.said(rest + 3 + n, f'你好 "{n}" \\ \x00 \U0001f600', at=NEXT_MONTH)
                for n in range(4)
            ),
        ]


def _described(ordered: list[AnyEntry]) -> tuple[int | None, str | None, str | None]:
    """The last count of members, name and metadata."""
    count: int | None = None
    name: str | None = None
    metadata: str | None = None
    for entry in ordered:
        if isinstance(entry, ConversationCreated | MembersAdded | MembersRemoved):
            count = count if entry.member_count is UNSET else entry.member_count
        if isinstance(entry, ConversationDescribed):
            name = name if entry.name is UNSET else entry.name
            metadata = metadata if entry.metadata is UNSET else entry.metadata
    return count, name, metadata

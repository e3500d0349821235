"""Short builders for the input of a device's local store."""

from __future__ import annotations

from typing import Any

from consumers.device.knowledge import (
    Arrived,
    Beginning,
    ShownFrom,
    SyncBatch,
    TimelineItem,
)
from schemas.codec import encode
from schemas.number_types import Milliseconds, SeqId, SyncSeqId
from schemas.records import AnySyncRecord, ConversationDescribed, FanoutChanged, FanoutMode
from tests.support.gateway_store import message


def arrived(sync_seq: int, record: AnySyncRecord) -> Arrived:
    """A record of the sync timeline."""
    return Arrived(SyncSeqId(sync_seq), encode(record), record)


def page(after: int | None, *records: Arrived, more: bool = False) -> SyncBatch:
    """Records that follow a cursor."""
    cursor = None if after is None else SyncSeqId(after)
    next_cursor = records[-1].sync_seq if records else SyncSeqId(after or 0)
    return SyncBatch(cursor, records, next_cursor, more)


def said(seq: int) -> TimelineItem:
    """An entry as the store returns it."""
    return TimelineItem("c", SeqId(seq), SeqId(seq), None, encode(message("c", seq)))


def switched(seq: int, mode: FanoutMode) -> FanoutChanged:
    """A switch: from the next entry on, the conversation has another mode."""
    return FanoutChanged(
        conv_id="c",
        seq=SeqId(seq),
        sender="ann",
        client_msg_id="i",
        at=Milliseconds(1),
        mode=mode,
        member_count=9,
        push_limit=8,
        push_again_below=6,
    )


def described(seq: int, **fields: Any) -> ConversationDescribed:
    """A new name, new metadata, or both."""
    common: dict[str, Any] = {"conv_id": "c", "sender": "ann", "client_msg_id": "i"}
    return ConversationDescribed(**common, seq=SeqId(seq), at=Milliseconds(1), **fields)


def hole(kind: str, first: int, last: int) -> TimelineItem:
    """A range of SeqIds that are not shown, with the reason."""
    return TimelineItem("c", SeqId(first), SeqId(last), kind, b"")


def seqs(items: list[TimelineItem]) -> list[int]:
    """The SeqIds of items."""
    return [seq for item in items for seq in range(item.first, item.last + 1)]


def late(*starts: ShownFrom, cursor: int = 4) -> Beginning:
    """A device with the policy ``new-messages-only``."""
    return Beginning("new-messages-only", SyncSeqId(cursor), starts)

"""The value of a row of the table ``sync``: the records of one recipient in one flush of the sink.

A row refers to an entry by (conversation, SeqId); only the table ``message`` has the text. A reply
has no entry, so the row holds the reply itself. The row is JSON:

    {"entries": {"c1": [71, 5, 74, 6]}, "replies": {"72": {"kind": "duplicate", …}}}

Each pair of numbers is a sync SeqId and the SeqId of an entry: ``c1`` has entry 5 at sync SeqId 71
and entry 6 at 74.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from schemas.errors import UndecodableRecord
from schemas.number_types import SeqId, SyncSeqId


class SyncRow(Struct, omit_defaults=True):
    """Records of one recipient.

    Attributes:
        entries: By conversation: alternately the sync SeqId and the SeqId of an entry.
        replies: By sync SeqId: a reply, as on the sync topic.
    """

    entries: dict[str, list[int]] = {}
    replies: dict[SyncSeqId, Raw] = {}


class SyncReference(Struct, frozen=True, gc=False):
    """One record of a sync timeline: entry ``seq`` of ``conv_id``, or a reply."""

    sync_seq: SyncSeqId
    conv_id: str = ""
    seq: SeqId = SeqId(0)
    reply: Raw | None = None


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(SyncRow).decode


def encode_row(row: SyncRow) -> bytes:
    """Encodes a row as the value in the table, in UTF-8."""
    return _encode(row)


def decode_row(value: bytes | str) -> SyncRow:
    """Decodes a value of the table.

    Raises:
        UndecodableRecord: The value is not a row of sync records.
    """
    try:
        row = _decode(value)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise UndecodableRecord("not a row of sync records") from error
    if any(len(pairs) % 2 for pairs in row.entries.values()):
        raise UndecodableRecord("a reference lacks its SeqId")
    return row


def references(row: SyncRow) -> list[SyncReference]:
    """The references in the row, ordered by sync SeqId."""
    found = [
        SyncReference(SyncSeqId(sync_seq), conv_id, SeqId(seq))
        for conv_id, pairs in row.entries.items()
        for sync_seq, seq in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    found += [SyncReference(sync_seq, reply=reply) for sync_seq, reply in row.replies.items()]
    return sorted(found, key=lambda each: each.sync_seq)

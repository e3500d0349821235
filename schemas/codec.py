"""Bytes to records and back.

Encoding is deterministic: the same record always gives the same bytes.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from schemas.errors import UndecodableRecord
from schemas.records import AnyCommand, AnyEntry, AnySyncRecord, EntryPosition

RecordT = TypeVar("RecordT")

_encoder = msgspec.json.Encoder()
_command: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_entry: msgspec.json.Decoder[AnyEntry] = msgspec.json.Decoder(AnyEntry)
_sync_record: msgspec.json.Decoder[AnySyncRecord] = msgspec.json.Decoder(AnySyncRecord)
_position = msgspec.json.Decoder(EntryPosition)

encode = _encoder.encode
"""Encodes any record of `schemas.records` to compact UTF-8 JSON."""


def decode_command(value: bytes | None) -> AnyCommand:
    """Decodes the value of a record of ``im.messages``.

    Raises:
        UndecodableRecord: It is null, not JSON, or not a command that this version knows.
    """
    return _decode(_command, value)


def decode_entry(value: bytes | None) -> AnyEntry:
    """Decodes the value of a record of ``im.timeline``.

    Raises:
        UndecodableRecord: It is null, not JSON, or not an entry that this version knows.
    """
    return _decode(_entry, value)


def decode_sync_record(value: bytes | None) -> AnySyncRecord:
    """Decodes the value of a record of ``im.sync``.

    Raises:
        UndecodableRecord: It is null, not JSON, or not a sync record that this version knows.
    """
    return _decode(_sync_record, value)


def decode_position(value: bytes | None) -> EntryPosition:
    """Decodes only where an entry or a reply belongs, four times faster than the whole.

    Raises:
        UndecodableRecord: It is null, not JSON, or has no kind and conversation.
    """
    return _decode(_position, value)


def _decode(decoder: msgspec.json.Decoder[RecordT], value: bytes | None) -> RecordT:
    if value is None:
        raise UndecodableRecord("the value is null")
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        raise UndecodableRecord(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        # The decoder's own words may quote the input, which is a message's text.
        raise UndecodableRecord("the value is not JSON") from None

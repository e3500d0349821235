"""Bytes to records and back.

Encoding is deterministic: the same record always gives the same bytes. Decoding any bytes raises
only `UndecodableRecord`.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from schemas.errors import UndecodableRecord
from schemas.limits import MAX_REASON_LENGTH, MAX_RECORD_BYTES
from schemas.records import AnyCommand, AnyEntry, AnySyncRecord, EntryPosition, OutcomeFields

RecordT = TypeVar("RecordT")

_encoder = msgspec.json.Encoder()
_command: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_entry: msgspec.json.Decoder[AnyEntry] = msgspec.json.Decoder(AnyEntry)
_sync_record: msgspec.json.Decoder[AnySyncRecord] = msgspec.json.Decoder(AnySyncRecord)
_position = msgspec.json.Decoder(EntryPosition)
_outcome_fields = msgspec.json.Decoder(OutcomeFields)

_PATH: Final = " - at `$"
"""Precedes the path of the invalid field in the decoder's message."""

encode = _encoder.encode
"""Encodes any record of `schemas.records` to compact UTF-8 JSON."""


def decode_command(value: bytes | None) -> AnyCommand:
    """Decodes the value of a record of ``im.messages``.

    Raises:
        UndecodableRecord: The value is null, not JSON, or not a command that this version knows.
    """
    return decode(_command, value)


def decode_entry(value: bytes | None) -> AnyEntry:
    """Decodes the value of a record of ``im.timeline``.

    Raises:
        UndecodableRecord: The value is null, not JSON, or not an entry that this version knows.
    """
    return decode(_entry, value)


def decode_sync_record(value: bytes | None) -> AnySyncRecord:
    """Decodes the value of a record of ``im.sync``.

    Raises:
        UndecodableRecord: The value is null, not JSON, or not a sync record of this version.
    """
    return decode(_sync_record, value)


def decode_position(value: bytes | None) -> EntryPosition:
    """Decodes only the position of an entry or a reply, four times faster than the whole record.

    Raises:
        UndecodableRecord: The value is null, not JSON, or has no kind and conversation.
    """
    return decode(_position, value)


def decode_outcome_fields(value: bytes | None) -> OutcomeFields:
    """Decodes only the fields of an entry or a reply that give the outcome of its command.

    Raises:
        UndecodableRecord: The value is null, not JSON, or has no kind and conversation.
    """
    return decode(_outcome_fields, value)


def decode(decoder: msgspec.json.Decoder[RecordT], value: bytes | None) -> RecordT:
    """Decodes a value by the given decoder.

    Raises:
        UndecodableRecord: The value cannot be decoded. The message has at most
            `MAX_REASON_LENGTH` characters and quotes no part of the value.
    """
    if value is None:
        raise UndecodableRecord("the value is null")
    if len(value) > MAX_RECORD_BYTES:
        raise UndecodableRecord(f"the value has more than {MAX_RECORD_BYTES} bytes")
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        raise UndecodableRecord(_without_quotes(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        # The decoder's message may quote the input, which has the text of a message.
        raise UndecodableRecord("the value is not JSON") from None
    except RecursionError:
        raise UndecodableRecord("the value is nested too deeply") from None
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a fault of one record must not end its reader
        raise UndecodableRecord(f"the value cannot be decoded: {type(error).__name__}") from None


def _without_quotes(message: str) -> str:
    """The decoder's message without a quoted value."""
    if message.startswith("Invalid"):
        _, at, path = message.rpartition(_PATH)
        # The decoder puts a path last, in backquotes; other text there is the quoted value.
        is_path = message.endswith("`") and "'" not in path
        message = "Invalid value" + (at + path if is_path else "")
    return message[:MAX_REASON_LENGTH]

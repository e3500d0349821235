"""A record of ``im.messages``, and the command in it."""

from __future__ import annotations

from typing import Protocol

from schemas.codec import decode_command
from schemas.errors import UndecodableRecord
from schemas.ids import is_valid_id
from schemas.limits import MAX_TIME_MS
from schemas.number_types import Milliseconds, Offset
from schemas.records import AnyCommand


class SourceRecord(Protocol):
    """A record of ``im.messages``, as the Kafka client returns it."""

    @property
    def offset(self) -> Offset:
        """Its place in the partition."""

    @property
    def timestamp(self) -> Milliseconds | None:
        """The broker's append time in milliseconds since 1970; None if it is unknown."""

    @property
    def key(self) -> bytes | None:
        """The id of a conversation, if the record is valid."""

    @property
    def value(self) -> bytes | None:
        """A command, if the record is valid."""


def command_in(record: SourceRecord) -> tuple[AnyCommand, Milliseconds]:
    """The command in a record, and the time of the record.

    Raises:
        UndecodableRecord: The record is not a command.
    """
    command = decode_command(record.value)
    if record.key != command.conv_id.encode():
        raise UndecodableRecord("the key is not the conv_id")
    # One call for all ids, because every record is checked.
    if not is_valid_id(
        command.conv_id + command.sender + command.device_id + (command.installation or "")
    ):
        raise UndecodableRecord("an id has characters that cannot be printed")
    at = record.timestamp
    if at is None or not 0 <= at <= MAX_TIME_MS:
        raise UndecodableRecord("the time is out of its range")
    return command, at

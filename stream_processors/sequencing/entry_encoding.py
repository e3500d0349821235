"""The bytes of the entries of an accepted command, and the error for a defect of this program."""

from __future__ import annotations

from traceback import format_tb

from schemas.codec import encode
from schemas.errors import UndecodableRecord
from schemas.limits import MAX_ENTRY_BYTES
from stream_processors.core.outcome import Accept


class UnexpectedFailure(UndecodableRecord):
    """An unexpected error, which is a defect of this program.

    Args:
        error: The error. Only its type and its places are used: its message may quote the record.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(f"it cannot be handled: {type(error).__name__}")
        self.places = "".join(format_tb(error.__traceback__))


def encoded_entries(accept: Accept) -> list[bytes]:
    """The entries of an accepted command.

    Raises:
        UndecodableRecord: An entry cannot be written.
    """
    try:
        values = [encode(delivery.entry) for delivery in accept.effect.deliveries]
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UnexpectedFailure(error) from None
    for value in values:
        if len(value) > MAX_ENTRY_BYTES:
            raise UndecodableRecord("its entry would be too long")
    return values

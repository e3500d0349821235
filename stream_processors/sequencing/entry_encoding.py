"""The bytes of the entries of an accepted command, and the error for a failure of this program."""

from __future__ import annotations

import logging
from traceback import format_tb

from schemas.codec import encode
from schemas.errors import UndecodableRecord
from schemas.limits import MAX_ENTRY_BYTES
from stream_processors.core.outcome import Accept

log = logging.getLogger(__name__)


def encoded_entries(accept: Accept) -> list[bytes]:
    """The entries of an accepted command.

    Raises:
        UndecodableRecord: An entry cannot be written.
    """
    try:
        values = [encode(delivery.entry) for delivery in accept.effect.deliveries]
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise unexpected_failure(error) from None
    for value in values:
        if len(value) > MAX_ENTRY_BYTES:
            raise UndecodableRecord("its entry would be too long")
    return values


def unexpected_failure(error: Exception) -> UndecodableRecord:
    """The reason of a dead letter for an unexpected error, which is a defect of this program."""
    name = type(error).__name__
    # Without the error's message, which may quote the record.
    log.error("a record cannot be handled: %s\n%s", name, "".join(format_tb(error.__traceback__)))
    return UndecodableRecord(f"it cannot be handled: {name}")

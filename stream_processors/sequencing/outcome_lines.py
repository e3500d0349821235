"""Log lines about single commands: rejections and dead letters, with the id of the request."""

from __future__ import annotations

import logging
from typing import Final

from backends.processes.minute_log import LimitedLog
from schemas.errors import UndecodableRecord
from schemas.records import Rejected
from stream_processors.sequencing.entry_encoding import UnexpectedFailure
from stream_processors.sequencing.source_record import SourceRecord

LINES_PER_SECOND: Final = 20
"""Maximum of one kind in a lane. Anybody who sends commands can cause such lines."""

log = logging.getLogger(__name__)


class OutcomeLines:
    """The log lines of one lane about single commands.

    Args:
        partition: The source partition.
    """

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._rejections = LimitedLog(log, LINES_PER_SECOND)
        self._dead_letters = LimitedLog(log, LINES_PER_SECOND)

    def rejected(self, record: SourceRecord, reply: Rejected, *, is_known: bool) -> None:
        """Logs that the command in a record is rejected, with the code.

        The id of the conversation is in the line if there is such a conversation (``is_known``).
        Otherwise the id may be any text.
        """
        self._rejections.log(
            logging.INFO, "a command is rejected", **self._place(record),
            conv_id=reply.conv_id if is_known else None, code=reply.code,
        )  # fmt: skip

    def dead_letter(self, record: SourceRecord, error: UndecodableRecord) -> None:
        """Logs that a record becomes a dead letter, with the reason; a defect with its places."""
        is_defect = isinstance(error, UnexpectedFailure)
        places = f"\n{error.places}" if isinstance(error, UnexpectedFailure) else ""
        level = logging.ERROR if is_defect else logging.WARNING
        text = "a record is a dead letter: %s%s"
        self._dead_letters.log(level, text, error, places, **self._place(record))

    def _place(self, record: SourceRecord) -> dict[str, object]:
        # The client's own records, which have no headers, have no such field.
        request_id = getattr(record, "request_id", None)
        return {"partition": self._partition, "offset": record.offset, "request_id": request_id}

"""Logging without text of messages, queries and tokens."""

from __future__ import annotations

import logging


class _WithoutExceptionText(logging.Filter):
    """Replaces an exception in a log line by its type.

    aiohttp logs a request that it cannot parse with an error that quotes the line: a query, or a
    header with a token.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[0] is not None:
            record.msg = f"{record.getMessage()}: {record.exc_info[0].__name__}"
            record.args = ()
            record.exc_info = None
        return True


def server_log() -> logging.Logger:
    """The log for aiohttp's server."""
    log = logging.getLogger("gateway.http")
    if not log.filters:
        log.addFilter(_WithoutExceptionText())
    return log

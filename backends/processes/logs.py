"""The log lines of all processes of the pipeline: format, level, and what a line may contain.

A line of the format ``json`` is one JSON object:

| field | content |
|---|---|
| ``time`` | RFC 3339, UTC |
| ``level``, ``logger``, ``event`` | the level, the module or library, the text of the line |
| ``process`` | the stage or ``gateway`` |
| `CONTEXT` | only if known, such as ``request_id``, ``partition``, ``offset`` |
| ``exception`` | places and types of an error, see `backends.processes.error_lines` |

All lines pass through one handler, also those of libraries, warnings of Python and errors that
nobody handles. The handler removes what may quote a message: the texts of errors, and every field
that is not in `CONTEXT`. Libraries log at the level ``info`` at least, because some print records
and requests at ``debug``.

A line is written at once to standard error. If nobody reads the pipe behind standard error, the
process waits, like any program.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping, MutableMapping
from logging import LogRecord
from types import TracebackType
from typing import Any, Final

from structlog.processors import ExceptionRenderer, JSONRenderer, TimeStamper
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name

from backends.processes.error_lines import error_lines, error_text, without_texts
from backends.processes.minute_log import LibraryFilter
from backends.processes.request_context import current_request_id

CONTEXT: Final = (
    "request_id", "trace_id", "partition", "offset", "conv_id", "code", "method", "route",
    "status", "ms",
)  # fmt: skip
"""The fields that a caller may add to a line, as ``extra``. Numbers and ids, no texts."""

MOST_CHARACTERS: Final = 8_000
"""Characters of the event and of the exception in a line. Container engines split lines of 16 KiB.
"""

ROOMS: Final = (
    "schemas", "backends", "producers", "consumers", "stream_processors", "sinks", "gateway",
    "audit", "ops", "devstack",
)  # fmt: skip
"""The loggers to which `IM_LOG_LEVEL` applies."""

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_LIBRARIES: Final = {
    "faust": logging.ERROR,
    "aiokafka": logging.ERROR,
    # Faust logs under the name of the module that subclasses it.
    "stream_processors.faust_app.fetching": logging.ERROR,
    "elastic_transport": logging.ERROR,  # the callers log failures themselves
}
_OFTEN_REPEATED: Final = ("aiokafka", "faust", "mode", "opentelemetry")
_FIRST: Final = ("time", "level", "logger", "event")

_Fields = MutableMapping[str, Any]

log = logging.getLogger(__name__)


def configure_logs(process: str, environment: Mapping[str, str] | None = None) -> None:
    """Sends all log lines of this process to standard error.

    Called before the settings are read, so that an error in the settings is a log line, too. A
    wrong value of a setting counts as its default here, and is refused when the settings are read.

    Args:
        process: The name of the process in its lines.
        environment: The environment variables; those of the process if None.
    """
    variables = os.environ if environment is None else environment
    given = {name.upper(): value.strip() for name, value in variables.items()}
    level = _LEVELS.get(given.get("IM_LOG_LEVEL", ""), logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(process, as_json=given.get("IM_LOG_FORMAT") == "json"))
    handler.addFilter(LibraryFilter(_OFTEN_REPEATED))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.INFO))
    for name, at_least in (dict.fromkeys(ROOMS, level) | _LIBRARIES).items():
        logging.getLogger(name).setLevel(at_least)
    logging.raiseExceptions = False  # Python would print the arguments of a failed line
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    sys.unraisablehook = lambda failed: _log_error("an error is ignored", failed.exc_value)
    threading.excepthook = lambda failed: _log_error("a thread ends", failed.exc_value)


class LineFormatter(ProcessorFormatter):
    """Formats any record of `logging`. Raises nothing.

    Args:
        process: The name of the process.
        as_json: Whether lines are JSON objects.
    """

    def __init__(self, process: str, *, as_json: bool) -> None:
        super().__init__(
            foreign_pre_chain=[
                add_log_level,
                add_logger_name,
                TimeStamper(fmt="iso", utc=True, key="time"),
                ExtraAdder(CONTEXT),
                _plain_fields,
                ExceptionRenderer(_rendered),
            ],
            processors=[
                ProcessorFormatter.remove_processors_meta,
                _ordered(process),
                JSONRenderer() if as_json else _text,
            ],
        )

    def format(self, record: LogRecord) -> str:
        """The line of a record."""
        safe = logging.makeLogRecord(record.__dict__)
        safe.args = without_texts(record.args)
        if record.name == "asyncio":
            # Then follow representations of a call or a task, with the arguments.
            safe.msg = str(record.msg).partition("\n")[0].partition("(")[0]
        try:
            return super().format(safe)
        except Exception as error:  # noqa: BLE001 - a wrong line must not cost more than the line
            where = f"a line of {record.module}:{record.lineno} cannot be written"
            safe.msg, safe.args, safe.exc_info = f"{where}: {error_text(error)}", (), None
            return super().format(safe)


def _plain_fields(_logger: object, _method: str, line: _Fields) -> _Fields:
    """Adds the id of the request, and drops values that are not plain numbers or texts."""
    line.setdefault("request_id", current_request_id.get())
    for name in CONTEXT:
        if name in line and not isinstance(line[name], str | int | float):
            del line[name]
    line["event"] = str(line["event"])[:MOST_CHARACTERS]
    line.pop("stack_info", None)
    return line


def _rendered(
    exc_info: tuple[type[BaseException], BaseException, TracebackType | None],
) -> str:
    return error_lines(exc_info[1])[-MOST_CHARACTERS:]


def _ordered(process: str) -> Any:
    def order(_logger: object, _method: str, line: _Fields) -> _Fields:
        first = {name: line.pop(name) for name in _FIRST}
        return {**first, "process": process, **line}

    return order


def _text(_logger: object, _method: str, line: _Fields) -> str:
    first = "{time} {level} {logger} {event}".format_map({**line, "level": line["level"].upper()})
    more = "".join(f" {name}={line[name]}" for name in CONTEXT if name in line)
    exception = line.get("exception")
    return first + more + (f"\n{exception}" if exception else "")


def _log_error(what: str, error: BaseException | None) -> None:
    if error is not None and not isinstance(error, SystemExit):
        log.critical(what, exc_info=error)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        _log_error("the process ends", error)

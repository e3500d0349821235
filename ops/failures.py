"""Turn an exception that ends a command into one line of text.

| error | line |
|---|---|
| `ImError` | its message, and the address of the server that caused it |
| an error of a client library | the server, its address, and the variable that sets the address |
| one of both, and the server refuses the settings | the settings to correct |
| `OSError`, `sqlite3.Error` | the file that cannot be read or written |
| any other | a defect of this project: the type of the error and its place in the code |
"""

from __future__ import annotations

import os
import sqlite3
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import ClientError
from confluent_kafka import KafkaException
from elasticsearch import ApiError, TransportError

from backends.cassandra.driver_errors import DRIVER_ERRORS
from backends.cassandra.store_listener import store_fault
from backends.elasticsearch.search_listener import search_fault
from backends.kafka.kafka_security import refusal_by_kafka
from ops.deployment.endpoints import endpoints
from ops.deployment.running import resolve_settings
from ops.error_text import tidy
from schemas.errors import ImError, ServerUnavailable
from schemas.settings import Settings

_PROJECT: Final = Path(__file__).parent.parent


class _Server(NamedTuple):
    """A server, and the variable that sets its address."""

    part: str
    name: str
    variable: str


_SERVERS: Final[tuple[tuple[tuple[type[Exception], ...], _Server], ...]] = (
    ((KafkaException,), _Server("kafka", "Kafka", "IM_KAFKA_BOOTSTRAP")),
    (
        DRIVER_ERRORS,
        _Server("cassandra", "Cassandra", "IM_CASSANDRA_HOSTS"),
    ),
    (
        (ApiError, TransportError),
        _Server("elasticsearch", "Elasticsearch", "IM_ELASTICSEARCH_URL"),
    ),
    ((ClientError,), _Server("gateway", "the gateway", "IM_GATEWAY_PORT")),
)
"""The server behind each type of error of a client library."""

_REFUSALS: Final[Mapping[str, Callable[[Settings], object | None]]] = {
    "kafka": refusal_by_kafka,
    "cassandra": store_fault,
    "elasticsearch": search_fault,
}
"""The function for each server that asks the server why it refuses the settings."""


def line_of(error: Exception) -> str:
    """The error in one line. Quotes no text of a message."""
    server = _server_behind(error)
    if refusal := _refusal(error, server):
        return refusal
    if isinstance(error, ImError):
        line = tidy(str(error))
        return _with_address(line, server) if isinstance(error, ServerUnavailable) else line
    if server is not None:
        return _with_address(f"{server.name} failed ({_reason(error)})", server)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or type(error).__name__}"
    if isinstance(error, sqlite3.Error):
        return f"a file below IM_HOME cannot be used ({error})"
    return _defect(error)


def _refusal(error: Exception, server: _Server | None) -> str | None:
    """How a server that is up refuses the settings, if it may be the cause; otherwise None.

    Many requests end by a timeout of the client library, which knows no other reason. Without a
    server in the chain of errors, each of the three servers may be the cause.
    """
    if server is None and not isinstance(error, ServerUnavailable):
        return None
    settings = resolve_settings()
    parts = _REFUSALS if server is None else {server.part}
    asked = (_REFUSALS[part](settings) for part in _REFUSALS if part in parts)
    found = next(filter(None, asked), None)
    return None if found is None else str(found)


def _with_address(line: str, server: _Server | None) -> str:
    """The line, completed by the server's address and the remedy if the line lacks them."""
    if server is None or server.variable in line or "`im " in line:
        return line
    address = _address(server)
    if address and address not in line:
        line = f"{line}; {server.name} is expected at {address}"
    return f"{line}; start it (`im up`) or correct {server.variable}"


def _address(server: _Server) -> str:
    try:
        return endpoints(resolve_settings())[server.part]
    except ImError:
        return ""


def _server_behind(error: BaseException) -> _Server | None:
    for cause in _chain(error):
        for kinds, server in _SERVERS:
            if isinstance(cause, kinds):
                return server
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _reason(error: Exception) -> str:
    """The reason in short. An Elasticsearch response may quote a document: only its type."""
    if isinstance(error, KafkaException):
        return tidy(str(error.args[0]))
    return type(error).__name__


def _defect(error: Exception) -> str:
    frames = [
        f"{os.path.relpath(frame.filename, _PROJECT)}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(_PROJECT) and ".venv" not in frame.filename
    ]
    return f"a defect of im: {type(error).__name__} at {' > '.join(frames[-3:]) or 'start'}"

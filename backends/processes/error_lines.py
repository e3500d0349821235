"""Errors in log lines, without the texts of errors that may quote a message.

The message of an error of Python or of a library may quote the value that caused the error: a
text, a query, a token. A log line has the type of such an error and the places in the code. The
errors of this project quote nothing by rule, and the errors of the operating system and of the
Kafka clients have only addresses and names: a log line has their text, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from traceback import format_tb
from typing import Any, Final

from schemas.errors import ImError

MOST_FRAMES: Final = 40
"""Frames of one error in a log line, those nearest to the error."""

MOST_ERRORS: Final = 8
"""Errors of a chain or a group in a log line."""

_PACKAGES: Final = frozenset({"aiokafka", "cimpl", "confluent_kafka"})
"""Packages whose errors quote no content of records."""


def may_quote(error: BaseException) -> bool:
    """Whether the text of an error may have content of a message, a query or a token."""
    if isinstance(error, ImError | OSError):
        return False
    return type(error).__module__.partition(".")[0] not in _PACKAGES


def error_text(error: BaseException) -> str:
    """The type of an error, and its message unless the message may quote something."""
    name = type(error).__name__
    return name if may_quote(error) or not str(error) else f"{name}: {error}"


def error_lines(error: BaseException) -> str:
    """The places and the types of an error, its causes and the errors in its groups."""
    errors = list(_chain(error, set()))[:MOST_ERRORS]
    return "\n".join(
        "".join(format_tb(each.__traceback__, -MOST_FRAMES)) + error_text(each) for each in errors
    )


def _chain(error: BaseException, seen: set[int]) -> Iterator[BaseException]:
    """The causes first, then the errors of a group, then the error."""
    if id(error) in seen:
        return
    seen.add(id(error))
    cause = error.__cause__
    if cause is None and not error.__suppress_context__:
        cause = error.__context__
    if cause is not None:
        yield from _chain(cause, seen)
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _chain(each, seen)
    yield error


def without_texts(arguments: Any) -> Any:
    """The arguments of a log line; an error that may quote something becomes its type's name."""
    if isinstance(arguments, tuple):
        return tuple(map(_without_text, arguments))
    if isinstance(arguments, dict):  # a line with named arguments
        return {name: _without_text(value) for name, value in arguments.items()}
    return arguments


def _without_text(argument: Any) -> Any:
    is_unsafe = isinstance(argument, BaseException) and may_quote(argument)
    return type(argument).__name__ if is_unsafe else argument

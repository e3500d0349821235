"""Maps the error that ends a request to the problem in the response.

Code below `gateway.http` raises errors of `gateway.errors` and `schemas.errors`. Code of
`gateway.http` may also raise a `Problem` itself, for a fault of the request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from gateway.errors import (
    CommandNotFound,
    ConversationBusy,
    ConversationNotFound,
    CursorOfAnotherOrder,
    DeliveryUnknown,
    DeviceNotFound,
    InvalidPushAddress,
    NoListenerPlace,
    NotAMember,
    ScopeTooWide,
    TokenExpired,
    TooManyAdditions,
    TooManyCommands,
    TooManyDevices,
    TooManyListeners,
    TooManyMembers,
)
from gateway.http import command_problems, load_problems, problem_kinds
from gateway.http.problem_details import Problem
from schemas.errors import (
    CommandRejected,
    CursorAhead,
    InvalidCommand,
    ServerUnavailable,
    Trimmed,
)

_PROBLEMS: Final[dict[type[Exception], Callable[[Any], Problem]]] = {
    ConversationNotFound: lambda _: problem_kinds.no_such_conversation(),
    NotAMember: lambda _: problem_kinds.not_a_member(),
    CursorOfAnotherOrder: lambda _: problem_kinds.cursor_of_another_order(),
    ScopeTooWide: lambda _: problem_kinds.too_wide(),
    CursorAhead: lambda error: problem_kinds.cursor_ahead(error.name),
    DeviceNotFound: lambda _: problem_kinds.no_such_device(),
    InvalidPushAddress: lambda error: problem_kinds.bad_body(f"is refused: {error}", error.field),
    TooManyDevices: lambda error: problem_kinds.too_many_devices(error.most),
    NoListenerPlace: lambda _: load_problems.no_listener_place(),
    TooManyListeners: lambda _: load_problems.too_many_listeners(),
    TooManyCommands: lambda error: load_problems.too_many_commands(error.wait_seconds),
    ConversationBusy: lambda error: load_problems.conversation_busy(error.wait_seconds),
    TooManyAdditions: lambda error: load_problems.too_many_additions(error.wait_seconds),
    TooManyMembers: lambda error: problem_kinds.too_many_members(error.most),
    TokenExpired: lambda _: problem_kinds.invalid_token(),
    Trimmed: lambda error: problem_kinds.trimmed(error.cursor, error.oldest),
    InvalidCommand: command_problems.invalid_command,
    CommandRejected: command_problems.rejected_command,
    DeliveryUnknown: command_problems.delivery_unknown,
    CommandNotFound: lambda _: command_problems.no_such_command(),
    ServerUnavailable: lambda _: load_problems.unavailable(),
}


def problem_of(error: Exception) -> Problem:
    """The problem of an error; `internal` for an error that no request may cause."""
    match error:
        case Problem():
            return error
        case web.HTTPException():
            return problem_kinds.from_http(error)
    for kind, problem in _PROBLEMS.items():
        if isinstance(error, kind):
            return problem(error)
    return problem_kinds.internal()

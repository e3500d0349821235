"""The problem of each error that ends a request."""

from __future__ import annotations

import inspect

import pytest
from aiohttp import web

from gateway import errors
from gateway.http.load_problems import busy
from gateway.http.problems import problem_of
from schemas.errors import (
    REJECTION_CODES,
    CommandRejected,
    ConfigurationError,
    CursorAhead,
    ImError,
    InvalidCommand,
    RejectionCode,
    ServerUnavailable,
    Trimmed,
)
from schemas.number_types import Offset

REJECTED: dict[RejectionCode, tuple[int, str]] = {
    "invalid": (400, "invalid"),
    "too_large": (400, "too-large"),
    "empty": (400, "empty"),
    "unknown_conversation": (404, "unknown-conversation"),
    "already_exists": (409, "already-exists"),
    "not_a_member": (403, "not-a-member"),
    "already_a_member": (409, "already-a-member"),
    "no_room": (409, "no-room"),
    "not_allowed": (403, "not-allowed"),
    "unknown_message": (404, "unknown-message"),
    "already_recalled": (409, "already-recalled"),
    "too_late": (409, "too-late"),
    "too_many_edits": (409, "too-many-edits"),
    "conflict": (409, "conflict"),
    "stale": (409, "stale"),
}

PROBLEMS: list[tuple[Exception, int, str]] = [
    (errors.ConversationNotFound(), 404, "not-found"),
    (errors.NotAMember(), 403, "not-a-member"),
    (errors.CursorOfAnotherOrder(), 400, "bad-parameter"),
    (errors.ScopeTooWide(), 400, "too-wide"),
    (CursorAhead("after"), 400, "cursor-ahead"),
    (errors.DeviceNotFound(), 404, "no-such-device"),
    (errors.InvalidPushAddress("url", "the fault"), 400, "bad-body"),
    (errors.TooManyDevices(32), 409, "too-many-devices"),
    (errors.TooManyListeners(), 429, "too-many-waiting"),
    (errors.NoListenerPlace(), 429, "too-many-waiting-in-all"),
    (errors.TooManyCommands(0.1), 429, "too-many-commands"),
    (errors.ConversationBusy(0.1), 429, "conversation-busy"),
    (errors.TooManyAdditions(0.1), 429, "too-many-additions"),
    (errors.TooManyMembers(9), 400, "too-many-members"),
    (errors.TokenExpired(), 401, "unauthorized"),
    (errors.DeliveryUnknown("id"), 504, "delivery-unknown"),
    (errors.CommandNotFound(), 404, "no-such-command"),
    (InvalidCommand("invalid", "the fault", field="text"), 400, "bad-body"),
    *((CommandRejected(code, "id"), *rejected) for code, rejected in REJECTED.items()),
    (Trimmed(Offset(1), Offset(2)), 410, "trimmed"),
    (ServerUnavailable("away"), 503, "unavailable"),
    (busy(), 503, "busy"),
    (web.HTTPNotFound(), 404, "http"),
    (ConfigurationError("a defect: no request causes it"), 500, "internal"),
    (KeyError("secret"), 500, "internal"),
]


@pytest.mark.parametrize(("error", "status", "kind"), PROBLEMS)
def test_each_error_has_its_problem(error: Exception, status: int, kind: str) -> None:
    """An error has one status and one kind, whatever route raises it."""
    problem = problem_of(error)
    assert (problem.status, problem.kind) == (status, kind)
    assert "secret" not in problem.detail


def test_every_code_of_a_rejection_is_listed() -> None:
    """No rejection lacks a status."""
    assert set(REJECTED) == set(REJECTION_CODES)


def test_every_error_of_the_gateway_is_listed() -> None:
    """No error of `gateway.errors` lacks a problem; `LimitReached` is only a parent."""
    found = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, ImError) and kind not in {ImError, errors.LimitReached}
    }
    assert found <= {type(error) for error, _, _ in PROBLEMS}

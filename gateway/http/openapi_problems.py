"""The problems in the OpenAPI document: the kinds that each route can answer, by status.

`tests/unit/gateway/test_openapi.py` compares the statuses with `gateway.http.problem_kinds`, and
the tests of the routes compare each problem that they receive with the document.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

from gateway.http.command_problems import rejection_kind, rejection_status
from gateway.http.problem_details import PROBLEM_JSON, TYPE_PREFIX
from schemas.errors import REJECTION_CODES

PROBLEM_STATUSES: Final[dict[str, int]] = {
    "bad-parameter": 400,
    "cursor-ahead": 400,
    "too-wide": 400,
    "bad-body": 400,
    "not-http": 400,
    "too-many-members": 400,
    "unauthorized": 401,
    "origin-not-permitted": 403,
    "not-a-member": 403,
    "not-an-operator": 403,
    "not-found": 404,
    "no-such-device": 404,
    "no-such-command": 404,
    "too-slow": 408,
    "too-many-devices": 409,
    "trimmed": 410,
    "body-too-large": 413,
    "upgrade-required": 426,
    "too-many-waiting": 429,
    "too-many-waiting-in-all": 429,
    "too-many-requests": 429,
    "too-many-connections": 429,
    "too-many-commands": 429,
    "conversation-busy": 429,
    "too-many-additions": 429,
    "internal": 500,
    "unavailable": 503,
    "starting": 503,
    "busy": 503,
    "too-many-connections-in-all": 503,
    "delivery-unknown": 504,
} | {rejection_kind(code): rejection_status(code) for code in REJECTION_CODES}
"""The status of each kind of problem that a known route can answer."""

OPEN_PROBLEMS: Final = (
    "not-http", "too-slow", "body-too-large", "internal", "unavailable",
    "too-many-connections-in-all",
)  # fmt: skip
"""The problems of every route: those of the connection, and those that have no other cause."""

WAITING_PROBLEMS: Final = (
    *OPEN_PROBLEMS, "bad-parameter", "unauthorized", "starting", "too-many-connections",
)  # fmt: skip
"""The problems of every route with a token."""

COMMON_PROBLEMS: Final = (*WAITING_PROBLEMS, "too-many-requests", "busy")
"""The problems of every route whose requests take a place of their person."""

_RETRIED: Final = frozenset({429, 503, 504})


def problem_responses(kinds: Iterable[str]) -> dict[str, Any]:
    """The responses with these kinds of problems, by status.

    A status whose kinds are those of `COMMON_PROBLEMS` is a reference.
    """
    found = _by_status(kinds)
    return {
        str(status): {"$ref": f"#/components/responses/{_name(status)}"}
        if named == _COMMON[status]
        else _problem_response(status, named)
        for status, named in sorted(found.items())
    }


def common_responses() -> dict[str, Any]:
    """The responses to which the operations refer, by name."""
    return {_name(status): _problem_response(status, kinds) for status, kinds in _COMMON.items()}


def response_headers(*names: str) -> dict[str, Any]:
    """References to headers of the document, and to the one of every response."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*names, "X-Request-Id")}


HEADERS: Final[dict[str, Any]] = {
    "X-Request-Id": {
        "description": "The id of the request in the log: that of the request, if it has a valid "
        "one. Absent if the gateway could not read the request.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds until the same request may succeed.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "A challenge of RFC 6750.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Upgrade": {
        "description": "The protocol of the route.",
        "required": True,
        "schema": {"const": "websocket"},
    },
    "Location": {
        "description": "The path of the state of the command, like `status`.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    },
}
"""The headers of responses."""


def _by_status(kinds: Iterable[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for kind in sorted(set(kinds)):
        found[PROBLEM_STATUSES[kind]].append(kind)
    return found


_COMMON: Final = defaultdict(list, _by_status(COMMON_PROBLEMS))


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "").replace("-", "")


def _problem_response(status: int, kinds: Sequence[str]) -> dict[str, Any]:
    own = {"status": {"const": status}, "type": {"enum": [TYPE_PREFIX + kind for kind in kinds]}}
    schema = {"allOf": [{"$ref": "#/components/schemas/ProblemDetails"}, {"properties": own}]}
    return {
        "description": "A problem: " + ", ".join(f"`{kind}`" for kind in kinds),
        "headers": response_headers(*_headers_with(status)),
        "content": {PROBLEM_JSON: {"schema": schema}},
    }


def _headers_with(status: int) -> tuple[str, ...]:
    if status in _RETRIED:
        return ("Retry-After",)
    named = {
        HTTPStatus.UNAUTHORIZED: "WWW-Authenticate",
        HTTPStatus.UPGRADE_REQUIRED: "Upgrade",
    }
    return (named[HTTPStatus(status)],) if status in named else ()

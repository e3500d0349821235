"""A problem (RFC 9457), and the response with it."""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import UNSET

from schemas.errors import ImError
from schemas.http.answers import ProblemDetails

PROBLEM_JSON: Final = "application/problem+json"

COMMON_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Headers of every response."""

TYPE_PREFIX: Final = "urn:im-timeline:problem:"
"""Prefix of the ``type`` of every problem; the kind follows."""


class Problem(ImError):
    """A request that fails.

    Args:
        status: The HTTP status.
        kind: The kind of the problem, the last part of its ``type``.
        title: A short description, the same for every problem of the kind.
        detail: A description of this problem; quotes nothing of the request.
        headers: Additional headers for the status.
        parameter: The invalid query parameter or field of the body, if there is one.
        members: Further members of `ProblemDetails`.
    """

    def __init__(  # noqa: PLR0913 - the members of RFC 9457, by keyword
        self,
        *,
        status: int,
        kind: str,
        title: str,
        detail: str,
        headers: dict[str, str] | None = None,
        parameter: str | None = None,
        members: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.headers = headers or {}
        self.parameter = parameter
        self.members = members or {}

    def details(self, request_id: str) -> ProblemDetails:
        """The body of the response."""
        return ProblemDetails(
            type=TYPE_PREFIX + self.kind,
            title=self.title,
            status=self.status,
            detail=self.detail,
            request_id=request_id,
            parameter=self.parameter or UNSET,
            **self.members,
        )

    def response(self, request_id: str) -> web.Response:
        """The response."""
        return web.Response(
            status=self.status,
            body=msgspec.json.encode(self.details(request_id)),
            content_type=PROBLEM_JSON,
            headers=self.headers,
        )


def raw_answer(problem: Problem) -> bytes:
    """A whole HTTP response, for a connection without a parsed request."""
    body = msgspec.json.encode(problem.details(uuid.uuid4().hex))
    headers = {
        "Content-Type": PROBLEM_JSON,
        "Content-Length": str(len(body)),
        "Connection": "close",
        **COMMON_HEADERS,
        **problem.headers,
    }
    lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body

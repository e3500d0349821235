"""The middlewares around every request, outermost first.

`gateway.http.counting` is around all of them, for the metrics.

1. `_answer_and_log`: adds a request id, logs one line, and answers every failure as problem+json.
   The line has the route, but not the path, the query or the token, which would identify people
   and reveal what they search for. While the gateway ends, each response ends its connection.
2. `gateway.http.cross_origin`: answers the preflight requests of web pages, and checks the origin
   of live connections.
3. `_serve_checked`: refuses requests until the data is verified to belong to this deployment.
4. `_identify`: authenticates the caller. Only routes in `OPEN_ROUTES` need no token, so a new
   route is not open by mistake. After this step the connection counts for the caller.
5. `gateway.http.request_places`: bounds the number of requests in flight, and their duration.
"""

from __future__ import annotations

import logging
import time
import traceback
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from backends.processes.request_context import TRACE_HEADER, current_request_id, request_id_of
from gateway import bounds
from gateway.http import load_problems, problem_kinds
from gateway.http.connection import connection_of
from gateway.http.cross_origin import cross_origin
from gateway.http.deployment_guard import Checked
from gateway.http.draining import Draining
from gateway.http.frames import PROTOCOL
from gateway.http.page import PAGE_ROUTES
from gateway.http.problem_details import COMMON_HEADERS, Problem
from gateway.http.problems import problem_of
from gateway.http.request_places import USER, RequestPlaces, placed
from gateway.http.request_spans import RequestSpans
from gateway.http.tokens import Bearer, InvalidToken, TokenVerifier
from schemas.errors import ServerUnavailable

log = logging.getLogger(__name__)

OPEN_ROUTES: Final = frozenset({"/healthz", "/openapi.json", *PAGE_ROUTES})
LIVE: Final = "/v1/live"
SEARCH: Final = "/v1/search"
EXPIRES: Final = web.RequestKey("expires", float)
"""The expiry of the token, in seconds since 1970."""
TOKEN_DEVICE: Final = web.RequestKey("device", str)
"""The device that the token names. Absent if the token names none."""
REQUEST_ID: Final = web.RequestKey("request_id", str)
"""The id of the request in the log and in the answer."""

_IN_PROTOCOL: Final = "bearer."
"""Prefix of a token as a WebSocket subprotocol: browsers cannot send headers with a WebSocket."""

_GIVEN_UP: Final = 499
"""The status in the log if the caller went away, as in a well-known proxy."""


def middlewares(  # noqa: PLR0913, PLR0917 - what the layers use
    tokens: TokenVerifier,
    checked: Checked,
    places: RequestPlaces,
    origins: frozenset[str],
    draining: Draining,
    spans: RequestSpans,
) -> list[Middleware]:
    """All middlewares, outermost first. ``origins`` are the permitted origins of web pages."""
    return [
        _answer_and_log(draining, spans),
        cross_origin(origins, LIVE),
        _serve_checked(checked),
        _identify(tokens),
        placed(places),
    ]


async def prepare_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Adds the headers of every response, and removes the name of the server's software."""
    response.headers.popall("Server", None)
    response.headers.update(COMMON_HEADERS)


def _answer_and_log(draining: Draining, spans: RequestSpans) -> Middleware:
    @web.middleware
    async def answer_and_log(request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id = request[REQUEST_ID] = request_id_of(request.headers.get("X-Request-Id"))
        # One task handles all requests of a connection, one after the other.
        of_task = current_request_id.set(request_id)
        started = time.monotonic()
        status = _GIVEN_UP
        try:
            with _span(spans, request):
                response = await _answer(request, handler, request_id)
            status = response.status
        finally:
            log_request(request.method, _route(request), status, time.monotonic() - started)
            current_request_id.reset(of_task)
        response.headers["X-Request-Id"] = request_id
        if draining.has_begun:
            response.force_close()
        return response

    return answer_and_log


def _span(spans: RequestSpans, request: web.Request) -> AbstractContextManager[None]:
    """The span of a request. A live connection has none: it may last for days."""
    route = _route(request)
    if route == LIVE:
        return nullcontext()
    return spans.of(request.method, route, request.headers.get(TRACE_HEADER))


def log_request(method: str, route: str, status: int, seconds: float) -> None:
    """Logs a request that has ended. The id of the request is that of the present task."""
    fields = {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 1)}
    log.info("request", extra=fields)


async def _answer(request: web.Request, handler: Handler, request_id: str) -> web.StreamResponse:
    try:
        return await handler(request)
    except Exception as error:  # noqa: BLE001 - the caller gets an answer in any case
        problem = problem_of(error)
        log_failure(error, problem)
        return problem.response(request_id)


def log_failure(error: Exception, problem: Problem) -> None:
    """Logs what the operator has to know: an unreachable server, and a defect."""
    if isinstance(error, ServerUnavailable):
        log.warning("%s", error)
    elif problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        # The place of the error without its text, which may quote a message or a query.
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("%s at\n%s", type(error).__name__, where)


def _serve_checked(checked: Checked) -> Middleware:
    @web.middleware
    async def serve_checked(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = _route(request)
        fits = checked.store and (checked.index or route != SEARCH)
        if not fits and route not in OPEN_ROUTES:
            raise load_problems.starting()
        return await handler(request)

    return serve_checked


def _identify(tokens: TokenVerifier) -> Middleware:
    @web.middleware
    async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
        if (request.content_length or 0) > bounds.MAX_BODY_BYTES:
            raise problem_kinds.too_large()
        if request.match_info.http_exception is None and _route(request) not in OPEN_ROUTES:
            caller = await _caller(tokens, request)
            request[USER], request[EXPIRES] = caller.user, caller.expires
            if caller.device is not None:
                request[TOKEN_DEVICE] = caller.device
            connection = connection_of(request)
            if connection is not None:
                connection.count_as(request[USER])
        return await handler(request)

    return identify


async def _caller(tokens: TokenVerifier, request: web.Request) -> Bearer:
    headers = request.headers.getall("Authorization", [])
    if _route(request) == LIVE:
        headers += _from_protocols(request)
    if not headers:
        raise problem_kinds.unauthorized("A bearer token is needed.", token_given=False)
    scheme, _, token = headers[0].partition(" ")
    if len(headers) > 1 or scheme.lower() != "bearer":
        raise problem_kinds.unauthorized("One bearer token is needed.", token_given=True)
    try:
        return await tokens.verify(token.strip())
    except InvalidToken as error:
        log.info("token refused: %s", error)
        raise problem_kinds.invalid_token() from None


def _from_protocols(request: web.Request) -> list[str]:
    """The tokens in the WebSocket subprotocols, as values of ``Authorization`` headers.

    A request must also name the gateway's own subprotocol: if the server knows none of the named
    subprotocols, it logs all of them, including the token.
    """
    named = [
        each.strip()
        for header in request.headers.getall("Sec-WebSocket-Protocol", [])
        for each in header.split(",")
    ]
    tokens = [each.removeprefix(_IN_PROTOCOL) for each in named if each.startswith(_IN_PROTOCOL)]
    if named and PROTOCOL not in named:
        raise problem_kinds.unauthorized(
            f"The subprotocol {PROTOCOL} must be named as well.", token_given=bool(tokens)
        )
    return [f"Bearer {token}" for token in tokens]


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "-" if resource is None else resource.canonical

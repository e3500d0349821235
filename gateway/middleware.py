"""What happens around every request, from the outside in.

1. `tell`: a request id, one line in the log, and every failure as problem+json. The line has the
   route and not the path, and neither query nor token: these say who somebody is and what they
   look for.
2. `_serve_checked`: data that is not known to be of this deployment is not served.
3. `_identify`: who asks. A route is open only if it is in `OPEN_ROUTES`, so that a new route is
   not open by mistake. From here on, the connection counts as one of that person.
4. `gateway.places`: how many requests at once, and how long for each.
"""

from __future__ import annotations

import logging
import re
import time
import traceback
import uuid
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway import bounds, problems
from gateway.connection import connection_of
from gateway.deployment_guard import Checked
from gateway.live_socket import PROTOCOL
from gateway.places import USER, placed
from gateway.problems import Problem
from gateway.tokens import Bearer, InvalidToken, verify_token
from schemas.errors import ServerUnavailable
from schemas.settings import Settings

log = logging.getLogger(__name__)

OPEN_ROUTES: Final = frozenset({"/healthz", "/openapi.json"})
LIVE: Final = "/v1/live"
SEARCH: Final = "/v1/search"
EXPIRES: Final = web.RequestKey("expires", float)
"""When the token does, in seconds since 1970."""

_IN_PROTOCOL: Final = "bearer."
"""Before a token that comes as a WebSocket subprotocol: browsers cannot send headers there."""

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9-]{8,64}", re.ASCII)
_GIVEN_UP: Final = 499
"""What the log says where the caller went away, after a well-known proxy."""


def middlewares(settings: Settings, checked: Checked) -> list[Middleware]:
    """All of them, outermost first."""
    return [tell, _serve_checked(checked), _identify(settings), placed()]


async def prepare_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """The headers of every answer; the server's software is not named."""
    response.headers.popall("Server", None)
    response.headers.update(problems.COMMON_HEADERS)


@web.middleware
async def tell(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers in any case, and logs it."""
    request_id = _request_id(request)
    started = time.monotonic()
    status = _GIVEN_UP
    try:
        response = await _answer(request, handler, request_id)
        status = response.status
    finally:
        took = (time.monotonic() - started) * 1000
        log.info("%s %s %d %.1f ms %s", request.method, _route(request), status, took, request_id)
    response.headers["X-Request-Id"] = request_id
    return response


async def _answer(request: web.Request, handler: Handler, request_id: str) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response(request_id)
    except ServerUnavailable as error:
        log.warning("%s: %s", request_id, error)
        return problems.unavailable().response(request_id)
    except web.HTTPException as error:
        return problems.from_http(error).response(request_id)
    except Exception as error:  # noqa: BLE001 - the last resort; the caller gets an answer
        # Where it happened, and not what it said: that may quote a message or a query.
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("%s: %s at\n%s", request_id, type(error).__name__, where)  # noqa: TRY400 - same
        return problems.internal().response(request_id)


def _serve_checked(checked: Checked) -> Middleware:
    @web.middleware
    async def serve_checked(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = _route(request)
        fits = checked.store and (checked.index or route != SEARCH)
        if not fits and route not in OPEN_ROUTES:
            raise problems.starting()
        return await handler(request)

    return serve_checked


def _identify(settings: Settings) -> Middleware:
    @web.middleware
    async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
        if (request.content_length or 0) > bounds.MAX_BODY_BYTES:
            raise problems.too_large()
        if request.match_info.http_exception is None and _route(request) not in OPEN_ROUTES:
            request[USER], request[EXPIRES] = _caller(settings, request)
            connection = connection_of(request)
            if connection is not None:
                connection.count_as(request[USER])
        return await handler(request)

    return identify


def _caller(settings: Settings, request: web.Request) -> Bearer:
    headers = request.headers.getall("Authorization", [])
    if _route(request) == LIVE:
        headers += _from_protocols(request)
    if not headers:
        raise problems.unauthorized("A bearer token is needed.", token_given=False)
    scheme, _, token = headers[0].partition(" ")
    if len(headers) > 1 or scheme.lower() != "bearer":
        raise problems.unauthorized("One bearer token is needed.", token_given=True)
    try:
        return verify_token(settings, token.strip())
    except InvalidToken as error:
        raise problems.unauthorized(str(error), token_given=True) from None


def _from_protocols(request: web.Request) -> list[str]:
    """What would be the ``Authorization`` headers of a request that names its token otherwise.

    The one protocol that is spoken here has to be named, too: where none of those named is known,
    the server logs them all.
    """
    named = [
        each.strip()
        for header in request.headers.getall("Sec-WebSocket-Protocol", [])
        for each in header.split(",")
    ]
    tokens = [each.removeprefix(_IN_PROTOCOL) for each in named if each.startswith(_IN_PROTOCOL)]
    if named and PROTOCOL not in named:
        raise problems.unauthorized(
            f"The subprotocol {PROTOCOL} has to be named, too.", token_given=bool(tokens)
        )
    return [f"Bearer {token}" for token in tokens]


def _request_id(request: web.Request) -> str:
    given = request.headers.get("X-Request-Id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "-" if resource is None else resource.canonical

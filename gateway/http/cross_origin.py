"""Requests of web pages from other origins (the Fetch standard's CORS protocol).

No origin is permitted by default. A page of a permitted origin may read responses and send the
headers that the gateway understands. The gateway uses no cookies, and never permits credentials:
a page has to have a token of its own.

A browser sends a WebSocket's request for any page, and leaves the check of the origin to the
server. So a live connection needs a permitted origin, or the gateway's own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.http.problem_kinds import origin_not_permitted

_METHODS: Final = "GET, POST, PUT, DELETE"
_REQUEST_HEADERS: Final = "Authorization, Content-Type, Idempotency-Key, X-Request-Id"
_RESPONSE_HEADERS: Final = "Location, Retry-After, WWW-Authenticate, X-Request-Id"
_REMEMBERED_SECONDS: Final = "600"
"""How long a browser remembers a permission."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

Prepare = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


def cross_origin(permitted: frozenset[str], live: str) -> Middleware:
    """Answers preflight requests of permitted origins, and checks the origin of live connections.

    Args:
        permitted: The permitted origins, such as ``https://chat.example``.
        live: The path of live connections.
    """

    @web.middleware
    async def check_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None:
            if request.path == live and origin not in permitted and not _is_own(request, origin):
                raise origin_not_permitted()
            if origin in permitted and _is_preflight(request):
                return web.Response(
                    status=204,
                    headers={
                        "Access-Control-Allow-Methods": _METHODS,
                        "Access-Control-Allow-Headers": _REQUEST_HEADERS,
                        "Access-Control-Max-Age": _REMEMBERED_SECONDS,
                    },
                )
        return await handler(request)

    return check_origin


def cross_origin_headers(permitted: frozenset[str]) -> Prepare:
    """Adds the headers of every response, also of a failure."""

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        if not permitted:
            return
        response.headers["Vary"] = "Origin"  # so that no cache serves it to another origin
        origin = request.headers.get("Origin")
        if origin in permitted:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _RESPONSE_HEADERS

    return prepare


def _is_preflight(request: web.Request) -> bool:
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def _is_own(request: web.Request, origin: str) -> bool:
    """Whether a page came from the address to which the request was sent.

    The scheme is not compared: behind a proxy, the gateway does not know the scheme of the page.
    """
    parts = urlsplit(origin)
    default = _DEFAULT_PORTS.get(parts.scheme)
    if default is None:
        return False
    return _authority(parts.netloc, default) == _authority(request.host, default)


def _authority(address: str, default_port: int) -> str:
    return address.lower().removesuffix(f":{default_port}")

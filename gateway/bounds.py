"""How much a gateway does at once, and how long for each request.

Requests that wait for what comes would fill the bound of those that do not. They have one of their
own: `gateway.wake_ups` counts them, by person and in all. What they read meanwhile is bounded in
time like any other request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway import problems
from schemas.errors import ServerUnavailable

MAX_BODY_BYTES: Final = 65_536
MAX_REQUESTS: Final = 256
"""In hand at once, of one gateway."""

REQUEST_SECONDS: Final = 10.0

AnswerT = TypeVar("AnswerT")


def bound(requests: int, seconds: float) -> Middleware:
    """No long bodies, so many requests at once, so long for each."""
    in_hand = asyncio.Semaphore(requests)

    @web.middleware
    async def bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise problems.too_large()
        if _waits(request):
            return await handler(request)
        if in_hand.locked():
            raise problems.busy()
        async with in_hand:
            return await within(seconds, handler(request))

    return bounded


async def within(seconds: float, answer: Awaitable[AnswerT]) -> AnswerT:
    """An answer that is given up after so many seconds.

    Raises:
        ServerUnavailable: There was none by then.
    """
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        raise ServerUnavailable(f"no answer within {seconds:.0f} s") from None


def _waits(request: web.Request) -> bool:
    resource = request.match_info.route.resource
    path = "" if resource is None else resource.canonical
    return path == "/v1/live" or (path == "/v1/sync" and "wait" in request.query)

"""Places: how many requests are in hand at once, of one person and of all.

1. Take a place of the person, or wait for one: nobody uses up what is there for all.
2. Read the body: a peer that does not send it holds a place of its own person only, and for a
   bounded time.
3. Take a place of the gateway.
4. Answer within a bound.

Routes without a token and requests that wait take no place. The answers of the former are shared,
and `gateway.wake_ups` counts the latter.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Final
from weakref import WeakValueDictionary

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway import bounds, problems

USER: Final = web.RequestKey("user", str)
"""The person who asks. Absent on routes that need no token."""


class Places:
    """The places of one gateway."""

    def __init__(self) -> None:
        self._in_hand = 0
        self._of_user: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def of_user(self, user: str) -> AsyncIterator[None]:
        """A place of one person, as soon as one of theirs is free.

        Raises:
            Problem: 429, if none is free within a bound.
        """
        line = self._of_user.setdefault(user, asyncio.Semaphore(bounds.MAX_REQUESTS_OF_ONE))
        try:
            async with asyncio.timeout(bounds.PLACE_SECONDS):
                await line.acquire()
        except TimeoutError:
            raise problems.too_many_requests() from None
        try:
            yield
        finally:
            line.release()

    @contextlib.contextmanager
    def of_all(self) -> Iterator[None]:
        """A place of the gateway.

        Raises:
            Problem: 503, if there is none left.
        """
        if self._in_hand >= bounds.MAX_REQUESTS:
            raise problems.busy()
        self._in_hand += 1
        try:
            yield
        finally:
            self._in_hand -= 1


def placed() -> Middleware:
    """The middleware that gives out places, after the caller is known."""
    places = Places()

    @web.middleware
    async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
        user = request.get(USER)
        if user is None:
            return await bounds.within(bounds.REQUEST_SECONDS, handler(request))
        if _waits(request):
            return await handler(request)
        async with places.of_user(user):
            await _receive(request)
            with places.of_all():
                return await bounds.within(bounds.REQUEST_SECONDS, handler(request))

    return answered


async def _receive(request: web.Request) -> None:
    """Reads the body, if the method has one. The routes find it read.

    Raises:
        Problem: 400, 408 or 413: it is broken, late or too long.
    """
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    try:
        async with asyncio.timeout(bounds.BODY_SECONDS):
            await request.read()
    except TimeoutError:
        raise problems.body_timeout() from None
    except web.HTTPRequestEntityTooLarge:
        raise problems.too_large() from None
    except (web.RequestPayloadError, web.PayloadAccessError):
        raise problems.bad_body("is not transferred as its headers say") from None


def _waits(request: web.Request) -> bool:
    resource = request.match_info.route.resource
    path = "" if resource is None else resource.canonical
    return path == "/v1/live" or (path == "/v1/sync" and "wait" in request.query)

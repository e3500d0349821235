"""Places: bounds on the number of requests in flight, for one person and for the gateway.

1. Take a place of the person, or wait for one, so that one person cannot take all places.
2. Read the body. A peer that does not send its body holds only a place of its own person, for a
   bounded time.
3. Take a place of the gateway.
4. Answer within a timeout.

Two kinds of requests take no place: routes without a token, whose responses are shared, and
requests that wait for records, which `gateway.log.wake_ups` counts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Final
from weakref import WeakValueDictionary

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway import bounds
from gateway.http import load_problems, problem_kinds

USER: Final = web.RequestKey("user", str)
"""The caller. Absent on routes that need no token."""


class RequestPlaces:
    """The places of one gateway.

    Attributes:
        in_hand: The number of requests in flight that have a place of the gateway.
        taken: The number of requests that have had such a place.
    """

    def __init__(self) -> None:
        self.in_hand = 0
        self.taken = 0
        self._of_user: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def of_user(self, user: str) -> AsyncIterator[None]:
        """A place of one person. Waits for a free place.

        Raises:
            Problem: 429, if none is free within a bound.
        """
        line = self._of_user.setdefault(user, asyncio.Semaphore(bounds.MAX_REQUESTS_OF_ONE))
        if line.locked():
            await _wait_for_place(line)
        else:
            await line.acquire()  # does not suspend
        try:
            yield
        finally:
            line.release()

    @contextlib.contextmanager
    def of_all(self) -> Iterator[None]:
        """A place of the gateway.

        Raises:
            Problem: 503, if no place is free.
        """
        if self.in_hand >= bounds.MAX_REQUESTS:
            raise load_problems.busy()
        self.in_hand += 1
        self.taken += 1
        try:
            yield
        finally:
            self.in_hand -= 1


PLACES: Final = web.AppKey("places", RequestPlaces)


def placed(places: RequestPlaces) -> Middleware:
    """The middleware that assigns places, after the caller is authenticated."""

    @web.middleware
    async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
        user = request.get(USER)
        if user is None:
            return await bounds.within(bounds.REQUEST_SECONDS, handler(request))
        if waits(request):
            return await handler(request)
        async with places.of_user(user):
            await _receive(request)
            with places.of_all():
                return await bounds.within(bounds.REQUEST_SECONDS, handler(request))

    return answered


async def _wait_for_place(line: asyncio.Semaphore) -> None:
    """Takes the next free place.

    Raises:
        Problem: 429, if none is free within a bound.
    """
    try:
        async with asyncio.timeout(bounds.PLACE_SECONDS):
            await line.acquire()
    except TimeoutError:
        raise load_problems.too_many_requests() from None


async def _receive(request: web.Request) -> None:
    """Reads the body, if the method has one. The routes then use the read body.

    Raises:
        Problem: 400, 408 or 413: the body is malformed, late or too long.
    """
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    try:
        async with asyncio.timeout(bounds.BODY_SECONDS):
            await request.read()
    except TimeoutError:
        raise problem_kinds.body_timeout() from None
    except web.HTTPRequestEntityTooLarge:
        raise problem_kinds.too_large() from None
    except (web.RequestPayloadError, web.PayloadAccessError):
        raise problem_kinds.bad_body("is not transferred as its headers say") from None


def waits(request: web.Request) -> bool:
    """Whether a request waits for records: a live connection, or a page with a wait."""
    resource = request.match_info.route.resource
    path = "" if resource is None else resource.canonical
    return path == "/v1/live" or (path == "/v1/sync" and "wait" in request.query)

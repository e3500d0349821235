"""Requests as frames of a live connection: the routes that write, without another connection.

A frame has the method, the path and the body of the request over HTTP, and a ``ref`` of the
client. Its answer is a frame with the same ``ref``, and the status and the body of the response.
Frames of one connection reach the log in their order, so ids of the client stay in their order.

A frame that is no request ends the connection. A connection with `MAX_AT_ONCE` requests in flight
is not read until one of them is answered. Each request takes a place of its person and of the
gateway, like a request over HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec
from aiohttp import WSMsgType, web
from msgspec import UNSET, Raw, Struct, UnsetType

from gateway import bounds
from gateway.http.command_paths import command_route
from gateway.http.command_routes import WritingGateway, answer_request
from gateway.http.problem_kinds import from_http
from gateway.http.problems import problem_of
from gateway.http.request_bodies import decode_body
from gateway.http.request_places import RequestPlaces
from gateway.writes.command_requests import CommandSender, requested_command
from schemas.errors import ImError
from schemas.http.command_bodies import LiveRequest
from schemas.http.live_messages import LiveAnswer

log = logging.getLogger(__name__)

MAX_AT_ONCE: Final = 16
"""Requests of one connection in flight."""

AFTER_PROBLEM_SECONDS: Final = 0.02
"""A connection is not read for this time after a request without effect, so that wrong requests do
not occupy the gateway."""


class NotARequest(ImError):
    """A client has sent a frame that is not a request."""

    def __init__(self) -> None:
        super().__init__("a frame is not a request")


class LiveConnection(NamedTuple):
    """The parts of a connection that its requests use."""

    socket: web.WebSocketResponse
    sender: CommandSender
    send: Callable[[Struct], Awaitable[None]]


class LiveRequests:
    """Answers the requests of one connection.

    Args:
        gateway: The parts of the gateway that write.
        places: The places of the gateway.
        connection: The connection.
    """

    def __init__(
        self, gateway: WritingGateway, places: RequestPlaces, connection: LiveConnection
    ) -> None:
        self._gateway = gateway
        self._places = places
        self._connection = connection
        self._free = asyncio.Semaphore(MAX_AT_ONCE)
        self._answering: set[asyncio.Task[None]] = set()
        self._is_over = False

    async def run(self) -> None:
        """Runs until the client closes the connection.

        Raises:
            NotARequest: A frame is not a request.
        """
        try:
            async for message in self._connection.socket:
                if message.type is WSMsgType.TEXT:
                    await self._take(message.data)
        finally:
            for task in self._answering:
                task.cancel()
            await asyncio.gather(*self._answering, return_exceptions=True)

    async def finish(self) -> None:
        """Waits for the requests in flight, within the limit of a request. Takes no others."""
        self._is_over = True
        if self._answering:
            await asyncio.wait(self._answering, timeout=bounds.REQUEST_SECONDS)

    async def _take(self, frame: str) -> None:
        try:
            request = msgspec.json.decode(frame, type=LiveRequest)
        except (msgspec.DecodeError, RecursionError):
            raise NotARequest from None
        await self._free.acquire()
        if self._is_over:  # the client repeats a request without an answer elsewhere
            self._free.release()
            return
        # A task begins in the order of its creation, so the order of the frames is preserved.
        task = asyncio.create_task(self._answer(request))
        self._answering.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        self._free.release()

    async def _answer(self, request: LiveRequest) -> None:
        retry_after: int | UnsetType = UNSET
        try:
            status, answer = await self._outcome(request)
        except Exception as error:  # noqa: BLE001 - the client gets an answer in any case
            problem = problem_of(error)
            if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                where = "".join(traceback.format_tb(error.__traceback__))  # not the error's text
                log.error("live request: %s at\n%s", type(error).__name__, where)  # noqa: TRY400 - same
            status, answer = problem.status, problem.details("")
            if "Retry-After" in problem.headers:
                retry_after = int(problem.headers["Retry-After"])
            await asyncio.sleep(AFTER_PROBLEM_SECONDS)
        raw = Raw(msgspec.json.encode(answer))
        await self._connection.send(
            LiveAnswer(ref=request.ref, status=status, body=raw, retry_after=retry_after)
        )

    async def _outcome(self, request: LiveRequest) -> tuple[int, Struct]:
        route = command_route(request.method, request.path)
        if route is None:
            raise from_http(web.HTTPNotFound())
        body = decode_body(bytes(request.body), route.body)
        sender = self._connection.sender
        async with self._places.of_user(sender.user):
            with self._places.of_all():
                command = requested_command(sender, route.target, body, self._gateway.writes.ids)
                answering = answer_request(self._gateway, command)
                return await bounds.within(bounds.REQUEST_SECONDS, answering)

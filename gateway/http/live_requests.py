"""The frames of a client on a live connection: requests that write, and its presence.

A frame has the method, the path and the body of the request over HTTP, and a ``ref`` of the
client. Its answer is a frame with the same ``ref``, and the status and the body of the response.
Frames of one connection reach the log in their order, so ids of the client stay in their order.

A presence says whether the person looks at the device. It has no answer. A client that sends more
than `PRESENCE_BURST` at once is read slowly: one presence a second.

A frame of another form ends the connection. A connection with `MAX_AT_ONCE` requests in flight
is not read until one of them is answered. Each request takes a place of its person and of the
gateway, like a request over HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import msgspec
from aiohttp import WSMsgType, web
from msgspec import UNSET, Raw, Struct, UnsetType

from backends.processes.request_context import current_request_id, request_id_of
from gateway import bounds
from gateway.contacts.connection_records import LiveActivity
from gateway.http.command_paths import CommandRoute, command_route
from gateway.http.command_routes import WritingGateway, answer_request
from gateway.http.middleware import log_failure, log_request
from gateway.http.problem_kinds import from_http
from gateway.http.problems import problem_of
from gateway.http.request_bodies import decode_body
from gateway.http.request_places import RequestPlaces
from gateway.writes.command_requests import CommandSender, requested_command
from schemas.errors import ImError
from schemas.http.command_bodies import LivePresence, LiveRequest
from schemas.http.live_messages import LiveAnswer

MAX_AT_ONCE: Final = 16
"""Requests of one connection in flight."""

AFTER_PROBLEM_SECONDS: Final = 0.02
"""A connection is not read for this time after a request without effect, so that wrong requests do
not occupy the gateway."""


PRESENCE_BURST: Final = 16
PRESENCE_SECONDS: Final = 1.0
"""Presences of one connection at once, and the interval of further ones. Each may cost a record on
the log."""


class NotARequest(ImError):
    """A client has sent a frame that is neither a request nor a presence."""

    def __init__(self) -> None:
        super().__init__("a frame is neither a request nor a presence")


class LiveConnection(NamedTuple):
    """The parts of a connection that its requests use."""

    socket: web.WebSocketResponse
    sender: CommandSender
    send: Callable[[Struct], Awaitable[None]]
    activity: LiveActivity


class LiveRequests:
    """Answers the requests of one connection, and notes its presences.

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
        self._presences_until = 0.0
        """The time at which another burst of presences is allowed, by the event loop's clock."""

    async def run(self) -> None:
        """Runs until the client closes the connection.

        Raises:
            NotARequest: A frame is neither a request nor a presence.
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
            await self._note_presence(frame)
            return
        await self._free.acquire()
        if self._is_over:  # the client repeats a request without an answer elsewhere
            self._free.release()
            return
        # A task begins in the order of its creation, so the order of the frames is preserved.
        task = asyncio.create_task(self._answer(request))
        self._answering.add(task)
        task.add_done_callback(self._answered)

    async def _note_presence(self, frame: str) -> None:
        try:
            presence = msgspec.json.decode(frame, type=LivePresence)
        except (msgspec.DecodeError, RecursionError):
            raise NotARequest from None
        now = asyncio.get_running_loop().time()
        self._presences_until = max(now, self._presences_until) + PRESENCE_SECONDS
        await asyncio.sleep(self._presences_until - now - PRESENCE_BURST * PRESENCE_SECONDS)
        self._connection.activity.note(is_active=presence.active)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        self._free.release()

    async def _answer(self, request: LiveRequest) -> None:
        request_id = request_id_of(None)
        current_request_id.set(request_id)  # each frame has a task, which ends with its answer
        started = time.monotonic()
        retry_after: int | UnsetType = UNSET
        route: CommandRoute | None = None
        try:
            route = command_route(request.method, request.path)
            status, answer = await self._outcome(request, route)
        except Exception as error:  # noqa: BLE001 - the client gets an answer in any case
            problem = problem_of(error)
            log_failure(error, problem)
            status, answer = problem.status, problem.details(request_id)
            if "Retry-After" in problem.headers:
                retry_after = int(problem.headers["Retry-After"])
            await asyncio.sleep(AFTER_PROBLEM_SECONDS)
        path = "-" if route is None else route.path
        log_request(request.method, path, status, time.monotonic() - started)
        raw = Raw(msgspec.json.encode(answer))
        await self._connection.send(
            LiveAnswer(
                ref=request.ref, status=status, body=raw,
                request_id=request_id, retry_after=retry_after,
            )
        )  # fmt: skip

    async def _outcome(
        self, request: LiveRequest, route: CommandRoute | None
    ) -> tuple[int, Struct]:
        if route is None:
            raise from_http(web.HTTPNotFound())
        with self._gateway.spans.of(request.method, route.path):
            return await self._of_route(request, route)

    async def _of_route(self, request: LiveRequest, route: CommandRoute) -> tuple[int, Struct]:
        body = decode_body(bytes(request.body), route.body)
        sender = self._connection.sender
        async with self._places.of_user(sender.user):
            with self._places.of_all():
                command = requested_command(sender, route.target, body, self._gateway.writes.ids)
                answering = answer_request(self._gateway, command)
                return await bounds.within(bounds.REQUEST_SECONDS, answering)

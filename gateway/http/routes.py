"""The routes. Each parses its parameters, calls one function of the gateway, and sends the result.

All access to messages goes through `access_conversation`. The token identifies the caller.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from msgspec import Struct

from gateway.bounds import REQUEST_SECONDS, within
from gateway.contacts.contact_log import Contacts
from gateway.http import answers, openapi
from gateway.http.gateway_health import Health
from gateway.http.middleware import EXPIRES, LIVE
from gateway.http.parameters import Parameters
from gateway.http.problems import RETRY_SECONDS, bad_body, bad_parameter, upgrade_required
from gateway.http.request_places import USER
from gateway.live import live_socket
from gateway.live.live_session import LiveSession
from gateway.live.long_poll import MAX_WAIT_SECONDS, await_page
from gateway.log.barrier import Barrier
from gateway.log.log_ends import Ends, check_cursor
from gateway.log.wake_ups import WakeUps
from gateway.reads import conversation_list as conversations
from gateway.reads import device_registry as devices
from gateway.reads import history, search, sync_back
from gateway.reads import sync_page as sync
from gateway.reads.access import access_conversation
from gateway.reads.device_registry import NewDevices
from gateway.reads.readable_ids import is_id
from gateway.reads.search import Index, SearchAsked
from gateway.reads.search_terms import (
    MAX_CURSOR_CHARACTERS,
    MAX_QUERY_CHARACTERS,
    Query,
    SearchPosition,
    from_cursor,
    parse_query,
)
from gateway.reads.sync_page import SyncRead
from gateway.store.device_port import MAX_CURSOR
from gateway.store.store_port import Store
from schemas.records import MAX_ID_LENGTH

DEFAULT_PAGE: Final = 100
DEFAULT_HITS: Final = 20

_ORDERS: Final = ("asc", "desc")

BodyT = TypeVar("BodyT", bound=Struct)


@dataclass(frozen=True)
class Gateway:
    """The parts that the routes use."""

    store: Store
    index: Index
    health: Health
    wake_ups: WakeUps
    new_devices: NewDevices
    ends: Ends
    contacts: Contacts
    barrier: Barrier


GATEWAY: Final = web.AppKey("gateway", Gateway)


async def get_health(request: web.Request) -> web.Response:
    """`GET /healthz`."""
    state = await request.app[GATEWAY].health.state()
    if state.status in {"ok", "degraded"}:
        return _json(state)
    return _json(state, status=503, headers={"Retry-After": str(RETRY_SECONDS)})


async def get_openapi(_request: web.Request) -> web.Response:
    """`GET /openapi.json`."""
    return web.Response(body=openapi.document_json(), content_type="application/json")


async def get_conversations(request: web.Request) -> web.Response:
    """`GET /v1/conversations`."""
    given = Parameters(request.query, frozenset({"after", "limit"}))
    after = given.text("after", longest=MAX_ID_LENGTH) or ""
    limit = given.number("limit", DEFAULT_PAGE, low=1, high=conversations.MAX_CONVERSATIONS)
    store = request.app[GATEWAY].store
    return _json(await conversations.list_conversations(store, request[USER], after, limit))


async def get_messages(request: web.Request) -> web.Response:
    """`GET /v1/conversations/{id}/messages`."""
    given = Parameters(request.query, frozenset({"from", "to", "limit", "order"}))
    first = given.number("from", 1, low=1)
    last = given.number("to", 0, low=1)
    limit = given.number("limit", DEFAULT_PAGE, low=1, high=history.MAX_ITEMS)
    order = given.choice("order", _ORDERS)
    if 0 < last < first:
        raise bad_parameter("to", "must not be below from")
    store = request.app[GATEWAY].store
    access = await access_conversation(store, request[USER], request.match_info["id"])
    asked = history.HistoryAsked(first, last or access.head, limit, newest_first=order == "desc")
    return _json(await history.read_history(store, access, asked))


async def get_sync(request: web.Request) -> web.Response:
    """`GET /v1/sync`."""
    given = Parameters(request.query, frozenset({"after", "before", "limit", "wait"}))
    after = given.number("after", -1, low=-1, high=MAX_CURSOR)
    before = given.number("before", -1)
    limit = given.number("limit", DEFAULT_PAGE, low=1, high=sync.MAX_RECORDS)
    wait = given.number("wait", 0, high=MAX_WAIT_SECONDS)
    gateway, user = request.app[GATEWAY], request[USER]
    for name in ("after", "wait"):
        if before >= 0 and name in request.query:
            raise bad_parameter("before", f"cannot be given together with {name}")
    await gateway.contacts.note(user)
    store, barrier = gateway.store, gateway.barrier
    if before >= 0:
        back = sync_back.read_sync_back(store, user, before, limit, barrier=barrier)
        return _json(await back)

    async def page() -> SyncRead:
        reading = sync.read_sync(store, user, after, limit, barrier=barrier)
        return await within(REQUEST_SECONDS, reading)

    if wait == 0:
        found, _ = await page()
        if found.next == after and not found.more:
            await check_cursor(gateway.ends, user, after, "after")
        return _json(found)
    await within(REQUEST_SECONDS, check_cursor(gateway.ends, user, after, "after"))
    with gateway.wake_ups.listening(user) as listener:
        lasts = request[EXPIRES] - time.time()
        return _json(await await_page(listener, page, after, wait, lasts))


async def get_sync_end(request: web.Request) -> web.Response:
    """`GET /v1/sync/end`."""
    Parameters(request.query, frozenset())
    gateway, user = request.app[GATEWAY], request[USER]
    await gateway.contacts.note(user)
    return _json(await sync.sync_end(gateway.store, user, barrier=gateway.barrier))


async def get_live(request: web.Request) -> web.StreamResponse:
    """`GET /v1/live`."""
    given = Parameters(request.query, frozenset({"after", "limit"}))
    after = given.number("after", -1, low=-1, high=MAX_CURSOR)
    limit = given.number("limit", DEFAULT_PAGE, low=1, high=sync.MAX_RECORDS)
    socket = live_socket.new_socket()
    if not socket.can_prepare(request).ok:
        raise upgrade_required()
    gateway, user = request.app[GATEWAY], request[USER]
    await gateway.contacts.note(user)
    await within(REQUEST_SECONDS, check_cursor(gateway.ends, user, after, "after"))
    with gateway.wake_ups.listening(user) as listener:
        await socket.prepare(request)
        send = partial(live_socket.send_answer, socket)
        barrier = gateway.barrier
        session = LiveSession(gateway.store, listener, after, limit, send, barrier=barrier)
        beside = gateway.contacts.keep(user)
        await live_socket.serve_socket(request, socket, session, request[EXPIRES], beside)
    return socket


async def get_search(request: web.Request) -> web.Response:
    """`GET /v1/search`."""
    given = Parameters(
        request.query, frozenset({"q", "conversation", "sender", "limit", "cursor"})
    )
    asked = SearchAsked(
        query=_query(given),
        conversation=given.text("conversation", longest=MAX_ID_LENGTH),
        sender=given.text("sender", longest=MAX_ID_LENGTH),
        below=_below(given),
        limit=given.number("limit", DEFAULT_HITS, low=1, high=search.MAX_HITS),
    )
    gateway = request.app[GATEWAY]
    return _json(await search.search_messages(gateway.store, gateway.index, request[USER], asked))


async def get_devices(request: web.Request) -> web.Response:
    """`GET /v1/devices`."""
    Parameters(request.query, frozenset())
    return _json(await devices.list_devices(request.app[GATEWAY].store, request[USER]))


async def post_device(request: web.Request) -> web.Response:
    """`POST /v1/devices`."""
    Parameters(request.query, frozenset())
    body = await _body(request, answers.RegisterDevice)
    if not is_id(body.device_id):
        raise bad_body("must name the device by 1 to 128 printable characters")
    gateway, user = request.app[GATEWAY], request[USER]
    await gateway.contacts.note(user)
    registering = devices.register_device(
        gateway.store, user, body.device_id, gateway.new_devices, barrier=gateway.barrier
    )
    return _json(await registering)


async def get_device(request: web.Request) -> web.Response:
    """`GET /v1/devices/{id}`."""
    Parameters(request.query, frozenset())
    return _json(await devices.show_device(*_device(request)))


async def delete_device(request: web.Request) -> web.Response:
    """`DELETE /v1/devices/{id}`."""
    Parameters(request.query, frozenset())
    await devices.take_out(*_device(request))
    return web.Response(status=204)


async def get_beginnings(request: web.Request) -> web.Response:
    """`GET /v1/devices/{id}/conversations`."""
    given = Parameters(request.query, frozenset({"after", "limit"}))
    after = given.text("after", longest=MAX_ID_LENGTH) or ""
    limit = given.number("limit", DEFAULT_PAGE, low=1, high=conversations.MAX_CONVERSATIONS)
    return _json(await devices.show_beginnings(*_device(request), after, limit))


async def put_cursor(request: web.Request) -> web.Response:
    """`PUT /v1/devices/{id}/cursor`."""
    Parameters(request.query, frozenset())
    body = await _body(request, answers.MoveCursor)
    gateway, user = request.app[GATEWAY], request[USER]
    await gateway.contacts.note(user)
    await check_cursor(gateway.ends, user, body.cursor, "cursor")
    return _json(await devices.move_cursor(*_device(request), body.cursor))


def _device(request: web.Request) -> tuple[Store, str, str]:
    return request.app[GATEWAY].store, request[USER], request.match_info["id"]


async def _body(request: web.Request, kind: type[BodyT]) -> BodyT:
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.ValidationError as error:
        raise bad_body(f"is not valid for this route: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad_body("is not JSON") from None


def _query(given: Parameters) -> Query:
    query = given.text("q", longest=MAX_QUERY_CHARACTERS)
    if query is None:
        raise bad_parameter("q", "is needed")
    try:
        return parse_query(query)
    except ValueError as error:
        raise bad_parameter("q", str(error)) from None


def _below(given: Parameters) -> SearchPosition | None:
    cursor = given.text("cursor", longest=MAX_CURSOR_CHARACTERS)
    try:
        return None if cursor is None else from_cursor(cursor)
    except ValueError as error:
        raise bad_parameter("cursor", str(error)) from None


def _json(
    answer: Struct, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(answer),
        content_type="application/json",
        status=status,
        headers=headers,
    )


ROUTES: Final[tuple[tuple[str, Handler], ...]] = (
    ("/healthz", get_health),
    ("/openapi.json", get_openapi),
    ("/v1/conversations", get_conversations),
    ("/v1/conversations/{id}/messages", get_messages),
    ("/v1/sync", get_sync),
    ("/v1/sync/end", get_sync_end),
    ("/v1/search", get_search),
    ("/v1/devices", get_devices),
    ("/v1/devices/{id}", get_device),
    ("/v1/devices/{id}/conversations", get_beginnings),
    (LIVE, get_live),
)
"""The GET handler of each path."""

WRITING_ROUTES: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("POST", "/v1/devices", post_device),
    ("DELETE", "/v1/devices/{id}", delete_device),
    ("PUT", "/v1/devices/{id}/cursor", put_cursor),
)
"""The handlers that change data, with their methods and paths."""

"""The routes. Each parses its parameters, calls one function of the gateway, and sends the result.

All access to messages goes through `access_conversation`. The token identifies the caller.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.bounds import REQUEST_SECONDS, within
from gateway.contacts.contact_log import Contacts
from gateway.gateway_metrics import GatewayMetrics
from gateway.http import live_socket, openapi
from gateway.http.command_routes import WRITING_GATEWAY
from gateway.http.gateway_health import Health
from gateway.http.live_requests import LiveConnection, LiveRequests
from gateway.http.load_problems import RETRY_SECONDS
from gateway.http.middleware import EXPIRES, LIVE, TOKEN_DEVICE
from gateway.http.parameters import parse_parameters
from gateway.http.pipeline_routes import get_pipeline
from gateway.http.problem_kinds import bad_body, bad_parameter, upgrade_required
from gateway.http.push_routes import PUSH_GATE
from gateway.http.request_bodies import json_response, read_body
from gateway.http.request_places import PLACES, USER
from gateway.live.live_session import LiveSession
from gateway.live.long_poll import await_page
from gateway.live.record_pump import SendAnswer
from gateway.log.barrier import Barrier
from gateway.log.delivery_spans import DeliverySpans
from gateway.log.log_ends import Ends, check_cursor
from gateway.log.wake_ups import WakeUps
from gateway.reads import conversation_list as conversations
from gateway.reads import device_registry as devices
from gateway.reads import history, search, sync_back
from gateway.reads import sync_page as sync
from gateway.reads.access import access_conversation
from gateway.reads.device_registry import NewDevices
from gateway.reads.member_list import list_members
from gateway.reads.readable_ids import is_id
from gateway.reads.search_terms import from_cursor, parse_query
from gateway.reads.sync_page import SyncRead
from gateway.store.index_port import Index, Query, SearchPosition, SearchRequest
from gateway.store.store_port import Store
from gateway.writes.command_requests import CommandSender
from schemas.http.bodies import MoveCursor, RegisterDevice
from schemas.http.queries import (
    BeginningsQuery,
    ConversationsQuery,
    LiveQuery,
    MembersQuery,
    MessagesQuery,
    NoQuery,
    SearchQuery,
    SyncQuery,
)


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
    deliveries: DeliverySpans | None = None


GATEWAY: Final = web.AppKey("gateway", Gateway)
METRICS: Final = web.AppKey("metrics", GatewayMetrics)


async def get_health(request: web.Request) -> web.Response:
    """`GET /healthz`."""
    state = await request.app[GATEWAY].health.state()
    if state.status in {"ok", "degraded"}:
        return json_response(state)
    return json_response(state, status=503, headers={"Retry-After": str(RETRY_SECONDS)})


async def get_openapi(_request: web.Request) -> web.Response:
    """`GET /openapi.json`."""
    return web.Response(body=openapi.document_json(), content_type="application/json")


async def get_conversations(request: web.Request) -> web.Response:
    """`GET /v1/conversations`."""
    query = parse_parameters(request.query, ConversationsQuery)
    store = request.app[GATEWAY].store
    return json_response(await conversations.list_conversations(store, request[USER], query))


async def get_members(request: web.Request) -> web.Response:
    """`GET /v1/conversations/{id}/members`."""
    query = parse_parameters(request.query, MembersQuery)
    store, conv_id = request.app[GATEWAY].store, request.match_info["id"]
    listing = list_members(store, request[USER], conv_id, query.after or "", query.limit)
    return json_response(await listing)


async def get_messages(request: web.Request) -> web.Response:
    """`GET /v1/conversations/{id}/messages`."""
    query = parse_parameters(request.query, MessagesQuery)
    if query.last is not None and query.last < query.first:
        raise bad_parameter("to", "must not be below from")
    store = request.app[GATEWAY].store
    access = await access_conversation(store, request[USER], request.match_info["id"])
    history_request = history.HistoryRequest(
        query.first, query.last or access.head, query.limit, newest_first=query.order == "desc"
    )
    return json_response(await history.read_history(store, access, history_request))


async def get_sync(request: web.Request) -> web.Response:
    """`GET /v1/sync`."""
    query = parse_parameters(request.query, SyncQuery)
    gateway, user = request.app[GATEWAY], request[USER]
    for name in ("after", "wait"):
        if query.before is not None and name in request.query:
            raise bad_parameter("before", f"cannot be given together with {name}")
    await gateway.contacts.note(user)
    store, barrier, after = gateway.store, gateway.barrier, query.after
    if query.before is not None:
        back = sync_back.read_sync_back(store, user, query.before, query.limit, barrier=barrier)
        return json_response(await back)

    async def page() -> SyncRead:
        reading = sync.read_sync(store, user, after, query.limit, barrier=barrier)
        return await within(REQUEST_SECONDS, reading)

    # First: a page could have records of a later epoch, and records after the cursor could have
    # expired.
    await within(REQUEST_SECONDS, check_cursor(gateway.ends, user, after, "after"))
    if query.wait == 0:
        return json_response((await page()).page)
    with gateway.wake_ups.listening(user) as listener:
        lasts = request[EXPIRES] - time.time()
        return json_response(await await_page(listener, page, after, query.wait, lasts))


async def get_sync_end(request: web.Request) -> web.Response:
    """`GET /v1/sync/end`."""
    parse_parameters(request.query, NoQuery)
    gateway, user = request.app[GATEWAY], request[USER]
    await gateway.contacts.note(user)
    return json_response(await sync.sync_end(gateway.store, user, barrier=gateway.barrier))


async def get_live(request: web.Request) -> web.StreamResponse:
    """`GET /v1/live`."""
    query = parse_parameters(request.query, LiveQuery)
    after = query.after
    socket = live_socket.new_socket()
    if not socket.can_prepare(request).ok:
        raise upgrade_required()
    gateway, user = request.app[GATEWAY], request[USER]
    await gateway.contacts.note(user)
    await within(REQUEST_SECONDS, check_cursor(gateway.ends, user, after, "after"))
    with gateway.wake_ups.listening(user, has_feed=True) as listener:
        await socket.prepare(request)
        send: SendAnswer = partial(live_socket.send_answer, socket)
        if gateway.deliveries is not None:
            send = gateway.deliveries.sending(user, send)
        session = LiveSession(
            gateway.store, listener, after, query.limit, send,
            barrier=gateway.barrier, sent=request.app[METRICS].sent_live,
        )  # fmt: skip
        sender = CommandSender(user, request.get(TOKEN_DEVICE))
        with request.app[PUSH_GATE].inputs.live.connected(user) as activity:
            connection = LiveConnection(socket, sender, send, activity)
            requests = LiveRequests(request.app[WRITING_GATEWAY], request.app[PLACES], connection)
            parts = live_socket.LiveParts(session, requests, gateway.contacts.keep(user))
            await live_socket.serve_socket(request, socket, parts, request[EXPIRES])
    return socket


async def get_search(request: web.Request) -> web.Response:
    """`GET /v1/search`."""
    query = parse_parameters(request.query, SearchQuery)
    search_request = SearchRequest(
        query=_terms(query.q),
        conversation=query.conversation,
        sender=query.sender,
        below=_below(query.cursor),
        limit=query.limit,
    )
    gateway = request.app[GATEWAY]
    return json_response(
        await search.search_messages(gateway.store, gateway.index, request[USER], search_request)
    )


async def get_devices(request: web.Request) -> web.Response:
    """`GET /v1/devices`."""
    parse_parameters(request.query, NoQuery)
    return json_response(await devices.list_devices(request.app[GATEWAY].store, request[USER]))


async def post_device(request: web.Request) -> web.Response:
    """`POST /v1/devices`."""
    parse_parameters(request.query, NoQuery)
    body = await read_body(request, RegisterDevice)
    if not is_id(body.device_id):
        raise bad_body("must name the device by 1 to 128 printable characters")
    gateway, user = request.app[GATEWAY], request[USER]
    await gateway.contacts.note(user)
    registering = devices.register_device(
        gateway.store, user, body.device_id, gateway.new_devices, barrier=gateway.barrier
    )
    return json_response(await registering)


async def get_device(request: web.Request) -> web.Response:
    """`GET /v1/devices/{id}`."""
    parse_parameters(request.query, NoQuery)
    return json_response(await devices.show_device(*_device(request)))


async def get_beginnings(request: web.Request) -> web.Response:
    """`GET /v1/devices/{id}/conversations`."""
    query = parse_parameters(request.query, BeginningsQuery)
    showing = devices.show_beginnings(*_device(request), query.after or "", query.limit)
    return json_response(await showing)


async def put_cursor(request: web.Request) -> web.Response:
    """`PUT /v1/devices/{id}/cursor`."""
    parse_parameters(request.query, NoQuery)
    body = await read_body(request, MoveCursor)
    gateway, user = request.app[GATEWAY], request[USER]
    await gateway.contacts.note(user)
    await check_cursor(gateway.ends, user, body.cursor, "cursor")
    return json_response(await devices.move_cursor(*_device(request), body.cursor))


def _device(request: web.Request) -> tuple[Store, str, str]:
    return request.app[GATEWAY].store, request[USER], request.match_info["id"]


def _terms(query: str) -> Query:
    try:
        return parse_query(query)
    except ValueError as error:
        raise bad_parameter("q", str(error)) from None


def _below(cursor: str | None) -> SearchPosition | None:
    try:
        return None if cursor is None else from_cursor(cursor)
    except ValueError as error:
        raise bad_parameter("cursor", str(error)) from None


ROUTES: Final[tuple[tuple[str, Handler], ...]] = (
    ("/healthz", get_health),
    ("/openapi.json", get_openapi),
    ("/v1/conversations", get_conversations),
    ("/v1/conversations/{id}/members", get_members),
    ("/v1/conversations/{id}/messages", get_messages),
    ("/v1/sync", get_sync),
    ("/v1/sync/end", get_sync_end),
    ("/v1/search", get_search),
    ("/v1/devices", get_devices),
    ("/v1/devices/{id}", get_device),
    ("/v1/devices/{id}/conversations", get_beginnings),
    ("/v1/pipeline", get_pipeline),
    (LIVE, get_live),
)
"""The GET handler of each path."""

WRITING_ROUTES: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("POST", "/v1/devices", post_device),
    ("PUT", "/v1/devices/{id}/cursor", put_cursor),
)
"""The handlers that change data, with their methods and paths."""

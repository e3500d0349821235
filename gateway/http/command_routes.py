"""The routes that write. Each makes a command of the request and answers with its outcome.

| status | meaning |
|---|---|
| 201, and 200 for a read mark or a mute | the outcome |
| 202 | the broker has the command; its outcome is not known within the wait |
| 4xx | a wrong request, or the rejection of the command |
| 503 | the command was not sent |
| 504 | the command was sent, and its delivery is unknown |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import CommandNotFound
from gateway.http.command_paths import COMMAND_ROUTES, command_target
from gateway.http.middleware import TOKEN_DEVICE
from gateway.http.parameters import parse_parameters
from gateway.http.problem_kinds import bad_parameter
from gateway.http.request_bodies import json_response, read_body
from gateway.http.request_places import USER
from gateway.http.request_spans import NO_REQUEST_SPANS, RequestSpans
from gateway.http.route_paths import route_pattern
from gateway.reads.conversation_list import can_open
from gateway.reads.decided_commands import decided_command
from gateway.reads.readable_ids import is_id
from gateway.store.store_port import Store
from gateway.writes.command_answers import Writes, answer_command, command_status
from gateway.writes.command_requests import (
    CommandSender,
    CommandTarget,
    given_id,
    requested_command,
)
from schemas.direct_chats import direct_chat_id
from schemas.errors import CommandRejected
from schemas.http.answers import CommandAnswer, CommandPending, DirectChatAnswer
from schemas.http.command_bodies import CommandBody, NewDirectChat
from schemas.http.queries import CommandQuery, NoQuery
from schemas.records import AnyCommand, makes_no_entry

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
_OK: Final = 200
_CREATED: Final = 201
_ACCEPTED: Final = 202


@dataclass(frozen=True)
class WritingGateway:
    """The parts that the routes use."""

    writes: Writes
    store: Store
    spans: RequestSpans = NO_REQUEST_SPANS


WRITING_GATEWAY: Final = web.AppKey("writing_gateway", WritingGateway)


def writing(body: type[CommandBody]) -> Handler:
    """The handler of a route whose requests have this body."""

    async def write(request: web.Request) -> web.Response:
        parse_parameters(request.query, NoQuery)
        target = command_target(dict(request.match_info))
        given = await read_body(request, body)
        # No await from here to the producer, so that generated ids reach it in their order.
        command = _command(request, target, given)
        return _response(*await answer_request(request.app[WRITING_GATEWAY], command))

    return write


async def answer_request(
    gateway: WritingGateway, command: AnyCommand
) -> tuple[int, CommandAnswer | CommandPending]:
    """The status and the body of the response to a command. Errors: see `answer_command`."""
    answer = await answer_command(gateway.writes, gateway.store, command)
    if isinstance(answer, CommandPending):
        return _ACCEPTED, answer
    return (_OK if makes_no_entry(command) else _CREATED), answer


async def put_direct_chat(request: web.Request) -> web.Response:
    """`PUT /v1/direct/{user}`."""
    parse_parameters(request.query, NoQuery)
    gateway, user = request.app[WRITING_GATEWAY], request[USER]
    person = request.match_info["user"]
    if not is_id(person) or person == user:
        raise bad_parameter("user", "must be the id of another person")
    body = await read_body(request, NewDirectChat)
    given_id(body, _key(request))  # a wrong id is refused, whether the chat exists or not
    conv_id = direct_chat_id(user, person)
    existing = DirectChatAnswer(conv_id=conv_id, created=False)
    if await can_open(gateway.store, user, conv_id):
        return _response(_OK, existing)
    command = _command(request, CommandTarget(conv_id, person=person), body)
    try:
        status, answer = await answer_request(gateway, command)
    except CommandRejected as rejected:
        if rejected.code != "already_exists":
            raise
        return _response(_OK, existing)
    if isinstance(answer, CommandPending):
        return _response(status, answer)
    return _response(status, DirectChatAnswer(conv_id=conv_id, created=True))


async def get_command(request: web.Request) -> web.Response:
    """`GET /v1/commands/{client_msg_id}`."""
    query = parse_parameters(request.query, CommandQuery)
    gateway, asked = request.app[WRITING_GATEWAY], request.match_info["client_msg_id"]
    of_caller = request[USER], query.conversation, asked
    try:
        status = command_status(gateway.writes.waiters, *of_caller)
    except CommandNotFound:  # another gateway has sent it, or this one forgot it
        status = await decided_command(gateway.store, *of_caller)
    return json_response(status)


def _command(request: web.Request, target: CommandTarget, body: CommandBody) -> AnyCommand:
    sender = CommandSender(request[USER], request.get(TOKEN_DEVICE))
    ids = request.app[WRITING_GATEWAY].writes.ids
    return requested_command(sender, target, body, ids, _key(request))


def _response(
    status: int, answer: CommandAnswer | DirectChatAnswer | CommandPending
) -> web.Response:
    headers = {"Location": answer.status} if isinstance(answer, CommandPending) else None
    return json_response(answer, status=status, headers=headers)


def _key(request: web.Request) -> str | None:
    given = request.headers.getall(IDEMPOTENCY_KEY, [])
    if len(given) > 1:
        raise bad_parameter(IDEMPOTENCY_KEY, "is given twice")
    return given[0] if given else None


DIRECT_CHAT: Final = "/v1/direct/{user}"
COMMAND: Final = "/v1/commands/{client_msg_id}"


def add_command_routes(app: web.Application) -> None:
    """Adds the routes that write, and the status of commands."""
    app.router.add_put(route_pattern(DIRECT_CHAT), put_direct_chat)
    for method, path, body in COMMAND_ROUTES:
        app.router.add_route(method, route_pattern(path), writing(body))
    app.router.add_get(route_pattern(COMMAND), get_command)

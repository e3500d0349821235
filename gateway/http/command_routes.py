"""The routes that write. Each makes a command of the request and answers with its outcome.

| status | meaning |
|---|---|
| 201, and 200 for a read mark | the outcome |
| 202 | the broker has the command; its outcome is not known within the wait |
| 4xx | a wrong request, or the rejection of the command |
| 503 | the command was not sent |
| 504 | the command was sent, and its delivery is unknown |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.http.middleware import TOKEN_DEVICE
from gateway.http.parameters import parse_parameters
from gateway.http.problem_kinds import bad_parameter
from gateway.http.request_bodies import json_response, read_body
from gateway.http.request_places import USER
from gateway.reads.conversation_list import can_open
from gateway.reads.readable_ids import is_id
from gateway.store.store_port import Store
from gateway.writes.command_answers import Writes, answer_command, command_status
from gateway.writes.command_requests import CommandSender, CommandTarget, requested_command
from schemas.direct_chats import direct_chat_id
from schemas.errors import CommandRejected
from schemas.http.answers import CommandPending, DirectChatAnswer
from schemas.http.command_bodies import (
    CommandBody,
    EditedMessage,
    LeftConversation,
    NewConversation,
    NewDescription,
    NewDirectChat,
    NewMembers,
    NewMessage,
    NewOwner,
    ReadUpTo,
    RecalledMessage,
    RemovedMember,
)
from schemas.http.queries import CommandQuery, NoQuery
from schemas.limits import MAX_SEQ
from schemas.number_types import NO_SEQ, SeqId

_SEQ: Final = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
_CREATED: Final = 201
_ACCEPTED: Final = 202


@dataclass(frozen=True)
class WritingGateway:
    """The parts that the routes use."""

    writes: Writes
    store: Store


WRITING_GATEWAY: Final = web.AppKey("writing_gateway", WritingGateway)


def writing(body: type[CommandBody], *, success: int = _CREATED) -> Handler:
    """The handler of a route whose requests have this body.

    Args:
        body: The type of the body.
        success: The status of an accepted command.
    """

    async def write(request: web.Request) -> web.Response:
        parse_parameters(request.query, NoQuery)
        target = _target(request)
        given = await read_body(request, body)
        gateway = request.app[WRITING_GATEWAY]
        # No await from here to the producer, so that generated ids reach it in their order.
        command = requested_command(
            CommandSender(request[USER], request.get(TOKEN_DEVICE)),
            target,
            given,
            gateway.writes.ids,
            _key(request),
        )
        answer = await answer_command(gateway.writes, gateway.store, command)
        if isinstance(answer, CommandPending):
            return json_response(answer, status=_ACCEPTED, headers={"Location": answer.status})
        return json_response(answer, status=success)

    return write


async def put_direct_chat(request: web.Request) -> web.Response:
    """`PUT /v1/direct/{user}`."""
    parse_parameters(request.query, NoQuery)
    gateway, user = request.app[WRITING_GATEWAY], request[USER]
    person = request.match_info["user"]
    if not is_id(person) or person == user:
        raise bad_parameter("user", "must be the id of another person")
    body = await read_body(request, NewDirectChat)
    conv_id = direct_chat_id(user, person)
    found = DirectChatAnswer(conv_id=conv_id, created=False)
    if await can_open(gateway.store, user, conv_id):
        return json_response(found)
    command = requested_command(
        CommandSender(user, request.get(TOKEN_DEVICE)),
        CommandTarget(conv_id, person=person),
        body,
        gateway.writes.ids,
        _key(request),
    )
    try:
        answer = await answer_command(gateway.writes, gateway.store, command)
    except CommandRejected as rejected:
        if rejected.code != "already_exists":
            raise
        return json_response(found)
    if isinstance(answer, CommandPending):
        return json_response(answer, status=_ACCEPTED, headers={"Location": answer.status})
    return json_response(DirectChatAnswer(conv_id=conv_id, created=True), status=_CREATED)


async def get_command(request: web.Request) -> web.Response:
    """`GET /v1/commands/{client_msg_id}`."""
    query = parse_parameters(request.query, CommandQuery)
    waiters = request.app[WRITING_GATEWAY].writes.waiters
    asked = request.match_info["client_msg_id"]
    return json_response(command_status(waiters, request[USER], query.conversation, asked))


def _target(request: web.Request) -> CommandTarget:
    path = request.match_info
    return CommandTarget(path.get("id"), _seq(path.get("seq")), path.get("user", ""))


def _seq(given: str | None) -> SeqId:
    if given is None:
        return NO_SEQ
    if not _SEQ.fullmatch(given) or int(given) > MAX_SEQ:
        raise bad_parameter("seq", f"must be a whole number from 1 to {MAX_SEQ}")
    return SeqId(int(given))


def _key(request: web.Request) -> str | None:
    given = request.headers.getall(IDEMPOTENCY_KEY, [])
    if len(given) > 1:
        raise bad_parameter(IDEMPOTENCY_KEY, "is given twice")
    return given[0] if given else None


_CONVERSATION: Final = "/v1/conversations/{id}"
DIRECT_CHAT: Final = "/v1/direct/{user}"
COMMAND: Final = "/v1/commands/{client_msg_id}"

COMMAND_ROUTES: Final[tuple[tuple[str, str, type[CommandBody]], ...]] = (
    ("POST", "/v1/conversations", NewConversation),
    ("POST", f"{_CONVERSATION}/members", NewMembers),
    ("DELETE", f"{_CONVERSATION}/members/{{user}}", RemovedMember),
    ("POST", f"{_CONVERSATION}/leave", LeftConversation),
    ("PUT", f"{_CONVERSATION}/owner", NewOwner),
    ("PUT", f"{_CONVERSATION}/description", NewDescription),
    ("POST", f"{_CONVERSATION}/messages", NewMessage),
    ("PUT", f"{_CONVERSATION}/messages/{{seq}}", EditedMessage),
    ("DELETE", f"{_CONVERSATION}/messages/{{seq}}", RecalledMessage),
    ("PUT", f"{_CONVERSATION}/read", ReadUpTo),
)
"""The method, the path and the body of each command."""


def add_command_routes(app: web.Application) -> None:
    """Adds the routes that write, and the status of commands."""
    app.router.add_put(DIRECT_CHAT, put_direct_chat)
    for method, path, body in COMMAND_ROUTES:
        success = 200 if body is ReadUpTo else _CREATED
        app.router.add_route(method, path, writing(body, success=success))
    app.router.add_get(COMMAND, get_command)

"""The operations of the OpenAPI document that write, from `COMMAND_ROUTES`."""

from __future__ import annotations

import inspect
from typing import Any, Final

from gateway.http.command_paths import COMMAND_ROUTES
from gateway.http.command_routes import COMMAND, DIRECT_CHAT, IDEMPOTENCY_KEY
from gateway.http.openapi_parts import PATH_ID, body_of, operation, problem, response_of
from schemas.http.answers import CommandAnswer, CommandPending, CommandStatus, DirectChatAnswer
from schemas.http.command_bodies import (
    CommandBody,
    LeftConversation,
    LiveRequest,
    NewDirectChat,
    ReadUpTo,
    RecalledMessage,
    RemovedMember,
)
from schemas.http.live_messages import LiveAnswer
from schemas.http.queries import CommandQuery, NoQuery
from schemas.limits import MAX_SEQ
from schemas.records import MAX_ID_LENGTH

COMMAND_STRUCTS: Final = (
    *(body for _, _, body in COMMAND_ROUTES),
    NewDirectChat,
    CommandAnswer,
    DirectChatAnswer,
    CommandPending,
    CommandStatus,
    LiveRequest,
    LiveAnswer,
)
"""The bodies and the answers of these operations."""

_WITHOUT_FIELDS: Final = frozenset(
    {RemovedMember, LeftConversation, RecalledMessage, NewDirectChat}
)
_UUID7: Final = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
_PLACES: Final = {
    "id": PATH_ID,
    "seq": {
        "name": "seq",
        "in": "path",
        "required": True,
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_SEQ},
    },
    "user": {
        "name": "user",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH},
    },
    "client_msg_id": {
        "name": "client_msg_id",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
    },
}
_KEY: Final = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "description": "The client_msg_id of the command, if the body has none.",
    "schema": {"type": "string", "pattern": _UUID7},
}
_FAILURES: Final = ("403", "404", "408", "409", "504")


def command_operations() -> dict[str, dict[str, Any]]:
    """The operations, by path and method."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, body in COMMAND_ROUTES:
        paths.setdefault(path, {})[method.lower()] = _writing(path, body)
    paths[DIRECT_CHAT] = {"put": _direct_chat()}
    status = operation(
        "The state of a command whose request ended without its outcome. Each gateway knows the "
        "stored outcome; before, only the gateway that answered the request knows the command",
        "CommandStatus",
        CommandQuery,
        "404",
    )
    status["parameters"] = [_PLACES["client_msg_id"], *status["parameters"]]
    paths[COMMAND] = {"get": status}
    return paths


def _writing(path: str, body: type[CommandBody]) -> dict[str, Any]:
    made = operation(_summary(body), "CommandAnswer", NoQuery, *_FAILURES)
    answered = made["responses"].pop("200")
    accepted = {
        ("200" if body is ReadUpTo else "201"): answered | {"description": "The outcome"},
        "202": response_of(
            "The broker has the command; its outcome is not known yet", "CommandPending"
        ),
    }
    places = [place for name, place in _PLACES.items() if f"{{{name}}}" in path]
    unknown = problem("504") | {"headers": {"Retry-After": {"schema": {"type": "string"}}}}
    return made | {
        "parameters": [*places, _KEY],
        "responses": accepted | made["responses"] | {"504": unknown},
        **body_of(body.__name__, required=body not in _WITHOUT_FIELDS),
    }


def _direct_chat() -> dict[str, Any]:
    """Like a command, but it also succeeds if the chat exists."""
    made = _writing(DIRECT_CHAT, NewDirectChat)
    answers = {
        "200": response_of("The chat exists", "DirectChatAnswer"),
        "201": response_of("The chat was created", "DirectChatAnswer"),
    }
    return made | {"responses": made["responses"] | answers}


def _summary(body: type[CommandBody]) -> str:
    """The first sentence about a body."""
    return (inspect.getdoc(body) or "").split(".", 1)[0]

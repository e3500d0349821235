"""The operations of the OpenAPI document that write, from `COMMAND_ROUTES`."""

from __future__ import annotations

import inspect
from typing import Any, Final, NamedTuple

from gateway.http.command_paths import COMMAND_ROUTES
from gateway.http.command_problems import rejection_kind
from gateway.http.command_routes import COMMAND, DIRECT_CHAT, IDEMPOTENCY_KEY
from gateway.http.openapi_parts import (
    body_of,
    operation,
    placed_at,
    reference,
    response,
    response_of,
    with_responses,
)
from schemas.errors import RejectionCode
from schemas.http.answers import CommandAnswer, CommandPending, CommandStatus, DirectChatAnswer
from schemas.http.command_bodies import (
    UUID7_PATTERN,
    CommandBody,
    EditedMessage,
    LeftConversation,
    LivePresence,
    LiveRequest,
    MutedConversation,
    NewConversation,
    NewDescription,
    NewDirectChat,
    NewMembers,
    NewMessage,
    NewOwner,
    ReadUpTo,
    RecalledMessage,
    RemovedMember,
    UnmutedConversation,
)
from schemas.http.live_messages import LiveAnswer
from schemas.http.queries import CommandQuery, NoQuery

COMMAND_STRUCTS: Final = (
    *(body for _, _, body in COMMAND_ROUTES),
    NewDirectChat,
    CommandAnswer,
    DirectChatAnswer,
    CommandPending,
    CommandStatus,
    LiveRequest,
    LivePresence,
    LiveAnswer,
)
"""The bodies and the answers of these operations."""


class ShownCommand(NamedTuple):
    """A command in the document: the name of its operation, and the codes of its rejections.

    ``kinds`` are further kinds of problems.
    """

    name: str
    codes: tuple[RejectionCode, ...]
    kinds: tuple[str, ...] = ()


_OF_EVERY_COMMAND: Final[tuple[RejectionCode, ...]] = ("invalid", "too_large", "conflict", "stale")
_OF_MEMBERS: Final[tuple[RejectionCode, ...]] = ("unknown_conversation", "not_a_member", "no_room")
_OF_OWNERS: Final[tuple[RejectionCode, ...]] = (*_OF_MEMBERS, "not_allowed")
_OF_ALTERATIONS: Final[tuple[RejectionCode, ...]] = (
    *_OF_OWNERS, "unknown_message", "already_recalled", "too_late",
)  # fmt: skip
_ADDITIONS: Final = ("too-many-additions", "too-many-members")

SHOWN_COMMANDS: Final[dict[type[CommandBody], ShownCommand]] = {
    NewConversation: ShownCommand(
        "createConversation",
        ("already_exists", "no_room", "empty"),
        ("conversation-busy", *_ADDITIONS),
    ),
    NewDirectChat: ShownCommand(
        "openDirectChat", ("no_room",), ("conversation-busy", "too-many-additions")
    ),
    NewMembers: ShownCommand(
        "addMembers", (*_OF_OWNERS, "already_a_member"), ("conversation-busy", *_ADDITIONS)
    ),
    RemovedMember: ShownCommand("removeMember", _OF_OWNERS, ("conversation-busy",)),
    LeftConversation: ShownCommand("leaveConversation", _OF_MEMBERS, ("conversation-busy",)),
    NewOwner: ShownCommand("transferOwnership", _OF_OWNERS, ("conversation-busy",)),
    NewDescription: ShownCommand(
        "describeConversation", (*_OF_OWNERS, "empty"), ("conversation-busy",)
    ),
    NewMessage: ShownCommand("sendMessage", (*_OF_MEMBERS, "empty"), ("conversation-busy",)),
    EditedMessage: ShownCommand(
        "editMessage", (*_OF_ALTERATIONS, "empty", "too_many_edits"), ("conversation-busy",)
    ),
    RecalledMessage: ShownCommand("recallMessage", _OF_ALTERATIONS, ("conversation-busy",)),
    ReadUpTo: ShownCommand("markRead", _OF_MEMBERS),
    MutedConversation: ShownCommand("muteConversation", _OF_MEMBERS),
    UnmutedConversation: ShownCommand("unmuteConversation", _OF_MEMBERS),
}
"""By the body of the command. `tests/property/test_openapi_rejections.py` compares the codes with
the rules of the sequencer."""

_WITHOUT_FIELDS: Final = frozenset(
    {
        RemovedMember,
        LeftConversation,
        RecalledMessage,
        MutedConversation,
        UnmutedConversation,
        NewDirectChat,
    }
)
_WITHOUT_ENTRY: Final = frozenset({ReadUpTo, MutedConversation, UnmutedConversation})
_KEY: Final = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "description": "The client_msg_id of the command, if the body has none.",
    "schema": {"type": "string", "pattern": UUID7_PATTERN},
    "example": "019acbd6-2385-7000-8000-000000500007",
}


def rejection_codes(body: type[CommandBody]) -> frozenset[RejectionCode]:
    """The codes with which the sequencer can reject the command of a body."""
    return frozenset((*_OF_EVERY_COMMAND, *SHOWN_COMMANDS[body].codes))


def command_operations() -> dict[str, dict[str, Any]]:
    """The operations, by path and method."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, body in COMMAND_ROUTES:
        paths.setdefault(path, {})[method.lower()] = _writing(path, body)
    paths[DIRECT_CHAT] = {"put": _direct_chat()}
    status = operation(
        "getCommand",
        "The state of a command whose request ended without its outcome. Each gateway knows the "
        "stored outcome; before, only the gateway that answered the request knows the command",
        "CommandStatus",
        CommandQuery,
        "no-such-command",
    )
    paths[COMMAND] = {"get": placed_at(COMMAND, status)}
    return paths


def _writing(path: str, body: type[CommandBody]) -> dict[str, Any]:
    shown = SHOWN_COMMANDS[body]
    made = operation(
        shown.name, _summary(body), None, NoQuery,
        "bad-body", "too-many-commands", "delivery-unknown",
        *shown.kinds, *map(rejection_kind, rejection_codes(body)),
    )  # fmt: skip
    outcome = response_of("The outcome", "CommandAnswer")
    answers = {("200" if body in _WITHOUT_ENTRY else "201"): outcome, "202": _pending()}
    described = placed_at(path, with_responses(made, answers))
    described["parameters"].append(_KEY)
    return described | body_of(body.__name__, required=body not in _WITHOUT_FIELDS)


def _pending() -> dict[str, Any]:
    return response(
        "The broker has the command; its outcome is not known yet",
        reference("CommandPending"),
        "Location",
    )


def _direct_chat() -> dict[str, Any]:
    """Like a command, but it also succeeds if the chat exists."""
    answers = {
        "200": response_of("The chat exists", "DirectChatAnswer"),
        "201": response_of("The chat was created", "DirectChatAnswer"),
        "202": _pending(),
    }
    return with_responses(_writing(DIRECT_CHAT, NewDirectChat), answers)


def _summary(body: type[CommandBody]) -> str:
    """The first sentence about a body."""
    return (inspect.getdoc(body) or "").split(".", 1)[0]

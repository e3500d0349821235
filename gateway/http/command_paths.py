"""The paths of the routes that write, and the parts of a path."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

from gateway.http.problem_kinds import bad_parameter
from gateway.writes.command_requests import CommandTarget
from schemas.http.command_bodies import (
    CommandBody,
    EditedMessage,
    LeftConversation,
    MutedConversation,
    NewConversation,
    NewDescription,
    NewMembers,
    NewMessage,
    NewOwner,
    ReadUpTo,
    RecalledMessage,
    RemovedMember,
    UnmutedConversation,
)
from schemas.limits import MAX_SEQ
from schemas.number_types import NO_SEQ, SeqId

_CONVERSATION: Final = "/v1/conversations/{id}"

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
    ("PUT", f"{_CONVERSATION}/mute", MutedConversation),
    ("DELETE", f"{_CONVERSATION}/mute", UnmutedConversation),
)
"""The method, the path and the body of each command."""

_SEQ: Final = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_PATTERNS: Final = [
    (method, path, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), body)
    for method, path, body in COMMAND_ROUTES
]


class CommandRoute(NamedTuple):
    """The body of a route, the parts of the path of a request, and the path with placeholders."""

    body: type[CommandBody]
    target: CommandTarget
    path: str


def command_route(method: str, path: str) -> CommandRoute | None:
    """The route of a quoted path; None if no route that writes has this method and path.

    Raises:
        Problem: 400, if the SeqId in the path is none.
    """
    for known, route, pattern, body in _PATTERNS:
        match = pattern.fullmatch(path) if known == method else None
        if match is not None:
            parts = {name: unquote(part) for name, part in match.groupdict().items()}
            return CommandRoute(body, command_target(parts), route)
    return None


def command_target(parts: dict[str, str]) -> CommandTarget:
    """The target of a command, from the unquoted parts of its path.

    Raises:
        Problem: 400, if the SeqId is none.
    """
    return CommandTarget(parts.get("id"), _seq(parts.get("seq")), parts.get("user", ""))


def _seq(given: str | None) -> SeqId:
    if given is None:
        return NO_SEQ
    if not _SEQ.fullmatch(given) or int(given) > MAX_SEQ:
        raise bad_parameter("seq", f"must be a whole number from 1 to {MAX_SEQ}")
    return SeqId(int(given))

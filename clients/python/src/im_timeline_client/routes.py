"""The routes of the gateway that the client calls, each with the type of its answer."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from im_timeline_client.answers import (
    ConversationsPage,
    DirectChat,
    HistoryPage,
    MembersPage,
    Outcome,
    SearchPage,
    SyncEnd,
    SyncPage,
)
from im_timeline_client.device_answers import DeviceShown, DevicesShown, PushOffered

T = TypeVar("T")

LIVE: Final = "/v1/live"
"""The path of a live connection."""


@dataclass(frozen=True, slots=True)
class Route(Generic[T]):
    """One route: a method, a path with places in braces, and the type of the answer.

    The type of an answer without a body is ``NoneType``.
    """

    method: str
    path: str
    answer: type[T]

    def at(self, **places: str | int) -> str:
        """Return the path with these values, quoted."""
        return self.path.format(**{name: quote(str(v), safe="") for name, v in places.items()})


_CONVERSATION: Final = "/v1/conversations/{id}"
_MESSAGE: Final = _CONVERSATION + "/messages/{seq}"

CONVERSATIONS: Final = Route("GET", "/v1/conversations", ConversationsPage)
MEMBERS: Final = Route("GET", _CONVERSATION + "/members", MembersPage)
HISTORY: Final = Route("GET", _CONVERSATION + "/messages", HistoryPage)
SEARCH: Final = Route("GET", "/v1/search", SearchPage)
SYNC: Final = Route("GET", "/v1/sync", SyncPage)
SYNC_END: Final = Route("GET", "/v1/sync/end", SyncEnd)

CREATE: Final = Route("POST", "/v1/conversations", Outcome)
DIRECT: Final = Route("PUT", "/v1/direct/{user}", DirectChat)
SEND: Final = Route("POST", _CONVERSATION + "/messages", Outcome)
EDIT: Final = Route("PUT", _MESSAGE, Outcome)
RECALL: Final = Route("DELETE", _MESSAGE, Outcome)
MARK_READ: Final = Route("PUT", _CONVERSATION + "/read", Outcome)
MUTE: Final = Route("PUT", _CONVERSATION + "/mute", Outcome)
UNMUTE: Final = Route("DELETE", _CONVERSATION + "/mute", Outcome)
ADD_MEMBERS: Final = Route("POST", _CONVERSATION + "/members", Outcome)
REMOVE_MEMBER: Final = Route("DELETE", _CONVERSATION + "/members/{user}", Outcome)
LEAVE: Final = Route("POST", _CONVERSATION + "/leave", Outcome)
TRANSFER: Final = Route("PUT", _CONVERSATION + "/owner", Outcome)
DESCRIBE: Final = Route("PUT", _CONVERSATION + "/description", Outcome)

_DEVICE: Final = "/v1/devices/{id}"

DEVICES: Final = Route("GET", "/v1/devices", DevicesShown)
REGISTER_DEVICE: Final = Route("POST", "/v1/devices", DeviceShown)
REMOVE_DEVICE: Final = Route("DELETE", _DEVICE, NoneType)
PUSH: Final = Route("GET", "/v1/push", PushOffered)
REGISTER_PUSH: Final = Route("PUT", _DEVICE + "/push", NoneType)
REMOVE_PUSH: Final = Route("DELETE", _DEVICE + "/push", NoneType)

ROUTES: Final[tuple[Route[Any], ...]] = (
    CONVERSATIONS, MEMBERS, HISTORY, SEARCH, SYNC, SYNC_END, CREATE, DIRECT, SEND, EDIT, RECALL,
    MARK_READ, MUTE, UNMUTE, ADD_MEMBERS, REMOVE_MEMBER, LEAVE, TRANSFER, DESCRIBE,
    DEVICES, REGISTER_DEVICE, REMOVE_DEVICE, PUSH, REGISTER_PUSH, REMOVE_PUSH,
)  # fmt: skip
"""All routes except the live connection."""

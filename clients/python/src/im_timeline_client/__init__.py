"""A client of im-timeline: follows, sends, reads and searches conversations over the gateway.

`connect` is the entry; docs/python.md of im-timeline describes the use.
"""

from __future__ import annotations

from im_timeline_client.answers import (
    Conversation,
    Entry,
    Item,
    LastEntry,
    Member,
    Mute,
    Outcome,
    Period,
    SearchPage,
    SyncRecord,
)
from im_timeline_client.client import Client, connect
from im_timeline_client.device_answers import DeviceShown
from im_timeline_client.devices import (
    MatrixAddress,
    PushAddress,
    WebhookAddress,
    WebPushAddress,
)
from im_timeline_client.errors import (
    ClientClosed,
    CommandRejected,
    CursorAhead,
    GatewayUnavailable,
    ImError,
    InvalidToken,
    OutcomeUnknown,
    RequestRefused,
    Trimmed,
    UnexpectedAnswer,
)
from im_timeline_client.items import Items
from im_timeline_client.session import user_of
from im_timeline_client.transport import Token

__version__ = "0.1.0"

__all__ = [
    "Client",
    "ClientClosed",
    "CommandRejected",
    "Conversation",
    "CursorAhead",
    "DeviceShown",
    "Entry",
    "GatewayUnavailable",
    "ImError",
    "InvalidToken",
    "Item",
    "Items",
    "LastEntry",
    "MatrixAddress",
    "Member",
    "Mute",
    "Outcome",
    "OutcomeUnknown",
    "Period",
    "PushAddress",
    "RequestRefused",
    "SearchPage",
    "SyncRecord",
    "Token",
    "Trimmed",
    "UnexpectedAnswer",
    "WebPushAddress",
    "WebhookAddress",
    "__version__",
    "connect",
    "user_of",
]

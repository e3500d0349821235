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
    Outcome,
    Period,
    SearchPage,
    SyncRecord,
)
from im_timeline_client.client import Client, connect
from im_timeline_client.errors import (
    ClientClosed,
    CommandRejected,
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
    "Entry",
    "GatewayUnavailable",
    "ImError",
    "InvalidToken",
    "Item",
    "Items",
    "LastEntry",
    "Member",
    "Outcome",
    "OutcomeUnknown",
    "Period",
    "RequestRefused",
    "SearchPage",
    "SyncRecord",
    "Token",
    "Trimmed",
    "UnexpectedAnswer",
    "__version__",
    "connect",
    "user_of",
]

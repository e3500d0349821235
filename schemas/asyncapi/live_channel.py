"""The live connection in the AsyncAPI document: its frames in both directions, and their order."""

from __future__ import annotations

from typing import Any, Final, get_args

from schemas.asyncapi.draft_7 import schema_reference, struct_schema
from schemas.http import command_bodies
from schemas.http.answers import CommandAnswer, CommandPending, ProblemDetails
from schemas.http.live_messages import (
    LiveAnswer,
    LiveBegun,
    LiveHead,
    LiveProblem,
    LiveRecords,
)
from schemas.http.queries import LiveQuery
from schemas.records import AnySyncRecord

_SENT: Final = (LiveBegun, LiveRecords, LiveHead, LiveProblem)
"""The frames of the gateway that answer no request."""

_BODIES: Final = (
    command_bodies.NewConversation,
    command_bodies.NewMembers,
    command_bodies.RemovedMember,
    command_bodies.LeftConversation,
    command_bodies.NewOwner,
    command_bodies.NewDescription,
    command_bodies.NewMessage,
    command_bodies.EditedMessage,
    command_bodies.RecalledMessage,
    command_bodies.ReadUpTo,
    command_bodies.MutedConversation,
    command_bodies.UnmutedConversation,
)
_RECEIVED: Final = (command_bodies.LiveRequest, command_bodies.LivePresence)
"""The frames of a client."""

_ANSWERS: Final = (CommandAnswer, CommandPending, ProblemDetails)

LIVE_STRUCTS: Final = (
    *_SENT, LiveAnswer, *_RECEIVED, *_ANSWERS, *_BODIES,
    *get_args(AnySyncRecord),
)  # fmt: skip
"""The structs of all frames."""

CLOSE_CODES: Final = {
    "1008": "The client sent a frame of another form, a fragment, or too many pings.",
    "1011": "An internal error of the gateway.",
    "1012": "The gateway ends: connect again at once.",
    "4401": "The token has expired.",
    "4408": "The client does not read.",
    "4410": "The timeline was trimmed: a frame `problem` was sent before.",
}
"""The reasons for which the gateway ends a connection."""

_ORDER: Final = (
    "A client requests an upgrade with its cursor in `after`. All frames are texts. "
    "1. `begun` is the first frame of the gateway. "
    "2. `records`, `head` and `answer` follow in any order. The sync SeqIds of all records "
    "increase; `next` of a frame is the cursor after it. The heads of a conversation increase. "
    "Each request gets one `answer` with its `ref`; requests reach the log in the order of their "
    "frames, and their answers may have another order. "
    "A client sends `presence` at any time: whether the person looks at the device. "
    "3. `problem` is the last frame before the gateway closes the connection with 4410."
)


def live_channel() -> dict[str, Any]:
    """The channel, by its name."""
    messages: dict[str, dict[str, Any]] = {
        each.__name__: {
            "name": each.__struct_config__.tag or "request",
            "payload": schema_reference(each.__name__),
        }
        for each in (*_SENT, LiveAnswer, *_RECEIVED)
    }
    for name in (LiveAnswer.__name__, command_bodies.LiveRequest.__name__):
        messages[name]["correlationId"] = {"location": "$message.payload#/ref"}
    return {
        "live": {
            "address": "/v1/live",
            "description": _ORDER,
            "servers": [{"$ref": "#/servers/gateway"}],
            "messages": messages,
            "bindings": {
                "ws": {
                    "method": "GET",
                    "query": struct_schema(LiveQuery),
                    "bindingVersion": "0.1.0",
                }
            },
            "x-subprotocol": "im-timeline.v1",
            "x-close-codes": CLOSE_CODES,
        }
    }


def live_operations() -> dict[str, Any]:
    """The operations of the gateway on the channel, by name."""
    channel = {"$ref": "#/channels/live"}
    return {
        "sendLiveFrames": {
            "action": "send",
            "channel": channel,
            "summary": "Records and heads, as they become known.",
            "messages": [_message(each) for each in _SENT],
        },
        "receiveLiveRequests": {
            "action": "receive",
            "channel": channel,
            "summary": "A request that writes: method, path and body of a route of openapi.json.",
            "messages": [_message(command_bodies.LiveRequest)],
            "reply": {"channel": channel, "messages": [_message(LiveAnswer)]},
        },
        "receivePresence": {
            "action": "receive",
            "channel": channel,
            "summary": "Whether the person looks at the device. It has no answer.",
            "messages": [_message(command_bodies.LivePresence)],
        },
    }


def live_schemas(found: dict[str, Any]) -> None:
    """Replaces the schemas of the fields that are raw JSON."""
    found["SyncPageItem"]["properties"]["record"] = _any_of(get_args(AnySyncRecord))
    found["LiveAnswer"]["properties"]["body"] = _any_of(_ANSWERS)
    found["LiveRequest"]["properties"]["body"] = _any_of(_BODIES) | {"default": {}}


def _any_of(kinds: tuple[Any, ...]) -> dict[str, Any]:
    return {"anyOf": [schema_reference(kind.__name__) for kind in kinds]}


def _message(kind: Any) -> dict[str, str]:
    return {"$ref": f"#/channels/live/messages/{kind.__name__}"}

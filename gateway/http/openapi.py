"""The OpenAPI 3.1 document: paths of this module, schemas and parameters of `schemas.http`.

    python -m gateway.http.openapi        writes docs/openapi.json

A test compares the file with the code.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.http.openapi_commands import COMMAND_STRUCTS, command_operations
from gateway.http.openapi_parts import (
    REFERENCE,
    body_of,
    operation,
    placed_at,
    reference,
    response,
    with_responses,
)
from gateway.http.openapi_problems import (
    HEADERS,
    OPEN_PROBLEMS,
    WAITING_PROBLEMS,
    common_responses,
    response_headers,
)
from gateway.http.openapi_push import PUSH_STRUCTS, push_operations
from schemas.http import answers, bodies, device_answers, live_messages, pipeline_answers
from schemas.http.command_bodies import NewDescription
from schemas.http.queries import (
    BeginningsQuery,
    ConversationsQuery,
    LiveQuery,
    MembersQuery,
    MessagesQuery,
    NoQuery,
    PipelineQuery,
    SearchQuery,
    SyncQuery,
)
from schemas.records import AnyEntry, AnySyncRecord, MessageSent

OPENAPI_FILE: Final = Path(__file__).parents[2] / "docs" / "openapi.json"

_SHOWN: Final = (
    answers.HealthShown,
    answers.ConversationsPage,
    answers.MembersPage,
    answers.HistoryPage,
    answers.Hole,
    answers.SyncPage,
    answers.SyncEnd,
    live_messages.LiveBegun,
    live_messages.LiveRecords,
    live_messages.LiveHead,
    live_messages.LiveProblem,
    answers.SearchPage,
    device_answers.DevicesShown,
    device_answers.DeviceShown,
    device_answers.BeginningsPage,
    bodies.RegisterDevice,
    bodies.MoveCursor,
    answers.ProblemDetails,
    pipeline_answers.PipelineShown,
    *PUSH_STRUCTS,
    *COMMAND_STRUCTS,
    AnyEntry,
    AnySyncRecord,
)
_LIVE: Final = ("LiveBegun", "LiveRecords", "LiveHead", "LiveAnswer", "LiveProblem")
_SUBPROTOCOL: Final = "subprotocol"


@cache
def document_json() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(document())


def document_text() -> str:
    """The content of the file."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def document() -> dict[str, Any]:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "im-timeline gateway",
            "version": "1",
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
            "description": "Conversations, messages and devices of an instant-messaging backend. "
            "Integers have 64 bits. Every failure is a problem document (RFC 9457), also for an "
            "unknown path (404) or method (405). A valid header X-Request-Id of a request, 8 to "
            "64 letters, digits and hyphens, is the id of the request.",
        },
        "security": [{"bearer": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                _SUBPROTOCOL: {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Sec-WebSocket-Protocol",
                    "description": "For browsers: `im-timeline.v1, bearer.<token>`.",
                },
            },
            "headers": HEADERS,
            "responses": common_responses(),
            "schemas": _schemas(),
        },
    }


def _paths() -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {}
    for described in (_reading(), _device_operations(), push_operations(), command_operations()):
        for path, methods in described.items():
            paths[path] = paths.get(path, {}) | methods
    return paths


def _device_operations() -> dict[str, dict[str, Any]]:
    register = operation(
        "registerDevice",
        "Registers a device; a registered device keeps its cursor and its policy. 503 while the "
        "store lacks entries up to its cursor",
        "DeviceShown",
        NoQuery,
        "bad-body", "too-many-devices",
    )  # fmt: skip
    move = operation(
        "moveCursor",
        "Moves a device's cursor forward; other devices are not affected",
        "DeviceShown",
        NoQuery,
        "bad-body", "cursor-ahead", "no-such-device",
    )  # fmt: skip
    take_out = operation(
        "removeDevice", "Removes a device", None, NoQuery, "bad-body", "no-such-device"
    )
    show = operation(
        "getDevice", "A device of the caller", "DeviceShown", NoQuery, "no-such-device"
    )
    beginnings = operation(
        "listBeginnings",
        "The first SeqId of each conversation that a new device shows",
        "BeginningsPage",
        BeginningsQuery,
        "no-such-device",
    )
    all_of_them = operation("listDevices", "The caller's devices, by id", "DevicesShown", NoQuery)
    gone = {"204": {"description": "Done", "headers": response_headers()}}
    one, cursor, shown = (f"/v1/devices/{{id}}{end}" for end in ("", "/cursor", "/conversations"))
    return {
        "/v1/devices": {"get": all_of_them, "post": register | body_of("RegisterDevice")},
        one: {
            "get": placed_at(one, show),
            "delete": placed_at(one, with_responses(take_out, gone)),
        },
        cursor: {"put": placed_at(cursor, move) | body_of("MoveCursor")},
        shown: {"get": placed_at(shown, beginnings)},
    }


def _reading() -> dict[str, dict[str, Any]]:
    found = {
        "/healthz": _health(),
        "/openapi.json": _open(
            operation("getDocument", "This document", None, NoQuery, common=OPEN_PROBLEMS)
        ),
        "/v1/conversations": operation(
            "listConversations",
            "The caller's conversations, including those that the caller has left",
            "ConversationsPage",
            ConversationsQuery,
        ),
        "/v1/conversations/{id}/members": operation(
            "listMembers",
            "The members of a conversation, by id",
            "MembersPage",
            MembersQuery,
            "not-a-member", "not-found",
        ),
        "/v1/conversations/{id}/messages": operation(
            "readHistory",
            "A range of a conversation timeline; each SeqId is an entry or part of a typed hole",
            "HistoryPage",
            MessagesQuery,
            "not-found",
        ),
        "/v1/search": operation(
            "searchMessages",
            "Messages that the caller may see, newest first. A page may have fewer than `limit`, "
            "or none, and still a `next`",
            "SearchPage",
            SearchQuery,
            "not-found", "too-wide",
        ),
        **_sync_operations(),
    }  # fmt: skip
    return {path: {"get": placed_at(path, described)} for path, described in found.items()}


def _sync_operations() -> dict[str, dict[str, Any]]:
    return {
        "/v1/sync": operation(
            "readSync",
            "The caller's sync timeline; 410 if records after the cursor have expired or were "
            "skipped, 503 while the store lacks the entries to read in place of these records",
            "SyncPage",
            SyncQuery,
            "cursor-ahead", "trimmed", "too-many-waiting", "too-many-waiting-in-all",
        ),
        "/v1/sync/end": operation(
            "getSyncEnd",
            "The cursor for following the sync timeline after reading the store; 503 while the "
            "store lacks entries up to it",
            "SyncEnd",
            NoQuery,
        ),
        "/v1/live": _live(),
        "/v1/pipeline": operation(
            "getPipeline",
            "The stages of the pipeline with rates, lags and delays, and dead letters, for "
            "operators. The answer is at most a second old",
            "PipelineShown",
            PipelineQuery,
            "not-an-operator",
        ),
    }  # fmt: skip


def _live() -> dict[str, Any]:
    connecting = operation(
        "openLive",
        "A live connection with the caller's sync records and heads of pulled conversations. "
        "asyncapi.json describes its messages",
        None,
        LiveQuery,
        "cursor-ahead", "origin-not-permitted", "upgrade-required", "too-many-waiting",
        "too-many-waiting-in-all",
        common=WAITING_PROBLEMS,
    )  # fmt: skip
    live_messages = {"oneOf": [reference(name) for name in _LIVE]}
    upgraded = response("A WebSocket; each of its messages is one of these", live_messages)
    return with_responses(connecting, {"101": upgraded}) | {
        "security": [{"bearer": []}, {_SUBPROTOCOL: []}]
    }


def _health() -> dict[str, Any]:
    described = operation(
        "getHealth", "Whether the gateway can serve", "HealthShown", NoQuery, common=OPEN_PROBLEMS
    )
    not_now = described["responses"]["503"]
    health = response("Not now", reference("HealthShown"), "Retry-After")
    not_now["content"] |= health["content"]
    not_now["description"] += ", or the state of the servers"
    return _open(described)


def _open(described: dict[str, Any]) -> dict[str, Any]:
    """An operation that needs no token."""
    return described | {"security": []}


def _schemas() -> dict[str, Any]:
    """The structs' schemas; raw JSON fields get the schema of the stored records."""
    shown, found = msgspec.json.schema_components(_SHOWN, ref_template=REFERENCE)
    entry, record = shown[-2:]
    found["HistoryPage"]["properties"]["items"]["items"] = {"anyOf": [entry, reference("Hole")]}
    found["SyncPageItem"]["properties"]["record"] = record
    found["SearchPage"]["properties"]["hits"]["items"] = reference(MessageSent.__name__)
    found[NewDescription.__name__]["anyOf"] = [{"required": ["name"]}, {"required": ["metadata"]}]
    for schema in found.values():
        schema["description"] = " ".join(schema["description"].split())
    return found


if __name__ == "__main__":
    OPENAPI_FILE.write_text(document_text(), encoding="utf-8")

"""The OpenAPI 3.1 document: paths of this module, schemas and parameters of `schemas.http`."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec

from gateway.http.openapi_commands import COMMAND_STRUCTS, command_operations
from gateway.http.openapi_parts import (
    REFERENCE,
    body_of,
    named,
    operation,
    reference,
    response,
)
from schemas.http import answers, bodies, device_answers, live_messages, pipeline_answers
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
    *COMMAND_STRUCTS,
    AnyEntry,
    AnySyncRecord,
)
_LIVE: Final = ("LiveBegun", "LiveRecords", "LiveHead", "LiveAnswer", "LiveProblem")


@cache
def document_json() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(document())


def document() -> dict[str, Any]:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "im-timeline gateway",
            "version": "1",
            "description": "Conversations, messages and devices of an instant-messaging backend. "
            "Integers have 64 bits.",
        },
        "security": [{"bearer": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
            "schemas": _schemas(),
        },
    }


def _paths() -> dict[str, dict[str, Any]]:
    paths = {path: {"get": operation} for path, operation in _operations().items()}
    for more in (_writing(), command_operations()):
        for path, methods in more.items():
            paths[path] = paths.get(path, {}) | methods
    return paths


def _writing() -> dict[str, dict[str, Any]]:
    """The operations that change data."""
    register = operation(
        "Registers a device; a registered device keeps its cursor and its policy. 503 while the "
        "store lacks entries up to its cursor",
        "DeviceShown",
        NoQuery,
        "408",
        "409",
    )
    move = operation(
        "Moves a device's cursor forward; other devices are not affected",
        "DeviceShown",
        NoQuery,
        "404",
        "408",
    )
    take_out = operation("Removes a device", None, NoQuery, "404", "408")
    done = {code: answer for code, answer in take_out["responses"].items() if code != "200"}
    return {
        "/v1/devices": {"post": register | body_of("RegisterDevice")},
        "/v1/devices/{id}": {
            "delete": named(take_out | {"responses": {"204": {"description": "Done"}, **done}})
        },
        "/v1/devices/{id}/cursor": {"put": named(move) | body_of("MoveCursor")},
    }


def _operations() -> dict[str, dict[str, Any]]:
    return {
        "/healthz": _open(
            operation("Whether the gateway can serve", "HealthShown", NoQuery),
            unavailable="HealthShown",
        ),
        "/openapi.json": _open(operation("This document", None, NoQuery)),
        "/v1/conversations": operation(
            "The caller's conversations, including those that the caller has left",
            "ConversationsPage",
            ConversationsQuery,
        ),
        "/v1/conversations/{id}/members": named(
            operation(
                "The members of a conversation, by id", "MembersPage", MembersQuery, "403", "404"
            )
        ),
        "/v1/conversations/{id}/messages": named(
            operation(
                "A range of a conversation timeline; each SeqId is an entry or part of a typed "
                "hole",
                "HistoryPage",
                MessagesQuery,
                "404",
            )
        ),
        "/v1/sync": operation(
            "The caller's sync timeline; 410 if records after the cursor have expired or were "
            "skipped, 503 while the store lacks the entries to read in place of these records",
            "SyncPage",
            SyncQuery,
            "410",
            "429",
        ),
        "/v1/sync/end": operation(
            "The cursor for following the sync timeline after reading the store; 503 while the "
            "store lacks entries up to it",
            "SyncEnd",
            NoQuery,
        ),
        "/v1/search": operation(
            "Messages that the caller may see, newest first. A page may have fewer than `limit`, "
            "or none, and still a `next`",
            "SearchPage",
            SearchQuery,
            "404",
        ),
        "/v1/live": _live(),
        "/v1/pipeline": operation(
            "The stages of the pipeline with rates, lags and delays, and dead letters, for "
            "operators. The answer is at most a second old",
            "PipelineShown",
            PipelineQuery,
            "403",
        ),
        "/v1/devices": operation("The caller's devices, by id", "DevicesShown", NoQuery),
        "/v1/devices/{id}": named(
            operation("A device of the caller", "DeviceShown", NoQuery, "404")
        ),
        "/v1/devices/{id}/conversations": named(
            operation(
                "The first SeqId of each conversation that a new device shows",
                "BeginningsPage",
                BeginningsQuery,
                "404",
            )
        ),
    }


def _live() -> dict[str, Any]:
    connecting = operation(
        "A live connection with the caller's sync records and heads of pulled conversations",
        None,
        LiveQuery,
        "426",
        "429",
    )
    live_messages = {"oneOf": [reference(name) for name in _LIVE]}
    responses = {k: v for k, v in connecting["responses"].items() if k != "200"}
    responses["101"] = response("A WebSocket; each of its messages is one of these", live_messages)
    return connecting | {"responses": responses}


def _open(described: dict[str, Any], unavailable: str | None = None) -> dict[str, Any]:
    """An operation that needs no token."""
    responses = {k: v for k, v in described["responses"].items() if k not in {"400", "401", "429"}}
    if unavailable is not None:
        responses["503"] = response("Not now", reference(unavailable))
    return described | {"security": [], "responses": responses}


def _schemas() -> dict[str, Any]:
    """The structs' schemas; raw JSON fields get the schema of the stored records."""
    shown, found = msgspec.json.schema_components(_SHOWN, ref_template=REFERENCE)
    entry, record = shown[-2:]
    found["HistoryPage"]["properties"]["items"]["items"] = {"anyOf": [entry, reference("Hole")]}
    found["SyncPageItem"]["properties"]["record"] = record
    found["SearchPage"]["properties"]["hits"]["items"] = reference(MessageSent.__name__)
    for schema in found.values():
        schema["description"] = " ".join(schema["description"].split())
    return found

"""The OpenAPI 3.1 document: paths by hand; schemas and parameters from `schemas.http`."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.http.problem_details import PROBLEM_JSON
from gateway.http.query_parameters import (
    BoundedText,
    OneOf,
    QueryParameter,
    WholeNumber,
    parameters_of,
)
from schemas.http import answers, bodies
from schemas.http.queries import (
    ConversationsQuery,
    LiveQuery,
    MessagesQuery,
    NoQuery,
    SearchQuery,
    SyncQuery,
)
from schemas.records import MAX_ID_LENGTH, AnyEntry, AnySyncRecord, MessageSent

_REFERENCE: Final = "#/components/schemas/{name}"
_SHOWN: Final = (
    answers.HealthShown,
    answers.ConversationsPage,
    answers.HistoryPage,
    answers.Hole,
    answers.SyncPage,
    answers.SyncEnd,
    answers.LiveBegun,
    answers.LiveRecords,
    answers.LiveHead,
    answers.LiveProblem,
    answers.SearchPage,
    answers.DevicesShown,
    answers.DeviceShown,
    answers.BeginningsPage,
    bodies.RegisterDevice,
    bodies.MoveCursor,
    answers.ProblemDetails,
    AnyEntry,
    AnySyncRecord,
)
_LIVE: Final = ("LiveBegun", "LiveRecords", "LiveHead", "LiveProblem")
_PATH_ID: Final = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH},
}


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
            "description": "Reads of an instant-messaging backend, and its devices. "
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
    for path, methods in _writing().items():
        paths[path] = paths.get(path, {}) | methods
    return paths


def _writing() -> dict[str, dict[str, Any]]:
    """The operations that change data."""
    register = _operation(
        "Registers a device; a registered device keeps its cursor and its policy. 503 while the "
        "store lacks entries up to its cursor",
        "DeviceShown",
        NoQuery,
        "408",
        "409",
    )
    move = _operation(
        "Moves a device's cursor forward; other devices are not affected",
        "DeviceShown",
        NoQuery,
        "404",
        "408",
    )
    take_out = _operation("Removes a device", None, NoQuery, "404", "408")
    done = {code: answer for code, answer in take_out["responses"].items() if code != "200"}
    return {
        "/v1/devices": {"post": register | _body("RegisterDevice")},
        "/v1/devices/{id}": {
            "delete": _named(take_out | {"responses": {"204": {"description": "Done"}, **done}})
        },
        "/v1/devices/{id}/cursor": {"put": _named(move) | _body("MoveCursor")},
    }


def _body(name: str) -> dict[str, Any]:
    content = {"application/json": {"schema": _reference(name)}}
    return {"requestBody": {"required": True, "content": content}}


def _operations() -> dict[str, dict[str, Any]]:
    return {
        "/healthz": _open(
            _operation("Whether the gateway can serve", "HealthShown", NoQuery),
            unavailable="HealthShown",
        ),
        "/openapi.json": _open(_operation("This document", None, NoQuery)),
        "/v1/conversations": _operation(
            "The caller's conversations by id, including those that the caller has left",
            "ConversationsPage",
            ConversationsQuery,
        ),
        "/v1/conversations/{id}/messages": _named(
            _operation(
                "A range of a conversation timeline; each SeqId is an entry or part of a typed "
                "hole",
                "HistoryPage",
                MessagesQuery,
                "404",
            )
        ),
        "/v1/sync": _operation(
            "The caller's sync timeline; 410 if records after the cursor have expired or were "
            "skipped, 503 while the store lacks the entries to read in place of these records",
            "SyncPage",
            SyncQuery,
            "410",
            "429",
        ),
        "/v1/sync/end": _operation(
            "The cursor for following the sync timeline after reading the store; 503 while the "
            "store lacks entries up to it",
            "SyncEnd",
            NoQuery,
        ),
        "/v1/search": _operation(
            "Messages that the caller may see, newest first. A page may have fewer than `limit`, "
            "or none, and still a `next`",
            "SearchPage",
            SearchQuery,
            "404",
        ),
        "/v1/live": _live(),
        "/v1/devices": _operation("The caller's devices, by id", "DevicesShown", NoQuery),
        "/v1/devices/{id}": _named(
            _operation("A device of the caller", "DeviceShown", NoQuery, "404")
        ),
        "/v1/devices/{id}/conversations": _named(
            _operation(
                "The first SeqId of each conversation that a new device shows",
                "BeginningsPage",
                ConversationsQuery,
                "404",
            )
        ),
    }


def _live() -> dict[str, Any]:
    operation = _operation(
        "A live connection with the caller's sync records and heads of pulled conversations",
        None,
        LiveQuery,
        "426",
        "429",
    )
    live_messages = {"oneOf": [_reference(name) for name in _LIVE]}
    responses = {k: v for k, v in operation["responses"].items() if k != "200"}
    responses["101"] = _response(
        "A WebSocket; each of its messages is one of these", live_messages
    )
    return operation | {"responses": responses}


def _operation(
    summary: str, answer: str | None, query: type[Struct], *statuses: str
) -> dict[str, Any]:
    body = {"type": "object"} if answer is None else _reference(answer)
    failures = {"400", "401", "413", "429", "500", *statuses}
    return {
        "summary": summary,
        "parameters": [_parameter(each) for each in parameters_of(query)],
        "responses": {
            "200": _response("The result", body),
            **{status: _problem(status) for status in sorted(failures)},
            "503": _problem("503") | {"headers": {"Retry-After": {"schema": {"type": "string"}}}},
        },
    }


def _named(operation: dict[str, Any]) -> dict[str, Any]:
    """An operation with an id in its path."""
    return operation | {"parameters": [_PATH_ID, *operation["parameters"]]}


def _open(operation: dict[str, Any], unavailable: str | None = None) -> dict[str, Any]:
    """An operation that needs no token."""
    responses = {k: v for k, v in operation["responses"].items() if k not in {"400", "401", "429"}}
    if unavailable is not None:
        responses["503"] = _response("Not now", _reference(unavailable))
    return operation | {"security": [], "responses": responses}


def _parameter(parameter: QueryParameter) -> dict[str, Any]:
    described = {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "schema": _schema_of(parameter),
    }
    return described | ({"required": True} if parameter.is_required else {})


def _schema_of(parameter: QueryParameter) -> dict[str, Any]:
    default = {} if parameter.default is None else {"default": parameter.default}
    match parameter.bounds:
        case WholeNumber(low, high):
            return {"type": "integer", "minimum": low, "maximum": high} | default
        case BoundedText(shortest, longest):
            return {"type": "string", "minLength": shortest, "maxLength": longest} | default
        case OneOf(options):
            return {"enum": list(options)} | default


def _response(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _problem(status: str) -> dict[str, Any]:
    content = {PROBLEM_JSON: {"schema": _reference("ProblemDetails")}}
    return {"description": f"A problem with status {status}", "content": content}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": _REFERENCE.format(name=name)}


def _schemas() -> dict[str, Any]:
    """The structs' schemas; raw JSON fields get the schema of the stored records."""
    shown, found = msgspec.json.schema_components(_SHOWN, ref_template=_REFERENCE)
    entry, record = shown[-2:]
    found["HistoryPage"]["properties"]["items"]["items"] = {"anyOf": [entry, _reference("Hole")]}
    found["SyncPageItem"]["properties"]["record"] = record
    found["SearchPage"]["properties"]["hits"]["items"] = _reference(MessageSent.__name__)
    for schema in found.values():
        schema["description"] = " ".join(schema["description"].split())
    return found

"""The OpenAPI 3.1 document of the gateway: paths by hand, schemas from the structs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import msgspec

from gateway.http import answers
from gateway.http.problems import PROBLEM_JSON, ProblemDetails
from gateway.live.long_poll import MAX_WAIT_SECONDS
from gateway.reads import conversation_list as conversations
from gateway.reads import history, search
from gateway.reads import sync_page as sync
from gateway.reads.search_terms import MAX_CURSOR_CHARACTERS, MAX_QUERY_CHARACTERS
from gateway.store.device_port import MAX_CURSOR
from schemas.limits import MAX_SEQ
from schemas.records import MAX_ID_LENGTH, AnyEntry, AnySyncRecord, MessageSent

_REFERENCE: Final = "#/components/schemas/{name}"
_SHOWN: Final = (
    answers.HealthShown,
    answers.ConversationsPage,
    answers.HistoryPage,
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
    answers.RegisterDevice,
    answers.MoveCursor,
    ProblemDetails,
    AnyEntry,
    AnySyncRecord,
)
_LIVE: Final = ("LiveBegun", "LiveRecords", "LiveHead", "LiveProblem")
_SEQ: Final = {"type": "integer", "minimum": 1, "maximum": MAX_SEQ}
_ID: Final = {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}
_DEVICE: Final = {"name": "id", "in": "path", "required": True, "schema": _ID}


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
        [],
        "408",
        "409",
    )
    move = _operation(
        "Moves a device's cursor forward; other devices are not affected",
        "DeviceShown",
        [_DEVICE],
        "404",
        "408",
    )
    take_out = _operation("Removes a device", None, [_DEVICE], "404")
    done = {code: answer for code, answer in take_out["responses"].items() if code != "200"}
    return {
        "/v1/devices": {"post": register | _body("RegisterDevice")},
        "/v1/devices/{id}": {
            "delete": take_out | {"responses": {"204": {"description": "Done"}, **done}}
        },
        "/v1/devices/{id}/cursor": {"put": move | _body("MoveCursor")},
    }


def _body(name: str) -> dict[str, Any]:
    content = {"application/json": {"schema": _reference(name)}}
    return {"requestBody": {"required": True, "content": content}}


def _operations() -> dict[str, dict[str, Any]]:
    return {
        "/healthz": _open(
            _operation("Whether the gateway can serve", "HealthShown", []),
            unavailable="HealthShown",
        ),
        "/openapi.json": _open(_operation("This document", None, [])),
        "/v1/conversations": _operation(
            "The caller's conversations by id, including those that the caller has left",
            "ConversationsPage",
            [
                _parameter("after", "The `next` of an earlier page.", _ID),
                _limit(conversations.MAX_CONVERSATIONS),
            ],
        ),
        "/v1/conversations/{id}/messages": _messages(),
        "/v1/sync": _operation(
            "The caller's sync timeline; 410 if records after the cursor have expired or were "
            "skipped, 503 while the store lacks the entries to read in place of these records",
            "SyncPage",
            [
                _parameter(
                    "after",
                    "The `next` of an earlier page; -1 is the beginning.",
                    {"type": "integer", "minimum": -1, "maximum": MAX_CURSOR, "default": -1},
                ),
                _parameter(
                    "before",
                    "Instead of `after`: read backwards from here, newest first. The `next` of an "
                    "earlier page, or the highest number for the end.",
                    {"type": "integer", "minimum": 0, "maximum": MAX_SEQ},
                ),
                _limit(sync.MAX_RECORDS),
                _parameter(
                    "wait",
                    "Seconds to wait for records after `after`; an empty page if none arrive, and "
                    "401 when the token expires.",
                    {"type": "integer", "minimum": 0, "maximum": MAX_WAIT_SECONDS, "default": 0},
                ),
            ],
            "410",
            "429",
        ),
        "/v1/sync/end": _operation(
            "The cursor for following the sync timeline after reading the store; 503 while the "
            "store lacks entries up to it",
            "SyncEnd",
            [],
        ),
        "/v1/search": _search(),
        "/v1/live": _live(),
        "/v1/devices": _operation("The caller's devices, by id", "DevicesShown", []),
        "/v1/devices/{id}": _operation("A device of the caller", "DeviceShown", [_DEVICE], "404"),
        "/v1/devices/{id}/conversations": _operation(
            "The first SeqId of each conversation that a new device shows",
            "BeginningsPage",
            [
                _DEVICE,
                _parameter("after", "The `next` of an earlier page.", _ID),
                _limit(conversations.MAX_CONVERSATIONS),
            ],
            "404",
        ),
    }


def _messages() -> dict[str, Any]:
    return _operation(
        "A range of a conversation timeline; each SeqId is an entry or part of a typed hole",
        "HistoryPage",
        [
            {"name": "id", "in": "path", "required": True, "schema": _ID},
            _parameter("from", "The lowest SeqId.", _SEQ | {"default": 1}),
            _parameter("to", "The highest SeqId; by default the head.", _SEQ),
            _parameter(
                "order",
                "Ascending or descending SeqIds.",
                {"enum": ["asc", "desc"], "default": "asc"},
            ),
            _limit(history.MAX_ITEMS),
        ],
        "404",
    )


def _live() -> dict[str, Any]:
    operation = _operation(
        "A live connection with the caller's sync records and heads of pulled conversations",
        None,
        [
            _parameter(
                "after",
                "The device's cursor; -1 is the beginning.",
                {"type": "integer", "minimum": -1, "maximum": MAX_CURSOR, "default": -1},
            ),
            _limit(sync.MAX_RECORDS),
        ],
        "426",
        "429",
    )
    live_messages = {"oneOf": [_reference(name) for name in _LIVE]}
    responses = {k: v for k, v in operation["responses"].items() if k != "200"}
    responses["101"] = _response(
        "A WebSocket; each of its messages is one of these", live_messages
    )
    return operation | {"responses": responses}


def _search() -> dict[str, Any]:
    return _operation(
        "Messages that the caller may see, newest first. A page may have fewer than `limit`, "
        "or none, and still a `next`",
        "SearchPage",
        [
            _parameter(
                "q",
                'Terms separated by spaces; a message must have all. "Quotes" make a phrase.',
                {"type": "string", "minLength": 1, "maxLength": MAX_QUERY_CHARACTERS},
            )
            | {"required": True},
            _parameter("conversation", "Only in this conversation.", _ID),
            _parameter("sender", "Only by this user.", _ID),
            _limit(search.MAX_HITS),
            _parameter(
                "cursor",
                "The `next` of an earlier page.",
                {"type": "string", "minLength": 1, "maxLength": MAX_CURSOR_CHARACTERS},
            ),
        ],
        "404",
    )


def _operation(
    summary: str, answer: str | None, parameters: list[dict[str, Any]], *statuses: str
) -> dict[str, Any]:
    body = {"type": "object"} if answer is None else _reference(answer)
    failures = {"400", "401", "413", "429", "500", *statuses}
    return {
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": _response("The result", body),
            **{status: _problem(status) for status in sorted(failures)},
            "503": _problem("503") | {"headers": {"Retry-After": {"schema": {"type": "string"}}}},
        },
    }


def _open(operation: dict[str, Any], unavailable: str | None = None) -> dict[str, Any]:
    """An operation that needs no token."""
    responses = {k: v for k, v in operation["responses"].items() if k not in {"400", "401", "429"}}
    if unavailable is not None:
        responses["503"] = _response("Not now", _reference(unavailable))
    return operation | {"security": [], "responses": responses}


def _parameter(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _limit(most: int) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 1, "maximum": most}
    return _parameter("limit", "Maximum items of a page; bytes may end it earlier.", schema)


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

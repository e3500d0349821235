"""Compares responses with the OpenAPI document, and records and frames with the AsyncAPI one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from jsonschema_rs import Validator, validator_for

from gateway.http.openapi import document
from schemas.asyncapi.document import asyncapi_document

_OF_OPENAPI: Final = "https://json-schema.org/draft/2020-12/schema"
_OF_ASYNCAPI: Final = "http://json-schema.org/draft-07/schema#"
_PLACE: Final = re.compile(r"\{\w+\}")


_document: Final = cache(document)
_asyncapi: Final = cache(asyncapi_document)


@cache
def operations() -> list[tuple[str, str, re.Pattern[str], dict[str, Any]]]:
    """Method, path and pattern of each operation with its description, constant paths first."""
    found = [
        (method, path, re.compile(_PLACE.sub("[^/]+", path)), operation)
        for path, methods in _document()["paths"].items()
        for method, operation in methods.items()
    ]
    return sorted(found, key=lambda each: each[1].count("{"))


def assert_described(
    method: str, path: str, status: int, headers: Mapping[str, str], body: Any
) -> None:
    """Assert that the OpenAPI document describes a response: status, headers, type and body.

    Responses of routes that the document does not have, such as the files of the page, pass.

    Args:
        method: The method of the request.
        path: The path of the request, without a query.
        status: The status of the response.
        headers: The headers of the response.
        body: The decoded body; None if there is none.
    """
    for known, _, pattern, operation in operations():
        if known == method.lower() and pattern.fullmatch(path):
            name = f"{operation['operationId']} {status}"
            assert str(status) in operation["responses"], f"{name}: {body}"
            described = _resolved(operation["responses"][str(status)])
            _assert_headers(name, described, headers)
            _assert_body(name, described, headers, body)
            return


def _assert_headers(name: str, described: dict[str, Any], headers: Mapping[str, str]) -> None:
    for header, about in described["headers"].items():
        is_required = _resolved(about).get("required", False)
        assert not is_required or header in headers, f"{name}: {header} is missing"


def _assert_body(
    name: str, described: dict[str, Any], headers: Mapping[str, str], body: Any
) -> None:
    if "content" not in described:
        assert body is None
        return
    content_type = headers["Content-Type"].partition(";")[0]
    assert content_type in described["content"], f"{name}: {content_type}"
    validator = _validator(json.dumps(described["content"][content_type]["schema"]))
    errors = [error.message for error in validator.iter_errors(body)]
    assert not errors, f"{name}: {errors}"


def _resolved(described: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in described:
        return described
    _, _, kind, name = described["$ref"].split("/")
    found: dict[str, Any] = _document()["components"][kind][name]
    return found


@cache
def _validator(schema: str) -> Validator:
    components = {"components": _document()["components"]}
    return validator_for({"$schema": _OF_OPENAPI} | json.loads(schema) | components)


@cache
def asyncapi_validator(pointer: str) -> Validator:
    """The validator of a schema at a place of the AsyncAPI document, such as ``#/components``."""
    whole = {"$schema": _OF_ASYNCAPI, "allOf": [{"$ref": pointer}]}
    return validator_for(_asyncapi() | whole)


def message_of(channel: str, kind: str) -> str:
    """The pointer to the message of a channel whose ``name`` is ``kind``."""
    messages = _asyncapi()["channels"][channel]["messages"]
    (found,) = (key for key, message in messages.items() if message["name"] == kind)
    return f"#/channels/{channel}/messages/{found}"


def assert_message(channel: str, message: str, payload: Any) -> None:
    """Assert that a payload conforms to a message of a channel."""
    pointer = f"{message_of(channel, message)}/payload"
    errors = [error.message for error in asyncapi_validator(pointer).iter_errors(payload)]
    assert not errors, f"{channel} {message}: {errors}"

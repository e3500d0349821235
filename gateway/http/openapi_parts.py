"""The parts of which the operations of the OpenAPI document are made."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from gateway.http.openapi_problems import COMMON_PROBLEMS, problem_responses, response_headers
from gateway.http.query_parameters import (
    BoundedText,
    OneOf,
    QueryParameter,
    WholeNumber,
    parameters_of,
)
from schemas.limits import MAX_SEQ
from schemas.records import MAX_ID_LENGTH

REFERENCE: Final = "#/components/schemas/{name}"
"""Where the document has the schema ``name``."""

_ID: Final = {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}
_PLACES: Final[dict[str, dict[str, Any]]] = {
    "id": {"schema": _ID, "example": "lunch"},
    "seq": {"schema": {"type": "integer", "minimum": 1, "maximum": MAX_SEQ}, "example": 2},
    "user": {"schema": _ID, "example": "bob"},
    "client_msg_id": {
        "schema": {"type": "string"},
        "example": "019acbd6-2385-7000-8000-000000500007",
    },
}


def operation(
    name: str,
    summary: str,
    answer: str | None,
    query: type[Struct],
    *kinds: str,
    common: tuple[str, ...] = COMMON_PROBLEMS,
) -> dict[str, Any]:
    """An operation with these parameters, this answer, and problems of these kinds.

    Args:
        name: The id of the operation: the name of the function in generated clients.
        summary: The effect of the operation, in one sentence.
        answer: The name of a schema; None for an answer that is described elsewhere.
        query: The struct of the query.
        kinds: The kinds of problems besides ``common``.
        common: The kinds of problems that the route shares with other routes.
    """
    body = {"type": "object"} if answer is None else reference(answer)
    return {
        "operationId": name,
        "summary": summary,
        "parameters": [_parameter(each) for each in parameters_of(query)],
        "responses": {
            "200": response("The result", body),
            **problem_responses((*common, *kinds)),
        },
    }


def placed_at(path: str, described: dict[str, Any]) -> dict[str, Any]:
    """An operation with the parameters of its path."""
    places = [
        {"name": name, "in": "path", "required": True, **place}
        for name, place in _PLACES.items()
        if f"{{{name}}}" in path
    ]
    return described | {"parameters": [*places, *described["parameters"]]}


def with_responses(described: dict[str, Any], answers: dict[str, Any]) -> dict[str, Any]:
    """An operation with these responses, by status, in place of its 200."""
    problems = {code: each for code, each in described["responses"].items() if code != "200"}
    return described | {"responses": dict(sorted((problems | answers).items()))}


def body_of(name: str, *, required: bool = True) -> dict[str, Any]:
    """A body with the schema ``name``."""
    content = {"application/json": {"schema": reference(name)}}
    return {"requestBody": {"required": required, "content": content}}


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


def response_of(description: str, name: str) -> dict[str, Any]:
    """A response with the schema ``name``."""
    return response(description, reference(name))


def response(description: str, schema: dict[str, Any], *headers: str) -> dict[str, Any]:
    """A response with a JSON body, and with these headers of the document."""
    return {
        "description": description,
        "headers": response_headers(*headers),
        "content": {"application/json": {"schema": schema}},
    }


def reference(name: str) -> dict[str, Any]:
    """A reference to the schema ``name``."""
    return {"$ref": REFERENCE.format(name=name)}

"""The parts of which the operations of the OpenAPI document are made."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from gateway.http.problem_details import PROBLEM_JSON
from gateway.http.query_parameters import (
    BoundedText,
    OneOf,
    QueryParameter,
    WholeNumber,
    parameters_of,
)
from schemas.records import MAX_ID_LENGTH

REFERENCE: Final = "#/components/schemas/{name}"
"""Where the document has the schema ``name``."""

PATH_ID: Final = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH},
}
"""The id in a path."""


def operation(
    summary: str, answer: str | None, query: type[Struct], *statuses: str
) -> dict[str, Any]:
    """An operation with these parameters, this answer, and problems with these statuses.

    ``answer`` is the name of a schema; None for an answer that is described elsewhere.
    """
    body = {"type": "object"} if answer is None else reference(answer)
    failures = {"400", "401", "413", "429", "500", *statuses}
    return {
        "summary": summary,
        "parameters": [_parameter(each) for each in parameters_of(query)],
        "responses": {
            "200": response("The result", body),
            **{status: problem(status) for status in sorted(failures)},
            "503": problem("503") | {"headers": {"Retry-After": {"schema": {"type": "string"}}}},
        },
    }


def named(described: dict[str, Any]) -> dict[str, Any]:
    """An operation with an id in its path."""
    return described | {"parameters": [PATH_ID, *described["parameters"]]}


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


def response(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A response with a JSON body."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def problem(status: str) -> dict[str, Any]:
    """A problem document."""
    content = {PROBLEM_JSON: {"schema": reference("ProblemDetails")}}
    return {"description": f"A problem with status {status}", "content": content}


def reference(name: str) -> dict[str, Any]:
    """A reference to the schema ``name``."""
    return {"$ref": REFERENCE.format(name=name)}

"""The OpenAPI document: valid, and complete in its problems."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.http import load_problems, problem_kinds
from gateway.http.openapi import document, document_text
from gateway.http.openapi_problems import PROBLEM_STATUSES
from tests.support.described import assert_described
from tests.unit.gateway.test_problems import PROBLEMS, REJECTED

PREFIX = "urn:im-timeline:problem:"


def all_operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Return path, method and description of each operation."""
    return [
        (path, method, described)
        for path, methods in document()["paths"].items()
        for method, described in methods.items()
    ]


def kinds_in(value: Any) -> set[str]:
    """Return the kinds of problems that a part of the document names."""
    return set(re.findall(rf"{PREFIX}([\w-]+)", str(value)))


def test_the_document_is_valid() -> None:
    """The document conforms to OpenAPI 3.1, with all its references and schemas."""
    OpenAPIV31SpecValidator(document()).validate()


def test_each_reference_has_its_part() -> None:
    """No reference of the document leads to nothing."""
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', document_text()):
        found: Any = document()
        for step in reference.split("/"):
            found = found[step]


def test_each_operation_has_a_name_of_its_own() -> None:
    """Generated clients have a function for each operation."""
    names = Counter(described["operationId"] for _, _, described in all_operations())
    assert set(names.values()) == {1}


def test_each_kind_of_problem_has_its_status() -> None:
    """The statuses are those of the list of problems, and of the errors that a request causes."""
    pages = f"{problem_kinds.__doc__} {load_problems.__doc__}"
    listed = re.findall(r"── (\d{3}) ([\w-]+)", pages)
    of_commands = [*REJECTED.values(), (404, "no-such-command"), (504, "delivery-unknown")]
    assert {kind: int(status) for status, kind in (*listed, *of_commands)} == PROBLEM_STATUSES
    for _, status, kind in PROBLEMS:
        assert kind == "http" or PROBLEM_STATUSES[kind] == status


def test_each_kind_of_problem_is_that_of_an_operation() -> None:
    """No kind of problem is missing in all operations."""
    assert kinds_in(document()) == set(PROBLEM_STATUSES)


@pytest.mark.parametrize("open_path", ["/healthz", "/openapi.json"])
def test_only_open_routes_need_no_token(open_path: str) -> None:
    """The other operations have the security of the document, or that of live connections."""
    security = {path: described.get("security") for path, _, described in all_operations()}
    assert security.pop(open_path) == []
    for path, found in security.items():
        assert found != [] or path in {"/healthz", "/openapi.json"}


def test_each_command_can_be_sent_with_a_key() -> None:
    """Each operation with a `202` has the header of its id, and the path of its state."""
    for _, _, described in all_operations():
        named = {each["name"] for each in described["parameters"]}
        if "202" in described["responses"]:
            assert "Idempotency-Key" in named
            assert "Location" in described["responses"]["202"]["headers"]
        else:
            assert "Idempotency-Key" not in named


def test_an_undescribed_response_is_found() -> None:
    """The comparison that all tests of routes use finds a wrong status, type, header or body."""
    json_type = {"Content-Type": "application/json"}
    assert_described("GET", "/v1/sync/end", 200, json_type, {"next": 3})
    for status, headers, body in (
        (418, json_type, {"next": 3}),
        (200, {"Content-Type": "text/html"}, {"next": 3}),
        (200, json_type, {"next": "3"}),
        (200, json_type, {}),
        (503, {"Content-Type": "application/problem+json"}, {}),
    ):
        with pytest.raises(AssertionError):
            assert_described("GET", "/v1/sync/end", status, headers, body)

"""The Python client and the gateway's OpenAPI document describe the same routes and fields."""

from __future__ import annotations

import ast
import dataclasses
import sys
import tomllib
from collections.abc import Iterator
from email import message_from_bytes
from importlib.metadata import distribution
from pathlib import Path
from types import NoneType
from typing import Any, Final, get_args, get_origin, get_type_hints
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder

import im_timeline_client
from gateway.http.openapi import document
from im_timeline_client.answers import Entry, HistoryPage, Hole, Item
from im_timeline_client.decoding import NAME
from im_timeline_client.devices import PushAddress
from im_timeline_client.ids import CommandIds, is_command_id
from im_timeline_client.routes import DIRECT, LIVE, REGISTER_PUSH, ROUTES, Route
from schemas.ids import is_client_msg_id, uuid7_parts

PACKAGE: Final = Path(im_timeline_client.__file__).parent
PROJECT: Final = PACKAGE.parents[1]
DOCUMENT: Final = document()
SCHEMAS: Final[dict[str, Any]] = DOCUMENT["components"]["schemas"]
JSON_TYPES: Final = {str: "string", int: "integer", bool: "boolean"}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema behind a reference."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return resolved(SCHEMAS[name]) if name else schema


def alternatives(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemas that a value may have, without null."""
    parts = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return [part for part in map(resolved, parts) if part.get("type") != "null"]


def answer_of(route: Route[Any]) -> dict[str, Any]:
    """The schema of the answer to a successful request."""
    responses = DOCUMENT["paths"][route.path][route.method.lower()]["responses"]
    code = "200" if "200" in responses else "201"
    return resolved(responses[code]["content"]["application/json"]["schema"])


def assert_reads(kind: type[Any], schema: dict[str, Any]) -> None:
    """Assert that a schema has each field of a dataclass, with the same type."""
    hints = get_type_hints(kind)
    for each in dataclasses.fields(kind):
        name = each.metadata.get(NAME, each.name)
        assert name in schema["properties"], (kind, name)
        assert_type(hints[each.name], schema["properties"][name], (kind, name))


def assert_type(hint: Any, schema: dict[str, Any], place: object) -> None:
    """Assert that a value of a schema has a type of Python."""
    options = [each for each in get_args(hint) if each is not NoneType]
    if get_origin(hint) is tuple:
        [listed] = alternatives(schema)
        assert listed["type"] == "array", place
        assert_type(options[0], listed["items"], place)
    elif NoneType in get_args(hint):
        assert_type(options[0], {"anyOf": alternatives(schema)}, place)
    elif hint is Entry:
        for part in alternatives(schema):
            assert "seq" in part["properties"], place
    elif dataclasses.is_dataclass(hint):
        [inner] = alternatives(schema)
        assert_reads(hint, inner)  # type: ignore[arg-type]  # a class, no instance
    elif hint in JSON_TYPES:
        for part in alternatives(schema):
            given = part.get("type") or JSON_TYPES[type(part["enum"][0])]
            assert given == JSON_TYPES[hint], place


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_each_route_has_the_fields_that_the_client_reads(route: Route[Any]) -> None:
    """The gateway has the route, and its answer has each field with the type of the client.

    The gateway refuses unknown parameters and fields of a body, so the tests of each method in
    `test_python_client` show that the requests agree as well.
    """
    if route.answer is NoneType:
        assert "204" in DOCUMENT["paths"][route.path][route.method.lower()]["responses"]
    else:
        assert_reads(route.answer, answer_of(route))


def test_entries_and_holes_have_the_fields_that_the_client_reads() -> None:
    """Each field that an `Entry` reads belongs to some kind of entry; the common ones to all."""
    parts = SCHEMAS["HistoryPage"]["properties"]["items"]["items"]["anyOf"]
    entry, hole = alternatives(parts[0]), resolved(parts[1])
    assert_reads(Hole, hole)
    common = set.intersection(*(set(kind["properties"]) for kind in entry))
    every = set.union(*(set(kind["properties"]) for kind in entry))
    named = {each.name for each in dataclasses.fields(Entry)} - {"fields"}
    assert named <= common
    assert named < set(Entry.READ_FIELDS) <= every
    [found] = HistoryPage("c", 9, ({"hole": "hidden", "from": 1, "to": 2},), None).shown()
    assert found == Item("c", 1, 2, "hidden", None)


def test_each_push_address_has_the_fields_of_the_gateway() -> None:
    """Each address of the client is an address of the gateway, with the same fields."""
    kinds: tuple[type[Any], ...] = get_args(PushAddress)
    described = {
        kind.provider: {"provider", *(each.name for each in dataclasses.fields(kind))}
        for kind in kinds
    }
    body = DOCUMENT["paths"][REGISTER_PUSH.path]["put"]["requestBody"]
    parts = alternatives(resolved(body["content"]["application/json"]["schema"]))
    assert described == {
        part["properties"]["provider"]["enum"][0]: set(part["properties"]) for part in parts
    }
    assert all(set(part["required"]) == set(part["properties"]) for part in parts)


def test_the_live_messages_have_the_fields_that_the_client_reads() -> None:
    """The client knows the kinds of live messages, except the answers to requests of its own."""
    assert "get" in DOCUMENT["paths"][LIVE]
    kinds = {name: set(SCHEMAS[name]["properties"]) for name in SCHEMAS if name.startswith("Live")}
    assert {"kind", "next", "records", "more"} <= kinds["LiveRecords"]
    assert {"kind", "conv_id", "seq"} <= kinds["LiveHead"]
    assert {"kind", "next"} <= kinds["LiveBegun"]
    assert kinds["LivePresence"] == {"kind", "active"}
    assert {"cursor", "oldest", "detail", "type", "code"} <= set(
        SCHEMAS["ProblemDetails"]["properties"]
    )
    assert set(kinds) == {
        "LiveBegun", "LiveRecords", "LiveHead", "LiveAnswer", "LiveProblem", "LiveRequest",
        "LivePresence",
    }  # fmt: skip


def test_every_command_of_the_gateway_has_a_method() -> None:
    """Each route of a command is a route of the client."""
    written = {
        (method.upper(), path)
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
        if any("CommandAnswer" in str(each) for each in operation["responses"].values())
    }
    assert len(written) == 12
    assert written | {(DIRECT.method, DIRECT.path)} <= {
        (route.method, route.path) for route in ROUTES
    }


def test_ids_are_those_of_the_project() -> None:
    """Ids are UUIDv7s with the time of the clock, and increase when the clock goes back."""
    times = iter([5, 5, 9, 3, 3])
    ids = CommandIds(lambda: next(times))
    made = [ids.next() for _ in range(5)]
    assert made == sorted(set(made))
    assert all(map(is_client_msg_id, made))
    assert all(map(is_command_id, made))
    assert [uuid7_parts(each)[0] for each in made] == [5, 5, 9, 9, 9]
    assert not is_command_id(f"{made[0][:-1]}A")


def imported() -> Iterator[str]:
    """The top-level packages that the modules of the client import."""
    for module in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (each.name.partition(".")[0] for each in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield (node.module or "").partition(".")[0]


def test_the_client_needs_aiohttp_alone() -> None:
    """Its modules import the standard library, aiohttp, and yarl, on which aiohttp depends."""
    others = set(imported()) - sys.stdlib_module_names - {"im_timeline_client"}
    assert others == {"aiohttp", "yarl"}
    required = distribution("aiohttp").requires
    assert required is not None
    assert any(each.startswith("yarl") for each in required)
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [each.partition(">")[0] for each in project["dependencies"]] == ["aiohttp"]


def test_the_package_is_built(tmp_path: Path) -> None:
    """The wheel has each module, the marker of types, the license, and the metadata."""
    [wheel] = WheelBuilder(str(PROJECT)).build(directory=str(tmp_path), versions=["standard"])
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [name for name in names if name.endswith("METADATA")]
        described = message_from_bytes(archive.read(metadata))
    assert described["Name"] == "im-timeline-client"
    assert described["Version"] == im_timeline_client.__version__
    assert described["License-Expression"] == "Apache-2.0"
    assert described.get_all("Requires-Dist") == ["aiohttp>=3.11"]
    assert {f"im_timeline_client/{path.name}" for path in PACKAGE.glob("*.py")} <= set(names)
    assert "im_timeline_client/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)

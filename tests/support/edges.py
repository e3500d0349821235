"""Requests at and beyond the edges of the OpenAPI document, generated from the document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from gateway.http.openapi import document
from schemas.ids import uuid7

_POWERS: Final = (31, 32, 48, 53, 62, 63, 64, 127)
_AROUND: Final = {
    sign * (1 << power) + step for power in _POWERS for step in (-2, -1, 0, 1) for sign in (1, -1)
}
NUMBERS: Final = sorted(_AROUND | {-2, -1, 0, 1, 2, 10**30, -(10**30)})
"""Integers around the limits of the integer types of processors, databases and JavaScript."""

_FEW_NUMBERS: Final = (-(10**30), -1, 0, 1, 1 << 53, 1 << 64, 10**30)
"""For values that are not numbers: no number is an edge of a text."""

NO_NUMBERS: Final = (
    "", " ", "1 ", " 1", "+1", "-", "--1", "-0", "00", "1e3", "1.0", "1_0", "0x1", "NaN", "null",
    "true", "\u0663", "\uff11", "1\x00", "\x00", "9" * 400, "1\r\n",
)  # fmt: skip
"""Texts that are not numbers, or not in the canonical form."""

TEXTS: Final = (
    "", " ", "a", "\x00", "a\x00b", "\n", "\u202e", "\ufeff", "陈", "\U0001f469", "%", "%00", "'",
    '"', "../x", "{}", "*", "x" * 128, "x" * 129, "\U0001f469" * 128, "x" * 2_000, "W10",
    "bnVsbA", "WzEsImMiLDFd", "Wy05MjIzMzcyMDM2ODU0Nzc1ODA5LCJjIiwxXQ",
    "WzkyMjMzNzIwMzY4NTQ3NzU4MDgsImMiLDFd",
    "WzEsImMiLDkyMjMzNzIwMzY4NTQ3NzU4MDhd", "WzEsIlx1ZDgwMCIsMV0",
)  # fmt: skip
"""Texts with unusual characters and lengths; the last ones are search cursors at their limits."""

RAW: Final = ("%00", "%ff", "%ed%a0%80", "%c3", "%", "%zz", "+", "a&b", "1;2")
"""Values in URL encoding; some are not UTF-8."""


class Asked(NamedTuple):
    """A request. ``fits``: whether the document permits it; None if it is not decided here."""

    method: str
    path: str
    body: bytes
    fits: bool | None


def filled(path: str) -> str:
    """The path with a possible value in each of its places."""
    client_msg_id = uuid7(1, 1)
    places = {"id": "c", "seq": "1", "user": "bob", "client_msg_id": client_msg_id}
    return path.format_map(places)


def requests(ids: Mapping[str, str]) -> Iterator[Asked]:
    """Every parameter and every body member of each operation, at its edges.

    Args:
        ids: By the path of an operation, the id to use while another part is varied.
    """
    described = document()
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            if path == "/v1/live":
                continue  # a request that is not a WebSocket handshake is refused in any case
            known = filled(path.replace("{id}", ids.get(path, "c")))
            yield from _queries(method.upper(), known, operation)
            yield from _paths(method.upper(), path.replace("{seq}", "1"))
            yield from _bodies(method.upper(), known, operation, described)


def _queries(method: str, path: str, operation: dict[str, Any]) -> Iterator[Asked]:
    found = [each for each in operation["parameters"] if each["in"] == "query"]
    if method != "GET":
        return
    needed = {each["name"]: "hello" for each in found if each.get("required")}
    for parameter in found:
        name, schema = parameter["name"], parameter["schema"]
        others = "".join(f"&{n}={v}" for n, v in needed.items() if n != name)
        for value, fits in _values(schema):
            yield Asked(method, f"{path}?{name}={value}{others}", b"", fits)
        yield Asked(method, f"{path}?{name}=1&{name}=1{others}", b"", fits=False)
        yield Asked(method, f"{path}?{name}{others}", b"", fits=False)


def _values(schema: dict[str, Any]) -> Iterator[tuple[str, bool | None]]:
    if schema.get("type") == "integer":
        low, high = schema["minimum"], schema["maximum"]
        for number in sorted({*NUMBERS, low - 1, low, high, high + 1}):
            yield str(number), low <= number <= high
        yield from (
            (quote(text, safe=""), None if text in {"-0", "00"} else False) for text in NO_NUMBERS
        )
    else:
        longest, shortest = schema.get("maxLength"), schema.get("minLength", 0)
        for text in (*TEXTS, *NO_NUMBERS, *map(str, _FEW_NUMBERS)):
            is_bad = longest is not None and not shortest <= len(text) <= longest
            yield quote(text, safe=""), False if is_bad else None
    yield from ((value, None) for value in RAW)


def _paths(method: str, path: str) -> Iterator[Asked]:
    if "{id}" in path and method != "DELETE":
        body = b'{"cursor":1}' if method == "PUT" else b""
        for text in (*TEXTS, *map(str, _FEW_NUMBERS)):
            yield Asked(method, path.replace("{id}", quote(text, safe="")), body, None)
        for raw in RAW:
            yield Asked(method, path.replace("{id}", raw.replace("&", "")), body, None)


def _bodies(
    method: str, path: str, operation: dict[str, Any], described: dict[str, Any]
) -> Iterator[Asked]:
    if "requestBody" not in operation:
        return
    body_schema = operation["requestBody"]["content"]["application/json"]["schema"]
    choices = body_schema.get("oneOf", [body_schema])
    without_fields = None if not operation["requestBody"]["required"] else False
    for body in (b"", b"{}"):
        yield Asked(method, path, body, fits=without_fields)
    for body in (
        b"null",
        b"[]",
        b"1",
        b"\x00",
        b"\xff",
        b"[" * 60_000,
        b'{"a":' * 9_999,
    ):
        yield Asked(method, path, body, fits=False)
    for choice in choices:
        schema = described["components"]["schemas"][choice["$ref"].rpartition("/")[2]]
        for name, part in schema["properties"].items():
            for literal, fits in _literals(part):
                body = b'{"%s":%s}' % (name.encode(), literal.encode())
                # A body of several kinds needs the field that distinguishes the kinds.
                yield Asked(method, path, body, fits if len(choices) == 1 else False)
                if fits is not False:  # otherwise the value alone is refused
                    yield Asked(method, path, body[:-1] + b',"more":1}', fits=False)


def _literals(part: dict[str, Any]) -> Iterator[tuple[str, bool | None]]:
    kind = part.get("type")
    is_number = kind == "integer"
    numbers = {*NUMBERS, part["maximum"], part["maximum"] + 1} if is_number else _FEW_NUMBERS
    for number in sorted(numbers):
        fits = is_number and part["minimum"] <= number <= part["maximum"]
        yield str(number), fits
    yield "[]", None if kind == "array" else False
    for literal in ("null", "true", "{}", "1.5", "1e400", "-1e400", "[" * 20_000):
        yield literal, False
    yield from ((literal, None) for literal in ("1.0", "1e3", "-0", '"\\ud800"', '"\\u0000"'))
    for text in TEXTS:
        yield json.dumps(text), False if is_number else None

"""Decodes the bodies of requests, and encodes the answers."""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct

from gateway.http.problem_details import Problem
from gateway.http.problem_kinds import bad_body

BodyT = TypeVar("BodyT", bound=Struct)

_PLACE: Final = re.compile(r" - at `(?:key in )?\$\.?([^`\[]*)[^`]*`$")
_FIELD: Final = re.compile(r"^Object (?:missing required|contains unknown) field `([^`]*)`")
_QUOTING: Final = ("Invalid enum value", "Invalid value")
_MAX_FIELD: Final = 32


def decode_body(data: bytes, kind: type[BodyT]) -> BodyT:
    """Decodes a body. An empty body is an object without fields.

    Raises:
        Problem: 400, if the body is not JSON, or not what the route accepts.
    """
    try:
        return msgspec.json.decode(data or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad_body("is not JSON") from None


async def read_body(request: web.Request, kind: type[BodyT]) -> BodyT:
    """The decoded body of a request. Errors: see `decode_body`."""
    return decode_body(await request.read(), kind)


def json_response(
    answer: Struct, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """An answer as JSON."""
    return web.Response(
        body=msgspec.json.encode(answer),
        content_type="application/json",
        status=status,
        headers=headers,
    )


def _invalid(message: str) -> Problem:
    """The decoder's message, without a quoted value, and the name of the field."""
    place, named = _PLACE.search(message), _FIELD.match(message)
    field = named.group(1) if named else place.group(1) if place else ""
    if not field.isidentifier() or len(field) > _MAX_FIELD:
        field = "body"
    if message.startswith(_QUOTING):
        message = "not one of the values that the field can have"
    elif named is not None and field == "body":
        message = "an unknown field"
    return bad_body(f"is not valid for this route: {message}", field)

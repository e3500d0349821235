"""JSON of the gateway to dataclasses.

Unknown fields are ignored, so the client reads the answers of a later gateway. A missing field
without a default, or a value of another type, is an `UnexpectedAnswer`. No error quotes a value.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from im_timeline_client.errors import UnexpectedAnswer

T = TypeVar("T")

NAME: Final = "json"
"""The key of a dataclass field's metadata for its name in JSON, if the name differs."""


def parsed(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        UnexpectedAnswer: The text is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UnexpectedAnswer("the answer is not JSON") from None


def decoded(kind: type[T], data: object) -> T:
    """Return a JSON object as a dataclass.

    A dataclass with a class method ``from_json`` decodes itself.

    Args:
        kind: The dataclass.
        data: The parsed JSON.

    Raises:
        UnexpectedAnswer: The value is not such an object.
    """
    own = getattr(kind, "from_json", None)
    if own is not None:
        return cast(T, own(data))
    given = fields_of(data, kind.__name__)
    found: dict[str, Any] = {}
    for name, json_name, hint, is_required in _plan(cast(Any, kind)):
        if json_name in given:
            found[name] = _value(hint, given[json_name], f"{kind.__name__}.{name}")
        elif is_required:
            raise UnexpectedAnswer(f"{kind.__name__} has no {json_name}")
    return kind(**found)


def fields_of(data: object, what: str) -> Mapping[str, Any]:
    """Return a JSON object.

    Raises:
        UnexpectedAnswer: The value is not an object.
    """
    if not isinstance(data, dict):
        raise UnexpectedAnswer(f"{what} is not an object")
    return data


@cache
def _plan(kind: Any) -> list[tuple[str, str, Any, bool]]:
    """Return name, name in JSON, type and necessity of each field of a dataclass."""
    hints = get_type_hints(kind)
    return [
        (
            each.name,
            each.metadata.get(NAME, each.name),
            hints[each.name],
            each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING,
        )
        for each in dataclasses.fields(kind)
    ]


def _value(hint: Any, data: Any, place: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (UnionType, Union):
        if data is None:
            return None
        [hint] = [each for each in arguments if each is not NoneType]
        return _value(hint, data, place)
    if origin is tuple:
        if not isinstance(data, list):
            raise UnexpectedAnswer(f"{place} is not a list")
        return tuple(_value(arguments[0], each, place) for each in data)
    if origin is not None:  # a mapping
        return fields_of(data, place)
    if dataclasses.is_dataclass(hint):
        return decoded(cast(type[Any], hint), data)
    if type(data) is not hint:  # a bool is no number
        raise UnexpectedAnswer(f"{place} is not of the type {hint.__name__}")
    return data

"""The parameters of a query struct of `schemas.http.queries`, with their bounds.

The parser (`gateway.http.parameters`) and the OpenAPI document read the same list, so they agree.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple, TypeAlias

from msgspec import NODEFAULT, Struct, inspect


class WholeNumber(NamedTuple):
    """A whole number from ``low`` to ``high``, both included."""

    low: int
    high: int


class BoundedText(NamedTuple):
    """A text of ``shortest`` to ``longest`` characters."""

    shortest: int
    longest: int


class OneOf(NamedTuple):
    """One of these texts."""

    options: tuple[str, ...]


ParameterBounds: TypeAlias = WholeNumber | BoundedText | OneOf


class QueryParameter(NamedTuple):
    """One parameter: ``name`` in the URL, ``field`` in the struct.

    ``default`` is None if the parameter has no default value.
    """

    name: str
    field: str
    bounds: ParameterBounds
    description: str
    is_required: bool
    default: int | str | None


@cache
def parameters_of(query: type[Struct]) -> tuple[QueryParameter, ...]:
    """The parameters of a query struct, in its order.

    Raises:
        TypeError: A field is not a bounded number, a bounded text or a choice.
    """
    described = inspect.type_info(query)
    if not isinstance(described, inspect.StructType):
        raise TypeError(f"{query.__name__} is not a struct")
    return tuple(map(_parameter, described.fields))


@cache
def parameter_names(query: type[Struct]) -> frozenset[str]:
    """The names of the parameters in the URL."""
    return frozenset(each.name for each in parameters_of(query))


def _parameter(field: inspect.Field) -> QueryParameter:
    field_type: inspect.Type = field.type
    extra: dict[str, Any] = {}
    if isinstance(field_type, inspect.Metadata):
        extra = field_type.extra_json_schema or {}
        field_type = field_type.type
    return QueryParameter(
        name=field.encode_name,
        field=field.name,
        bounds=_bounds(field.name, field_type),
        description=extra["description"],
        is_required=field.required,
        default=None if field.default is NODEFAULT else field.default,
    )


def _bounds(name: str, field_type: inspect.Type) -> ParameterBounds:
    match field_type:
        case inspect.UnionType(types=(one, inspect.NoneType())):
            return _bounds(name, one)
        case inspect.IntType(ge=int(low), le=int(high)):
            return WholeNumber(low, high)
        case inspect.StrType(min_length=int(shortest), max_length=int(longest)):
            return BoundedText(shortest, longest)
        case inspect.LiteralType(values=options):
            return OneOf(tuple(map(str, options)))
    raise TypeError(f"{name} is not a bounded number, a bounded text or a choice")

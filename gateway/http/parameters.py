"""Parses the query string of a request. Each parameter must be known, given once, and in range.

Every error names the parameter and quotes no part of its value.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

from msgspec import Struct
from multidict import MultiMapping

from gateway.http.problem_kinds import bad_parameter
from gateway.http.query_parameters import (
    BoundedText,
    OneOf,
    QueryParameter,
    WholeNumber,
    parameter_names,
    parameters_of,
)

_NUMBER: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_MAX_NAME: Final = 32

QueryT = TypeVar("QueryT", bound=Struct)


def parse_parameters(given: MultiMapping[str], query: type[QueryT]) -> QueryT:
    """The parameters of a request as a query struct.

    Args:
        given: The parameters of the request.
        query: A struct of `schemas.http.queries`. A parameter that the struct does not have is an
            error, because a response that ignores a parameter would answer another question.

    Raises:
        Problem: 400, if a parameter is unknown, given twice, missing or out of its range.
    """
    known = parameters_of(query)
    _check_names(given, parameter_names(query))
    values = {each.field: _value(each, given[each.name]) for each in known if each.name in given}
    for each in known:
        if each.is_required and each.field not in values:
            raise bad_parameter(each.name, "is needed")
    return query(**values)


def _check_names(given: MultiMapping[str], known: frozenset[str]) -> None:
    for name in given:
        if name not in known:
            shown = name if name.isidentifier() and len(name) <= _MAX_NAME else "with that name"
            raise bad_parameter(shown, "is not known here")
        if len(given.getall(name)) > 1:
            raise bad_parameter(name, "is given twice")


def _value(parameter: QueryParameter, given: str) -> int | str:
    name = parameter.name
    match parameter.bounds:
        case WholeNumber(low, high):
            if not _NUMBER.fullmatch(given) or not low <= int(given) <= high:
                raise bad_parameter(name, f"must be a whole number from {low} to {high}")
            return int(given)
        case BoundedText(shortest, longest):
            if not shortest <= len(given) <= longest:
                raise bad_parameter(name, f"must have {shortest} to {longest} characters")
            if not _is_text(given):
                raise bad_parameter(name, "must be UTF-8")
            return given
        case OneOf(options):
            if given not in options:
                raise bad_parameter(name, f"must be one of {', '.join(options)}")
            return given


def _is_text(given: str) -> bool:
    """Whether the text has no lone surrogate, which no server accepts."""
    return not any("\ud800" <= character <= "\udfff" for character in given)

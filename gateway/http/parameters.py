"""Parses the query string of a request. Each parameter must be known, given once, and in range.

Every error names the parameter and quotes no part of its value.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

from multidict import MultiMapping

from gateway.http.problems import bad_parameter
from schemas.limits import MAX_SEQ

_NUMBER: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_MAX_NAME: Final = 32

ChoiceT = TypeVar("ChoiceT", bound=str)


class Parameters:
    """Reads the parameters of one request.

    Args:
        query: The parameters of the request.
        known: The allowed parameters. Any other parameter is an error, because a response that
            ignores a parameter would answer another question.

    Raises:
        Problem: 400, if a parameter is unknown or given twice. All methods raise this problem for
            a parameter that is out of its range.
    """

    def __init__(self, query: MultiMapping[str], known: frozenset[str]) -> None:
        for name in query:
            if name not in known:
                shown = (
                    name if name.isidentifier() and len(name) <= _MAX_NAME else "with that name"
                )
                raise bad_parameter(shown, "is not known here")
            if len(query.getall(name)) > 1:
                raise bad_parameter(name, "is given twice")
        self._query = query

    def number(self, name: str, default: int, *, low: int = 0, high: int = MAX_SEQ) -> int:
        """A whole number from ``low`` to ``high``."""
        given = self._query.get(name)
        if given is None:
            return default
        if not _NUMBER.fullmatch(given) or not low <= int(given) <= high:
            raise bad_parameter(name, f"must be a whole number from {low} to {high}")
        return int(given)

    def choice(self, name: str, options: tuple[ChoiceT, ...]) -> ChoiceT:
        """One of the options; the first one if the parameter is not given."""
        given = self._query.get(name)
        if given is None:
            return options[0]
        for option in options:
            if option == given:
                return option
        raise bad_parameter(name, f"must be one of {', '.join(options)}")

    def text(self, name: str, *, longest: int) -> str | None:
        """A text of 1 to ``longest`` characters, or None if the parameter is not given."""
        given = self._query.get(name)
        if given is not None and not 1 <= len(given) <= longest:
            raise bad_parameter(name, f"must have 1 to {longest} characters")
        if given is not None and not _is_text(given):
            raise bad_parameter(name, "must be UTF-8")
        return given


def _is_text(given: str) -> bool:
    """Whether the text has no lone surrogate, which no server accepts."""
    return not any("\ud800" <= character <= "\udfff" for character in given)

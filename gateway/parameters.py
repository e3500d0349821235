"""The query string of a request: each parameter known, given once, and in its range.

Every error names the parameter and quotes nothing of its value.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

from multidict import MultiMapping

from gateway.problems import bad_parameter
from schemas.limits import MAX_SEQ

_NUMBER: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_MAX_NAME: Final = 32

ChoiceT = TypeVar("ChoiceT", bound=str)


class Parameters:
    """Reads the parameters of one request.

    Args:
        query: What was given.
        known: What may be given. Anything else is a mistake of the caller, and said to be one,
            because an answer that ignores it would be an answer to another question.

    Raises:
        Problem: 400, if a parameter is unknown or given twice. So do all methods, if one is bad.
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
        """One of a few words; the first of them unless given."""
        given = self._query.get(name)
        if given is None:
            return options[0]
        for option in options:
            if option == given:
                return option
        raise bad_parameter(name, f"must be one of {', '.join(options)}")

    def text(self, name: str, *, longest: int) -> str | None:
        """A text of 1 to ``longest`` characters, or None if it is not given."""
        given = self._query.get(name)
        if given is not None and not 1 <= len(given) <= longest:
            raise bad_parameter(name, f"must have 1 to {longest} characters")
        if given is not None and not _is_text(given):
            raise bad_parameter(name, "must be UTF-8")
        return given


def _is_text(given: str) -> bool:
    """Whether no character is half of a pair, which no server takes."""
    return not any("\ud800" <= character <= "\udfff" for character in given)

"""Settings that are read from environment variables, and names that are not settings.

Without the check of names, a misspelt variable would be ignored, and the default would apply.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, Final

from pydantic import SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX: Final = "IM_"

NOT_SETTINGS: Final = frozenset({"IM_STACK"})
"""Variables that the supervisor of a development stack sets to mark the processes of the stack."""


class EnvironmentSettings(BaseSettings):
    """Settings whose fields are the variables ``IM_<FIELD>``. Unknown names are refused.

    ``other_fields`` are the fields that other classes read from the same environment.

    Raises:
        pydantic.ValidationError: A value is out of its range, or a name is not a setting.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # the input may have secrets
    )

    other_fields: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_variables(cls, values: Any) -> Any:
        known = {variable(name) for name in (*cls.model_fields, *cls.other_fields)}
        unknown = unknown_variables(os.environ, known | NOT_SETTINGS)
        if unknown:
            raise ValueError("; ".join(not_a_setting(name, known) for name in unknown))
        return values


def variable(field: str) -> str:
    """The environment variable of a field."""
    return f"{PREFIX}{field.upper()}"


def secret_fields(settings: type[EnvironmentSettings]) -> frozenset[str]:
    """The fields whose values must not be shown or recorded."""
    fields = settings.model_fields.items()
    return frozenset(name for name, field in fields if field.annotation is SecretStr)


def unknown_variables(environment: Mapping[str, str], known: Collection[str]) -> list[str]:
    """The unknown variables with the prefix ``IM_``, sorted. Case does not matter."""
    ours = {name for name in environment if name.upper().startswith(PREFIX)}
    return sorted(name for name in ours if name.upper() not in known)


def not_a_setting(name: str, known: Collection[str]) -> str:
    """A sentence that refuses a name and proposes the nearest known one."""
    nearest = get_close_matches(name, sorted(known), n=1)
    return f"{name} is not a setting" + (f"; did you mean {nearest[0]}?" if nearest else "")


def explain(error: ValidationError, settings: type[EnvironmentSettings]) -> str:
    """One readable line: each wrong variable or keyword with its reason. Quotes no value."""
    return "; ".join(_reason(one, settings) for one in error.errors(include_input=False))


def _reason(error: ErrorDetails, settings: type[EnvironmentSettings]) -> str:
    field = "_".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return not_a_setting(field, settings.model_fields)
    message = error["msg"].removeprefix("Value error, ")
    return f"{variable(field)}: {message}" if field else message

"""The settings of the limits that hold for commands over HTTP. `docs/limits.md` has all limits."""

from __future__ import annotations

from pydantic import Field, model_validator

from schemas.environment import EnvironmentSettings


class HttpLimitSettings(EnvironmentSettings):
    """The part of `schemas.settings.Settings` for the limits of commands over HTTP.

    Each gateway counts for itself. A command that a trusted service writes to Kafka is not
    counted.

    Raises:
        pydantic.ValidationError: A value is out of its range, or a limit makes another useless.
    """

    http_commands_per_second: int = Field(default=20, ge=1, le=1_000_000)
    """Commands of one person. Five times as many are possible at once, after a pause."""
    http_conversation_commands_per_second: int = Field(default=100, ge=1, le=1_000_000)
    """Commands in one conversation, without read marks. Five times as many at once."""
    http_additions_per_hour: int = Field(default=1_000, ge=1, le=1_000_000)
    """People that one person adds to conversations, also when the person creates them."""
    http_members_per_command: int = Field(default=1_000, ge=1, le=10_000)
    """People that one command adds or removes."""

    @model_validator(mode="after")
    def _additions_fit(self) -> HttpLimitSettings:
        if self.http_members_per_command > self.http_additions_per_hour:
            raise ValueError(
                "IM_HTTP_MEMBERS_PER_COMMAND must not be above IM_HTTP_ADDITIONS_PER_HOUR, "
                "because a longer list could never be added"
            )
        return self

"""The settings of log lines and traces."""

from __future__ import annotations

from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from schemas.environment import EnvironmentSettings

MAX_TRACES_URL: Final = 2_000
"""Maximum length of the collector's address."""


def _collector(text: str) -> str:
    """The address of a collector, which must not contain a password: other programs print it."""
    if not text:
        return text
    parts = urlsplit(text)
    is_http = parts.scheme in {"http", "https"} and parts.hostname and parts.username is None
    if not is_http or len(text) > MAX_TRACES_URL or not text.isprintable() or " " in text:
        raise ValueError("must be a URL that begins with http:// or https://, without a user")
    return text


class LogSettings(EnvironmentSettings):
    """The part of `schemas.settings.Settings` for log lines and traces.

    Raises:
        pydantic.ValidationError: A value is out of its range.
    """

    log_format: Literal["text", "json"] = "text"
    """The format of the log lines of all processes of the pipeline."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level of the log lines of this project. Libraries log at ``info`` at least."""
    traces: Annotated[str, AfterValidator(_collector)] = ""
    """The URL to which spans are sent, by OTLP over HTTP; without it there are no traces."""
    traces_ratio: float = Field(default=0.01, ge=0, le=1)
    """The share of requests that begin a trace, if their caller did not begin one."""

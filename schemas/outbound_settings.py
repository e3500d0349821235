"""The settings of requests to servers outside of the deployment: webhooks and push."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from schemas.environment import EnvironmentSettings
from schemas.outbound_urls import OutboundPolicy, policy_of


def _empty_is_unset(value: object) -> object:
    """Compose files pass a variable that is not set as an empty text."""
    return None if value == "" else value


def _seconds(value: object) -> object:
    """Converts a plain number of seconds in the environment; ISO 8601 (``P1D``) works as well."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _absolute(path: Path | None) -> Path | None:
    """Processes with other working directories get the same file."""
    return None if path is None else path.absolute()


_File: TypeAlias = Annotated[
    Path | None, BeforeValidator(_empty_is_unset), AfterValidator(_absolute)
]

_CONTACT: Final = re.compile(
    r"mailto:[^@\s]+@(localhost|[\w-]+(\.[\w-]+)+)|https://[\w-]+\.[\w.-]+", re.ASCII
)


def _contact(text: str) -> str:
    if text and not _CONTACT.fullmatch(text):
        raise ValueError("must begin with mailto: or https://")
    return text


class OutboundSettings(EnvironmentSettings):
    """The part of `schemas.settings.Settings` for requests to other servers.

    Raises:
        pydantic.ValidationError: A value is not as its field describes.
    """

    outbound_allow: str = ""
    """Host names and networks (CIDR), separated by commas, that may get requests although their
    addresses are not public, such as ``hooks.internal,10.1.0.0/16``."""
    outbound_ports: str = "443"
    """The ports that may get requests, separated by commas, or ``any``."""
    outbound_http: bool = False
    """Whether URLs without TLS may get requests. Then port 80 is permitted, too."""

    webhook_retry_for: Annotated[
        timedelta,
        BeforeValidator(_seconds),
        Field(ge=timedelta(minutes=1), le=timedelta(days=30)),
    ] = timedelta(days=1)
    """The age of an event at which its last attempt begins; then it becomes a dead letter."""

    push_webhook_secret: SecretStr = SecretStr("")
    """The secrets (``whsec_…``) that sign the requests of the push provider ``webhook``, separated
    by commas. Each secret adds a signature, so that receivers can change to another secret."""
    push_webhook_secret_file: _File = None
    """A file that holds the secrets, instead of `push_webhook_secret`; lines count as commas."""
    push_vapid_key: SecretStr = SecretStr("")
    """Web Push: the private key of the deployment (RFC 8292): PEM, or base64url of 32 bytes."""
    push_vapid_key_file: _File = None
    """A file that holds the key, instead of `push_vapid_key`."""
    push_vapid_contact: Annotated[str, Field(max_length=256), AfterValidator(_contact)] = ""
    """Web Push: the address at which push services reach the operator, ``mailto:…``. Required
    with a key."""

    @model_validator(mode="after")
    def _servers_are_readable(self) -> OutboundSettings:
        try:
            _ = self.outbound_policy
        except ValueError as error:
            raise ValueError(f"IM_OUTBOUND_ALLOW and IM_OUTBOUND_PORTS: {error}") from None
        for name in ("push_webhook_secret", "push_vapid_key"):
            if getattr(self, name).get_secret_value() and getattr(self, f"{name}_file"):
                raise ValueError(f"set IM_{name.upper()} or IM_{name.upper()}_FILE, not both")
        has_key = self.push_vapid_key.get_secret_value() or self.push_vapid_key_file
        if has_key and not self.push_vapid_contact:
            raise ValueError("IM_PUSH_VAPID_KEY needs IM_PUSH_VAPID_CONTACT=mailto:…")
        return self

    @property
    def outbound_policy(self) -> OutboundPolicy:
        """The servers that may get requests."""
        return policy_of(self.outbound_allow, self.outbound_ports, http=self.outbound_http)

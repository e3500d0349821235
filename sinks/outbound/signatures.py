"""Signatures of requests in the form of Standard Webhooks (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from standardwebhooks import Webhook

from schemas.errors import ConfigurationError

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - not a secret
"""Every secret begins with this text; the rest is base64."""

_MADE_BYTES: Final = 32
_MIN_BYTES: Final = 24
_MAX_BYTES: Final = 64
"""The sizes of a secret that the specification permits."""


class Signer:
    """Signs requests with one or more secrets.

    Several secrets serve their rotation: a request has a signature for each, and is valid for a
    receiver that knows any of them.

    Args:
        whsecs: The secrets, at least one.

    Raises:
        ConfigurationError: A secret does not have the form; the message quotes no secret.
    """

    def __init__(self, whsecs: Sequence[str]) -> None:
        if not whsecs:
            raise ConfigurationError("a webhook needs at least one secret")
        self._keys = [Webhook(_key(each)) for each in whsecs]

    def headers(self, message_id: str, body: str, now: float) -> dict[str, str]:
        """The headers of a request.

        Args:
            message_id: The same at each attempt for one event; has no full stop.
            body: The body of the request.
            now: The time of the attempt, in seconds since 1970.
        """
        at = datetime.fromtimestamp(int(now), UTC)
        signatures = [key.sign(message_id, at, body) for key in self._keys]
        return {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": " ".join(signatures),
        }


def make_secret() -> str:
    """A new random secret."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_MADE_BYTES)).decode()


def _key(whsec: str) -> bytes:
    try:
        key = base64.b64decode(whsec.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not whsec.startswith(SECRET_PREFIX) or not _MIN_BYTES <= len(key) <= _MAX_BYTES:
        raise ConfigurationError(
            f"a webhook secret must be {SECRET_PREFIX} and base64 of {_MIN_BYTES} to "
            f"{_MAX_BYTES} bytes"
        )
    return key

"""The secrets of the push providers, from the settings or from their files."""

from __future__ import annotations

import base64
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from py_vapid import Vapid02
from pydantic import SecretStr

from schemas.errors import ConfigurationError
from schemas.settings import Settings


def push_webhook_secrets(settings: Settings) -> list[str]:
    """The secrets of the provider ``webhook``; empty if the provider is not used.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    text = _secret(settings.push_webhook_secret, settings.push_webhook_secret_file)
    return [part.strip() for part in text.replace("\n", ",").split(",") if part.strip()]


def vapid_key(settings: Settings) -> Vapid02 | None:
    """The key of Web Push; None if the deployment has none.

    Raises:
        ConfigurationError: The key is not a P-256 private key, or its file cannot be read.
    """
    text = _secret(settings.push_vapid_key, settings.push_vapid_key_file).strip()
    if not text:
        return None
    try:
        if text.startswith("-----BEGIN"):
            key = Vapid02.from_pem(text.encode())
        else:
            key = Vapid02.from_string(text)
        key.public_key.public_numbers()
    except Exception as error:  # noqa: BLE001 - of the library or of its parsers
        raise ConfigurationError(
            "IM_PUSH_VAPID_KEY is not a private key of the curve P-256: PEM, or 32 bytes as "
            f"base64url ({type(error).__name__})"
        ) from None
    return key


def application_server_key(key: Vapid02) -> str:
    """The public key in base64url without padding, as a browser's ``subscribe`` needs it."""
    point = key.public_key.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return base64.urlsafe_b64encode(point).rstrip(b"=").decode()


def _secret(value: SecretStr, path: Path | None) -> str:
    if path is None:
        return value.get_secret_value()
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {type(error).__name__}") from None

"""The TLS context of a client, from the files that the settings name."""

from __future__ import annotations

import ssl
from pathlib import Path

from pydantic import SecretStr

from schemas.environment import variable
from schemas.errors import ConfigurationError
from schemas.settings import Settings


def tls_context(settings: Settings, server: str) -> ssl.SSLContext:
    """A context that checks the certificate and the name of a server.

    Args:
        settings: The deployment.
        server: The prefix of the fields: ``kafka``, ``cassandra`` or ``elasticsearch``, which
            has no certificate of the client.

    Raises:
        ConfigurationError: A file has no certificate or no key, or the password is wrong. The
            message names the variable.
    """
    context = _context(f"{server}_ca_file", getattr(settings, f"{server}_ca_file"))
    certificate = getattr(settings, f"{server}_certificate_file", None)
    if certificate is not None:
        key = getattr(settings, f"{server}_key_file")
        password: SecretStr = getattr(settings, f"{server}_key_password")
        try:
            # Without a password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate, key, password.get_secret_value)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"{variable(f'{server}_certificate_file')}: {certificate} and {key} are not a"
                f" certificate and its private key, or {variable(f'{server}_key_password')} is"
                f" wrong ({_reason(error)})"
            ) from None
    return context


def _context(field: str, ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise ConfigurationError(
            f"{variable(field)}: {ca} has no certificates in PEM ({_reason(error)})"
        ) from None


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or type(error).__name__

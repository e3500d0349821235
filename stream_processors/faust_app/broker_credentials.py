"""TLS and credentials of Faust's Kafka client. The other clients use `security_config`."""

from __future__ import annotations

from faust.auth import Credentials, SASLCredentials, SSLCredentials

from backends.access.tls_context import tls_context
from schemas.settings import Settings


def broker_credentials(settings: Settings) -> Credentials | None:
    """The credentials for `faust.App`; None for brokers without security.

    Raises:
        ConfigurationError: A file of TLS cannot be used.
    """
    protocol = settings.kafka_security_protocol
    context = tls_context(settings, "kafka") if protocol.endswith("SSL") else None
    if protocol.startswith("SASL_"):
        return SASLCredentials(
            username=settings.kafka_user,
            password=settings.kafka_password.get_secret_value(),
            mechanism=settings.kafka_sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else SSLCredentials(context)

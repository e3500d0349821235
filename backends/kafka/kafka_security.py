"""How each Kafka client encrypts and identifies itself, and what a broker's refusal means.

`backends.kafka.clients.common_config`, the base of each client's settings, includes
`security_config`. ``tests/unit/backends/test_kafka_constructions.py`` checks that no client is
made without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from backends.access.tls_context import tls_context
from backends.kafka.kafka_listener import Listening, find_listener, listener_fault
from backends.processes.polling import poll_until
from schemas.errors import AccessRefused, ImError, ServerUnavailable
from schemas.settings import Settings

_LISTEN_SECONDS: Final = 15.0
"""Maximum time until a listener that answers has refused credentials, or accepts them. A refusal
takes some milliseconds, and seconds on a busy machine."""

_POLL_SECONDS: Final = 0.2

_CREDENTIALS: Final = frozenset(
    {
        KafkaError._AUTHENTICATION,  # noqa: SLF001 - the library's name for it
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
    }
)
_RULES: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
_UNTRUSTED: Final = "certificate verify failed"
"""In the text of an error of TLS, if the broker's certificate is wrong. The code alone does not
tell: a broker that restarts during a handshake causes the same code."""


def security_config(settings: Settings) -> dict[str, Any]:
    """The settings of confluent-kafka for TLS and credentials.

    Raises:
        ConfigurationError: A file of TLS cannot be used.
    """
    protocol = settings.kafka_security_protocol
    config: dict[str, Any] = {"security.protocol": protocol}
    if protocol.startswith("SASL_"):
        config |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": settings.kafka_user,
            "sasl.password": settings.kafka_password.get_secret_value(),
        }
    if protocol.endswith("SSL"):
        config |= _tls_config(settings)
    return config


def _tls_config(settings: Settings) -> dict[str, str]:
    tls_context(settings, "kafka")  # its errors name the variable, those of the library do not
    files = {
        "ssl.ca.location": settings.kafka_ca_file,
        "ssl.certificate.location": settings.kafka_certificate_file,
        "ssl.key.location": settings.kafka_key_file,
    }
    config = {name: str(path) for name, path in files.items() if path is not None}
    if password := settings.kafka_key_password.get_secret_value():
        config["ssl.key.password"] = password
    return config


def is_refusal(error: KafkaError) -> bool:
    """Whether a broker refuses the client, or the client refuses the broker's certificate."""
    return error.code() in _CREDENTIALS | _RULES or _is_untrusted(error)


def access_refused(error: KafkaError, what: str = "a request") -> AccessRefused:
    """The error of the process, for an error for which `is_refusal` holds.

    Args:
        error: The error of the library.
        what: The request of the client, for an error about missing rules.
    """
    if _is_untrusted(error):
        return AccessRefused(
            "Kafka has no certificate that this client trusts: correct IM_KAFKA_CA_FILE, or the"
            " names in IM_KAFKA_BOOTSTRAP"
        )
    if error.code() in _RULES:
        return AccessRefused(
            f"Kafka does not permit {what} ({error.str()}): `im acl` has the rules of each role"
        )
    return AccessRefused(
        "Kafka refuses the credentials: correct IM_KAFKA_USER, IM_KAFKA_PASSWORD or"
        " IM_KAFKA_SASL_MECHANISM"
    )


def failure_of(settings: Settings, error: KafkaException) -> ImError:
    """The error of the process after a failed request: `AccessRefused` or `ServerUnavailable`.

    The library reports most wrong settings in the same way as a broker that does not answer. So
    this function connects once more, see `refusal_by_kafka`.
    """
    reason = error.args[0]
    if is_refusal(reason):
        return access_refused(reason)
    try:
        there = _examined(settings)
    except AccessRefused as refusal:
        return refusal
    possible = ""
    if there.is_open and there.listener is None:
        possible = (
            "; the port is open: does the server speak Kafka, with IM_KAFKA_SECURITY_PROTOCOL="
            f"{settings.kafka_security_protocol}?"
        )
    return ServerUnavailable(
        f"Kafka at {settings.kafka_bootstrap} does not answer: {error}{possible}"
    )


def refusal_by_kafka(settings: Settings) -> AccessRefused | None:
    """How a broker that is up refuses these settings; None if it does not, or is not up.

    Takes a quarter of a minute at most, and milliseconds without a server at the address.
    """
    try:
        _examined(settings)
    except AccessRefused as refusal:
        return refusal
    return None


@contextmanager
def refusals_named(what: str) -> Iterator[None]:
    """Converts a refusal of the broker in its block.

    Raises:
        AccessRefused: The broker refuses the client.
    """
    try:
        yield
    except KafkaException as error:
        if is_refusal(error.args[0]):
            raise access_refused(error.args[0], what) from error
        raise


def _examined(settings: Settings) -> Listening:
    """Asks the listener for its protocol, then connects as the client and listens for a refusal.

    Raises:
        AccessRefused: The listener is up, and does not fit the settings.
    """
    there = find_listener(settings)
    if there.listener is not None:
        if fault := listener_fault(settings, there.listener):
            raise AccessRefused(fault)
        if heard := _heard_refusal(settings):
            raise access_refused(heard)
    return there


def _heard_refusal(settings: Settings) -> KafkaError | None:
    if settings.kafka_security_protocol == "PLAINTEXT":
        return None
    heard: list[KafkaError] = []
    quiet = {"bootstrap.servers": settings.kafka_bootstrap, "log_level": 0}
    client = Producer(quiet | security_config(settings) | {"error_cb": heard.append})

    def has_outcome() -> bool:
        """Whether the broker has accepted or refused the client."""
        with suppress(KafkaException):
            client.list_topics(timeout=_POLL_SECONDS)
            return True
        client.poll(0)  # calls `error_cb`
        return any(map(is_refusal, heard))

    poll_until(has_outcome, _LISTEN_SECONDS)
    return next(filter(is_refusal, heard), None)


def _is_untrusted(error: KafkaError) -> bool:
    return error.code() == KafkaError._SSL and _UNTRUSTED in error.str()  # noqa: SLF001 - its name

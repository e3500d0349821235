"""A connection without credentials that finds out whether a server speaks TLS.

A client without TLS at a server with TLS, and the reverse, look like a server that does not
answer. After a failed request, and only then, these functions ask the server.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Literal, NamedTuple, TypeAlias

from backends.access.tls_context import tls_context
from schemas.settings import Settings

STEP_SECONDS: Final = 3.0
"""Timeout of each step of a probe: connection, handshake, answer."""

ALERT_SECONDS: Final = 0.5
"""Time for a server with TLS 1.3 to refuse the certificate of the client, after the handshake."""

_ANSWER_BYTES: Final = 4_096

Place: TypeAlias = tuple[str, int]
"""Host and port."""

Mismatch: TypeAlias = Literal["only tls", "no tls", "certificate"]
"""The server speaks TLS alone, does not speak TLS, or does not accept the client's certificate."""


class Heard(NamedTuple):
    """The reaction of a server to a greeting.

    Attributes:
        is_open: The server accepted the connection.
        has_tls: The server took part in a TLS handshake.
        answer: The first bytes of the server's answer.
        refuses_certificate: The server ended TLS because of the client's certificate, or
            because the client has none.
    """

    is_open: bool = False
    has_tls: bool = False
    answer: bytes = b""
    refuses_certificate: bool = False


class Greeting(NamedTuple):
    """A request without credentials that a server without TLS answers.

    Attributes:
        server: The prefix of the fields of the server's TLS, see `tls_context`.
        request: The bytes of the request.
        is_answer: Whether bytes are the beginning of an answer.
    """

    server: str
    request: bytes
    is_answer: Callable[[bytes], bool]


def unchecked_context(settings: Settings, server: str) -> ssl.SSLContext:
    """A context with the client's certificate that accepts any certificate of the server.

    For probes alone, which send no credentials. Raises the errors of `tls_context`.
    """
    context = tls_context(settings, server)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def ask(place: Place, greeting: bytes, context: ssl.SSLContext | None = None) -> Heard:
    """Sends a greeting, and returns the first bytes of the answer. Takes seconds at most.

    Args:
        place: The server.
        greeting: A request without credentials.
        context: Encrypts the connection; None for a connection without TLS.
    """
    try:
        plain = socket.create_connection(place, STEP_SECONDS)
    except OSError:
        return Heard()
    with plain:
        if context is None:
            return Heard(is_open=True, answer=_answer(plain, greeting))
        has_tls = False
        try:
            with context.wrap_socket(plain, server_hostname=place[0]) as encrypted:
                has_tls = True
                _await_alert(encrypted)
                encrypted.sendall(greeting)
                return Heard(is_open=True, has_tls=True, answer=encrypted.recv(_ANSWER_BYTES))
        except OSError as error:
            return _without_answer(error, has_tls=has_tls)


def mismatch(
    settings: Settings, places: Iterable[Place], greeting: Greeting, *, wants_tls: bool
) -> Mismatch | None:
    """How the first server that answers differs from the client's settings; None if it does not.

    Args:
        settings: The deployment.
        places: The servers.
        greeting: The request.
        wants_tls: Whether the client uses TLS.
    """
    context = unchecked_context(settings, greeting.server)
    for place in places:
        has_plain_answer = greeting.is_answer(ask(place, greeting.request).answer)
        if has_plain_answer and not wants_tls:
            return None
        heard = ask(place, greeting.request, context)
        if heard.has_tls:
            if not wants_tls:
                return "only tls"
            return "certificate" if heard.refuses_certificate else None
        if has_plain_answer:
            return "no tls"
    return None


def _await_alert(connection: ssl.SSLSocket) -> None:
    """Raises the refusal of the client's certificate: after a request it might be lost."""
    connection.settimeout(ALERT_SECONDS)
    with suppress(TimeoutError):
        connection.recv(1)
    connection.settimeout(STEP_SECONDS)


def _answer(connection: socket.socket, greeting: bytes) -> bytes:
    try:
        connection.sendall(greeting)
        return connection.recv(_ANSWER_BYTES)
    except OSError:
        return b""


def _without_answer(error: OSError, *, has_tls: bool) -> Heard:
    """A server with TLS that refuses the client tells the reason by an alert."""
    reason = (getattr(error, "reason", None) or "") if isinstance(error, ssl.SSLError) else ""
    refuses = "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)
    return Heard(is_open=True, has_tls=has_tls or "ALERT" in reason, refuses_certificate=refuses)

"""Which security protocol and mechanisms a listener of Kafka has, found without credentials.

The request `SaslHandshake` is answered before a client has identified itself. A listener without
SASL answers with an error, a listener with SASL with the names of its mechanisms.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from backends.access.listener_probe import Heard, Place, ask, unchecked_context
from schemas.security_settings import SecurityProtocol
from schemas.settings import Settings

_SASL_HANDSHAKE: Final = 17
_VERSION: Final = 1
_CORRELATION: Final = 0x696D
_NO_SASL: Final = 34
"""The code of ``ILLEGAL_SASL_STATE``."""

_HEAD: Final = struct.Struct(">iihi")
"""Of an answer: its size, the number of the request, an error code, the number of mechanisms."""


class KafkaListener(NamedTuple):
    """A listener that answered.

    Attributes:
        place: Its address, host:port.
        protocol: Its security protocol; None if it has TLS and did not answer the request.
        mechanisms: The names of its SASL mechanisms.
        refuses_certificate: It does not accept the client's certificate, or requires one.
    """

    place: str
    protocol: SecurityProtocol | None
    mechanisms: tuple[str, ...] = ()
    refuses_certificate: bool = False


class Listening(NamedTuple):
    """``is_open``: an address accepts connections. ``listener``: the first one that answered."""

    is_open: bool
    listener: KafkaListener | None


def find_listener(settings: Settings) -> Listening:
    """Asks the addresses in `Settings.kafka_places` one after the other. Takes seconds at most."""
    is_open = False
    for place in settings.kafka_places:
        there = _listening(settings, place)
        if there.listener is not None:
            return there
        is_open = is_open or there.is_open
    return Listening(is_open, None)


def listener_fault(settings: Settings, listener: KafkaListener) -> str | None:
    """How a listener differs from the settings, and what to correct; None if they fit."""
    own = settings.kafka_security_protocol
    where = f"Kafka at {listener.place}"
    if listener.protocol is None and not own.endswith("SSL"):
        return f"{where} speaks TLS, but IM_KAFKA_SECURITY_PROTOCOL is {own}"
    if listener.refuses_certificate:
        return (
            f"{where} does not accept the certificate of this client, or requires one: correct"
            " IM_KAFKA_CERTIFICATE_FILE and IM_KAFKA_KEY_FILE"
        )
    if listener.protocol not in {None, own}:
        return (
            f"{where} has a listener for {listener.protocol}, but IM_KAFKA_SECURITY_PROTOCOL is"
            f" {own}: correct IM_KAFKA_SECURITY_PROTOCOL, or the port in IM_KAFKA_BOOTSTRAP"
        )
    mechanism = settings.kafka_sasl_mechanism
    if listener.mechanisms and mechanism not in listener.mechanisms:
        return (
            f"{where} has the SASL mechanisms {', '.join(listener.mechanisms)}, but"
            f" IM_KAFKA_SASL_MECHANISM is {mechanism}"
        )
    return None


def _listening(settings: Settings, place: Place) -> Listening:
    shown = f"{place[0]}:{place[1]}"
    greeting = _greeting(settings.kafka_sasl_mechanism)
    heard = ask(place, greeting)
    mechanisms = mechanisms_in(heard.answer)
    if mechanisms is not None:
        protocol: SecurityProtocol = "SASL_PLAINTEXT" if mechanisms else "PLAINTEXT"
        return Listening(is_open=True, listener=KafkaListener(shown, protocol, mechanisms))
    if not heard.is_open:
        return Listening(is_open=False, listener=None)
    heard = ask(place, greeting, unchecked_context(settings, "kafka"))
    return Listening(is_open=True, listener=_with_tls(shown, heard) if heard.has_tls else None)


def _with_tls(shown: str, heard: Heard) -> KafkaListener:
    mechanisms = mechanisms_in(heard.answer)
    if mechanisms is None:
        return KafkaListener(shown, None, refuses_certificate=heard.refuses_certificate)
    return KafkaListener(shown, "SASL_SSL" if mechanisms else "SSL", mechanisms)


def _greeting(mechanism: str) -> bytes:
    name = mechanism.encode()
    body = struct.pack(">hhihh", _SASL_HANDSHAKE, _VERSION, _CORRELATION, -1, len(name)) + name
    return struct.pack(">i", len(body)) + body


def mechanisms_in(answer: bytes) -> tuple[str, ...] | None:
    """The mechanisms in an answer to the request, none without SASL; None for another answer."""
    try:
        size, correlation, code, count = _HEAD.unpack_from(answer)
        if correlation != _CORRELATION or size != len(answer) - 4:
            return None
        names, at = [], _HEAD.size
        for _ in range(0 if code == _NO_SASL else count):
            (length,) = struct.unpack_from(">h", answer, at)
            names.append(answer[at + 2 : at + 2 + length].decode("ascii"))
            at += 2 + length
    except (struct.error, UnicodeDecodeError):
        return None
    return tuple(sorted(names))

"""Whether Cassandra has the transport of the settings, found without credentials."""

from __future__ import annotations

from typing import Final

from backends.access.listener_probe import Greeting, Mismatch, mismatch
from schemas.settings import Settings

OPTIONS_FRAME: Final = b"\x05\x00\x00\x00\x05\x00\x00\x00\x00"
"""A request of Cassandra's native protocol, version 5, that needs no credentials."""

_IS_ANSWER: Final = 0x80
_VERSIONS: Final = range(3, 8)

_FAULTS: Final[dict[Mismatch, str]] = {
    "only tls": "speaks TLS: set IM_CASSANDRA_TLS=true and IM_CASSANDRA_CA_FILE",
    "no tls": "does not speak TLS, but IM_CASSANDRA_TLS is true",
    "certificate": "does not accept the certificate of this client, or requires one: correct"
    " IM_CASSANDRA_CERTIFICATE_FILE and IM_CASSANDRA_KEY_FILE",
}


def is_cassandra(answer: bytes) -> bool:
    """Whether the first bytes of an answer are a frame of the native protocol."""
    return bool(answer) and answer[0] - _IS_ANSWER in _VERSIONS


def store_fault(settings: Settings) -> str | None:
    """How the nodes differ from the settings, and what to correct; None if they do not.

    For the time after a failed connection. Takes seconds at most.
    """
    hosts, port = settings.cassandra_contact_points
    greeting = Greeting("cassandra", OPTIONS_FRAME, is_cassandra)
    places = [(host, port) for host in hosts]
    found = mismatch(settings, places, greeting, wants_tls=settings.cassandra_tls)
    return None if found is None else f"Cassandra at {settings.cassandra_hosts} {_FAULTS[found]}"

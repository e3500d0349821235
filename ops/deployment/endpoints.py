"""The addresses of the parts of a deployment, as host:port."""

from __future__ import annotations

import socket
from typing import Final
from urllib.parse import urlsplit

from schemas.settings import Settings

_PROBE_SECONDS: Final = 2.0
_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def endpoints(settings: Settings) -> dict[str, str]:
    """The address of each part, by name of the part. Several contact points: comma-separated."""
    hosts, port = settings.cassandra_contact_points
    return {
        "kafka": settings.kafka_bootstrap,
        "cassandra": ",".join(f"{host}:{port}" for host in hosts),
        "elasticsearch": urlsplit(settings.elasticsearch_url).netloc,
        "gateway": gateway_address(settings),
    }


def gateway_address(settings: Settings) -> str:
    """The address of the gateway for a client on this machine."""
    host = "127.0.0.1" if settings.gateway_host in _EVERYWHERE else settings.gateway_host
    return f"{host}:{settings.gateway_port}"


def accepts_connections(address: str) -> bool:
    """Whether the first host of an address accepts connections now."""
    host, _, port = address.partition(",")[0].rpartition(":")
    try:
        socket.create_connection((host, int(port)), _PROBE_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True

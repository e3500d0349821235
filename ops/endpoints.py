"""Where the parts of a deployment are, as host:port."""

from __future__ import annotations

import socket
from typing import Final
from urllib.parse import urlsplit

from schemas.settings import Settings

_PROBE_SECONDS: Final = 2.0
_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - recognised, not bound


def endpoints(settings: Settings) -> dict[str, str]:
    """Each part's address by its name; several contact points have commas between."""
    hosts, port = settings.cassandra_contact_points
    return {
        "kafka": settings.kafka_bootstrap,
        "cassandra": ",".join(f"{host}:{port}" for host in hosts),
        "elasticsearch": urlsplit(settings.elasticsearch_url).netloc.rpartition("@")[2],
        "gateway": gateway_address(settings),
    }


def gateway_address(settings: Settings) -> str:
    """Where a client on this machine finds the gateway."""
    host = "127.0.0.1" if settings.gateway_host in _EVERYWHERE else settings.gateway_host
    return f"{host}:{settings.gateway_port}"


def accepts(address: str) -> bool:
    """Whether the first host of an address accepts connections now."""
    host, _, port = address.partition(",")[0].rpartition(":")
    try:
        socket.create_connection((host, int(port)), _PROBE_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True

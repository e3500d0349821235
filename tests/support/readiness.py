"""Whether a gateway in a process of its own is ready."""

from __future__ import annotations

import json
from http.client import HTTPConnection

from schemas.settings import Settings


def is_ready(settings: Settings) -> bool:
    """Whether the gateway serves everything, and follows the log."""
    connection = HTTPConnection(settings.gateway_host, settings.gateway_port, timeout=10)
    try:
        connection.request("GET", "/healthz")
        health = json.load(connection.getresponse())
    except OSError:
        return False
    finally:
        connection.close()
    return bool(health["status"] == "ok" and health["kafka"] == "up")

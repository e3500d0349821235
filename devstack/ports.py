"""Whether the ports that the servers want are free, and whose fault it is if not."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from typing import Final

import psutil

from schemas.errors import ConfigurationError

_HOST: Final = "127.0.0.1"
_PROBE_SECONDS: Final = 2.0
_LOWEST, _HIGHEST = 20_000, 30_000
"""Below what the kernel gives to outgoing connections, so that none takes a port we chose."""


def check_free(ports: Mapping[str, int]) -> None:
    """Checks that every port can be listened on.

    Args:
        ports: Port by the variable that sets it.

    Raises:
        ConfigurationError: One is taken, or two settings name the same one.
    """
    seen: dict[int, str] = {}
    for setting, port in ports.items():
        if port in seen:
            raise ConfigurationError(f"{setting} and {seen[port]} are both {port}: change one")
        seen[port] = setting
        if not is_free(port):
            raise ConfigurationError(
                f"port {port} is taken by {_holder(port)}: "
                f"stop that, or set {setting} to another port"
            )


def is_free(port: int) -> bool:
    """Whether somebody could listen on a local port now."""
    with socket.socket() as probe:
        # Connections of a server that ended a moment ago do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    """Whether somebody accepts connections on a local port now."""
    try:
        socket.create_connection((_HOST, port), _PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Different ports on which nobody listens now, for this process alone.

    No other call, in whatever process, is given one of them until this process ends.
    """
    shuffled = random.sample(range(_LOWEST, _HIGHEST), _HIGHEST - _LOWEST)
    free = (port for port in shuffled if is_free(port) and _reserve(port))
    return [next(free) for _ in range(count)]


def _reserve(port: int) -> bool:
    """Keeps a port from all who choose one this way, before anybody listens on it.

    The UDP port of the same number, which none of the servers uses, is bound for as long as the
    process lives: the kernel frees it, however that ends.
    """
    with socket.socket(type=socket.SOCK_DGRAM) as mark:
        try:
            mark.bind((_HOST, port))
        except OSError:
            return False
        mark.detach()
    return True


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            port_there = getattr(connection.laddr, "port", None)
            if listens and port_there == port and connection.pid is not None:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass  # not ours to see
    return "another process"

"""Checks that the servers' ports are free, and names the process that holds a taken port."""

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
"""Below the kernel's ephemeral ports, so that no outgoing connection takes a chosen port."""


def check_free(ports: Mapping[str, int]) -> None:
    """Check that every port can be bound.

    Args:
        ports: Port number, by the variable that sets it.

    Raises:
        ConfigurationError: A port is taken, or two settings have the same one.
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
    """Return whether a local port can be bound now."""
    with socket.socket() as probe:
        # Ignore connections in TIME_WAIT, which a stopped server leaves.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    """Return whether a local port accepts connections now."""
    try:
        socket.create_connection((_HOST, port), _PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Return different free ports, reserved for this process.

    No other call, in any process, returns one of these ports until this process ends.
    """
    shuffled = random.sample(range(_LOWEST, _HIGHEST), _HIGHEST - _LOWEST)
    free = (port for port in shuffled if is_free(port) and _reserve(port))
    return [next(free) for _ in range(count)]


def _reserve(port: int) -> bool:
    """Reserve a port against other calls of `free_ports`, before a server listens on the port.

    Binds the UDP port of the same number, which no server uses, until this process ends. The
    kernel then frees it, however the process ends.
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
        pass  # another user's process
    return "another process"

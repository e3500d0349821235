"""Connections to public addresses only: see `schemas.outbound_urls`."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address
from ssl import SSLContext
from typing import Final

from aiohttp import AddrInfoType, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

from schemas.outbound_urls import OutboundPolicy

_RESOLVER_THREADS: Final = 32
"""Threads for DNS. A name server that does not answer holds a thread for some 10 s."""

_CONNECTIONS: Final = 1_024
"""Maximum number of open connections. The sender permits fewer attempts at once."""

_IDLE_SECONDS: Final = 15.0


class ForbiddenPeer(OSError):
    """A host has an address to which no connection is permitted."""

    def __init__(self) -> None:
        super().__init__("the host has an address that is not public")


class OutboundResolver(AbstractResolver):
    """Resolves host names in threads of its own, so that slow DNS delays only its own host.

    Args:
        policy: The permitted addresses. A host with one forbidden address is refused.
        is_trusted: Whether the hosts are exempt from the check.
    """

    def __init__(self, policy: OutboundPolicy, *, is_trusted: bool) -> None:
        self._policy = policy
        self._is_trusted = is_trusted
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, "dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See `AbstractResolver`. Raises `ForbiddenPeer`, and OSError for an unknown host."""
        ask = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        addresses = {str(info[4][0]): info for info in found}
        for address in addresses:
            if not self._is_trusted and not is_permitted_peer(address, self._policy):
                raise ForbiddenPeer
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=info[0], proto=info[2], flags=0
            )
            for address, info in addresses.items()
        ]

    async def close(self) -> None:
        """See `AbstractResolver`. Does not wait for requests in flight."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def is_permitted_peer(address: str, policy: OutboundPolicy) -> bool:
    """Whether a resolved address may be connected to. An IPv6 zone (``%eth0``) never may."""
    try:
        return "%" not in address and policy.permits(ip_address(address))
    except ValueError:
        return False


def outbound_connector(
    policy: OutboundPolicy, resolver: AbstractResolver, tls: SSLContext, *, is_trusted: bool
) -> TCPConnector:
    """A connector whose sockets are created only for permitted addresses.

    The address of each socket is checked at the last possible moment, after all parsing and name
    resolution. The resolver makes the same check earlier for a clear error.
    """

    def checked_socket(info: AddrInfoType) -> socket.socket:
        family, kind, proto, _, peer = info
        if not is_trusted and not is_permitted_peer(str(peer[0]), policy):
            raise ForbiddenPeer
        return socket.socket(family, kind, proto)

    return TCPConnector(
        resolver=resolver,
        ssl=tls,
        socket_factory=checked_socket,
        limit=_CONNECTIONS,
        keepalive_timeout=_IDLE_SECONDS,
    )

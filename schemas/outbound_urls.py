"""Which HTTP servers outside of the deployment may get requests.

URLs of integrators and of devices are input of strangers. Without this guard, such a URL could
make a process of the deployment send requests to servers of its own network ("server-side request
forgery", OWASP).

The guard has two parts. `check_url` checks the form of a URL. The connection itself checks the
address that it connects to by `OutboundPolicy.permits`, so a change of the DNS between the check
and the connection ("DNS rebinding") has no effect.
"""

from __future__ import annotations

import re
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, NamedTuple, TypeAlias

from schemas.errors import ImError

IpAddress: TypeAlias = IPv4Address | IPv6Address

_URL: Final = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:[/?][!-\"$-\[\]-~]*)?",  # printable ASCII without # and \
    re.ASCII,
)
"""The only accepted form of a URL: no user, no fragment, no Unicode, no percent sign or trailing
dot in the host. Two parsers cannot disagree on the host of such a URL."""

_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*", re.ASCII)
"""The last label of a host that resolvers may read as an IPv4 address, such as 0x7f000001."""

_REFUSED_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "192.0.0.0/24",  # protocol assignments; Oracle's metadata service has an address here
            "192.88.99.0/24",  # relays of 6to4
            "168.63.129.16/32",  # the metadata service of Azure, in public address space
        ),
    )
)

_UNICAST_V6: Final = IPv6Network("2000::/3")
"""The only global unicast addresses so far. Outside: ::1, mapped and compatible IPv4, NAT64
(64:ff9b::/96), unique local, link local, site local, multicast."""

_REFUSED_V6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, with Teredo, which has an IPv4 address within
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which has an IPv4 address within
            "3fff::/20",  # documentation
        ),
    )
)

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class ForbiddenAddress(ImError):
    """The deployment sends no requests to this address; the message has the reason, no URL."""


class OutboundPolicy(NamedTuple):
    """The permitted servers. `schemas.outbound_settings` describes the settings.

    ``hosts`` and ``networks``: exempt from the check of addresses. ``ports``: the permitted
    ports; None permits all ports. ``http``: whether URLs without TLS are permitted.
    """

    hosts: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    ports: frozenset[int] | None = frozenset({443})
    http: bool = False

    def permits(self, address: IpAddress) -> bool:
        """Whether a connection to this address is permitted."""
        return _is_public(address) or any(
            address.version == network.version and address in network for network in self.networks
        )


def policy_of(allowed: str, ports: str, *, http: bool) -> OutboundPolicy:
    """The policy of the settings.

    Args:
        allowed: Host names and networks (CIDR), separated by commas.
        ports: Port numbers separated by commas, or ``any``.
        http: See `OutboundPolicy`.

    Raises:
        ValueError: An entry is neither a host name nor a network, or a port is not a number.
    """
    hosts, networks = set(), []
    for entry in _listed(allowed):
        if "/" in entry:
            networks.append(ip_network(entry))
        elif _ip(entry.strip("[]")) is not None:
            networks.append(ip_network(entry.strip("[]")))
        elif re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", entry, re.ASCII):
            hosts.add(entry)
        else:
            raise ValueError("must be lower-case host names or networks such as 10.1.0.0/16")
    return OutboundPolicy(frozenset(hosts), tuple(networks), _ports(ports), http)


def check_url(url: str, policy: OutboundPolicy) -> str:
    """Checks the form of a URL, and its address if the host is an address.

    Returns:
        The host, in lower case and without brackets.

    Raises:
        ForbiddenAddress: The URL is not permitted.
    """
    parts = _URL.fullmatch(url)
    if parts is None:
        raise ForbiddenAddress("the URL is not a plain http or https URL")
    scheme, host = parts["scheme"], parts["host"].strip("[]").lower()
    if scheme == "http" and not policy.http:
        raise ForbiddenAddress("the URL is not an https URL")
    port = int(parts["port"] or _DEFAULT_PORTS[scheme])
    if policy.ports is None:
        is_port = 0 < port < 1 << 16
    else:
        is_port = port in policy.ports or (policy.http and port == _DEFAULT_PORTS["http"])
    if not is_port:
        raise ForbiddenAddress(f"port {port} is not permitted")
    _check_literal(host, policy, is_bracketed=parts["host"].startswith("["))
    return host


def _check_literal(host: str, policy: OutboundPolicy, *, is_bracketed: bool) -> None:
    address = _ip(host)
    is_number = is_bracketed or _NUMBER.fullmatch(host.rpartition(".")[2])
    if address is None and is_number:
        raise ForbiddenAddress("the host is not a canonical IP address")
    if address is not None and not policy.permits(address):
        raise ForbiddenAddress("the address is not a public address")


def _is_public(address: IpAddress) -> bool:
    if isinstance(address, IPv6Address):
        return address in _UNICAST_V6 and not any(address in each for each in _REFUSED_V6)
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in each for each in _REFUSED_V4)
    )


def _ip(text: str) -> IpAddress | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _ports(text: str) -> frozenset[int] | None:
    if text == "any":
        return None
    ports = frozenset(int(part) for part in _listed(text))
    if not all(0 < port < 1 << 16 for port in ports):
        raise ValueError("must be ports from 1 to 65535, or any")
    return ports


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]

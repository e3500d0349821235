"""Requests never reach the deployment's own network, in whatever form an address is written."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.outbound_urls import ForbiddenAddress, OutboundPolicy, check_url, policy_of
from sinks.outbound.guarded_connections import is_permitted_peer
from sinks.outbound.http_delivery import HttpDelivery
from sinks.outbound.outcomes import DeliveryFailed

DEFAULT = OutboundPolicy()
OPEN = OutboundPolicy(ports=None, http=True)

HOSTILE_V4 = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",  # noqa: S104 - not a bind
    "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192",
    "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
]  # fmt: skip

HOSTILE_V6 = [
    "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
]  # fmt: skip

PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001::200e"]

PRIVATE_NETWORKS = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "::/3", "fc00::/7", "fe80::/10", "ff00::/8",
    "2002::/16", "64:ff9b::/96",
]  # fmt: skip


def spellings(address: str) -> list[str]:
    """The ways in which libraries accept an IPv4 address in a URL."""
    number = int(ipaddress.IPv4Address(address))
    a, b, c, d = (int(part) for part in address.split("."))
    return [
        address, str(number), hex(number), f"0{number:o}", f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"{a}.{b}.{c * 256 + d}", f"{a}.{number & 0xFFFFFF}",
        f"{address}.", f"{address}..", f"{a:03d}.{b:03d}.{c:03d}.{d:03d}", f"0{address}",
        address.replace(".", "。"), address.replace(".", "\uff0e"), address.replace(".", "%2e"),
        f"[::ffff:{address}]", f"[::{address}]", f"[64:ff9b::{address}]",
        "".join(chr(0x2460 + int(each) - 1) if each in "123456789" else each for each in address),
        f"user@{address}", f"user:word@{address}", f"8.8.8.8@{address}", f"8.8.8.8:80@{address}",
        f"8.8.8.8\\@{address}", f"{address}\\.example.com", f"{address}%00.example.com",
        f"{address}#@example.com", f"{address}%2f.example.com", f" {address}", f"{address}\t",
        f"[{address}]",
    ]  # fmt: skip


@pytest.mark.parametrize("address", HOSTILE_V4)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_ipv4_address_that_is_not_public_is_refused_in_each_spelling(
    address: str, scheme: str
) -> None:
    """Decimal, octal, hexadecimal, short, padded, Unicode, mapped forms and users are refused."""
    for host in spellings(address):
        with pytest.raises(ForbiddenAddress):
            check_url(f"{scheme}://{host}/", OPEN)


@pytest.mark.parametrize("address", HOSTILE_V6)
def test_an_ipv6_address_that_is_not_public_is_refused(address: str) -> None:
    """Loopback, mapped, NAT64, 6to4, Teredo, local and multicast addresses, also with a zone."""
    for host in (address, f"{address}%25eth0", f"{address}%eth0", address.upper()):
        with pytest.raises(ForbiddenAddress):
            check_url(f"https://[{host}]/", OPEN)
    exploded = ipaddress.IPv6Address(address).exploded
    with pytest.raises(ForbiddenAddress):
        check_url(f"https://[{exploded}]/", OPEN)


@pytest.mark.parametrize("address", [*HOSTILE_V4, *HOSTILE_V6, "fe80::1%eth0", "x", ""])
def test_the_connection_refuses_the_address_as_well(address: str) -> None:
    """The check at the socket refuses what the check of the URL refuses."""
    assert not is_permitted_peer(address, DEFAULT)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_permitted(address: str) -> None:
    """Addresses of servers on the Internet pass both checks."""
    host = f"[{address}]" if ":" in address else address

    assert check_url(f"https://{host}/path?query=1", DEFAULT) == address
    assert is_permitted_peer(address, DEFAULT)


@given(data=st.data())
def test_no_address_of_a_private_network_is_permitted(data: st.DataObject) -> None:
    """Random addresses of each range are refused as a URL and as a peer."""
    network = ipaddress.ip_network(data.draw(st.sampled_from(PRIVATE_NETWORKS)))
    address = network[data.draw(st.integers(0, network.num_addresses - 1))]
    host = f"[{address}]" if address.version == 6 else str(address)

    with pytest.raises(ForbiddenAddress):
        check_url(f"https://{host}/", OPEN)
    assert not is_permitted_peer(str(address), OPEN)


@given(text=st.text(max_size=60))
def test_only_plain_hosts_are_accepted(text: str) -> None:
    """A URL of any text is refused, or its host is ASCII without an ambiguous character."""
    try:
        host = check_url(f"https://{text}", OPEN)
    except ForbiddenAddress:
        return
    assert host.isascii()
    assert not set(host) & set("@%\\/?#[] \t\r\n")


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/", "https://hooks.example:8443/", "https://hooks.example:22/",
        "https://hooks.example:0/", "https://hooks.example:99999/", "ftp://hooks.example/",
        "file:///etc/passwd", "gopher://hooks.example/", "//hooks.example/", "hooks.example",
        "https:/hooks.example/", "https://", "https:///path", "https://hooks.example/#part",
        "https://hooks.example/a\\b", "https://hooks.example/a\r\nX: y", "https://hooks .example/",
        "https://user@hooks.example/", "https://höoks.example/", "https://hooks.example./",
        "https://.hooks.example/", "https://hooks..example/", "HTTPS://hooks.example/", "",
    ],
)  # fmt: skip
def test_other_schemes_ports_and_forms_are_refused(url: str) -> None:
    """Without settings, only plain https URLs at port 443 are permitted."""
    with pytest.raises(ForbiddenAddress):
        check_url(url, DEFAULT)


def test_settings_permit_networks_ports_and_plain_http() -> None:
    """An operator can permit parts of the own network."""
    policy = policy_of("10.1.0.0/16, hooks.internal, ::1", "443, 8443", http=True)

    assert check_url("https://10.1.2.3:8443/", policy) == "10.1.2.3"
    assert check_url("http://hooks.internal/", policy) == "hooks.internal"
    assert check_url("https://[::1]/", policy) == "::1"
    for url in ("https://10.2.0.1/", "https://10.1.2.3:9000/", "https://[::2]/"):
        with pytest.raises(ForbiddenAddress):
            check_url(url, policy)


@pytest.mark.parametrize(("allowed", "ports"), [("10.1.2.3/8", "443"), ("A.B", "1"), ("", "x")])
def test_unreadable_settings_are_errors(allowed: str, ports: str) -> None:
    """A network with host bits, a name in upper case and a wrong port are refused."""
    with pytest.raises(ValueError, match=r"."):
        policy_of(allowed, ports, http=False)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "ip6-localhost", "localhost.localdomain"]
)
async def test_names_of_this_machine_get_no_request(host: str) -> None:
    """A name passes the check of the form, and is refused when it is resolved."""
    async with HttpDelivery(OPEN, seconds=20) as http:
        with pytest.raises(DeliveryFailed):
            await http.post(f"http://{host}:9/", b"", {})

"""Requests to servers that fail in every way end in time, with the right kind of outcome."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from threading import Event

import pytest
import trustme

from schemas.outbound_urls import ForbiddenAddress, policy_of
from sinks.outbound.http_delivery import HttpDelivery, PostAnswer, outcome_of
from sinks.outbound.outcomes import Delivered, DeliveryFailed, DeliveryRefused, Gone
from sinks.outbound.retry_after import MAX_RETRY_AFTER_SECONDS, retry_after_seconds
from tests.support.receiving import (
    BODY_TROUBLES,
    NO_ANSWER,
    Receiver,
    Reply,
    Trouble,
    receiver,
)
from tests.support.waiting import until

LOCAL = policy_of("127.0.0.0/8", "any", http=True)
SECONDS = 0.4
PATIENT_SECONDS = 20
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def server() -> AsyncIterator[Receiver]:
    """A server without TLS."""
    async with receiver() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[HttpDelivery]:
    """A client that may reach the server. A busy machine does not reach its timeout."""
    async with HttpDelivery(LOCAL, seconds=PATIENT_SECONDS) as client:
        yield client


@pytest.fixture
async def impatient_http() -> AsyncIterator[HttpDelivery]:
    """A client with a short timeout, for servers that do not answer."""
    async with HttpDelivery(LOCAL, seconds=SECONDS) as client:
        yield client


async def test_a_request_arrives_unchanged(server: Receiver, http: HttpDelivery) -> None:
    """The server receives path, headers and body; the client gets the status."""
    answer = await http.post(f"{server.url}/hook?a=b", b'{"a": 1}', JSON | {"X-Y": "z"})

    assert answer.status == 200
    (request,) = server.received
    assert request.path == "/hook?a=b"
    assert request.body == b'{"a": 1}'
    assert request.headers["x-y"] == "z"
    assert "cookie" not in request.headers


async def test_a_cookie_of_the_server_is_not_sent_back(
    server: Receiver, http: HttpDelivery
) -> None:
    """A server cannot mark the requests of the deployment."""
    server.always(Reply(headers="Set-Cookie: a=b; Path=/\r\n"))

    for _ in range(2):
        await http.post(server.url, b"", JSON)

    assert "cookie" not in server.received[1].headers


@pytest.mark.parametrize("trouble", NO_ANSWER)
async def test_without_headers_the_request_fails_in_time(
    server: Receiver, impatient_http: HttpDelivery, trouble: Trouble
) -> None:
    """A server that sends no complete headers costs at most the timeout of one request."""
    server.always(trouble)
    begun = time.monotonic()

    with pytest.raises(DeliveryFailed):
        await impatient_http.post(server.url, b"{}", JSON)

    assert time.monotonic() - begun < SECONDS + 15, "the timeout has no effect"


@pytest.mark.parametrize("trouble", BODY_TROUBLES)
async def test_a_status_of_200_is_an_acknowledgement_whatever_the_body_does(
    server: Receiver, http: HttpDelivery, trouble: Trouble
) -> None:
    """A slow, endless or cut body does not turn an acknowledged delivery into a failed one."""
    server.always(trouble)
    begun = time.monotonic()

    answer = await http.post(server.url, b"{}", JSON)

    assert outcome_of(answer) == Delivered()
    assert time.monotonic() - begun < PATIENT_SECONDS


@pytest.mark.parametrize("trouble", ["endless body", "cut body", Reply(200, b"x" * 2_000)])
async def test_a_body_that_counts_is_read_within_bounds(
    server: Receiver, http: HttpDelivery, trouble: Trouble | Reply
) -> None:
    """A caller that needs the body gets None for a body that is too large or is cut."""
    server.always(trouble)

    assert (await http.post(server.url, b"{}", JSON, max_answer=1_000)).body is None


async def test_a_slow_body_that_counts_fails_in_time(
    server: Receiver, impatient_http: HttpDelivery
) -> None:
    """A body that is needed and does not end within the timeout is a failure."""
    server.always("slow body")

    with pytest.raises(DeliveryFailed):
        await impatient_http.post(server.url, b"{}", JSON, max_answer=1_000)


async def test_a_refused_connection_fails(http: HttpDelivery) -> None:
    """A port without a server fails, with the kind of error as the reason."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/secret-path"

    with pytest.raises(DeliveryFailed) as failure:
        await http.post(url, b"{}", JSON)

    assert "secret-path" not in str(failure.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(
    server: Receiver, http: HttpDelivery, status: int
) -> None:
    """A redirect is a failure; its target gets no request."""
    server.always(Reply(status, headers=f"Location: {server.url}/other\r\n"))

    answer = await http.post(server.url, b"{}", JSON)

    with pytest.raises(DeliveryFailed):
        outcome_of(answer)
    assert [request.path for request in server.received] == ["/"]


async def test_a_certificate_of_another_authority_fails() -> None:
    """The certificate is checked: no request is sent to a server without a trusted one."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async with receiver(context) as server, HttpDelivery(LOCAL, seconds=PATIENT_SECONDS) as http:
        with pytest.raises(DeliveryFailed) as failure:
            await http.post(server.url, b"{}", JSON)

    assert "Certificate" in str(failure.value)
    assert server.received == []


async def test_a_certificate_for_another_name_fails_and_a_good_one_passes() -> None:
    """The name in the certificate must be that of the URL."""
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    statuses = []
    for name in ("other.example", "127.0.0.1"):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(context)
        async with (
            receiver(context) as server,
            HttpDelivery(LOCAL, trusting, PATIENT_SECONDS) as http,
        ):
            try:
                statuses.append((await http.post(server.url, b"{}", JSON)).status)
            except DeliveryFailed:
                statuses.append(0)

    assert statuses == [0, 200]


async def test_a_plain_server_behind_an_https_url_fails(
    server: Receiver, impatient_http: HttpDelivery
) -> None:
    """A handshake with a server that does not speak TLS is a failure."""
    with pytest.raises(DeliveryFailed):
        await impatient_http.post(server.url.replace("http", "https"), b"{}", JSON)


async def test_connections_are_reused_and_a_closed_one_is_replaced(
    server: Receiver, http: HttpDelivery
) -> None:
    """Successive requests succeed, also after the server closed the connection."""
    for _ in range(3):
        assert (await http.post(server.url, b"{}", JSON)).status == 200
    server.replies(Reply(headers="Connection: close\r\n"), Reply())

    for _ in range(3):
        assert (await http.post(server.url, b"{}", JSON)).status == 200


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Delivered()),
        (204, Delivered()),
        (410, Gone()),
        (400, DeliveryRefused("status 400")),
        (413, DeliveryRefused("status 413")),
        (422, DeliveryRefused("status 422")),
        *((status, None) for status in (302, 401, 403, 404, 408, 409, 425, 429, 500, 502, 503)),
        (999, None),
    ],
)
def test_the_status_decides(status: int, outcome: object) -> None:
    """The outcome of each class of status; None: a later attempt may succeed."""
    answer = PostAnswer(status, 7.0, None)

    if outcome is not None:
        assert outcome_of(answer) == outcome
        return
    with pytest.raises(DeliveryFailed) as failure:
        outcome_of(answer)
    assert failure.value.retry_after == 7.0


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("120", 120.0),
        ("-5", None),
        ("9" * 400, MAX_RETRY_AFTER_SECONDS),
        ("1e9", None),
        ("soon", None),
        (format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True), 90.0),
        (format_datetime(datetime.fromtimestamp(NOW - 90, UTC), usegmt=True), 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_SECONDS),
        ("Fri, 99 Dec 2024 99:99:99 GMT", None),
        ("٣", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str | None, seconds: float | None) -> None:
    """Seconds and dates are read, huge waits are bounded, and other texts are ignored."""
    assert retry_after_seconds(value, NOW) == seconds


async def test_retry_after_reaches_the_caller(server: Receiver, http: HttpDelivery) -> None:
    """The wait that the server demands is part of the answer."""
    server.always(Reply(429, headers="Retry-After: 17\r\n"))

    assert (await http.post(server.url, b"{}", JSON)).retry_after == 17


async def test_a_host_that_resolves_to_a_private_address_gets_no_request(
    server: Receiver,
) -> None:
    """A name is checked by the address that it resolves to, at each connection."""
    policy = policy_of("", "any", http=True)
    async with HttpDelivery(policy, seconds=PATIENT_SECONDS) as http:
        with pytest.raises(DeliveryFailed, match="not public"):
            await http.post(f"http://localhost:{server.port}/", b"{}", JSON)

    assert server.received == []


async def test_a_name_that_resolves_to_another_address_later_gets_no_request(
    server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the check of the resolver passes, and the check of the socket refuses."""
    seen = []

    def passes_once(address: str, *_: object) -> bool:
        seen.append(address)
        return len(seen) == 1

    monkeypatch.setattr("sinks.outbound.guarded_connections.is_permitted_peer", passes_once)
    async with HttpDelivery(policy_of("", "any", http=True), seconds=PATIENT_SECONDS) as http:
        with pytest.raises(DeliveryFailed):
            await http.post(f"http://localhost:{server.port}/", b"{}", JSON)

    assert len(seen) >= 2
    assert server.received == []


async def test_a_host_that_the_operator_names_gets_requests(server: Receiver) -> None:
    """`IM_OUTBOUND_ALLOW` exempts a host from the check of its addresses, and no other host."""
    policy = policy_of("localhost", "any", http=True)
    async with HttpDelivery(policy, seconds=PATIENT_SECONDS) as http:
        assert (await http.post(f"http://localhost:{server.port}/", b"", JSON)).status == 200
        with pytest.raises(ForbiddenAddress):
            await http.post(server.url, b"", JSON)


async def test_a_hanging_name_server_does_not_delay_other_hosts(
    server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the resolution of one host hangs, another host gets its request."""
    resolve = socket.getaddrinfo
    release, hung = Event(), list[str]()

    def hanging(host: str, *more: object) -> object:
        if host != "slow.example":
            return resolve(host, *more)  # type: ignore[arg-type]
        hung.append(host)
        assert release.wait(2 * PATIENT_SECONDS)
        raise socket.gaierror

    monkeypatch.setattr("socket.getaddrinfo", hanging)

    async def all_hang() -> bool:
        return len(hung) == 8

    policy = policy_of("localhost", "any", http=True)
    async with HttpDelivery(policy, seconds=PATIENT_SECONDS) as http:
        slow = [
            asyncio.create_task(http.post(f"http://slow.example:{n}/", b"", JSON))
            for n in range(1, 9)
        ]
        await until(all_hang, PATIENT_SECONDS)
        answer = await http.post(f"http://localhost:{server.port}/", b"", JSON)
        assert answer.status == 200
        release.set()
        outcomes = await asyncio.gather(*slow, return_exceptions=True)
        assert all(isinstance(each, DeliveryFailed) for each in outcomes)

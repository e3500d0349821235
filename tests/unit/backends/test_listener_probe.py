"""A server and a client of which one alone uses TLS: the reason is found without credentials."""

from __future__ import annotations

import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.access import listener_probe
from backends.cassandra.store_listener import store_fault
from backends.elasticsearch.search_listener import search_fault
from backends.kafka.kafka_listener import (
    KafkaListener,
    find_listener,
    listener_fault,
    mechanisms_in,
)
from backends.kafka.kafka_security import refusal_by_kafka
from devstack.ports import free_ports
from schemas.security_settings import SecurityProtocol
from schemas.settings import Settings
from tests.support.answering import GARBAGE, SILENCE, answering
from tests.support.tls_files import TlsFiles

CASSANDRA_ERROR: Final = b"\x85\x00\x00\x00\x00\x00\x00\x00\x00"
HTTP_OK: Final = b"HTTP/1.1 200 OK\r\n\r\n"
SASL: Final = {"kafka_user": "ann", "kafka_password": "s3cret"}


def kafka_answer(code: int, *mechanisms: str) -> bytes:
    """An answer of a broker to the request for its mechanisms."""
    names = b"".join(struct.pack(">h", len(name)) + name.encode() for name in mechanisms)
    body = struct.pack(">ihi", 0x696D, code, len(mechanisms)) + names
    return struct.pack(">i", len(body)) + body


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shorter timeout for servers that are silent."""
    monkeypatch.setattr(listener_probe, "STEP_SECONDS", 1.0)


class _Page(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Suppresses the log lines of the server."""


@contextmanager
def tls_server(files: TlsFiles, *, needs_certificate: bool = False) -> Iterator[int]:
    """A server that speaks TLS alone. Yields its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files.identity("server"))
    if needs_certificate:
        context.load_verify_locations(files.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # failed handshakes
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def at(port: int, **values: Any) -> Settings:
    """A deployment whose servers all have one address."""
    scheme = "https" if values.pop("https", False) else "http"
    return Settings.model_validate(
        {
            "kafka_bootstrap": f"127.0.0.1:{port}",
            "cassandra_hosts": f"127.0.0.1:{port}",
            "elasticsearch_url": f"{scheme}://127.0.0.1:{port}",
            **values,
        }
    )


def test_a_client_without_tls_learns_that_the_server_has_tls(tmp_path: Path) -> None:
    """The line of each server names the setting to correct."""
    with tls_server(TlsFiles(tmp_path)) as port:
        settings = at(port)
        refusal = str(refusal_by_kafka(settings))
        assert "speaks TLS, but IM_KAFKA_SECURITY_PROTOCOL is PLAINTEXT" in refusal
        assert "set IM_CASSANDRA_TLS=true" in str(store_fault(settings))
        assert "begin IM_ELASTICSEARCH_URL with https://" in str(search_fault(settings))


@pytest.mark.parametrize(
    ("answer", "server", "words"),
    [
        (kafka_answer(34), "kafka", "a listener for PLAINTEXT, but IM_KAFKA_SECURITY_PROTOCOL is"),
        (CASSANDRA_ERROR, "cassandra", "does not speak TLS, but IM_CASSANDRA_TLS is true"),
        (HTTP_OK, "elasticsearch", "does not speak TLS, but IM_ELASTICSEARCH_URL begins with"),
    ],
)
def test_a_client_with_tls_learns_that_the_server_has_none(
    answer: bytes, server: str, words: str
) -> None:
    """The same for the reverse. A server without TLS fits a client without TLS."""
    with answering(answer) as port:
        own = at(port, kafka_security_protocol="SSL", cassandra_tls=True, https=True)
        assert words in faults(own)[server]
        assert faults(at(port)).get(server) is None


def faults(settings: Settings) -> dict[str, str]:
    """The faults that are found, by server."""
    found = {
        "kafka": refusal_by_kafka(settings),
        "cassandra": store_fault(settings),
        "elasticsearch": search_fault(settings),
    }
    return {server: str(fault) for server, fault in found.items() if fault is not None}


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("answer", [SILENCE, GARBAGE, None])
def test_a_server_that_does_not_answer_is_not_a_fault(answer: bytes | None, *, tls: bool) -> None:
    """A closed port, a silent one and another protocol may be an outage: no setting is blamed."""
    with ExitStack() as stack:
        port = free_ports(1)[0] if answer is None else stack.enter_context(answering(answer))
        protocol = "SSL" if tls else "PLAINTEXT"
        settings = at(port, kafka_security_protocol=protocol, cassandra_tls=tls, https=tls)
        assert faults(settings) == {}
        assert find_listener(settings).is_open == (answer is not None)


def test_a_server_that_requires_a_certificate_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a certificate of the client, the line names the settings of the certificate."""
    monkeypatch.setattr(listener_probe, "ALERT_SECONDS", 5.0)
    files = TlsFiles(tmp_path)
    with tls_server(files, needs_certificate=True) as port:
        settings = at(port, kafka_security_protocol="SSL", cassandra_tls=True)
        assert "IM_KAFKA_CERTIFICATE_FILE" in str(refusal_by_kafka(settings))
        assert "IM_CASSANDRA_CERTIFICATE_FILE" in str(store_fault(settings))
        certificate, key = files.identity("client")
        own = {"cassandra_certificate_file": certificate, "cassandra_key_file": key}
        assert store_fault(at(port, cassandra_tls=True, **own)) is None


@pytest.mark.parametrize(
    ("protocol", "listener", "words"),
    [
        ("PLAINTEXT", KafkaListener("k:1", "PLAINTEXT"), None),
        ("SSL", KafkaListener("k:1", "SSL"), None),
        ("SASL_SSL", KafkaListener("k:1", "SASL_SSL", ("PLAIN", "SCRAM-SHA-512")), None),
        ("SSL", KafkaListener("k:1", None), None),
        (
            "PLAINTEXT",
            KafkaListener("k:1", "SASL_SSL", ("PLAIN",)),
            "a listener for SASL_SSL, but",
        ),
        ("SSL", KafkaListener("k:1", "SASL_SSL", ("PLAIN",)), "a listener for SASL_SSL, but"),
        ("SASL_SSL", KafkaListener("k:1", "SSL"), "a listener for SSL, but"),
        (
            "SASL_SSL",
            KafkaListener("k:1", "SASL_PLAINTEXT", ("PLAIN",)),
            "for SASL_PLAINTEXT, but",
        ),
        ("PLAINTEXT", KafkaListener("k:1", None, (), refuses_certificate=True), "speaks TLS, but"),
        ("SSL", KafkaListener("k:1", None, (), refuses_certificate=True), "IM_KAFKA_KEY_FILE"),
        (
            "SASL_SSL",
            KafkaListener("k:1", "SASL_SSL", ("PLAIN",)),
            "IM_KAFKA_SASL_MECHANISM is SCRAM",
        ),
    ],
)
def test_a_listener_is_compared_with_the_settings(
    protocol: SecurityProtocol, listener: KafkaListener, words: str | None
) -> None:
    """Another protocol, another mechanism and a certificate are faults; all else fits."""
    own = SASL if protocol.startswith("SASL") else {}
    settings = Settings.model_validate({"kafka_security_protocol": protocol, **own})
    fault = listener_fault(settings, listener)
    assert fault is None if words is None else words in str(fault)


def test_the_mechanisms_of_a_listener_are_read() -> None:
    """An answer with and without SASL; another request's answer and a short one are no answer."""
    assert mechanisms_in(kafka_answer(34)) == ()
    assert mechanisms_in(kafka_answer(0, "SCRAM-SHA-512", "PLAIN")) == ("PLAIN", "SCRAM-SHA-512")
    assert mechanisms_in(kafka_answer(33, "PLAIN")) == ("PLAIN",)
    assert mechanisms_in(kafka_answer(0, "PLAIN")[:-1]) is None
    assert mechanisms_in(kafka_answer(0, "PLAIN").replace(b"im", b"xx")) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_none(answer: bytes) -> None:
    """The bytes of a server of any kind raise no error."""
    names = mechanisms_in(answer)
    assert names is None or all(isinstance(name, str) for name in names)

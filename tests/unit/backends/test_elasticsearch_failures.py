"""A failing Elasticsearch ends a command with one line and no traceback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from backends.elasticsearch.index import create_index, elasticsearch_client
from devstack.ports import free_ports
from schemas.errors import AccessRefused, ImError, ServerUnavailable
from schemas.number_types import Milliseconds
from schemas.settings import Settings

USER = {"elasticsearch_user": "user", "elasticsearch_password": "password"}
_BODY = b'{"error": {"type": "some_exception", "reason": "text of a message"}, "status": 0}'


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A server that answers each request with one status. Yields the address of the server."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.send_header("Content-Length", str(len(_BODY)))
            self.end_headers()
            self.wfile.write(_BODY)

        def log_message(self, *_: object) -> None:
            """Suppress the log lines of the server."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, AccessRefused, "refuses the credentials (401): correct IM_ELASTICSEARCH_API_KEY"),
        (403, AccessRefused, "does not permit a request (403): `im acl elasticsearch`"),
        (400, ServerUnavailable, "refuses a request (400, some_exception)"),
        (503, ServerUnavailable, "refuses a request (503, some_exception)"),
    ],
)
def test_a_refusal_is_one_clear_line(status: int, kind: type[ImError], words: str) -> None:
    """The line names the address, without the password and the content of the response."""
    with answering(status) as address:
        settings = Settings.model_validate({"elasticsearch_url": f"http://{address}", **USER})
        with elasticsearch_client(settings) as client, pytest.raises(kind) as refused:
            create_index(client, settings, Milliseconds(0))
    assert str(refused.value).startswith(f"Elasticsearch at {address} {words}")
    assert "\n" not in str(refused.value)
    assert "password@" not in str(refused.value)


def test_a_server_that_does_not_answer_is_named() -> None:
    """The error names the address without the password."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    settings = Settings.model_validate({"elasticsearch_url": f"http://{address}", **USER})
    with elasticsearch_client(settings) as client, pytest.raises(ServerUnavailable) as refused:
        create_index(client, settings, Milliseconds(0))
    assert str(refused.value) == f"Elasticsearch does not answer at {address}"

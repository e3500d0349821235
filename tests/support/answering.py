"""Servers that give wrong answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SILENCE = b""
"""In place of an answer: the server reads and never answers."""

GARBAGE = b"\x00\xff\x17\x03 not of any protocol \x80" * 20


def http_answer(status: int, body: bytes = b"{}", kind: str = "application/json") -> bytes:
    """A response whose headers identify the server as Elasticsearch."""
    head = (
        f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nX-Elastic-Product: Elasticsearch\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A server that sends the same response on each connection. Yields the port of the server."""
    open_ones: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve, args=(server, answer, open_ones), daemon=True)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in open_ones:
                connection.close()


def _serve(server: socket.socket, answer: bytes, open_ones: list[socket.socket]) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        open_ones.append(connection)
        if answer:
            threading.Thread(target=_answer, args=(connection, answer), daemon=True).start()


def _answer(connection: socket.socket, answer: bytes) -> None:
    try:
        connection.recv(65_536)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client closed the connection

"""Many clients with live connections, in one process: ``python -m benchmarks.live_clients``.

The process gets `ClientsOrder`s in JSON, one a line, and answers each with a `ClientsReading`.
The client is a minimal one on raw sockets, so that its processor time does not hide that of the
gateway.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import resource
import sys
import time
from datetime import timedelta
from typing import Final, Literal

import aiohttp
import msgspec
from msgspec import Struct

from gateway.http.tokens import issue_token
from im_timeline_client.live_source import ELSEWHERE_SECONDS
from schemas.codec import decode_position
from schemas.http.live_messages import LiveBegun, LiveHead, LiveRecords
from schemas.settings import Settings

BEGIN_SECONDS: Final = 60.0
_CLOSE, _PING, _PONG = 0x8, 0x9, 0xA
_MASKED: Final = 0x80
_SHORT: Final = 126
_OPEN_FILES: Final = 10_000
_HEAD_END: Final = b"\r\n\r\n"


class ClientsOrder(Struct):
    """An order to the process.

    ``connect``: connect clients number ``first`` to ``first + count``, ``at_once`` of them at the
    same time; ``prefix`` and the number are the name of the person. ``reads``: whether the clients
    read their sockets after the begin. ``report``: report, and forget the arrivals.
    """

    do: Literal["connect", "report"]
    prefix: str = ""
    first: int = 0
    count: int = 0
    at_once: int = 50
    reads: bool = True
    after: int = -1


class ClientArrival(Struct):
    """An entry or a head that a client received. ``at``: monotonic time in seconds."""

    conv_id: str
    seq: int
    at: float


class ClientsReading(Struct):
    """The messages that the clients have received since the last report.

    ``begins``: seconds from the begin of a connection to its first message. ``ends``: monotonic
    time and code of each end of a connection. ``resumed``: seconds from the end of a connection
    with 1012 to the first message of the next connection.
    """

    open: int
    begins: list[float]
    arrivals: list[ClientArrival]
    ends: list[tuple[float, int]]
    resumed: list[float]


_message: Final = msgspec.json.Decoder(LiveBegun | LiveRecords | LiveHead)


class LiveClient(asyncio.Protocol):
    """One connection.

    Args:
        request: The request of the upgrade.
        clients: Takes what arrives.
        user: The person.
        reads: Whether the client reads after the upgrade.
    """

    def __init__(self, request: bytes, clients: Clients, user: str, *, reads: bool) -> None:
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.user = user
        self._request = request
        self._clients = clients
        self.reads = reads
        self._data = b""
        self._is_upgraded = False
        self._code = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the request."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a stream
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Takes the whole frames."""
        self._data += data
        if not self._is_upgraded:
            head, found, rest = self._data.partition(_HEAD_END)
            if not found:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                raise AssertionError(head.decode())
            self._is_upgraded, self._data = True, rest
            if not self.reads and self._transport is not None:
                self._transport.pause_reading()
                self.begun.set_result(None)
        while (size := _frame_size(self._data)) is not None:
            frame, self._data = self._data[:size], self._data[size:]
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        opcode, payload = frame[0] & 0xF, _payload(frame)
        if opcode == _PING:
            self._send(_PONG, payload)
        elif opcode == _CLOSE:
            self._code = int.from_bytes(payload[:2], "big")
            self._send(_CLOSE, payload[:2])
        else:
            self._clients.take(self, _message.decode(payload))

    def _send(self, opcode: int, payload: bytes) -> None:
        """Sends a control frame with a mask of zeros."""
        if self._transport is not None:
            head = bytes([0x80 | opcode, _MASKED | len(payload), 0, 0, 0, 0])
            self._transport.write(head + payload)

    def connection_lost(self, exc: Exception | None) -> None:
        """Reports the end."""
        del exc
        if not self.begun.done():
            self.begun.set_exception(ConnectionError("the connection ended before its begin"))
        self._clients.ended(self, self._code)


class Clients:
    """All clients of the process.

    Args:
        settings: The secret of the tokens.
        ports: The ports of the gateways. A client that is sent elsewhere uses the next port.
    """

    def __init__(self, settings: Settings, ports: list[int]) -> None:
        self._settings = settings
        self._ports = ports
        self._cursors: dict[str, int] = {}
        self._open: set[LiveClient] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = ClientsReading(0, [], [], [], [])

    def take(self, client: LiveClient, message: LiveBegun | LiveRecords | LiveHead) -> None:
        """Notes a message."""
        at = time.monotonic()
        arrivals = self._reading.arrivals
        match message:
            case LiveBegun():
                if not client.begun.done():
                    client.begun.set_result(None)
            case LiveHead(conv_id=conv_id, seq=seq):
                arrivals.append(ClientArrival(conv_id, seq, at))
            case LiveRecords(records=records, next=cursor):
                self._cursors[client.user] = cursor
                for each in records:
                    position = decode_position(bytes(each.record))
                    arrivals.append(ClientArrival(position.conv_id, position.seq or 0, at))

    def ended(self, client: LiveClient, code: int) -> None:
        """Notes an end. The client connects again, to the next gateway if it is sent there."""
        self._open.discard(client)
        at = time.monotonic()
        self._reading.ends.append((at, code))
        if client.reads:
            task = asyncio.create_task(self._resume(client.user, at, code))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _resume(self, user: str, ended: float, code: int) -> None:
        await asyncio.sleep(random.uniform(0, ELSEWHERE_SECONDS))  # noqa: S311 - no secret
        is_sent_elsewhere = code == aiohttp.WSCloseCode.SERVICE_RESTART
        await self._connect(user, self._ports[-1 if is_sent_elsewhere else 0], reads=True)
        if is_sent_elsewhere:
            self._reading.resumed.append(time.monotonic() - ended)

    async def do(self, order: ClientsOrder) -> ClientsReading:
        """Does an order; the reading has everything since the last one."""
        if order.do == "connect":
            places = asyncio.Semaphore(order.at_once)

            async def connect(number: int) -> None:
                user = f"{order.prefix}{number}"
                self._cursors.setdefault(user, order.after)
                async with places:
                    began = time.monotonic()
                    await self._connect(user, self._ports[0], reads=order.reads)
                    self._reading.begins.append(time.monotonic() - began)

            numbers = range(order.first, order.first + order.count)
            await asyncio.gather(*map(connect, numbers))
        reading, self._reading = self._reading, ClientsReading(0, [], [], [], [])
        reading.open = len(self._open)
        return reading

    async def _connect(self, user: str, port: int, *, reads: bool) -> None:
        client = LiveClient(self._request(user, port), self, user, reads=reads)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: client, "127.0.0.1", port)
        self._open.add(client)
        async with asyncio.timeout(BEGIN_SECONDS):
            await client.begun

    def _request(self, user: str, port: int) -> bytes:
        token = issue_token(self._settings, user, timedelta(hours=1))
        key = base64.b64encode(os.urandom(16)).decode()
        return (
            f"GET /v1/live?limit=500&after={self._cursors[user]} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()


def _frame_size(data: bytes) -> int | None:
    """The size of the first frame of a server; None if it is incomplete."""
    if len(data) < 2:  # noqa: PLR2004 - the shortest frame
        return None
    length, head = data[1] & 0x7F, 2
    if length >= _SHORT:
        more = 2 if length == _SHORT else 8
        head += more
        if len(data) < head:
            return None
        length = int.from_bytes(data[2 : 2 + more], "big")
    return head + length if len(data) >= head + length else None


def _payload(frame: bytes) -> bytes:
    length = frame[1] & 0x7F
    return frame[2 if length < _SHORT else 4 if length == _SHORT else 10 :]


async def serve(settings: Settings, ports: list[int]) -> None:
    """Does orders until the end of the input."""
    clients = Clients(settings, ports)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        reading = await clients.do(msgspec.json.decode(line, type=ClientsOrder))
        print(msgspec.json.encode(reading).decode(), flush=True)


def raise_open_files() -> None:
    """Raises the soft limit of open files as far as needed and permitted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


if __name__ == "__main__":
    raise_open_files()
    asyncio.run(serve(Settings(), [int(each) for each in sys.argv[1:]]))

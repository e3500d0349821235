"""A pipeline with gateways and many clients, for the benchmarks of live connections."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any, Final, Self, TypeVar

import msgspec
from aiohttp import ClientSession
from confluent_kafka import Producer
from pydantic import SecretStr

from backends.cassandra.session import cassandra_session
from backends.identity.log_identity import check_log
from backends.identity.store_claim import claim_store
from backends.kafka.clients import admin_client, new_topics, producer_config
from benchmarks.pages_data import SECRET
from benchmarks.worker import worker
from devstack.ports import free_ports
from gateway.http.tokens import issue_token
from ops.deployment.prepare_log import prepare_log
from schemas.codec import encode
from schemas.errors import ServerUnavailable
from schemas.ids import uuid7
from schemas.records import AnyCommand
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.topics import is_caught_up

_SECONDS: Final = 120.0
_ANSWER_SECONDS: Final = 300.0
_STOP_SECONDS: Final = 60.0
_READ: Final = (
    ("sequencer", Topic.MESSAGES),
    ("sink-message", Topic.TIMELINE),
    ("sink-sync", Topic.SYNC),
)
ReadingT = TypeVar("ReadingT")
_numbers: Final = itertools.count()


@contextmanager
def deployment_with_store(**given: Any) -> Iterator[Settings]:
    """A deployment with topics and tables; both are removed at the end."""
    settings = Settings(
        namespace=f"bench-{secrets.token_hex(4)}", jwt_secret=SecretStr(SECRET),
        gateway_port=free_ports(1)[0], **given,
    )  # fmt: skip
    prepare_log(settings)
    with cassandra_session(settings) as session:
        claim_store(session, settings, check_log(settings))
    try:
        yield settings
    finally:
        admin = admin_client(settings)
        deleted = admin.delete_topics([topic.topic for topic in new_topics(settings)])
        for future in deleted.values():
            future.result(_SECONDS)
        with cassandra_session(settings) as session:
            session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)


@contextmanager
def stages(settings: Settings) -> Iterator[None]:
    """The sequencer and the sinks of the store."""
    with ExitStack() as stack:
        for module in (("stream_processors",), ("sinks", "message"), ("sinks", "sync")):
            stack.enter_context(worker(settings, *module))
        yield


class AnsweringProcess:
    """A process that answers each line with a line of JSON.

    Args:
        settings: The deployment.
        module: The arguments of ``python -m``.
        environment: Further variables.
    """

    def __init__(self, settings: Settings, *module: str, **environment: str) -> None:
        own = {
            "IM_NAMESPACE": settings.namespace,
            "IM_GATEWAY_PORT": str(settings.gateway_port),
            "IM_JWT_SECRET": settings.jwt_secret.get_secret_value(),
        }
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - `__exit__` closes it
        self._process = subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, "-m", *module], env=os.environ | own | environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
        )  # fmt: skip

    def ask(self, order: msgspec.Struct | None, kind: type[ReadingT]) -> ReadingT:
        """Sends an order, and returns the answer."""
        process = self._process
        assert process.stdin is not None  # noqa: S101 - they are pipes
        assert process.stdout is not None  # noqa: S101 - the same
        process.stdin.write(msgspec.json.encode(order).decode() + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise ServerUnavailable(self._log.read()[-2_000:].decode(errors="replace"))
        return msgspec.json.decode(line, type=kind)

    def terminate(self) -> None:
        """Asks the process to end, without a wait."""
        self._process.terminate()

    def __enter__(self) -> Self:
        """Nothing: the process runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the process."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()


def send(settings: Settings, commands: Iterable[AnyCommand]) -> None:
    """Appends commands, and waits until the store has everything."""
    producer = Producer(producer_config(settings) | {"queue.buffering.max.messages": 1_000_000})
    for command in commands:
        producer.produce(settings.topic(Topic.MESSAGES), encode(command), command.conv_id)
    producer.flush(_SECONDS)
    deadline = time.monotonic() + _ANSWER_SECONDS
    for stage, topic in _READ:
        while not is_caught_up(settings, stage, topic):
            if time.monotonic() > deadline:
                raise ServerUnavailable(f"{stage} does not follow")
            time.sleep(0.2)


class Door:
    """Sends messages through a gateway.

    Args:
        settings: The gateway.
        http: The HTTP session.
    """

    def __init__(self, settings: Settings, http: ClientSession) -> None:
        self._settings = settings
        self._http = http
        self._tokens: dict[str, str] = {}

    async def message(self, conv_id: str, user: str, text: str) -> tuple[int, float]:
        """Sends a message; returns its SeqId, and the monotonic time before the request."""
        if user not in self._tokens:
            self._tokens[user] = issue_token(self._settings, user, timedelta(hours=1))
        began = time.monotonic()
        body = {"text": text, "client_msg_id": uuid7(time.time_ns() // 1_000_000, next(_numbers))}
        async with asyncio.timeout(_ANSWER_SECONDS):
            while True:
                answer = await self._post(f"/v1/conversations/{conv_id}/messages", user, body)
                if "seq" in answer:
                    return answer["seq"], began

    async def _post(self, path: str, user: str, body: dict[str, str]) -> dict[str, Any]:
        """The answer. One without an outcome has no ``seq``."""
        url = f"http://127.0.0.1:{self._settings.gateway_port}{path}"
        headers = {"Authorization": f"Bearer {self._tokens[user]}"}
        async with self._http.post(url, json=body, headers=headers) as response:
            if response.status not in {201, 202}:
                raise ServerUnavailable(f"a message was not accepted: {await response.text()}")
            found: dict[str, Any] = await response.json()
            return found


async def until_up(settings: Settings, http: ClientSession) -> None:
    """Waits until the gateway serves and follows the log."""
    url = f"http://127.0.0.1:{settings.gateway_port}/healthz"
    async with asyncio.timeout(_SECONDS):
        while True:
            try:
                async with http.get(url) as response:
                    if response.status == 200 and (await response.json())["kafka"] == "up":  # noqa: PLR2004
                        return
            except OSError:
                pass
            await asyncio.sleep(0.1)

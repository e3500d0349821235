"""`python -m gateway` as a process, and the commands that read through the gateway."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import typer
from pydantic import SecretStr
from typer.testing import CliRunner
from yarl import URL

from devstack.ports import free_ports
from ops.commands import read
from ops.failures import line_of
from schemas.codec import encode
from schemas.errors import ConfigurationError, ImError
from schemas.number_types import Milliseconds
from schemas.records import Rejected
from schemas.settings import Settings
from tests.support.forwarding import Forwarder
from tests.support.gateway import SECRET
from tests.support.gateway_rows import BUSY, search_index, tables
from tests.support.gateway_store import message
from tests.support.key_server import key_server
from tests.support.pipeline import prepare
from tests.support.processes import ROOT, environment, running
from tests.support.servers import Servers
from tests.support.sync_writer import SyncWriter
from tests.support.tokens import private_key, token_of
from tests.support.waiting import until

pytestmark = pytest.mark.servers

READY_SECONDS: Final = 180.0
MESSAGES: Final = 450
"""More messages than two pages of any command."""


async def health(settings: Settings) -> tuple[int, dict[str, Any]] | None:
    """The response of `/healthz`, or None if nothing listens."""
    url = f"http://{settings.gateway_host}:{settings.gateway_port}/healthz"
    try:
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            return response.status, await response.json()
    except aiohttp.ClientConnectionError:
        return None


async def until_health(settings: Settings, code: int, **states: str) -> None:
    """Waits until `/healthz` has this status code and these states."""

    async def as_expected() -> bool:
        reported = await health(settings)
        return (
            reported is not None and reported[0] == code and states.items() <= reported[1].items()
        )

    await until(as_expected, READY_SECONDS)


@pytest.fixture(scope="module")
def deployment(servers: Servers) -> Iterator[Settings]:
    """A stored and indexed conversation of two people, and a running gateway."""
    settings = servers.settings(
        partitions=1,
        sync_partitions=1,
        jwt_secret=SecretStr(SECRET),
        gateway_port=free_ports(1)[0],
    )
    prepare(settings)
    said = [
        message("#c", seq, text=f"number {seq} 天气\x1b[31m") for seq in range(1, MESSAGES + 1)
    ]
    with tables(settings) as rows, search_index(settings) as put_documents:
        rows.put_conversation("#c", MESSAGES)
        rows.put_change("ann", "#c", 1, joined=True)
        rows.put_change("陈", "#c", 3, joined=True)
        rows.put_change("陈", "#c", 9, joined=False)
        for entry in said:
            rows.put_synced("ann", 100 * entry.seq, entry)
        rows.put_record("陈", 5, encode(refusal()))
        # A cursor beyond the end of the log is refused.
        SyncWriter(settings).write(("ann", said[0]) for _ in range(100 * MESSAGES + 1))
        put_documents(said)
        with running(settings, "gateway"):
            asyncio.run(until_health(settings, 200, status="ok"))
            yield settings


def refusal() -> Rejected:
    """The rejection for a sender who is not a member."""
    return Rejected(
        conv_id="#c",
        sender="陈",
        device_id="d",
        client_msg_id="x",
        at=Milliseconds(1),
        code="not_a_member",
    )


@pytest.fixture
def im(deployment: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> typer.Typer:
    """The three commands, with the deployment's environment variables."""
    for name, value in environment(deployment).items():
        if name.startswith("IM_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("IM_HOME", str(tmp_path))
    app = typer.Typer()
    app.command("history")(read.history)
    app.command("sync")(read.sync)
    app.command("search")(read.search)
    return app


def lines(app: typer.Typer, *arguments: str) -> list[str]:
    """The lines that a command prints."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def objects(app: typer.Typer, *arguments: str) -> list[dict[str, Any]]:
    """The JSON objects that a command prints, one for each line."""
    return [json.loads(line) for line in lines(app, *arguments, "--json")]


def test_history_follows_all_pages(im: typer.Typer) -> None:
    """`im history` prints the whole range, each SeqId once, with entries as stored."""
    shown = objects(im, "history", "#c", "--as", "ann")
    assert [one["seq"] for one in shown] == list(range(1, MESSAGES + 1))
    part = objects(im, "history", "#c", "--as", "ann", "--from", "7", "--to", "8")
    assert [one["content"]["text"] for one in part] == [
        "number 7 天气\x1b[31m",
        "number 8 天气\x1b[31m",
    ]


def test_history_is_shown_for_a_person(im: typer.Typer) -> None:
    """`im history` prints columns and holes in words, without control characters."""
    shown = lines(im, "history", "#c", "--as", "陈", "--to", "12")
    assert len(shown) == 9
    assert shown[0].split() == ["1-2", "(hidden:", "outside", "your", "membership)"]
    assert shown[1].split()[0] == "3"
    assert shown[1].split()[3:] == ["ann", "number", "3", "天气·[31m"]
    assert shown[-1].split()[0] == "10-12"
    assert "\x1b" not in "".join(shown)


def test_sync_follows_all_pages(im: typer.Typer) -> None:
    """`im sync` prints all records after a cursor, or up to the given limit."""
    every = objects(im, "sync", "ann")
    assert [one["sync_seq"] for one in every] == [100 * n for n in range(1, MESSAGES + 1)]
    assert every[4]["record"]["seq"] == 5
    some = objects(im, "sync", "ann", "--after", "300", "--limit", "250")
    assert [one["record"]["seq"] for one in some] == list(range(4, 254))
    (reported,) = lines(im, "sync", "陈")
    assert "rejected: not_a_member" in reported


def test_search_follows_all_pages(im: typer.Typer) -> None:
    """`im search` prints all hits, newest first, or up to the given limit."""
    every = objects(im, "search", "天气", "--as", "ann")
    assert [one["seq"] for one in every] == list(range(MESSAGES, 0, -1))
    assert [one["seq"] for one in objects(im, "search", '"number 44"', "--as", "ann")] == [44]
    assert len(objects(im, "search", "number", "--as", "陈")) == 7
    assert len(lines(im, "search", "number", "--as", "ann", "--limit", "120")) == 120


def test_a_refusal_is_reported_in_one_line(im: typer.Typer) -> None:
    """A refusal of the gateway is printed in the gateway's words."""
    with pytest.raises(ImError, match="no such conversation"):
        lines(im, "history", "elsewhere", "--as", "ann")


def test_an_unreachable_gateway_is_reported_in_one_line(
    im: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no gateway listens, the error names the remedy."""
    monkeypatch.setenv("IM_GATEWAY_PORT", str(free_ports(1)[0]))
    with pytest.raises(ImError) as failed:
        lines(im, "sync", "ann")
    assert "im up" in line_of(failed.value)


async def test_the_gateway_serves_as_soon_as_its_servers_answer(deployment: Settings) -> None:
    """The gateway starts without its servers and reports this; it serves when they are there.

    It survives the later loss of a server.
    """
    host, cassandra = deployment.cassandra_contact_points
    elastic = URL(deployment.elasticsearch_url)
    ports = free_ports(3)
    store = Forwarder(ports[0], host[0], cassandra)
    index = Forwarder(ports[1], elastic.host or "", elastic.port or 0)
    settings = deployment.model_copy(
        update={
            "cassandra_hosts": f"127.0.0.1:{ports[0]}",
            "elasticsearch_url": f"http://127.0.0.1:{ports[1]}",
            "gateway_port": ports[2],
        }
    )
    try:
        with running(settings, "gateway") as process:
            await until_health(settings, 503, status="unavailable")
            await store.open()
            await until_health(settings, 200, status="degraded", elasticsearch="down")
            await index.open()
            await until_health(settings, 200, status="ok")
            await store.cut()
            await until_health(settings, 503, status="unavailable", elasticsearch="up")
            await store.open()
            await until_health(settings, 200, status="ok")
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, READY_SECONDS) == 0
    finally:
        await store.cut()
        await index.cut()


async def test_the_keys_of_a_url_are_followed(deployment: Settings) -> None:
    """A process takes tokens of the keys of a URL, also of a new key, but not of a removed one."""
    async with key_server() as keys, aiohttp.ClientSession() as http:
        settings = deployment.model_copy(
            update={
                "jwt_algorithm": "ES256",
                "jwt_secret": SecretStr(""),
                "jwt_jwks_url": keys.url,
                "gateway_port": free_ports(1)[0],
            }
        )
        url = f"http://{settings.gateway_host}:{settings.gateway_port}/v1/conversations"

        async def status(number: int) -> int:
            """The status for a token of a key, as soon as the servers answer in time."""
            token = token_of("ES256", private_key("ES256", number), f"k{number}")
            for _ in range(60):
                async with http.get(url, headers={"Authorization": f"Bearer {token}"}) as response:
                    if response.status not in BUSY:
                        break
                await asyncio.sleep(1)
            return response.status

        async def is_taken(number: int) -> bool:
            return await status(number) == 200

        with running(settings, "gateway"):
            await until_health(settings, 200, status="ok")
            await until(lambda: is_taken(0), READY_SECONDS)
            assert await status(1) == 401
            keys.numbers = [1]
            await until(lambda: is_taken(1), READY_SECONDS)
            assert await status(0) == 401
            keys.trouble = "hangs"
            assert await status(1) == 200


async def test_sigterm_ends_a_gateway_without_servers(deployment: Settings) -> None:
    """SIGTERM ends a gateway that never reached Cassandra."""
    nobody, gateway = free_ports(2)
    settings = deployment.model_copy(
        update={"cassandra_hosts": f"127.0.0.1:{nobody}", "gateway_port": gateway}
    )
    with running(settings, "gateway") as process:
        await until_health(settings, 503, cassandra="down")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, READY_SECONDS) == 0


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        ({"IM_JWT_SECRET": "short"}, "IM_JWT_SECRET must have at least 32 bytes"),
        ({"IM_JWT_ALGORITHM": "RS256"}, "IM_JWT_SECRET_FILE are for IM_JWT_ALGORITHM=HS256"),
        ({"IM_GATEWAY_PORT": "0"}, "IM_GATEWAY_PORT"),
        ({}, "set IM_GATEWAY_HOST or IM_GATEWAY_PORT"),  # the gateway of the fixture uses the port
    ],
)
def test_the_reason_for_a_failed_start_is_one_line(
    deployment: Settings, wrong: dict[str, str], reported: str
) -> None:
    """A wrong setting and a port in use cause one line and exit code 78, without a traceback."""
    ended = subprocess.run(
        [sys.executable, "-m", "gateway"],
        cwd=ROOT,
        env=environment(deployment) | wrong,
        capture_output=True,
        text=True,
        timeout=READY_SECONDS,
        check=False,
    )
    assert ended.returncode == ConfigurationError.exit_code
    assert reported in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert SECRET not in ended.stderr

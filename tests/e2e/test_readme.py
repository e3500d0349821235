"""The programs of README.md, as they are printed, on the real stack."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from gateway.http.tokens import issue_token
from im_timeline_client import Items, connect
from schemas.settings import Settings
from tests.support.chromium import PATIENCE_MS, chromium
from tests.support.command import IM
from tests.support.node import node
from tests.support.processes import ROOT, environment, wait_until
from tests.support.readme import program
from tests.support.waiting import until

pytestmark = pytest.mark.servers

SECONDS: Final = 180.0


@pytest.fixture
def settings(deployment: tuple[Settings, Settings]) -> Settings:
    """The first gateway of the deployment."""
    return deployment[0]


def address(settings: Settings) -> str:
    """The address of a gateway."""
    return f"http://{settings.gateway_host}:{settings.gateway_port}"


def token(settings: Settings, user: str) -> str:
    """A token of a person."""
    return issue_token(settings, user, timedelta(minutes=5))


def lines(code: str) -> list[str]:
    """The lines of a program, without empty ones."""
    return [line for line in code.splitlines() if line.strip()]


def objects(output: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that follow each other in a text."""
    decoder = json.JSONDecoder()
    while output := output.strip():
        found, end = decoder.raw_decode(output)
        yield found
        output = output[end:]


def test_the_first_message(settings: Settings) -> None:
    """The commands with curl create a conversation, send a message, and read both."""
    code = program("", "The first message", address(settings)).replace(".venv/bin/im", str(IM))

    def run(*commands: str, **variables: str) -> list[dict[str, Any]]:
        done = subprocess.run(
            ["/bin/bash", "-euc", "\n".join(commands)],
            env=environment(settings) | variables, cwd=ROOT, capture_output=True, text=True,
            timeout=SECONDS, check=True,
        )  # fmt: skip
        return list(objects(done.stdout))

    created, sent, read = run(code)
    assert {"conv_id": "lunch", "seq": 1}.items() <= created.items()
    assert {"conv_id": "lunch", "seq": 2}.items() <= sent.items()
    assert set(sent) == {"conv_id", "seq", "at", "client_msg_id"}
    assert "items" in read or read["status"] == 404

    def has_message() -> bool:
        """Whether the last command shows the message; the store may have it a moment later."""
        variables = {"AT": address(settings), "BOB": token(settings, "bob")}
        [page] = run(lines(code)[-1], **variables)
        return [item.get("content") for item in page.get("items", [])] == [
            None, {"type": "text", "text": "Noon?"},
        ]  # fmt: skip

    wait_until(has_message, "the message is readable")


@asynccontextmanager
async def running(*command: str | Path, **options: Any) -> AsyncIterator[Process]:
    """A program that is killed at the end, if it has not ended."""
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def answer(items: Items, sender: str) -> str | None:
    """The text of the next message of a person; None if there is none within a second."""
    try:
        async with asyncio.timeout(1):
            while True:
                entry = (await anext(items)).entry
                if entry is not None and entry.sender == sender and entry.text is not None:
                    return entry.text
    except TimeoutError:
        return None


async def test_the_bot(settings: Settings, tmp_path: Path) -> None:
    """The bot of ten lines answers each message of another person, and not its own messages."""
    code = program("python", "A bot in ten lines of Python", address(settings))
    assert len(lines(code)) == 10
    bot = tmp_path / "bot.py"
    bot.write_text(code)
    async with (
        connect(address(settings), token(settings, "writer")) as writer,
        running(sys.executable, bot, token(settings, "echo")),
        asyncio.timeout(SECONDS),
    ):
        chat = await writer.direct("echo")
        items = writer.items()
        await items.begin()
        while not (answered := await answer(items, "echo")):
            await writer.send(chat, "Are you there?")  # the bot shows what is sent after its start
        assert answered == "You said: Are you there?"
        await writer.send(chat, "你好")
        while answered != "You said: 你好":
            answered = await answer(items, "echo")
            assert answered in {None, "You said: Are you there?", "You said: 你好"}


async def test_the_program_for_node(settings: Settings, tmp_path: Path) -> None:
    """The program for Node prints what arrives and sends what is typed."""
    code = program("js", "The SDK", address(settings))
    (tmp_path / "clients").symlink_to(ROOT / "clients")
    chat = tmp_path / "chat.mjs"
    chat.write_text(code)
    async with connect(address(settings), token(settings, "writer")) as writer:
        await writer.create_conversation(["reader"], conv_id="readme")
        await writer.send("readme", "ready?")
        command = (node(), "--preserve-symlinks", chat, token(settings, "reader"))
        async with running(*command, stdin=PIPE, stdout=PIPE) as process:
            assert process.stdout is not None
            async with asyncio.timeout(SECONDS):
                assert await process.stdout.readline() == b"readme #2  writer: ready?\n"
                printed, _ = await process.communicate(b"yes\n")
            assert process.returncode == 0
            assert printed in {b"", b"readme #3  reader: yes\n"}  # it may end before its message

        async def is_stored() -> bool:
            """Whether the store has the message; it may have it later than the sequencer."""
            found = [item async for item in writer.history("readme", newest_first=True)]
            return found[0].entry is not None and found[0].entry.text == "yes"

        await until(is_stored, SECONDS)


@contextmanager
def serving(folder: Path, port: int) -> Iterator[None]:
    """The files of a folder, served by the command of the README."""
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)

    def is_ready() -> bool:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/chat.html")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    try:
        wait_until(is_ready, "the files are served", SECONDS)
        yield
    finally:
        process.terminate()
        process.wait(SECONDS)


def test_the_web_client(settings: Settings, tmp_path: Path) -> None:
    """Two pages of twenty lines, of two people, show what the other one sends."""
    code = program("html", "A web client in twenty lines of JavaScript", address(settings))
    assert len(lines(code)) == 20
    (tmp_path / "chat.html").write_text(code)
    (tmp_path / "clients").symlink_to(ROOT / "clients")
    asyncio.run(begin_chat(settings))
    expect.set_options(timeout=PATIENCE_MS)
    origin = settings.cors_origins
    with serving(tmp_path, urlsplit(origin).port or 0), chromium() as browser:
        pages = [browser.new_context().new_page() for _ in range(2)]
        for page, user in zip(pages, ("web one", "web two"), strict=True):
            page.goto(f"{origin}/chat.html#{token(settings, user)}")
            expect(page.locator("li")).to_have_text(["web one: Begin"])
        one, two = pages
        one.locator("#text").fill("<b>Hello</b>, 你好")
        one.locator("button").click()
        expect(one.locator("#text")).to_have_value("")
        two.locator("#text").fill("Hello!")
        two.locator("#text").press("Enter")
        for page in pages:
            expect(page.locator("li")).to_have_count(3)
            expect(page.locator("li", has_text="web one: <b>Hello</b>, 你好")).to_have_count(1)
            expect(page.locator("li", has_text="web two: Hello!")).to_have_count(1)


async def begin_chat(settings: Settings) -> None:
    """Creates the direct chat of the two people, with a message."""
    async with connect(address(settings), token(settings, "web one")) as one:
        await one.send(await one.direct("web two"), "Begin")

"""The running deployment keeps to its two documents, OpenAPI and AsyncAPI, on real servers."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import pytest
from aiohttp import ClientSession
from pydantic import SecretStr

from backends.kafka.clients import partition_of
from devstack.ports import free_ports
from gateway.http.tokens import issue_token
from gateway.writes.command_ids import CommandIds, new_process_number
from schemas.asyncapi.document import asyncapi_document
from schemas.ids import uuid7
from schemas.recipients import recipients_of
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.described import assert_message, asyncapi_validator, message_of, operations
from tests.support.gateway import SECRET
from tests.support.live_frames import TOO_BUSY, LiveFrames, live_frames
from tests.support.pipeline import prepare, sinks
from tests.support.processes import ROOT, running, wait_until
from tests.support.readiness import is_ready
from tests.support.topics import is_caught_up, publish_raw, read_all
from tests.support.waiting import until
from tests.support.writing import WritingPerson

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0
RUN_SECONDS: Final = 600.0
"""Time limit of schemathesis: on an idle machine, its run takes less than a minute."""

REACHED: Final = 20
"""Operations of which at least one request must succeed. `openLive` needs a WebSocket, and
`getCommand` a command without an outcome."""

CONFIGURATION: Final = ROOT / "tests" / "support" / "schemathesis" / "schemathesis.toml"
CONVERSATIONS: Final = "/v1/conversations"
CHANNELS: Final = {
    "messages": Topic.MESSAGES,
    "timeline": Topic.TIMELINE,
    "sync": Topic.SYNC,
    "deadLetters": Topic.DEAD_LETTER,
}
PARTITIONS: Final = 2
NO_RECORD: Final = b"no record"


@pytest.fixture(scope="module")
def settings(servers: Servers) -> Iterator[Settings]:
    """A running deployment with a low push limit, and high limits of requests."""
    settings = servers.settings(
        partitions=PARTITIONS, sync_partitions=PARTITIONS, push_limit=3, push_again_below=3,
        http_commands_per_second=10_000, http_conversation_commands_per_second=10_000,
        http_additions_per_hour=1_000_000, write_wait="PT8S",
        jwt_secret=SecretStr(SECRET), gateway_port=free_ports(1)[0],
    )  # fmt: skip
    prepare(settings)
    with ExitStack() as stack:
        stack.enter_context(running(settings, "stream_processors"))
        stack.enter_context(sinks(settings))
        stack.enter_context(running(settings, "gateway"))
        wait_until(lambda: is_ready(settings), "the gateway is ready")
        yield settings


async def test_all_operations_keep_to_the_openapi_document(
    settings: Settings, tmp_path: Path
) -> None:
    """Schemathesis sends fitting and wrong data to all operations, and finds no fault.

    Its checks compare statuses, headers, types and bodies with the document; no status is a 500;
    wrong data, missing headers, wrong methods and wrong tokens are refused. Most operations
    succeed at least once, so the requests get beyond the checks of their data.
    """
    token = issue_token(settings, "ann", timedelta(minutes=30))
    async with ClientSession() as http:
        await write_what_schemathesis_uses(WritingPerson(settings, "ann", http))
    report = tmp_path / "report.har"
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION),
        "--no-color", "run", f"{address(settings)}/openapi.json",
        "--report", "har", "--report-har-path", str(report),
        cwd=tmp_path, env=os.environ | {"IM_TEST_TOKEN": token, "PYTHONPATH": str(ROOT)},
        stdout=PIPE, stderr=STDOUT,
    )  # fmt: skip
    try:
        printed, _ = await asyncio.wait_for(command.communicate(), RUN_SECONDS)
    finally:
        if command.returncode is None:
            command.kill()
    assert command.returncode == 0, printed.decode()
    statuses = statuses_in(report)
    names = {described["operationId"] for *_, described in operations()}
    succeeded = {name for name in names if any(status < 300 for status in statuses[name])}
    assert set(statuses) == names
    assert len(succeeded) >= REACHED, names - succeeded


def address(settings: Settings) -> str:
    """The address of the gateway."""
    return f"http://{settings.gateway_host}:{settings.gateway_port}"


async def write_what_schemathesis_uses(ann: WritingPerson) -> None:
    """The conversations and the device in its configuration, and those of the examples."""
    ids = CommandIds(new_process_number())
    for conv_id in ("talk", "pulled", "left", "{odd} %2F 陈", "lunch"):
        members = ["bob", "chen", "eve"] if conv_id == "pulled" else ["bob"]
        made = {"conv_id": conv_id, "members": members, "client_msg_id": ids.next()}
        await accepted(ann, CONVERSATIONS, {201, 202}, **made)
        path = f"{CONVERSATIONS}/{quote(conv_id, safe='')}/messages"
        for text in ("hello", "hello again", "bye"):
            await accepted(ann, path, {201, 202}, text=text, client_msg_id=ids.next())
    await accepted(ann, "/v1/devices", {200}, device_id="phone")


async def accepted(ann: WritingPerson, path: str, statuses: set[int], **fields: Any) -> None:
    """Sends an idempotent request, and again while the machine is too busy to answer it."""

    async def is_accepted() -> bool:
        answer = await ann.write("POST", path, **fields)
        assert answer.status in statuses | TOO_BUSY, answer
        return answer.status in statuses

    await until(is_accepted, PATIENCE)


def statuses_in(report: Path) -> dict[str, set[int]]:
    """The statuses of each operation in a HAR file."""
    found: dict[str, set[int]] = defaultdict(set)
    for entry in json.loads(report.read_text(encoding="utf-8"))["log"]["entries"]:
        method, url = entry["request"]["method"].lower(), urlsplit(entry["request"]["url"])
        for known, _, pattern, described in operations():
            if known == method and pattern.fullmatch(url.path):
                found[described["operationId"]].add(entry["response"]["status"])
                break
    return found


async def test_records_and_live_frames_conform_to_the_asyncapi_document(
    settings: Settings,
) -> None:
    """Each record of each topic, and each frame in both directions, conforms to its message.

    The conversations have all kinds of commands, entries and replies, and a dead letter. Keys and
    partitions are those of the document, and frames arrive in its order. The topics also have the
    records that schemathesis has caused, if its test ran before.
    """
    async with (
        asyncio.timeout(4 * PATIENCE),
        ClientSession() as http,
        live_frames(settings, "ann", http) as ann,
        live_frames(settings, "bob", http) as bob,
    ):
        left = await write_everything(settings, ann)
        pulled = await write_a_pulled_group(ann)

        async def arrived() -> bool:
            return ann.knows("kinds", left) and bob.knows("crowd", pulled)

        await until(arrived, PATIENCE)
    assert {"begun", "records", "answer"} <= ann.kinds()
    assert {"begun", "records", "head"} <= bob.kinds()
    await asyncio.to_thread(wait_until, partial(sequenced, settings), "all is sequenced")
    seen = await asyncio.to_thread(kinds_on_topics, settings)
    for channel in CHANNELS:
        described = asyncapi_document()["channels"][channel]["messages"]
        assert seen[channel] == {message["name"] for message in described.values()}


async def write_everything(settings: Settings, ann: LiveFrames) -> int:
    """A conversation with each kind of command and of reply. Returns the SeqId of ann's leave."""
    kinds = f"{CONVERSATIONS}/kinds"
    client_msg_id = uuid7(1_764_000_000_000, 0)
    await ann.write("POST", CONVERSATIONS, conv_id="kinds", members=["bob", "eve"], name="Kinds")
    hello = {"text": "hello", "mentions": ["bob"], "client_msg_id": client_msg_id}
    sent = await ann.write("POST", f"{kinds}/messages", **hello)
    assert await ann.write("POST", f"{kinds}/messages", **hello) == sent  # a duplicate
    await ann.write("PUT", f"{kinds}/messages/{sent}", text="hello again")
    await ann.write("PUT", f"{kinds}/read", seq=sent)
    await ann.write("DELETE", f"{kinds}/members/eve")
    await ann.write("DELETE", f"{kinds}/messages/{sent}")  # eve gets a retraction
    await ann.write("POST", f"{kinds}/members", members=["eve"])  # a period of its own
    await ann.write("PUT", f"{kinds}/description", metadata='{"color": "red"}')
    await ann.write("PUT", f"{kinds}/owner", owner="bob")
    await ann.write("PUT", f"{kinds}/mute", until=1_900_000_000_000)
    await ann.write("DELETE", f"{kinds}/mute")
    await ann.say_active(is_active=False)
    left = await ann.write("POST", f"{kinds}/leave")
    refused = await ann.decided("POST", f"{kinds}/messages", text="one more")
    assert (refused["status"], refused["body"]["code"]) == (403, "not_a_member")
    unknown = await ann.ask("POST", "/v1/nothing")
    assert unknown["status"] == 404
    await asyncio.to_thread(publish_raw, settings, [(b"kinds", NO_RECORD)])
    return left


async def write_a_pulled_group(ann: LiveFrames) -> int:
    """A group that changes to pull mode. Returns its head."""
    members = ["bob", "chen", "dora"]
    await ann.write("POST", CONVERSATIONS, conv_id="crowd", members=members)
    return await ann.write("POST", f"{CONVERSATIONS}/crowd/messages", text="hello, all")


def sequenced(settings: Settings) -> bool:
    """Whether the sequencer has committed all commands, also the one that is no record."""
    return is_caught_up(settings, "sequencer", Topic.MESSAGES)


def kinds_on_topics(settings: Settings) -> dict[str, set[str]]:
    """The kinds of the records on each topic, each of which must conform to the document."""
    seen: dict[str, set[str]] = defaultdict(set)
    for channel, topic in CHANNELS.items():
        for record in read_all(settings, topic):
            key, value, partition = record.key(), record.value(), record.partition()
            if channel == "deadLetters":
                seen[channel].add("dead_letter")
                assert_headers(dict(record.headers() or []))
                continue
            if value == NO_RECORD:
                continue
            payload = json.loads(value or b"")
            assert_message(channel, payload["kind"], payload)
            assert_key(channel, payload["kind"], (key or b"").decode())
            assert_partition(channel, payload, key or b"", partition)
            seen[channel].add(payload["kind"])
    return seen


def assert_headers(headers: dict[str, Any]) -> None:
    """The headers of a dead letter conform."""
    pointer = f"{message_of('deadLetters', 'dead_letter')}/headers"
    asyncapi_validator(pointer).validate({name: v.decode() for name, v in headers.items()})


def assert_key(channel: str, kind: str, key: str) -> None:
    """A key conforms."""
    asyncapi_validator(f"{message_of(channel, kind)}/bindings/kafka/key").validate(key)


def assert_partition(channel: str, payload: dict[str, Any], key: bytes, partition: Any) -> None:
    """A record is on the partition of its conversation, or of each of its recipients."""
    names = (
        [recipient.decode() for recipient in recipients_of(key)]
        if channel == "sync"
        else [payload["conv_id"]]
    )
    assert {partition_of(name, PARTITIONS) for name in names} == {partition}
    assert channel == "sync" or key.decode() == payload["conv_id"]

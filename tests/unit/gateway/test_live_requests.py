"""Writing by frames of a live connection, with a log in memory and the real rules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from gateway.http.http_app import writes_to
from gateway.http.live_requests import MAX_AT_ONCE
from gateway.http.tokens import issue_token
from schemas.codec import decode_command
from schemas.ids import uuid7
from tests.support.described import assert_message
from tests.support.gateway import Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore
from tests.support.log_lines import json_lines
from tests.support.sequenced_log import SequencedLog
from tests.support.waiting import until

SETTINGS: Final = token_settings(write_wait="PT0.3S", http_commands_per_second=1_000)
ANSWER_SECONDS: Final = 20.0
MESSAGES: Final = "/v1/conversations/c/messages"


@pytest.fixture
def log() -> SequencedLog:
    """A log without commands."""
    return SequencedLog()


@pytest.fixture
async def gateway(log: SequencedLog) -> AsyncIterator[Caller]:
    """A gateway with the conversation ``c`` of ann."""
    writes = writes_to(SETTINGS, log)
    log.feed(writes.waiters)
    async with serving(SETTINGS, FakeStore(), FakeIndex(), writes=writes) as caller:
        made = await caller.write("POST", "/v1/conversations", "ann", conv_id="c", members=[])
        assert made.status == 201
        yield caller


@pytest.fixture
async def live(gateway: Caller) -> AsyncIterator[ClientWebSocketResponse]:
    """A live connection of ann, whose token names the device ``desk``."""
    token = issue_token(SETTINGS, "ann", timedelta(minutes=1), device="desk")
    async with gateway.http.ws_connect(
        f"{gateway.base}/v1/live", headers={"Authorization": f"Bearer {token}"}
    ) as socket:
        assert (await socket.receive_json())["kind"] == "begun"
        yield socket


async def request(
    live: ClientWebSocketResponse,
    ref: str,
    path: str = MESSAGES,
    method: str = "POST",
    **body: Any,
) -> None:
    """Send a request."""
    await live.send_json({"ref": ref, "method": method, "path": path, "body": body})


async def answer(live: ClientWebSocketResponse) -> tuple[str, int, Any]:
    """The next answer, which must match the AsyncAPI document: ref, status and body."""
    found = await live.receive_json(timeout=ANSWER_SECONDS)
    assert_message("live", "answer", found)
    return found["ref"], found["status"], found["body"]


async def test_each_request_is_answered_with_its_outcome(
    live: ClientWebSocketResponse, log: SequencedLog
) -> None:
    """The answer has the ref of the request, and the status and the body of the HTTP response."""
    await request(live, "1", text="hello")
    ref, status, body = await answer(live)
    assert (ref, status, body["conv_id"], body["seq"]) == ("1", 201, "c", 2)
    await request(live, "2", f"{MESSAGES}/2", "PUT", text="hello again")
    assert (await answer(live))[:2] == ("2", 201)
    await request(live, "3", "/v1/conversations/c/read", "PUT", seq=3)
    assert (await answer(live))[:2] == ("3", 200)
    await request(live, "4", "/v1/conversations/no%2Fne/messages", text="hello")
    ref, status, body = await answer(live)
    assert (ref, status, body["code"]) == ("4", 404, "unknown_conversation")
    commands = [decode_command(source.value) for source in log.sources[1:]]
    assert {(each.sender, each.device_id) for each in commands} == {("ann", "desk")}
    assert commands[-1].conv_id == "no/ne"


@pytest.mark.parametrize(
    ("path", "body", "status", "parameter"),
    [
        (MESSAGES, {"text": 1}, 400, "text"),
        (MESSAGES, {"text": " "}, 400, "text"),
        (f"{MESSAGES}/0", {"text": "a"}, 404, None),
        ("/v1/search", {}, 404, None),
        ("", {}, 404, None),
    ],
)
async def test_a_wrong_request_is_a_problem(
    live: ClientWebSocketResponse, path: str, body: dict[str, Any], status: int, parameter: object
) -> None:
    """The answer is a problem document, and the connection remains open."""
    await request(live, "1", path, **body)
    ref, found, problem = await answer(live)
    assert (ref, found, problem.get("parameter")) == ("1", status, parameter)
    await request(live, "2", text="hello")
    assert (await answer(live))[:2] == ("2", 201)


async def test_an_answer_says_when_to_retry(
    live: ClientWebSocketResponse, log: SequencedLog
) -> None:
    """The field of the answer has the seconds of the header of the HTTP response."""
    log.is_away = True
    await request(live, "1", text="hello")
    found = await live.receive_json(timeout=ANSWER_SECONDS)
    assert (found["status"], found["retry_after"]) == (503, 1)
    log.is_away = False
    await request(live, "2", text="hello")
    assert "retry_after" not in await live.receive_json(timeout=ANSWER_SECONDS)


@pytest.mark.parametrize(
    "frame",
    [
        "nonsense",
        "{}",
        "[" * 60_000,
        '{"ref":"1","method":"GET","path":"/v1/sync"}',
        json.dumps({"ref": "x" * 65, "method": "POST", "path": MESSAGES}),
        '{"kind":"presence"}',
        '{"kind":"presence","active":1}',
        '{"kind":"presence","active":true,"ref":"1"}',
        '{"kind":"absence","active":true}',
    ],
)
async def test_a_frame_that_is_no_request_ends_the_connection(
    live: ClientWebSocketResponse, frame: str
) -> None:
    """The close code is 1008."""
    await live.send_str(frame)
    end = await live.receive(timeout=ANSWER_SECONDS)
    assert (end.type, end.data) == (WSMsgType.CLOSE, 1008)


async def test_frames_reach_the_log_in_their_order(
    live: ClientWebSocketResponse, log: SequencedLog
) -> None:
    """A client may send many frames with its own ids without a wait: none is stale."""
    ids = [uuid7(1_764_000_000_000 + number, 0) for number in range(100)]
    for number, client_msg_id in enumerate(ids):
        await request(live, str(number), text="hello", client_msg_id=client_msg_id)
    answers = [await answer(live) for _ in ids]
    assert {status for _, status, _ in answers} == {201}
    assert [decode_command(source.value).client_msg_id for source in log.sources[1:]] == ids


async def test_a_connection_has_few_requests_in_flight(
    live: ClientWebSocketResponse, log: SequencedLog
) -> None:
    """Further frames wait in the connection, not in the gateway, and are answered later."""
    log.acknowledges = False
    count = 3 * MAX_AT_ONCE
    for number in range(count):
        await request(live, str(number), text="hello")

    async def are_sent() -> bool:
        return log.undelivered == MAX_AT_ONCE

    await until(are_sent, ANSWER_SECONDS)
    await asyncio.sleep(0.05)
    assert log.undelivered == MAX_AT_ONCE
    log.acknowledges = True
    log.acknowledge()
    assert {(await answer(live))[1] for _ in range(count)} <= {201, 504}


async def test_a_client_that_goes_away_finds_its_command(
    gateway: Caller, live: ClientWebSocketResponse, log: SequencedLog
) -> None:
    """The command of a closed connection is sequenced, and its state can be read."""
    log.sequences = False
    client_msg_id = uuid7(1_764_000_000_000, 0)
    await request(live, "1", text="hello", client_msg_id=client_msg_id)

    async def has_arrived() -> bool:
        return len(log.sources) == 2

    await until(has_arrived, ANSWER_SECONDS)
    await live.close()

    async def is_remembered() -> bool:
        path = f"/v1/commands/{client_msg_id}"
        return (await gateway.ask(path, "ann", {"conversation": "c"})).status == 200

    await until(is_remembered, ANSWER_SECONDS)


async def test_each_request_has_an_id_in_its_answer_and_in_the_log(
    live: ClientWebSocketResponse,
) -> None:
    """A frame has an id of its own: in the answer, in a problem, and in the line of the log."""
    with json_lines() as lines:
        for ref, path in (("1", MESSAGES), ("2", "/v1/conversations/c/nowhere"), ("3", MESSAGES)):
            await request(live, ref, path=path, text="hello" if ref == "1" else "")
        answers = [await live.receive_json(timeout=ANSWER_SECONDS) for _ in range(3)]
    ids = {found["ref"]: found["request_id"] for found in answers}
    assert len(set(ids.values())) == 3
    assert all(
        found["body"]["request_id"] == ids[found["ref"]]
        for found in answers
        if found["ref"] != "1"
    )
    logged = {line["request_id"]: line for line in lines if line["event"] == "request"}
    assert {ref: (logged[each]["route"], logged[each]["status"]) for ref, each in ids.items()} == {
        "1": ("/v1/conversations/{id}/messages", 201),
        "2": ("-", 404),
        "3": ("/v1/conversations/{id}/messages", 400),
    }

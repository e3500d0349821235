"""Logs and traces on real servers: a message can be followed, and its text is in neither.

A message is followed by its trace through all stages, and by the id of its request.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Final
from urllib.parse import quote

import pytest
from aiohttp import ClientSession

from schemas.recipients import recipients_of
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.live_frames import LiveFrames, live_frames
from tests.support.metric_values import MetricValues
from tests.support.pipeline import SINKS
from tests.support.push_server import push_server
from tests.support.texts_everywhere import (
    CONVERSATION,
    TEXTS,
    WAYS,
    WORD,
    TextSenders,
    places_of_the_word,
    produce,
)
from tests.support.topics import read_all
from tests.support.traced_deployment import PROGRAMS, TRACED, TracedDeployment, traced_deployment
from tests.support.waiting import until
from tests.support.writing import WriteAnswer, WritingPerson

pytestmark = pytest.mark.servers

SECONDS: Final = 180.0
MESSAGES: Final = "/v1/conversations/{id}/messages"
SINK_SPANS: Final = {f"sink-{name}" for name in (*SINKS, "push")}
STAGES: Final = {"produce", "sequence", "live delivery", *SINK_SPANS}


@pytest.fixture(scope="module")
def deployed(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TracedDeployment]:
    """A running deployment."""
    with traced_deployment(servers, tmp_path_factory.mktemp("logs")) as made:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    """An HTTP client."""
    async with ClientSession() as session:
        yield session


def trace_ids() -> tuple[str, str, dict[str, str]]:
    """A new trace, its first span, and the header of a request that belongs to it."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, {"traceparent": f"00-{trace}-{span}-01"}


def request_id_of(answer: WriteAnswer) -> str:
    """The id of a request, by the headers of its response."""
    return {name.lower(): value for name, value in answer.headers.items()}["x-request-id"]


async def conversation(
    deployed: TracedDeployment, http: ClientSession
) -> tuple[str, WritingPerson]:
    """A new conversation of ann and bob, and ann."""
    conv_id = f"c-{secrets.token_hex(4)}"
    ann = WritingPerson(deployed.settings, "ann", http)
    assert (await ann.create(conv_id, "bob")).status == 201
    return conv_id, ann


async def received(frames: LiveFrames, conv_id: str, seq: int) -> None:
    """Returns when the connection has an entry."""

    async def knows() -> bool:
        return frames.knows(conv_id, seq)

    await until(knows, SECONDS)


async def test_one_message_is_followed_through_all_stages(
    deployed: TracedDeployment, http: ClientSession
) -> None:
    """The trace of a message has one span of each stage, each with the right parent.

    The span of the sequencer is linked to the span of its transaction, which is another trace.
    """
    conv_id, ann = await conversation(deployed, http)
    trace, caller, headers = trace_ids()
    async with live_frames(deployed.settings, "bob", http) as bob:
        await received(bob, conv_id, 1)
        path = f"/v1/conversations/{conv_id}/messages"
        sent = await ann.write("POST", path, headers=headers, text="hello")
        assert sent.status == 201
        await received(bob, conv_id, sent.body["seq"])
        request = f"POST {MESSAGES}"
        spans = await deployed.spans(trace, {request, *STAGES})
    assert spans[request].parent == caller
    assert spans["produce"].parent == spans[request].id
    assert spans["sequence"].parent == spans["produce"].id
    for stage in STAGES - {"produce", "sequence"}:
        assert spans[stage].parent == spans["sequence"].id, stage
    assert {name: span.process for name, span in spans.items()} == {
        request: "gateway", "produce": "gateway", "sequence": "sequencer",
        "live delivery": "gateway", **dict(zip(SINK_SPANS, SINK_SPANS, strict=True)),
    }  # fmt: skip
    assert spans[request].fields["request_id"] == request_id_of(sent)
    assert all(span.began_ns <= span.ended_ns for span in spans.values())
    (transaction,) = [
        span for span in deployed.received.spans if span.id in spans["sequence"].links
    ]
    assert (transaction.name, transaction.process) == ("transaction", "sequencer")
    assert (transaction.trace == trace, transaction.parent) == (False, "")


async def test_a_frame_and_a_rejection_are_followed_too(
    deployed: TracedDeployment, http: ClientSession
) -> None:
    """A rejected command is a trace up to its reply; nothing of it reaches the timeline."""
    conv_id, _ = await conversation(deployed, http)
    carl = WritingPerson(deployed.settings, "carl", http)
    trace, _, headers = trace_ids()
    path = f"/v1/conversations/{conv_id}/messages"
    refused = await carl.write("POST", path, headers=headers, text="hello")
    assert (refused.status, refused.kind) == (403, "not-a-member")
    spans = await deployed.spans(
        trace, {f"POST {MESSAGES}", "produce", "sequence", "sink-sync", "sink-push"}
    )
    assert spans["sink-sync"].parent == spans["sequence"].id


async def test_only_records_of_a_trace_have_headers(
    deployed: TracedDeployment, http: ClientSession
) -> None:
    """Entries and sync records of a traced message have headers, and all values are equal."""
    conv_id, ann = await conversation(deployed, http)
    trace, _, headers = trace_ids()
    path = f"/v1/conversations/{conv_id}/messages"
    traced = await ann.write("POST", path, headers=headers, text="traced")
    other = await ann.write("POST", path, text="another")
    assert (traced.status, other.status) == (201, 201)
    wanted = {1: [], 2: ["traceparent", "request-id"], 3: []}
    found: dict[Topic, dict[bytes, list[str]]] = {}
    for topic in (Topic.TIMELINE, Topic.SYNC):
        records = [
            r for r in read_all(deployed.settings, topic) if conv_id.encode() in (r.value() or b"")
        ]
        found[topic] = {r.value() or b"": list(dict(r.headers() or [])) for r in records}
        assert list(found[topic].values()) == list(wanted.values())
        of_trace = [dict(r.headers() or [])["traceparent"] for r in records if r.headers()]
        assert all(trace.encode() in (value or b"") for value in of_trace)
    assert list(found[Topic.TIMELINE]) == list(found[Topic.SYNC])
    (command,) = [
        r
        for r in read_all(deployed.settings, Topic.MESSAGES)
        if b'"another"' in (r.value() or b"")
    ]
    assert list(dict(command.headers() or [])) == ["request-id"]
    assert {tuple(recipients_of(r.key() or b"")) for r in records} == {(b"ann", b"bob")}


async def test_the_id_of_a_request_leads_to_the_sequencer(
    deployed: TracedDeployment, http: ClientSession
) -> None:
    """The id that a caller gives is in the answer, in the gateway's line and in the sequencer's.

    A hostile id is replaced, and the new id leads to the sequencer as well. A request over a live
    connection has an id of its own, in its answer.
    """
    conv_id, _ = await conversation(deployed, http)
    carl = WritingPerson(deployed.settings, "carl", http)
    path = f"/v1/conversations/{conv_id}/messages"
    own = f"from-carl-{secrets.token_hex(4)}"
    for given in (own, "x" * 65, "a b c d e f g", '{"$ne":1}'):
        refused = await carl.write("POST", path, headers={"X-Request-Id": given}, text="hello")
        request_id = request_id_of(refused)
        assert (request_id == given) == (given == own)
        assert refused.body["request_id"] == request_id
        line = await deployed.line("gateway", request_id=request_id, event="request")
        assert (line["route"], line["status"]) == (MESSAGES, 403)
        of_command = await deployed.line("sequencer", request_id=request_id)
        assert (of_command["event"], of_command["code"], of_command["conv_id"]) == (
            "a command is rejected", "not_a_member", conv_id,
        )  # fmt: skip
    async with live_frames(deployed.settings, "carl", http) as frames:
        answer = await frames.ask("POST", path, text="hello")
    assert answer["body"]["request_id"] == answer["request_id"]
    for process in ("gateway", "sequencer"):
        await deployed.line(process, request_id=answer["request_id"])


async def test_the_dead_letter_of_a_traced_record_has_the_id_of_its_request(
    deployed: TracedDeployment,
) -> None:
    """The lines of the sinks about a record that they cannot store have the id from its header."""
    request_id, headers = f"poison-{secrets.token_hex(4)}", trace_ids()[2]
    await asyncio.to_thread(
        produce, deployed.settings, Topic.TIMELINE, b"no entry", b"c",
        headers | {"request-id": request_id},
    )  # fmt: skip
    for process in ("sink-message", "sink-search"):
        line = await deployed.line(process, request_id=request_id)
        assert line["event"] == "a record is a dead letter: the value is not JSON"


@pytest.fixture
async def senders(deployed: TracedDeployment, http: ClientSession) -> TextSenders:
    """The people who send texts, and their conversation."""
    made = TextSenders(deployed, http)
    await made.member.create(CONVERSATION, "bob")
    return made


def test_the_search_finds_the_word_in_each_form() -> None:
    """The search of this test finds a leak: plain, quoted, escaped, folded and encoded."""
    for leak in (
        *TEXTS, json.dumps(TEXTS), quote(TEXTS[1]), repr(TEXTS), WORD.encode().hex(),
        base64.b64encode(f"ab{WORD}cd".encode()).decode(),
    ):  # fmt: skip
        assert places_of_the_word(leak), leak
    assert not places_of_the_word("nothing")


async def until_counted(deployed: TracedDeployment) -> None:
    """Waits until push and webhooks have counted the outcomes that the servers chose."""

    def has_counted() -> bool:
        push, hooks = (
            MetricValues(deployed.metrics_of(process).decode())
            for process in ("sink-push", "webhooks")
        )
        attempts, letters = "im_outbound_attempts_total", "im_outbound_dead_letters_total"
        return (
            push(attempts, receiver="push_webhook", outcome="failed") > 1
            and push("im_outbound_retries", receiver="push_webhook") == 1
            and hooks.by(attempts, "outcome").keys() == {"delivered", "failed", "refused"}
            and hooks("im_outbound_retries", receiver="webhook") == 1
            and hooks(letters, receiver="webhook") >= 1
            and hooks("im_outbound_delay_seconds_count", receiver="webhook") >= 1
        )

    async def is_done() -> bool:
        return await asyncio.to_thread(has_counted)

    await until(is_done, SECONDS)


async def test_no_text_is_in_a_log_a_metric_or_a_span(senders: TextSenders) -> None:
    """After all ways, the word is in no log line, no span and no metric of any process.

    A push provider and a webhook fail all the time, one webhook refuses, and one accepts. All ways
    were taken: the notifications, the events and the dead letters have the word, and lines, spans
    and metrics exist.
    """
    deployed = senders.deployed
    with push_server() as server:
        await senders.register("bob", f"{server.url}/{WORD}")
        stages = {
            path: await senders.subscribe(f"{server.url}{path}")
            for path in (f"/{WORD}-down", f"/{WORD}-strict", f"/{WORD}-good")
        }
        down, strict, _ = stages
        server.statuses |= {f"/{WORD}": 500, down: 500, strict: 422}
        for way in WAYS:
            await way(senders)
        await deployed.caught_up()

        async def is_everywhere() -> bool:
            bodies = {path: [e.body for e in server.requests(path)] for path in server.paths()}
            return bodies.keys() == {f"/{WORD}", *stages} and all(
                len(found) > 1 and places_of_the_word(b"".join(found)) for found in bodies.values()
            )

        await until(is_everywhere, SECONDS)
        await until_counted(deployed)
    assert {200, 201, 400, 401, 403, 404, 409} <= senders.statuses
    letters = await asyncio.to_thread(read_all, deployed.settings, Topic.DEAD_LETTER)
    assert {dict(each.headers() or [])["stage"] for each in letters} >= {
        b"sequencer", b"sink-message", b"sink-search", b"sink-sync", stages[strict].encode(),
    }  # fmt: skip
    assert places_of_the_word(b"".join(each.value() or b"" for each in letters))
    for process in PROGRAMS:
        assert not places_of_the_word(deployed.text_of(process)), process
        assert any(line["level"] in {"warning", "info"} for line in deployed.lines(process))
    assert any("dead letter" in line["event"] for line in deployed.lines("sequencer"))
    assert {span.process for span in deployed.received.spans} == TRACED
    assert not places_of_the_word(b"".join(deployed.received.bodies))
    for process in PROGRAMS:
        metrics = await asyncio.to_thread(deployed.metrics_of, process)
        assert b"# TYPE" in metrics
        assert not places_of_the_word(metrics), process


def test_every_process_writes_lines_of_json(deployed: TracedDeployment) -> None:
    """Each line of each process is a JSON object with the same first fields."""
    for process in PROGRAMS:
        lines = deployed.lines(process)
        assert lines, process
        for line in lines:
            assert list(line)[:5] == ["time", "level", "logger", "event", "process"]
            assert line["process"] == process

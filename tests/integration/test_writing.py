"""Writing through gateways, on real servers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import partial
from subprocess import Popen
from typing import Any, Final, NoReturn

import aiohttp
import pytest
from confluent_kafka import KafkaError, KafkaException
from pydantic import SecretStr

from devstack.ports import free_ports
from gateway.log import log_tail
from gateway.log.log_places import LogPlaces
from schemas.ids import uuid7
from schemas.settings import Settings
from tests.conftest import Servers
from tests.support.gateway import SECRET
from tests.support.live import LivePhone, gateway
from tests.support.pipeline import prepare
from tests.support.processes import running
from tests.support.topics import timelines
from tests.support.waiting import until
from tests.support.writing import WriteAnswer, WritingPerson

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0
"""Time limit for one arrival, on a busy machine."""

COUNT: Final = 12
"""Requests around the kill of a gateway, fewer than the devices that a conversation remembers."""


@pytest.fixture(scope="module")
def settings(servers: Servers) -> Iterator[Settings]:
    """A deployment with low limits whose sinks run. Requests wait long, for a busy machine."""
    settings = servers.settings(
        partitions=2, sync_partitions=2, push_limit=3, push_again_below=3, write_wait="PT8S",
        jwt_secret=SecretStr(SECRET), gateway_port=free_ports(1)[0],
    )  # fmt: skip
    prepare(settings)
    with ExitStack() as stack:
        for name in ("message", "sync"):
            stack.enter_context(running(settings, "sinks", name))
        yield settings


@pytest.fixture
def sequencer(settings: Settings) -> Iterator[None]:
    """A running sequencer."""
    with running(settings, "stream_processors"):
        yield


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """The HTTP client session."""
    async with aiohttp.ClientSession() as session:
        yield session


async def eventually_created(person: WritingPerson, conv_id: str, *members: str) -> WriteAnswer:
    """Create a conversation, also if the sequencer has just been started."""
    answer = await person.create(conv_id, *members)
    while answer.status == 202:
        fields = {"client_msg_id": answer.body["client_msg_id"]}
        answer = await person.create(conv_id, *members, **fields)
    assert answer.status == 201, answer.body
    return answer


@pytest.mark.usefixtures("sequencer")
async def test_what_one_person_sends_another_one_receives(
    settings: Settings, http: aiohttp.ClientSession
) -> None:
    """The response has the SeqId that the recipient's live connection and history have.

    A group in pull mode has the same responses, and so have edits, recalls, marks and rejections.
    """
    ann, bob, eve = (WritingPerson(settings, user, http) for user in ("ann", "bob", "eve"))
    phone = LivePhone(settings, "bob", http)
    async with gateway(settings), asyncio.timeout(4 * PATIENCE):
        following = asyncio.create_task(phone.follow())

        async def is_received(conv_id: str, seq: int) -> bool:
            assert not following.done()
            return phone.knows(conv_id, seq)

        await eventually_created(ann, "pair", "bob")
        await eventually_created(ann, "group", "bob", "chen", "dora")
        for conv_id, first in (("pair", 2), ("group", 3)):  # the group changes to pull mode
            sent = await ann.send(conv_id, "hello")
            assert (sent.status, sent.body["seq"]) == (201, first), sent.body
            await until(partial(is_received, conv_id, first), PATIENCE)  # before the recall
            messages = f"/v1/conversations/{conv_id}/messages/{first}"
            edited = await ann.write("PUT", messages, text="hello again")
            recalled = await ann.write("DELETE", messages)
            read = await bob.write("PUT", f"/v1/conversations/{conv_id}/read", seq=first)
            again = await bob.write("PUT", f"/v1/conversations/{conv_id}/read", seq=first)
            assert [(a.status, a.body["seq"]) for a in (edited, recalled, read, again)] == [
                (201, first + 1), (201, first + 2), (200, first), (200, first),
            ]  # fmt: skip
            refused = await eve.send(conv_id, "let me in")
            assert (refused.status, refused.kind) == (403, "not-a-member")
            refused = await ann.send("none", "hello")
            assert (refused.status, refused.kind) == (404, "unknown-conversation")
        for conv_id, last in (("pair", 4), ("group", 5)):
            await until(partial(is_received, conv_id, last), PATIENCE)
        received = next(r for r in phone.records if r["kind"] == "message_sent")
        assert (received["conv_id"], received["seq"], received["sender"]) == ("pair", 2, "ann")
        following.cancel()


async def test_an_outcome_during_an_outage_of_the_log_is_found(
    settings: Settings, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status of a 202 becomes the outcome, though Kafka did not answer the gateway."""
    monkeypatch.setattr(log_tail, "_BEFORE_SECONDS", 0)  # any outage is long
    monkeypatch.setattr(log_tail, "_CHECK_SECONDS", 0.1)
    quick = settings.model_copy(update={"write_wait": timedelta(seconds=1)})
    ann = WritingPerson(quick, "ann", http)
    async with gateway(quick), asyncio.timeout(4 * PATIENCE):
        answer = await ann.create("unread", "bob")
        assert answer.status == 202, answer.body
        with monkeypatch.context() as outage, running(settings, "stream_processors"):
            outage.setattr(LogPlaces, "existing_partitions", no_answer)
            await until(partial(is_in_the_log, settings, "unread"), PATIENCE)

        async def is_known() -> bool:
            status = await ann.write("GET", answer.headers["Location"])
            return bool(status.body["state"] == "sequenced")

        await until(is_known, PATIENCE)


def no_answer(*_: object) -> NoReturn:
    """Fails as a question to a broker that does not answer."""
    raise KafkaException(KafkaError(KafkaError._TRANSPORT))  # noqa: SLF001 - its public name


async def is_in_the_log(settings: Settings, conv_id: str) -> bool:
    """Whether the log has an entry of a conversation."""
    return conv_id in await asyncio.to_thread(timelines, settings)


@pytest.mark.usefixtures("sequencer")
async def test_a_repetition_has_the_first_outcome_at_any_gateway(
    settings: Settings, http: aiohttp.ClientSession
) -> None:
    """Generated ids of two gateways interleave, and none is stale; repetitions have one effect."""
    other = settings.model_copy(update={"gateway_port": free_ports(1)[0]})
    people = [WritingPerson(each, "ann", http) for each in (settings, other)]
    async with gateway(settings), gateway(other), asyncio.timeout(4 * PATIENCE):
        await eventually_created(people[0], "both", "bob")
        sends = [people[number % 2].send("both", str(number)) for number in range(30)]
        answers = await asyncio.gather(*sends)
        assert {answer.status for answer in answers} == {201}, answers
        assert sorted(answer.body["seq"] for answer in answers) == list(range(2, 32))
        again = [
            people[(number + 1) % 2].send(
                "both", str(number), client_msg_id=answer.body["client_msg_id"]
            )
            for number, answer in enumerate(answers)
        ]
        assert [each.body for each in await asyncio.gather(*again)] == [a.body for a in answers]
        first = answers[0].body["client_msg_id"]
        conflict = await people[1].send("both", "other text", client_msg_id=first)
        assert (conflict.status, conflict.kind) == (409, "conflict")
        assert len(await people[0].texts("both")) == 30


async def test_a_killed_gateway_loses_nothing_that_it_has_acknowledged(
    settings: Settings, http: aiohttp.ClientSession
) -> None:
    """Every 202 before the kill is a message, and a repeated request is never a second one.

    While the sequencer is stopped, some requests are answered with 202 and some still wait when
    the gateway is killed. Then another gateway gets all requests again.
    """
    quick = settings.model_copy(update={"write_wait": timedelta(seconds=1)})
    ann = WritingPerson(settings, "ann", http)
    with running(settings, "stream_processors"):
        async with gateway(settings), asyncio.timeout(PATIENCE):
            await eventually_created(ann, "killed", "bob")

    async def send(number: int) -> WriteAnswer:
        # Each from its own device, because concurrent requests arrive in any order.
        client_msg_id = uuid7(1_764_000_000_000 + number, 0)
        device = f"device {number}"
        return await ann.send("killed", str(number), client_msg_id=client_msg_id, device_id=device)

    async def sent(number: int) -> int:
        with suppress(aiohttp.ClientError):
            return (await send(number)).status
        return 0

    with running(quick, "gateway") as process:
        await until(lambda: is_up(settings, http), PATIENCE)
        statuses = await asyncio.gather(*(sent(number) for number in range(COUNT // 2)))
        others = [partial(sent, number) for number in range(COUNT // 2, COUNT)]
        late = await in_flight(process, others)
        process.kill()
        statuses += await asyncio.gather(*late)
    acknowledged = {number for number, status in enumerate(statuses) if status == 202}
    assert acknowledged
    assert 0 in statuses[COUNT // 2 :]
    with running(settings, "stream_processors"):
        async with gateway(settings), asyncio.timeout(4 * PATIENCE):

            async def are_stored() -> bool:
                texts = await ann.texts("killed")
                return {str(number) for number in acknowledged} <= set(texts.values())

            await until(are_stored, PATIENCE)
            for number in range(COUNT):
                answer = await send(number)
                assert answer.status == 201, answer.body

            async def is_complete() -> bool:
                return len(await ann.texts("killed")) == COUNT

            await until(is_complete, PATIENCE)
            assert sorted((await ann.texts("killed")).values(), key=int) == [
                str(number) for number in range(COUNT)
            ]


async def in_flight(
    process: Popen[bytes], requests: Sequence[Callable[[], Coroutine[Any, Any, int]]]
) -> list[asyncio.Task[int]]:
    """Begins requests until a gateway has one that it has not answered; the gateway then stands.

    On a busy machine the gateway may answer each request of a batch before it is stopped.
    """
    tasks: list[asyncio.Task[int]] = []
    for pair in zip(requests[::2], requests[1::2], strict=True):
        batch = [asyncio.create_task(request()) for request in pair]
        tasks += batch
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGSTOP)
        await asyncio.wait(batch, timeout=0.3)
        if not all(task.done() for task in batch):
            return tasks
        process.send_signal(signal.SIGCONT)
    raise AssertionError("the gateway has answered each request")


async def is_up(settings: Settings, http: aiohttp.ClientSession) -> bool:
    """Return whether the gateway follows the log and reaches the store."""
    try:
        async with http.get(
            f"http://{settings.gateway_host}:{settings.gateway_port}/healthz"
        ) as response:
            told: dict[str, Any] = await response.json()
    except aiohttp.ClientError:
        return False
    return bool(told["status"] in {"ok", "degraded"} and told["kafka"] == "up")


async def test_the_status_of_a_late_command_becomes_its_outcome(
    settings: Settings, http: aiohttp.ClientSession
) -> None:
    """While the sequencer is stopped the response is a 202; later its status has the outcome.

    Another gateway has the outcome as soon as it is stored.
    """
    quick = settings.model_copy(update={"write_wait": timedelta(seconds=1)})
    other = settings.model_copy(update={"gateway_port": free_ports(1)[0]})
    ann, elsewhere = WritingPerson(quick, "ann", http), WritingPerson(other, "ann", http)
    async with gateway(quick), gateway(other), asyncio.timeout(4 * PATIENCE):
        answer = await ann.create("late")
        assert answer.status == 202, answer.body
        assert (await ann.write("GET", answer.body["status"])).body["state"] == "pending"
        assert (await elsewhere.write("GET", answer.body["status"])).status == 404
        with running(settings, "stream_processors"):
            for person in (ann, elsewhere):

                async def is_sequenced(person: WritingPerson = person) -> bool:
                    status = await person.write("GET", answer.headers["Location"])
                    return bool(status.body.get("state") == "sequenced")

                await until(is_sequenced, PATIENCE)

"""Every route that writes, as a request and as a frame, at two gateways on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import Any, Final, NamedTuple

import pytest
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError
from pydantic import SecretStr

from devstack.ports import free_ports
from gateway.http.command_paths import COMMAND_ROUTES
from schemas.codec import decode_command
from schemas.ids import uuid7
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.forwarding import Forwarder
from tests.support.gateway import SECRET
from tests.support.live import gateway
from tests.support.live_writing import writing_socket
from tests.support.pipeline import prepare
from tests.support.processes import running
from tests.support.topics import read_all
from tests.support.waiting import until
from tests.support.writing import WriteAnswer, WritingPerson

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0
PERMITTED: Final = "https://chat.example"
OTHER: Final = "https://other.example"
PEOPLE: Final = ("ann", "bob", "chen", "dora", "eve")

Write = Callable[..., Awaitable[WriteAnswer]]


class Gateways(NamedTuple):
    """Two gateways of one deployment; ``strict`` has low limits and permits no other origin."""

    open: Settings
    strict: Settings


@pytest.fixture(scope="module")
def gateways(servers: Servers) -> Iterator[Gateways]:
    """A running deployment. Requests wait long, for a busy machine."""
    settings = servers.settings(
        partitions=2, sync_partitions=2, write_wait="PT8S", cors_origins=PERMITTED,
        jwt_secret=SecretStr(SECRET), gateway_port=free_ports(1)[0],
    )  # fmt: skip
    prepare(settings)
    strict = settings.model_copy(
        update={
            "gateway_port": free_ports(1)[0], "cors_origins": "",
            "http_commands_per_second": 2, "http_conversation_commands_per_second": 1,
            "http_additions_per_hour": 4, "http_members_per_command": 3,
        }
    )  # fmt: skip
    with ExitStack() as stack:
        for module in (("stream_processors",), ("sinks", "message"), ("sinks", "sync")):
            stack.enter_context(running(settings, *module))
        for each in (settings, strict):
            stack.enter_context(running(each, "gateway"))
        yield Gateways(settings, strict)


@pytest.fixture
async def http(gateways: Gateways) -> AsyncIterator[ClientSession]:
    """The HTTP client session, when both gateways are ready and the sequencer runs."""
    async with ClientSession() as session, asyncio.timeout(2 * PATIENCE):
        for each in gateways:
            await until(partial(is_working, each, session), PATIENCE)
        yield session


async def is_working(settings: Settings, http: ClientSession) -> bool:
    """Return whether a rejection is answered."""
    stranger = WritingPerson(settings, "stranger", http)
    try:
        answer = await stranger.write("PUT", "/v1/conversations/none/read", seq=1)
    except OSError:
        return False
    return answer.status == 404


async def outcome(write: Write, method: str, path: str, **fields: Any) -> WriteAnswer:
    """The outcome of a command: after a 202 it is repeated with its id, as by a client."""
    answer = await write(method, path, **fields)
    while answer.status == 202:
        fields["client_msg_id"] = answer.body["client_msg_id"]
        answer = await write(method, path, **fields)
    return answer


class Team:
    """The people, each with a way to write."""

    def __init__(self, writes: dict[str, Write], reader: WritingPerson) -> None:
        self.writes = writes
        self._reader = reader

    async def use_every_command(self, conv_id: str) -> None:
        """Each command has its outcome, and the store has all effects in the end."""
        chat = f"/v1/conversations/{conv_id}"
        steps: list[tuple[str, str, str, dict[str, Any], int, int]] = [
            ("POST", "/v1/conversations", "ann", {"conv_id": conv_id, "members": ["bob"]}, 1, 201),
            ("POST", f"{chat}/messages", "ann", {"text": "one"}, 2, 201),
            ("PUT", f"{chat}/messages/2", "ann", {"text": "two"}, 3, 201),
            ("DELETE", f"{chat}/messages/2", "ann", {}, 4, 201),
            ("POST", f"{chat}/members", "bob", {"members": ["chen", "dora"]}, 5, 201),
            ("DELETE", f"{chat}/members/dora", "ann", {}, 6, 201),
            ("PUT", f"{chat}/owner", "ann", {"owner": "bob"}, 7, 201),
            ("PUT", f"{chat}/read", "bob", {"seq": 6}, 6, 200),
            ("PUT", f"{chat}/description", "bob", {"name": "us"}, 8, 201),
            ("PUT", f"{chat}/mute", "bob", {}, 8, 200),
            ("DELETE", f"{chat}/mute", "bob", {}, 8, 200),
            ("POST", f"{chat}/leave", "ann", {}, 9, 201),
        ]
        assert len(steps) == len(COMMAND_ROUTES)
        for method, path, user, fields, seq, status in steps:
            answer = await outcome(self.writes[user], method, path, **fields)
            assert (answer.status, answer.body.get("seq")) == (status, seq), (path, answer.body)

        async def is_stored() -> bool:
            members = (await self._reader.write("GET", f"{chat}/members")).body
            listed = (await self._reader.write("GET", "/v1/conversations")).body["conversations"]
            about: dict[str, Any] = next((c for c in listed if c["conv_id"] == conv_id), {})
            owners = {each["user"]: each["owner"] for each in members.get("members", [])}
            known = [about.get(name) for name in ("head", "name", "read")]
            return (owners, known) == ({"bob": True, "chen": False}, [9, "us", 6])

        await until(is_stored, PATIENCE)

    async def be_rejected(self, conv_id: str) -> None:
        """Each rejection is a problem with its code, and the next command succeeds."""
        chat = f"/v1/conversations/{conv_id}"
        used, text = {"client_msg_id": uuid7(2, 2)}, {"text": "hello"}
        new = {"conv_id": conv_id, "members": ["bob"]}
        steps: list[tuple[str, str, str, dict[str, Any], int, str]] = [
            ("POST", "/v1/conversations", "ann", new, 201, ""),
            ("POST", "/v1/conversations", "ann", new, 409, "already-exists"),
            ("POST", f"{chat}/messages", "eve", text, 403, "not-a-member"),
            ("POST", f"{chat}-none/messages", "eve", text, 404, "unknown-conversation"),
            ("PUT", f"{chat}/description", "bob", {"name": "mine"}, 403, "not-allowed"),
            ("PUT", f"{chat}/messages/9", "ann", text, 404, "unknown-message"),
            ("POST", f"{chat}/members", "ann", {"members": ["bob"]}, 409, "already-a-member"),
            ("POST", f"{chat}/messages", "ann", text | used, 201, ""),
            ("POST", f"{chat}/messages", "ann", {"text": "a"} | used, 409, "conflict"),
            ("POST", f"{chat}/messages", "ann", {"text": 1}, 400, "bad-body"),
            ("POST", f"{chat}/messages", "ann", {"text": " "}, 400, "bad-body"),
            ("POST", f"{chat}/nothing", "ann", {}, 404, "http"),
            ("POST", f"{chat}/messages", "ann", text, 201, ""),
        ]  # fmt: skip
        for method, path, user, fields, status, kind in steps:
            answer = await outcome(self.writes[user], method, path, **fields)
            assert (answer.status, answer.kind) == (status, kind), (path, answer.body)


@pytest.fixture(params=["requests", "frames"])
async def team(
    request: pytest.FixtureRequest, gateways: Gateways, http: ClientSession
) -> AsyncIterator[Team]:
    """The people, who write by requests, or by frames of a connection of each."""
    settings = gateways.open
    people = {user: WritingPerson(settings, user, http) for user in PEOPLE}
    async with AsyncExitStack() as stack:
        writes: dict[str, Write] = {user: person.write for user, person in people.items()}
        if request.param == "frames":
            for user in PEOPLE:
                socket = await stack.enter_async_context(writing_socket(settings, user, http))
                writes[user] = socket.write
        yield Team(writes, people["bob"])


async def test_every_command_has_its_outcome(team: Team, request: pytest.FixtureRequest) -> None:
    """Each command is answered with its SeqId, by a response and by a frame."""
    await team.use_every_command(request.node.name)


async def test_every_rejection_has_its_code(team: Team, request: pytest.FixtureRequest) -> None:
    """Rejections and wrong requests are problems, and end no connection."""
    await team.be_rejected(request.node.name)


async def test_a_frame_that_is_no_request_ends_the_connection(
    gateways: Gateways, http: ClientSession
) -> None:
    """The close code is 1008, and commands that were sent before have their effect."""
    ann = WritingPerson(gateways.open, "ann", http)
    await ann.create("broken", "bob")
    async with writing_socket(gateways.open, "ann", http) as live:
        sent = await live.begin("POST", "/v1/conversations/broken/messages", text="hello")
        assert (await sent).status == 201
        await live.socket.send_str('{"ref": "1"}')
        end = await live.end
        assert (end.type, end.data) == (WSMsgType.CLOSE, 1008)
    assert (await ann.send("broken", "again")).body["seq"] == 3


async def test_a_lost_connection_loses_no_command_and_doubles_none(
    gateways: Gateways, http: ClientSession
) -> None:
    """Connections end between frame and answer; repetitions at another gateway have one effect."""
    ann = WritingPerson(gateways.open, "ann", http)
    await ann.create("cut", "bob")
    messages, ids = "/v1/conversations/cut/messages", [uuid7(number, 0) for number in range(1, 5)]
    for number, client_msg_id in enumerate(ids):
        port = free_ports(1)[0]
        forwarder = Forwarder(port, gateways.open.gateway_host, gateways.open.gateway_port)
        await forwarder.open()
        near = gateways.open.model_copy(update={"gateway_port": port})
        async with writing_socket(near, "ann", http) as live:
            lost = await live.begin("POST", messages, text="hello", client_msg_id=client_msg_id)
            if number % 2:
                await until(partial(is_in_log, gateways.open, client_msg_id), PATIENCE)
            await forwarder.cut()
            await live.end
        lost.cancel()
        async with writing_socket(gateways.strict, "ann", http) as live:
            again = await live.write("POST", messages, text="hello", client_msg_id=client_msg_id)
        assert (again.status, again.body["seq"]) == (201, number + 2)

    async def are_stored() -> bool:
        return len(await ann.texts("cut")) == len(ids)

    await until(are_stored, PATIENCE)


async def is_in_log(settings: Settings, client_msg_id: str) -> bool:
    """Return whether the broker has a command."""
    records = await asyncio.to_thread(read_all, settings, Topic.MESSAGES)
    return client_msg_id in {decode_command(each.value()).client_msg_id for each in records}


async def beyond_a_limit(
    request: Callable[[], Awaitable[list[WriteAnswer]]],
) -> list[WriteAnswer]:
    """Repeats requests until one is refused: a busy machine may send few of them in a second."""
    for _ in range(20):
        answers = await request()
        if any(each.status == 429 for each in answers):
            return answers
    raise AssertionError("no request is refused")


async def test_commands_beyond_a_limit_are_refused_until_the_limit_is_free(
    gateways: Gateways, http: ClientSession
) -> None:
    """Each limit has its problem; after ``Retry-After``, the same request passes."""
    strict = gateways.strict
    flo, gus = (WritingPerson(strict, user, http) for user in ("flo", "gus"))
    assert (await flo.create("limits", "a", "b", "c", "d")).kind == "too-many-members"
    assert (await flo.create("limits", "gus", "b", "c")).status == 201
    members = "/v1/conversations/limits/members"
    assert (await flo.write("POST", members, members=["d"])).status == 201
    refused = await flo.write("POST", members, members=["e"])
    assert (refused.status, refused.kind) == (429, "too-many-additions")
    assert int(refused.headers["Retry-After"]) > 600

    async def say_much() -> list[WriteAnswer]:
        sends = [person.send("limits", "hello") for person in (flo, gus) for _ in range(4)]
        return await asyncio.gather(*sends)

    busy = await beyond_a_limit(say_much)
    # A busy machine may have accepted a message without its outcome: 202.
    assert {each.kind for each in busy if each.status not in {201, 202}} == {"conversation-busy"}
    async with writing_socket(strict, "gus", http) as live:

        async def mark_often() -> list[WriteAnswer]:
            marks = [
                await live.begin("PUT", "/v1/conversations/limits/read", seq=1) for _ in range(16)
            ]
            return [await mark for mark in marks]

        late = [each for each in await beyond_a_limit(mark_often) if each.status == 429]
        assert {each.kind for each in late} == {"too-many-commands"}
        await asyncio.sleep(int(late[0].headers["Retry-After"]))
        assert (await live.write("PUT", "/v1/conversations/limits/read", seq=1)).status == 200


async def test_each_gateway_knows_the_state_of_a_command(
    gateways: Gateways, http: ClientSession
) -> None:
    """The outcome of a command at one gateway is found at the other one, for its sender alone."""
    ann, eve = (WritingPerson(gateways.open, user, http) for user in ("ann", "eve"))
    await ann.create("state", "bob")
    sent, refused = await ann.send("state", "hello"), await eve.send("state", "hello")

    async def state(user: str, client_msg_id: str) -> Any:
        asked = f"/v1/commands/{client_msg_id}?conversation=state"
        found = (await WritingPerson(gateways.strict, user, http).write("GET", asked)).body
        return [found.get(name) for name in ("status", "state", "seq", "code")]

    async def are_known() -> bool:
        return [
            await state("ann", sent.body["client_msg_id"]),
            await state("eve", refused.body["client_msg_id"]),
        ] == [[None, "sequenced", 2, None], [None, "rejected", None, "not_a_member"]]

    await until(are_known, PATIENCE)
    assert await state("bob", sent.body["client_msg_id"]) == [404, None, None, None]


async def test_two_people_who_race_get_one_direct_chat(
    gateways: Gateways, http: ClientSession
) -> None:
    """Requests of both people at two gateways at once give one chat, and so do later ones."""
    for number in range(6):
        one, two = f"one {number}", f"two {number}"
        first = WritingPerson(gateways.open, one, http)
        second = WritingPerson(gateways.strict, two, http)
        chats = await asyncio.gather(
            first.write("PUT", f"/v1/direct/{two}"), second.write("PUT", f"/v1/direct/{one}")
        )
        assert sorted(each.status for each in chats) == [200, 201]
        assert len({each.body["conv_id"] for each in chats}) == 1
        conv_id = chats[0].body["conv_id"]
        sent = await asyncio.gather(first.send(conv_id, "hello"), second.send(conv_id, "hi"))
        assert sorted(each.body["seq"] for each in sent) == [2, 3]

    async def is_listed(person: WritingPerson) -> bool:
        found = (await person.write("GET", "/v1/conversations")).body["conversations"]
        return [each["conv_id"] for each in found] == [conv_id]

    for person in (first, second):
        await until(partial(is_listed, person), PATIENCE)
    again = await second.write("PUT", f"/v1/direct/{one}")
    assert (again.status, again.body) == (200, {"conv_id": conv_id, "created": False})


async def test_pages_of_a_permitted_origin_may_write_and_of_others_not(
    gateways: Gateways, http: ClientSession
) -> None:
    """CORS is off by default; with the setting, the permitted origin alone gets the headers."""
    asked = {"Access-Control-Request-Method": "POST"}
    for settings, origin, allowed in (
        (gateways.open, PERMITTED, PERMITTED),
        (gateways.open, OTHER, None),
        (gateways.strict, PERMITTED, None),
    ):
        address = f"http://{settings.gateway_host}:{settings.gateway_port}"
        async with http.options(
            f"{address}/v1/conversations", headers={"Origin": origin, **asked}
        ) as preflight:
            assert preflight.headers.get("Access-Control-Allow-Origin") == allowed
            assert preflight.status == (405 if allowed is None else 204)
        ann = WritingPerson(settings, "ann", http)
        answer = await ann.write("GET", "/v1/conversations", headers={"Origin": origin})
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed
        assert ("Vary" in answer.headers) == (settings is gateways.open)
        if allowed is None:
            with pytest.raises(WSServerHandshakeError) as refused:
                await http.ws_connect(f"{address}/v1/live", headers={"Origin": origin})
            assert refused.value.status == 403


async def test_topics_of_recipients_have_all_outcomes(servers: Servers) -> None:
    """With a topic for each recipient, each command and each rejection has its outcome."""
    settings = servers.settings(
        partitions=1, sync_partitions=1, sync_layout="topic-per-recipient", write_wait="PT8S",
        jwt_secret=SecretStr(SECRET), gateway_port=free_ports(1)[0],
    )  # fmt: skip
    await asyncio.to_thread(prepare, settings)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(ClientSession())
        for module in (("stream_processors",), ("sinks", "message"), ("sinks", "sync")):
            stack.enter_context(running(settings, *module))
        await stack.enter_async_context(gateway(settings))
        await stack.enter_async_context(asyncio.timeout(4 * PATIENCE))
        await until(partial(is_working, settings, http), PATIENCE)
        people = {user: WritingPerson(settings, user, http) for user in PEOPLE}
        team = Team({user: person.write for user, person in people.items()}, people["bob"])
        await team.use_every_command("every")
        await team.be_rejected("rejected")

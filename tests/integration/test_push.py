"""Notifications on real servers: the sequencer, the sinks, the push stage, and an HTTP server."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from confluent_kafka import Producer
from pydantic import SecretStr
from standardwebhooks import Webhook

from backends.kafka.clients import producer_config
from backends.kafka.user_records import UserRecord, live_record, push_device_record
from backends.stages.dead_letter_log import read_letters
from backends.stages.stage_names import PUSH_STAGE
from consumers.timeline_tail import ends
from devstack.ports import free_ports
from gateway.http.frames import PROTOCOL
from gateway.http.tokens import issue_token
from schemas.ids import uuid7
from schemas.number_types import Milliseconds, SeqId
from schemas.push_addresses import WebhookAddress
from schemas.push_devices import PushDevice
from schemas.records import (
    AnyCommand,
    CreateConversation,
    EditMessage,
    MarkRead,
    MuteConversation,
    RecallMessage,
    SendMessage,
    TextContent,
)
from schemas.replays import decode_given_up
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.outbound.http_delivery import POST_SECONDS
from sinks.push.push_dispatcher import MAX_RUNNING_OF_ONE
from tests.support.gateway import SECRET
from tests.support.live_people import gateways_of_live
from tests.support.pipeline import prepare
from tests.support.processes import running, wait_until
from tests.support.push_server import PushServer, Request, push_server
from tests.support.readiness import is_ready
from tests.support.servers import Servers
from tests.support.topics import is_caught_up, publish, read_all
from tests.support.waiting import until

pytestmark = pytest.mark.servers

WEBHOOK_KEY: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WINDOW: Final = timedelta(seconds=3)
"""On a busy machine, commands that were published together are read within this time."""

ENOUGH_SECONDS: Final = 5.0
"""Time in which a notification that must not exist would have arrived: the control has arrived."""

SLOW_PEOPLE: Final = 4
"""People in each conversation whose server is slow. All requests to it, each until its timeout,
take longer than `AT_ONCE_SECONDS`, so nobody else could wait behind them for less."""

AT_ONCE_SECONDS: Final = 60.0
"""For a busy machine."""

NOTE_SECONDS: Final = 10.0
"""Within this time, the stage of a busy machine has noted an acknowledgement."""

LATE_SECONDS: Final = 2.0
"""The server of a busy machine may have a request so long after the kill of its sender; another
process needs longer to start."""

_ids: Final = (uuid7(1, number) for number in itertools.count(1))


@pytest.fixture(scope="module")
def settings(servers: Servers) -> Iterator[Settings]:
    """A deployment with all stages but the push stage, running."""
    settings = servers.settings(
        partitions=2, sync_partitions=4, push_notifications=True, push_content="text",
        push_window=WINDOW, push_webhook_secret=SecretStr(WEBHOOK_KEY),
        outbound_allow="127.0.0.1", outbound_ports="any", outbound_http=True,
    )  # fmt: skip
    prepare(settings)
    with (
        running(settings, "stream_processors"),
        running(settings, "sinks", "message"),
        running(settings, "sinks", "sync"),
    ):
        yield settings


@pytest.fixture(scope="module")
def server() -> Iterator[PushServer]:
    """A server that gets notifications."""
    with push_server() as server:
        yield server


class Stage:
    """The push stage, which several tests share, and others end."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._settings = settings
        self._log = log
        self._stack = ExitStack()
        self._is_running = False

    def start(self) -> None:
        """Start the process, if it does not run."""
        if not self._is_running:
            self._stack.enter_context(running(self._settings, "sinks", "push", log=self._log))
            self._is_running = True

    def end(self) -> None:
        """End the process in order."""
        self._stack.close()
        self._is_running = False


@pytest.fixture(scope="module")
def shared_stage(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The push stage, not yet running."""
    stage = Stage(settings, tmp_path_factory.mktemp("push") / "push.log")
    yield stage
    stage.end()


@pytest.fixture
def _stage(shared_stage: Stage) -> None:
    """The running push stage."""
    shared_stage.start()


@pytest.fixture
def _no_stage(shared_stage: Stage) -> None:
    """The push stage does not run."""
    shared_stage.end()


def about(conv_id: str, sender: str = "ann") -> dict[str, Any]:
    """The fields that each command has."""
    return {
        "conv_id": conv_id, "sender": sender, "device_id": "d", "client_msg_id": next(_ids),
    }  # fmt: skip


def creation(conv_id: str, *members: str) -> AnyCommand:
    """A conversation of ann and others; its entry has SeqId 1."""
    return CreateConversation(**about(conv_id), members=list(members))


def text(conv_id: str, words: str, sender: str = "ann") -> AnyCommand:
    """A message."""
    return SendMessage(**about(conv_id, sender), content=TextContent(words))


def write(settings: Settings, records: Sequence[UserRecord]) -> None:
    """Appends records about devices or connections, as a gateway does."""
    producer = Producer(producer_config(settings))
    for record in records:
        producer.produce(*record)
    assert producer.flush(30) == 0


def register(settings: Settings, url: str, *users: str, device_id: str = "phone") -> None:
    """Registers a device of each person."""
    device = PushDevice(at=Milliseconds(1), address=WebhookAddress(url=url))
    write(settings, [push_device_record(settings, user, device_id, device) for user in users])


def arrives(server: PushServer, path: str, count: int = 1) -> list[Request]:
    """The acknowledged requests of a path, when there are so many."""
    wait_until(lambda: len(server.acknowledged(path)) >= count, f"{count} requests at {path}")
    return server.acknowledged(path)


@pytest.mark.usefixtures("_stage")
def test_a_notification_arrives(settings: Settings, server: PushServer) -> None:
    """A burst causes one signed request with the newest text, its sender and the unread count."""
    register(settings, f"{server.url}/first", "bob")
    publish(
        settings,
        [
            creation("first", "bob"),
            *(text("first", f"text {n}") for n in range(3)),
            EditMessage(**about("first"), seq=SeqId(4), content=TextContent("edited")),
        ],
    )

    (request,) = arrives(server, "/first")

    Webhook(WEBHOOK_KEY).verify(request.body, dict(request.headers))
    assert request.data == {
        "user_id": "bob", "device_id": "phone", "conv_id": "first", "seq": 4, "unread": 3,
        "sender": "ann", "text": "edited",
    }  # fmt: skip
    publish(settings, [text("first", "one more")])
    second = arrives(server, "/first", 2)[1]
    assert (second.data["seq"], second.data["unread"]) == (6, 4)


@pytest.mark.usefixtures("_stage")
def test_who_needs_no_notification_gets_none(settings: Settings, server: PushServer) -> None:
    """Muted, recalled, read on another device, live, written by oneself: no request at all."""
    people = ("muted", "recalled", "read", "live", "self", "control")
    register(settings, f"{server.url}/none", *people[:-1])
    register(settings, f"{server.url}/control", "control")
    write(settings, [live_record(settings, "live", "gateway", is_live=True)])
    publish(settings, [creation(f"c-{user}", user) for user in people])
    publish(settings, [MuteConversation(**about("c-muted", "muted"))])
    publish(
        settings,
        [
            *(text(f"c-{user}", "Hi") for user in people if user != "self"),
            text("c-self", "Hi", sender="self"),
            RecallMessage(**about("c-recalled"), seq=SeqId(2)),
            MarkRead(**about("c-read", "read"), seq=SeqId(2)),
        ],
    )
    arrives(server, "/control")
    time.sleep(ENOUGH_SECONDS)
    assert server.requests("/none") == []


@asynccontextmanager
async def looking(settings: Settings, user: str, connections: list[bool]) -> AsyncIterator[None]:
    """Live connections of a person at a gateway, each active or not, as the log has them."""
    token = issue_token(settings, user, timedelta(minutes=5))
    address = f"http://{settings.gateway_host}:{settings.gateway_port}/v1/live"
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        for is_active in connections:
            opening = http.ws_connect(address, protocols=(PROTOCOL, f"bearer.{token}"))
            socket = await stack.enter_async_context(opening)
            assert (await socket.receive_json(timeout=60))["kind"] == "begun"
            await socket.send_json({"kind": "presence", "active": is_active})

        async def is_recorded() -> bool:
            gateways = await asyncio.to_thread(gateways_of_live, settings, user)
            return bool(gateways) == any(connections)

        await until(is_recorded, 60)
        yield


@pytest.mark.usefixtures("_stage")
async def test_only_an_active_connection_keeps_a_notification_back(
    settings: Settings, server: PushServer
) -> None:
    """A person whose pages are all in the background is notified; one active page is enough."""
    own = settings.model_copy(
        update={"gateway_port": free_ports(1)[0], "jwt_secret": SecretStr(SECRET)}
    )
    for user in ("away", "here"):
        register(settings, f"{server.url}/{user}", user)
    with running(own, "gateway"):
        await asyncio.to_thread(wait_until, lambda: is_ready(own), "the gateway is ready")
        async with looking(own, "away", [False, False]), looking(own, "here", [False, True]):
            publish(settings, [creation("looks", "away", "here"), text("looks", "Hi")])
            await asyncio.to_thread(arrives, server, "/away")
            await asyncio.sleep(ENOUGH_SECONDS)
    assert server.requests("/here") == []


@pytest.mark.usefixtures("_stage")
def test_a_read_mark_of_the_past_reduces_the_count(settings: Settings, server: PushServer) -> None:
    """The unread count is that of the list of conversations: messages above the read mark."""
    register(settings, f"{server.url}/count", "dan")
    publish(settings, [creation("count", "dan"), *(text("count", str(n)) for n in range(5))])
    assert arrives(server, "/count")[0].data["unread"] == 5
    publish(settings, [MarkRead(**about("count", "dan"), seq=SeqId(4)), text("count", "new")])
    assert arrives(server, "/count", 2)[1].data["unread"] == 3


@pytest.mark.usefixtures("_stage")
def test_a_slow_server_delays_nobody_else(settings: Settings, server: PushServer) -> None:
    """While one server does not respond, notifications for another one arrive at once."""
    with push_server() as slow:
        slow.statuses["/slow"] = -1
        late = [[f"slow{n}-{k}" for k in range(SLOW_PEOPLE)] for n in range(60)]
        register(settings, f"{slow.url}/slow", *itertools.chain(*late))
        register(settings, f"{server.url}/fast", *(f"fast{n}" for n in range(60)))
        publish(settings, [creation(f"s{n}", *late[n], f"fast{n}") for n in range(60)])
        publish(settings, [text(f"s{n}", "Hi") for n in range(60)])
        last = max(each.at for each in arrives(server, "/fast", 60))
        wait_until(lambda: slow.stuck, "a request that hangs")
        assert 60 * SLOW_PEOPLE / MAX_RUNNING_OF_ONE * POST_SECONDS > AT_ONCE_SECONDS
        assert last - slow.stuck[0] < AT_ONCE_SECONDS, "a notification waited for the slow server"
        assert slow.acknowledged() == []
        slow.end()
        arrives(slow, "/slow", 60 * SLOW_PEOPLE)


@pytest.mark.usefixtures("_stage")
def test_a_refusal_is_a_dead_letter_and_a_lost_device_is_removed(
    settings: Settings, server: PushServer
) -> None:
    """400 is not repeated and leaves a letter without a text; 410 removes the address."""
    server.statuses |= {"/refused": 400, "/gone": 410}
    register(settings, f"{server.url}/refused", "eve")
    register(settings, f"{server.url}/gone", "fay")
    publish(settings, [creation("bad", "eve", "fay"), text("bad", "a secret text")])
    wait_until(lambda: _letters(settings), "a dead letter")
    wait_until(lambda: _removed(settings, b"fay\nphone"), "the address is removed")
    assert _letters(settings) == ["notification: status 400"]
    (letter,) = [m.value() for m in read_all(settings, Topic.DEAD_LETTER)]
    ids = decode_given_up(letter)
    assert (ids.device_id, ids.conv_id, ids.seq, ids.sender) == ("phone", "bad", 2, "ann")
    assert b"secret" not in (letter or b"")
    publish(settings, [text("bad", "one more")])
    wait_until(lambda: len(server.requests("/refused")) == 2, "the next message is tried")
    assert len(server.requests("/gone")) == 1


def _letters(settings: Settings) -> list[str]:
    return [each.reason for each in read_letters(settings) if each.stage == PUSH_STAGE]


def _removed(settings: Settings, key: bytes) -> bool:
    records = [m for m in read_all(settings, Topic.PUSH_DEVICES) if m.key() == key]
    return records[-1].value() is None


def _is_readable(settings: Settings) -> bool:
    """Whether the outcomes of all commands can be read. A sink has nothing to do before.

    The marker of a transaction reaches each topic on its own.
    """
    return is_caught_up(settings, "sequencer", Topic.MESSAGES) and (
        ends(settings, Topic.SYNC) == ends(settings, Topic.SYNC, committed_only=True)
    )


@pytest.mark.usefixtures("_no_stage")
def test_nothing_is_lost_while_the_provider_and_the_stage_are_down(
    settings: Settings, server: PushServer, tmp_path: Path
) -> None:
    """A failing server, an orderly restart, and a message that is read while the stage is down."""
    server.statuses["/down"] = 503
    register(settings, f"{server.url}/down", "gus", "hal")
    publish(settings, [creation("d-gus", "gus"), creation("d-hal", "hal")])
    with running(settings, "sinks", "push", log=tmp_path / "one.log"):
        publish(settings, [text("d-gus", "Hi"), text("d-hal", "Hi")])
        wait_until(
            lambda: {each.data["user_id"] for each in server.requests("/down")} == {"gus", "hal"},
            "attempts for both",
        )
    publish(settings, [MarkRead(**about("d-hal", "hal"), seq=SeqId(2))])
    wait_until(lambda: _is_readable(settings), "the mark is sequenced")
    wait_until(lambda: is_caught_up(settings, "sink-sync", Topic.SYNC), "the mark is stored")
    server.statuses.pop("/down")
    with running(settings, "sinks", "push", log=tmp_path / "two.log"):
        arrives(server, "/down")
        time.sleep(ENOUGH_SECONDS)
    assert [each.about[:1] for each in server.acknowledged("/down")] == [("gus",)]
    ids = {
        each.headers["webhook-id"]
        for each in server.requests("/down")
        if each.data["user_id"] == "gus"
    }
    assert len(ids) == 1


@pytest.mark.usefixtures("_no_stage")
@pytest.mark.parametrize("is_killed", [False, True], ids=["in order", "kill -9"])
def test_nothing_is_lost_or_repeated_when_the_stage_ends(
    settings: Settings, server: PushServer, tmp_path: Path, *, is_killed: bool
) -> None:
    """The stage ends again and again at any moment, while messages flow to two devices each.

    Each person gets the newest message of each conversation on both devices. After an orderly end,
    no notification is repeated. After a kill, only a notification is repeated whose
    acknowledgement the killed process had no time to note, with the same id.
    """
    name = "kill" if is_killed else "order"
    chance = random.Random(7)
    users = [f"{name}{n}" for n in range(20)]
    path, tablet = f"/{name}", f"/{name}-tablet"
    register(settings, f"{server.url}{path}", *users)
    register(settings, f"{server.url}{tablet}", *users, device_id="tablet")
    convs = [f"c-{user}" for user in users]
    publish(settings, [creation(conv, user) for conv, user in zip(convs, users, strict=True)])
    heads = dict.fromkeys(convs, 1)
    ended: list[float] = []
    for round_ in range(4):
        with running(settings, "sinks", "push", log=tmp_path / f"{round_}.log") as process:
            before = len(server.acknowledged(path))
            for _ in range(3):
                chosen = chance.sample(convs, 8)
                publish(settings, [text(conv, "Hi") for conv in chosen])
                for conv in chosen:
                    heads[conv] += 1
                time.sleep(chance.uniform(0, 0.6))
            arrives(server, path, before + 1)
            time.sleep(chance.uniform(0, 0.5))
            if is_killed:
                process.kill()
                process.wait()
            ended.append(time.monotonic())
    wanted = {
        (user, device, conv, heads[conv])
        for user, conv in zip(users, convs, strict=True)
        for device in ("phone", "tablet")
    }

    def missing() -> set[Any]:
        found = {each.about for each in server.acknowledged()}
        return {each for each in wanted if each[3] > 1 and each not in found}

    with running(settings, "sinks", "push", log=tmp_path / "last.log"):
        wait_until(lambda: not missing(), "the newest message of each conversation")
        time.sleep(ENOUGH_SECONDS)
    got = [*server.acknowledged(path), *server.acknowledged(tablet)]
    repeated = [about for about, count in Counter(each.about for each in got).items() if count > 1]
    if not is_killed:
        assert repeated == []
    for about_ in repeated:
        same = sorted((each for each in got if each.about == about_), key=lambda each: each.at)
        assert len({each.headers["webhook-id"] for each in same}) == 1
        for one, next_ in itertools.pairwise(same):
            assert any(
                one.at - LATE_SECONDS < end < min(one.at + NOTE_SECONDS, next_.at) for end in ended
            ), "repeated without a kill, or noted long before it"

"""The limits of commands over HTTP, each at its number and one beyond, and after its wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.http.http_app import writes_to
from gateway.limits.command_limits import BURST_SECONDS
from schemas.codec import decode_command
from schemas.errors import ConfigurationError
from schemas.settings import load_settings
from tests.support.gateway import Answer, Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore
from tests.support.sequenced_log import SequencedLog
from tests.support.tokens import token_of
from tests.unit.gateway.test_token_buckets import SECOND, NanosecondClock

SETTINGS = token_settings(
    write_wait="PT0.3S",
    http_commands_per_second=2,
    http_conversation_commands_per_second=3,
    http_additions_per_hour=6,
    http_members_per_command=4,
)
OF_PERSON, OF_CONVERSATION = 2 * BURST_SECONDS, 3 * BURST_SECONDS
CHAT = "/v1/conversations/c"


@pytest.fixture
def clock() -> NanosecondClock:
    """The clock of the limits."""
    return NanosecondClock()


@pytest.fixture
def log() -> SequencedLog:
    """A log without commands."""
    return SequencedLog()


@pytest.fixture
async def gateway(log: SequencedLog, clock: NanosecondClock) -> AsyncIterator[Caller]:
    """A gateway with the conversation ``c`` of ann and bob; all buckets are full again."""
    writes = writes_to(SETTINGS, log, clock)
    log.feed(writes.waiters)
    async with serving(SETTINGS, FakeStore(), FakeIndex(), writes=writes) as caller:
        made = await create(caller, "ann", ["bob", "chen", "dora"], conv_id="c")
        assert made.status == 201
        clock.now += 3_600 * SECOND
        yield caller


async def create(gateway: Caller, user: str, members: list[str], **fields: Any) -> Answer:
    """Create a conversation."""
    return await gateway.write("POST", "/v1/conversations", user, members=members, **fields)


async def say(gateway: Caller, user: str, path: str = CHAT) -> Answer:
    """Send a message."""
    return await gateway.write("POST", f"{path}/messages", user, text="hello")


def refused(answer: Answer, kind: str) -> int:
    """Return the ``Retry-After`` of a 429 of this kind."""
    assert answer.status == 429
    assert answer.body["type"] == f"urn:im-timeline:problem:{kind}"
    return int(answer.headers["Retry-After"])


async def test_the_commands_of_a_person_are_limited(
    gateway: Caller, log: SequencedLog, clock: NanosecondClock
) -> None:
    """The burst passes, the next command is a 429 that is not sent, and passes after the wait."""
    for _ in range(OF_PERSON):
        assert (await say(gateway, "ann")).status == 201
    sent = len(log.sources)
    assert refused(await say(gateway, "ann"), "too-many-commands") == 1
    assert len(log.sources) == sent
    assert (await say(gateway, "bob")).status == 201
    clock.now += SECOND // 2 - 1
    refused(await say(gateway, "ann"), "too-many-commands")
    clock.now += 1
    assert (await say(gateway, "ann")).status == 201
    refused(await say(gateway, "ann"), "too-many-commands")


async def test_read_marks_count_for_the_person(gateway: Caller) -> None:
    """A read mark is a command of its person."""
    for _ in range(OF_PERSON):
        assert (await gateway.write("PUT", f"{CHAT}/read", "bob", seq=1)).status == 200
    refused(await gateway.write("PUT", f"{CHAT}/read", "bob", seq=1), "too-many-commands")


async def test_the_commands_of_a_conversation_are_limited(
    gateway: Caller, clock: NanosecondClock
) -> None:
    """Members share the limit of their conversation. Marks, mutes and other chats do not count."""
    for number in range(OF_CONVERSATION):
        assert (await say(gateway, ("ann", "bob")[number % 2])).status == 201
    assert refused(await say(gateway, "chen"), "conversation-busy") == 1
    assert (await gateway.write("PUT", f"{CHAT}/read", "chen", seq=1)).status == 200
    assert (await gateway.write("PUT", f"{CHAT}/mute", "chen")).status == 200
    assert (await create(gateway, "chen", [])).status == 201
    clock.now += SECOND // 3 + 1
    assert (await say(gateway, "chen")).status == 201
    refused(await say(gateway, "dora"), "conversation-busy")


async def test_a_stranger_does_not_use_up_a_conversation(gateway: Caller) -> None:
    """Rejected commands count for their sender, and not for the conversation."""
    for stranger in ("eve", "fay"):
        for _ in range(OF_PERSON):
            assert (await say(gateway, stranger)).status == 403
        refused(await say(gateway, stranger), "too-many-commands")
    for number in range(OF_CONVERSATION):
        assert (await say(gateway, ("ann", "bob")[number % 2])).status == 201
    refused(await say(gateway, "chen"), "conversation-busy")


async def test_additions_are_limited(gateway: Caller, clock: NanosecondClock) -> None:
    """A person adds so many people in an hour, also as members of new conversations."""
    assert (await create(gateway, "ann", ["p1", "p2", "p3", "ann"])).status == 201
    add = {"members": ["p1", "p2", "p3", "p4"]}
    answer = await gateway.write("POST", f"{CHAT}/members", "ann", **add)
    assert refused(answer, "too-many-additions") == 600
    add = {"members": ["p1", "p2", "p3"]}
    assert (await gateway.write("POST", f"{CHAT}/members", "ann", **add)).status == 201
    assert refused(await create(gateway, "ann", ["p1"]), "too-many-additions") == 600
    assert (await create(gateway, "ann", [])).status == 201
    assert (await create(gateway, "bob", ["p1"])).status == 201
    clock.now += 600 * SECOND
    assert (await create(gateway, "ann", ["p1"])).status == 201
    refused(await create(gateway, "ann", ["p1"]), "too-many-additions")


async def test_rejected_additions_do_not_count(gateway: Caller) -> None:
    """A rejected command has added nobody."""
    for _ in range(4):
        answer = await gateway.write("POST", f"{CHAT}/members", "eve", members=["p1", "p2", "p3"])
        assert answer.status == 403
    assert (await create(gateway, "eve", ["p1", "p2", "p3"])).status == 201


async def test_the_members_of_a_command_are_limited(gateway: Caller) -> None:
    """A command names at most so many people, whether it creates, adds or removes."""
    assert (await create(gateway, "bob", ["p1", "p2", "p3", "p4"])).status == 201
    for answer in (
        await create(gateway, "chen", ["p1", "p2", "p3", "p4", "p5"]),
        await gateway.write("POST", f"{CHAT}/members", "chen", members=list("abcde")),
    ):
        assert answer.status == 400
        assert answer.body["type"] == "urn:im-timeline:problem:too-many-members"
        assert answer.body["parameter"] == "members"
        assert "Retry-After" not in answer.headers


async def test_a_command_that_was_not_sent_counts_for_its_sender_only(
    gateway: Caller, log: SequencedLog
) -> None:
    """While Kafka is away, commands do not use up their conversation."""
    log.is_away = True
    for _ in range(OF_PERSON):
        assert (await say(gateway, "ann")).status == 503
    log.is_away = False
    for number in range(OF_CONVERSATION):
        assert (await say(gateway, ("bob", "chen")[number % 2])).status == 201
    refused(await say(gateway, "dora"), "conversation-busy")


async def test_a_wrong_command_counts_for_nothing(gateway: Caller) -> None:
    """A command that the sequencer would reject in any state is refused before it is counted."""
    for _ in range(OF_PERSON + 1):
        answer = await gateway.write("POST", f"{CHAT}/messages", "ann", text="")
        assert answer.status == 400
    assert (await say(gateway, "ann")).status == 201


async def test_the_device_of_the_token_is_that_of_the_command(
    gateway: Caller, log: SequencedLog
) -> None:
    """The claim ``device`` names the device of a command, unless the body names one."""
    secret = SETTINGS.jwt_secret.get_secret_value()
    headers = {"Authorization": f"Bearer {token_of('HS256', secret, device='phone')}"}
    for body in (b'{"text":"hello"}', b'{"text":"hello","device_id":"desk"}'):
        answer = await gateway.send("POST", f"{CHAT}/messages", None, body, headers)
        assert answer.status == 201
    devices = [decode_command(source.value).device_id for source in log.sources[-2:]]
    assert devices == ["phone", "desk"]


def test_limits_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of members that could never be added is refused at the start."""
    monkeypatch.setenv("IM_HTTP_ADDITIONS_PER_HOUR", "10")
    with pytest.raises(ConfigurationError, match="IM_HTTP_MEMBERS_PER_COMMAND must not be above"):
        load_settings()
    monkeypatch.setenv("IM_HTTP_MEMBERS_PER_COMMAND", "10")
    assert load_settings().http_members_per_command == 10


@pytest.mark.parametrize(
    "name",
    [
        "COMMANDS_PER_SECOND",
        "CONVERSATION_COMMANDS_PER_SECOND",
        "ADDITIONS_PER_HOUR",
        "MEMBERS_PER_COMMAND",
    ],
)
def test_a_limit_is_at_least_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of 0, which would allow nothing, is refused."""
    monkeypatch.setenv(f"IM_HTTP_{name}", "0")
    with pytest.raises(ConfigurationError, match=f"IM_HTTP_{name}: "):
        load_settings()

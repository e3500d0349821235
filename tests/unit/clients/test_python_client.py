"""The Python client at a gateway with a log, a store and an index in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import pytest
from aiohttp import web

import im_timeline_client.commands
import im_timeline_client.transport
from gateway.http.tokens import issue_token
from im_timeline_client import (
    Client,
    ClientClosed,
    CommandRejected,
    Entry,
    GatewayUnavailable,
    InvalidToken,
    Item,
    OutcomeUnknown,
    RequestRefused,
    UnexpectedAnswer,
    connect,
)
from schemas.direct_chats import direct_chat_id
from schemas.ids import uuid7
from tests.support.gateway import Caller, token_settings
from tests.support.storing_log import StoringLog, serving_log

SETTINGS: Final = token_settings(write_wait="PT0.1S", push_limit=4, push_again_below=4)
SECONDS: Final = 20.0


def token_of(user: str, seconds: float = 60.0) -> str:
    """A token of a person."""
    return issue_token(SETTINGS, user, timedelta(seconds=seconds))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between two attempts are short, also if the gateway asks for a longer one."""
    monkeypatch.setattr(im_timeline_client.transport, "LONGEST_RETRY_AFTER_SECONDS", 0.01)
    for module in (im_timeline_client.transport, im_timeline_client.commands):
        monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.01)
        monkeypatch.setattr(module, "LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(im_timeline_client.commands, "LAST_ATTEMPT_SECONDS", SECONDS)


@pytest.fixture
def log() -> StoringLog:
    """A log without commands."""
    return StoringLog(SETTINGS.limits)


@pytest.fixture
async def gateway(log: StoringLog) -> AsyncIterator[Caller]:
    """A gateway on the log."""
    async with serving_log(SETTINGS, log) as caller:
        yield caller


@pytest.fixture
async def ann(gateway: Caller) -> AsyncIterator[Client]:
    """Ann, who has created the conversation ``c`` with bob."""
    async with connect(gateway.base, token_of("ann")) as client:
        await client.create_conversation(["bob"], conv_id="c", name="Lunch")
        yield client


@asynccontextmanager
async def client_of(gateway: Caller, user: str, **options: Any) -> AsyncIterator[Client]:
    """A client of a person."""
    async with connect(gateway.base, token_of(user), **options) as client:
        yield client


async def taken(items: AsyncIterator[Item], count: int) -> list[Item]:
    """The next items of an iteration."""
    async with asyncio.timeout(SECONDS):
        return [await anext(items) for _ in range(count)]


def texts(items: list[Item]) -> list[str | None]:
    """The texts of items."""
    return [item.entry.text if item.entry else None for item in items]


async def test_each_command_has_its_outcome(ann: Client, gateway: Caller) -> None:
    """Each method writes its entry, and returns the SeqId, the time and the id of the entry."""
    assert ann.user == "ann"
    first = await ann.send("c", "one", mentions=["bob"])
    assert (first.conv_id, first.seq) == ("c", 3)  # after the creation and the name
    assert (await ann.edit("c", 3, "two", mentions=["bob"])).seq == 4
    assert (await ann.recall("c", 3)).seq == 5
    assert (await ann.add_members("c", ["eve", "dora"])).seq == 6
    assert (await ann.remove_member("c", "dora")).seq == 7
    assert (await ann.describe("c", name="Dinner", metadata='{"a": 1}')).seq == 8
    assert (await ann.transfer_ownership("c", "bob")).seq == 9
    async with client_of(gateway, "bob", device_id="bot") as bob:
        assert (await bob.mark_read("c", 9)).seq == 9
        assert (await bob.mute("c", 1_900_000_000_000)).seq == 9
        assert (await bob.mute("c")).seq == 9
        assert (await bob.unmute("c")).seq == 9
        assert (await bob.leave("c")).seq == 10
    history = [item.entry async for item in ann.history("c")]
    assert [entry and entry.kind for entry in history] == [
        "conversation_created", "conversation_described", None, "message_recalled",
        "members_added", "members_removed", "conversation_described",
        "ownership_transferred", "members_removed", "ownership_transferred",
    ]  # fmt: skip


async def test_a_direct_chat_is_the_one_of_two_people(ann: Client, gateway: Caller) -> None:
    """Both people get the same conversation."""
    chat = await ann.direct("bob")
    async with client_of(gateway, "bob") as bob:
        assert await bob.direct("ann") == chat == direct_chat_id("ann", "bob")


async def test_reading(ann: Client) -> None:
    """Conversations, members, history, search and the sync timeline are read, page by page."""
    for number in range(3):
        await ann.send("c", f"word {number}")
    await ann.create_conversation([], conv_id="d")
    listed = [each async for each in ann.conversations(newest_first=False)]
    assert [(each.conv_id, each.head, each.mode) for each in listed] == [
        ("c", 5, "push"), ("d", 1, "push"),
    ]  # fmt: skip
    assert [each.user async for each in ann.members("c")] == ["ann", "bob"]
    assert texts([item async for item in ann.history("c", 3, 4)]) == ["word 0", "word 1"]
    down = [item.first async for item in ann.history("c", newest_first=True)]
    assert down == [5, 4, 3, 2, 1]
    page = await ann.search("word", limit=2)
    assert [hit.text for hit in page.hits] == ["word 2", "word 1"]
    rest = await ann.search("word", limit=2, cursor=page.next, conv_id="c", sender="ann")
    assert ([hit.text for hit in rest.hits], rest.cut) == (["word 0"], False)
    records = [each async for each in ann.sync()]
    assert [each.record["seq"] for each in records if each.record["conv_id"] == "c"] == [
        1, 2, 3, 4, 5,
    ]  # fmt: skip
    assert [each async for each in ann.sync(records[-1].sync_seq)] == []


async def test_small_pages_have_the_same_items(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An iteration reads all pages, in both directions, and ends at the head of its first page."""
    for name in ("HISTORY_PAGE", "LIST_PAGE"):
        monkeypatch.setattr(im_timeline_client.reads, name, 2)
        monkeypatch.setattr(im_timeline_client.gateway, name, 2)
    monkeypatch.setattr(im_timeline_client.gateway, "SYNC_PAGE", 2)
    for number in range(4):
        await ann.create_conversation(["x", "y", "z"], conv_id=f"more {number}")
    for number in range(5):
        await ann.send("c", str(number))
    assert len([each async for each in ann.conversations()]) == 5
    assert [each.user async for each in ann.members("more 1")] == ["ann", "x", "y", "z"]
    assert [item.first async for item in ann.history("c", 2)] == [2, 3, 4, 5, 6, 7]
    assert [item.first async for item in ann.history("c", 2, 6, newest_first=True)] == [
        6, 5, 4, 3, 2,
    ]  # fmt: skip
    assert len([each async for each in ann.sync()]) == 11


async def test_a_rejection_has_its_code(ann: Client, gateway: Caller) -> None:
    """A rejected command raises its code; a refused request raises the kind of its problem."""
    async with client_of(gateway, "eve") as eve:
        with pytest.raises(CommandRejected) as rejected:
            await eve.send("c", "hello")
    assert rejected.value.code == "not_a_member"
    with pytest.raises(RequestRefused) as refused:
        await ann.send("c", "x" * 10_000)
    assert (refused.value.status, refused.value.kind) == (400, "bad-body")
    with pytest.raises(RequestRefused) as unknown:
        await anext(ann.history("unknown"))
    assert unknown.value.status == 404


async def test_an_id_has_one_effect(ann: Client, gateway: Caller) -> None:
    """A command with the same id has the same outcome, also from another process."""
    own = uuid7(1, 1)
    first = await ann.send("c", "once", client_msg_id=own)
    async with client_of(gateway, "ann") as other:
        assert await other.send("c", "once", client_msg_id=own) == first
        with pytest.raises(CommandRejected) as conflict:
            await other.send("c", "another text", client_msg_id=own)
    assert conflict.value.code == "conflict"
    assert first.client_msg_id == own


async def test_commands_of_a_conversation_keep_their_order(ann: Client) -> None:
    """Commands that are sent at once are sequenced in the order of the calls, none is stale."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ann.send("c", str(number))) for number in range(20)]
    assert [task.result().seq for task in tasks] == list(range(3, 23))
    ids = [task.result().client_msg_id for task in tasks]
    assert ids == sorted(set(ids))


async def test_a_slow_outcome_is_awaited(ann: Client, log: StoringLog) -> None:
    """A command that the broker has is repeated until its outcome is known: one entry."""
    log.sequences = False
    sending = asyncio.create_task(ann.send("c", "slow"))
    await asyncio.sleep(0.3)  # longer than the wait of one request
    assert not sending.done()
    log.sequences = True
    log.sequence()
    assert (await sending).seq == 3
    assert [item.first async for item in ann.history("c")] == [1, 2, 3]


async def test_an_unknown_outcome_is_an_error_that_can_be_repeated(
    gateway: Caller, log: StoringLog
) -> None:
    """After its time, a command that was sent raises `OutcomeUnknown`; `repeat` has no effect."""
    async with client_of(gateway, "ann", outcome_seconds=1.0) as ann:
        await ann.create_conversation(["bob"], conv_id="c")
        log.sequences = False
        with pytest.raises(OutcomeUnknown) as unknown:
            await ann.send("c", "slow")
        log.sequences = True
        log.sequence()
        outcome = await ann.repeat(unknown.value)
        assert (outcome.seq, outcome.client_msg_id) == (2, unknown.value.client_msg_id)
        assert [item.first async for item in ann.history("c")] == [1, 2]


async def test_a_command_that_was_not_sent_is_unavailable(
    gateway: Caller, log: StoringLog
) -> None:
    """While Kafka is away, a command waits; after its time it raises, and has no effect."""
    async with client_of(gateway, "ann", outcome_seconds=1.0) as ann:
        await ann.create_conversation(["bob"], conv_id="c")
        log.is_away = True
        with pytest.raises(GatewayUnavailable):
            await ann.send("c", "lost")
        log.is_away = False
        assert (await ann.send("c", "sent")).seq == 2


async def test_a_command_survives_a_short_failure(ann: Client, log: StoringLog) -> None:
    """A command that meets an unavailable log is sent again, and succeeds."""
    log.is_away = True
    sending = asyncio.create_task(ann.send("c", "later"))
    await asyncio.sleep(0.1)
    log.is_away = False
    assert (await sending).seq == 3


async def test_items_arrive_as_they_are_sent(ann: Client, gateway: Caller) -> None:
    """An iteration shows what is sent after its begin, of old and of new conversations."""
    await ann.send("c", "before")
    async with client_of(gateway, "bob") as bob:
        items = bob.items()
        await items.begin()
        await ann.send("c", "one")
        await ann.create_conversation(["bob"], conv_id="d")
        await ann.send("d", "two")
        await ann.recall("c", 4)
        found = await taken(items, 4)
        assert [(item.conv_id, item.first) for item in found] == [
            ("c", 4), ("d", 1), ("d", 2), ("c", 5),
        ]  # fmt: skip
        assert texts(found) in (["one", None, "two", None], [None, None, "two", None])
        with pytest.raises(TimeoutError):  # a cancelled wait loses nothing
            async with asyncio.timeout(0.05):
                await anext(items)
        await ann.send("c", "three")
        assert texts(await taken(items, 1)) == ["three"]


async def test_a_checkpoint_continues_in_another_process(ann: Client, gateway: Caller) -> None:
    """An iteration from a checkpoint shows exactly the items that were not taken before."""
    async with client_of(gateway, "bob") as bob:
        items = bob.items()
        await items.begin()
        for number in range(6):
            await ann.send("c", str(number))
        assert texts(await taken(items, 2)) == ["0", "1"]
        checkpoint = items.checkpoint()
    await ann.send("c", "6")
    async with client_of(gateway, "bob") as again:
        assert texts(await taken(again.items(checkpoint), 5)) == ["2", "3", "4", "5", "6"]
        with pytest.raises(ValueError, match="checkpoint"):
            again.items("{}")


async def test_a_large_group_is_followed(ann: Client, gateway: Caller, log: StoringLog) -> None:
    """Entries of a conversation in pull mode do not arrive by sync, and are read and shown."""
    await ann.add_members("c", ["d", "e", "f"])
    async with client_of(gateway, "bob") as bob:
        items = bob.items()
        await items.begin()
        for number in range(5):
            await ann.send("c", str(number))
        assert texts(await taken(items, 5)) == ["0", "1", "2", "3", "4"]
        log.stores = False
        await ann.send("c", "late", mentions=["bob"])
        log.stores = True
        log.settle()
        assert texts(await taken(items, 1)) == ["late"]


async def test_an_absence_is_shown_as_a_hole(ann: Client, gateway: Caller) -> None:
    """A person who was removed and added again sees a hole for the time between."""
    async with client_of(gateway, "bob") as bob:
        items = bob.items()
        await items.begin()
        await ann.remove_member("c", "bob")
        await ann.send("c", "secret")
        await ann.add_members("c", ["bob"])
        await ann.send("c", "welcome")
        found = await taken(items, 4)
    assert [(item.first, item.last, item.hole) for item in found] == [
        (3, 3, None), (4, 4, "hidden"), (5, 5, None), (6, 6, None),
    ]  # fmt: skip


async def test_a_token_is_refreshed(ann: Client, gateway: Caller) -> None:
    """A function is called for each request, and once more when its token is refused."""
    given: list[str] = []

    async def fresh() -> str:
        given.append(token_of("bob", -60 if len(given) == 1 else 60))
        return given[-1]

    await ann.send("c", "hello")
    async with connect(gateway.base, fresh) as bob:
        assert len([item async for item in bob.history("c")]) == 3
        assert len(given) == 3  # for the name of the person, a refused one, a fresh one
        assert len([item async for item in bob.history("c")]) == 3
        assert len(given) == 4


async def test_a_refused_token_ends_an_iteration(gateway: Caller) -> None:
    """A token that stays refused is an error, also of an iteration; nothing is retried."""
    for token in (token_of("bob", -60), lambda: token_of("bob", -60)):
        async with connect(gateway.base, token) as bob:
            with pytest.raises(RequestRefused) as refused:
                await taken(bob.items(), 1)
        assert (refused.value.status, refused.value.kind) == (401, "unauthorized")
    with pytest.raises(InvalidToken):
        async with connect(gateway.base, "not a token"):
            raise AssertionError("not reached")


async def test_a_client_works_only_while_it_is_open(gateway: Caller) -> None:
    """Before and after the block, each method raises `ClientClosed`; an iteration ends."""
    bob = connect(gateway.base, token_of("bob"))
    with pytest.raises(ClientClosed):
        await bob.send("c", "hello")
    async with bob:
        items = bob.items()
        waiting = asyncio.create_task(anext(items, None))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert [item async for item in items] == []
    with pytest.raises(ClientClosed):
        bob.items()


Respond = Callable[[web.BaseRequest], web.Response]


@asynccontextmanager
async def answering(respond: Respond) -> AsyncIterator[str]:
    """The address of a server with one response to everything."""

    async def handle(request: web.BaseRequest) -> web.Response:
        await request.read()
        return respond(request)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    "body",
    ["no JSON: secret", "[]", '{"conv_id": "secret"}', '{"conversations": 7, "next": null}'],
)
async def test_an_unknown_answer_is_an_error_without_its_text(body: str) -> None:
    """An answer of another format raises `UnexpectedAnswer`, which quotes nothing of it."""
    async with (
        answering(lambda _: web.Response(text=body)) as base,
        connect(base, token_of("bob")) as bob,
    ):
        with pytest.raises(UnexpectedAnswer) as unexpected:
            [each async for each in bob.conversations()]
        assert "secret" not in str(unexpected.value)


async def test_a_proxy_that_fails_is_retried_and_reported() -> None:
    """5xx answers without a problem are retried; a command after them has an unknown outcome."""
    asked: list[str] = []

    def fail(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response(status=502, text="<html>bad gateway</html>")

    async with answering(fail) as base, connect(base, token_of("bob")) as bob:
        with pytest.raises(GatewayUnavailable):
            [each async for each in bob.conversations()]
        assert len(asked) == im_timeline_client.transport.ATTEMPTS
    async with (
        answering(fail) as base,
        connect(base, token_of("bob"), outcome_seconds=0.2) as bob,
    ):
        with pytest.raises(OutcomeUnknown):
            await bob.send("c", "hello")
    with pytest.raises(GatewayUnavailable):
        async with connect(base, token_of("bob"), outcome_seconds=0.2) as bob:
            await bob.send("c", "nobody listens")


async def test_patience_ends_an_iteration(gateway: Caller) -> None:
    """An iteration with patience raises after that time; without, it would retry."""
    async with client_of(gateway, "bob") as bob:
        items = bob.items(patience=0.3)
        await items.begin()
        checkpoint = items.checkpoint()
    async with connect("http://127.0.0.1:1", token_of("bob")) as lost:
        with pytest.raises(GatewayUnavailable):
            await taken(lost.items(checkpoint, patience=0.3), 1)


def test_no_text_of_a_message_is_in_a_repr() -> None:
    """What an application logs by mistake has no text of a message."""
    fields = {
        "kind": "message_sent", "conv_id": "c", "seq": 1, "sender": "ann", "client_msg_id": "i",
        "at": 1, "content": {"type": "text", "text": "secret"},
    }  # fmt: skip
    entry = Entry.from_json(fields)
    assert entry.text == "secret"
    assert "secret" not in repr(Item.of(entry))

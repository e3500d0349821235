"""The history that new members may read, from the SDK through the whole pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from backends.cassandra.session import cassandra_session
from backends.elasticsearch.index import elasticsearch_client
from producers.publisher import Publisher
from schemas.records import HistoryRule
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.gateway import SECRET, Caller, covered
from tests.support.gateway_rows import gateway_on_servers
from tests.support.pipeline import assert_verified, prepare
from tests.support.processes import running, wait_until
from tests.support.servers import Servers
from tests.support.topics import is_caught_up
from tests.support.waiting import until

pytestmark = pytest.mark.servers

WORD: Final = "天气"
RULES: Final[tuple[HistoryRule, ...]] = ("since_join", "all")
PROCESSES: Final = (
    ("stream_processors",), ("sinks", "message"), ("sinks", "sync"), ("sinks", "search"),
)  # fmt: skip
STAGES: Final = (
    ("sequencer", Topic.MESSAGES),
    ("sink-message", Topic.TIMELINE),
    ("sink-search", Topic.TIMELINE),
    ("sink-sync", Topic.SYNC),
)
SEARCHABLE_SECONDS: Final = 180.0


@pytest.fixture(scope="module")
def settings(servers: Servers) -> Iterator[Settings]:
    """A running pipeline, in which six people are a large group.

    Each test has its own conversation and its own people except the owner.
    """
    settings = servers.settings(
        partitions=2, sync_partitions=2, push_limit=5, members_per_entry=2,
        jwt_secret=SecretStr(SECRET),
    )  # fmt: skip
    prepare(settings)
    with ExitStack() as stack:
        for module in PROCESSES:
            stack.enter_context(running(settings, *module))
        yield settings
    with cassandra_session(settings) as session, elasticsearch_client(settings) as search:
        session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=180)
        search.indices.delete(index=list(search.indices.get_alias(name=settings.index_alias)))


@pytest.fixture
def ann(settings: Settings) -> Iterator[Publisher]:
    """The owner of all conversations, with her outbox."""
    outbox = settings.home / f"{settings.namespace}.db"
    with Publisher(settings, "ann", "desk", outbox, done_when="accepted") as publisher:
        yield publisher


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Caller]:
    """The gateway on the stores that the sinks fill."""
    async with gateway_on_servers(settings) as caller:
        yield caller


def done(settings: Settings, ann: Publisher) -> None:
    """Waits until all of ann's commands are sequenced, stored and indexed."""
    ann.flush(SEARCHABLE_SECONDS)
    for stage, topic in STAGES:
        wait_until(partial(is_caught_up, settings, stage, topic), f"{stage} is through")


def history_of(conv_id: str) -> str:
    """The path of the messages of a conversation."""
    return f"/v1/conversations/{quote(conv_id, safe='')}/messages"


class Seen(NamedTuple):
    """The SeqIds that one person gets of one conversation, by every way of reading."""

    history: list[int]
    hidden: list[int]
    search: list[int]
    search_everywhere: list[int]
    sync: list[int]
    head: int


async def seen(gateway: Caller, user: str, conv_id: str, last: int) -> Seen:
    """Reads the SeqIds 1 to ``last`` in every way."""
    page = await gateway.get(history_of(conv_id), user, to=last)
    items: list[dict[str, Any]] = page.body["items"]
    assert covered(items) == list(range(1, last + 1))
    assert {item.get("hole", "hidden") for item in items} == {"hidden"}
    return Seen(
        history=[item["seq"] for item in items if "hole" not in item],
        hidden=covered(item for item in items if "hole" in item),
        search=await hits(gateway, user, conv_id, conversation=conv_id),
        search_everywhere=await hits(gateway, user, conv_id),
        sync=await synced(gateway, user, conv_id),
        head=page.body["head"],
    )


async def hits(gateway: Caller, user: str, conv_id: str, **more: Any) -> list[int]:
    """The hits of a search in one conversation, oldest first."""
    page = await gateway.get("/v1/search", user, q=WORD, limit=100, **more)
    assert (page.status, page.body["next"]) == (200, None)
    return sorted(hit["seq"] for hit in page.body["hits"] if hit["conv_id"] == conv_id)


async def synced(gateway: Caller, user: str, conv_id: str) -> list[int]:
    """The entries of one conversation in a person's sync timeline."""
    page = await gateway.get("/v1/sync", user, limit=500)
    assert page.body["more"] is False
    records = [one["record"] for one in page.body["records"]]
    return [record["seq"] for record in records if record["conv_id"] == conv_id]


async def all_is_there(
    settings: Settings, ann: Publisher, gateway: Caller, conv_id: str, said: list[int]
) -> None:
    """Waits until the owner finds every message, so that no later absence is a delay."""
    await asyncio.to_thread(done, settings, ann)

    async def found() -> bool:
        return await hits(gateway, "ann", conv_id, conversation=conv_id) == said

    await until(found, SEARCHABLE_SECONDS)


def expected(rule: HistoryRule, stay: list[int], last: int, *, inside: bool) -> Seen:
    """The expected result. With ``all``, a person reads from 1 to the end of the last period."""
    readable = stay if rule == "since_join" else list(range(1, stay[-1] + 1))
    found = [seq for seq in readable if seq % 2 == 0]  # messages have even SeqIds here
    hidden = [seq for seq in range(1, last + 1) if seq not in readable]
    head = last if inside else stay[-1]
    return Seen(readable, hidden, found, found, stay, head)


@pytest.mark.parametrize("rule", RULES)
async def test_a_late_joiner_reads_by_the_history_rule_after_leaving_and_returning(
    settings: Settings, ann: Publisher, gateway: Caller, rule: HistoryRule
) -> None:
    """History, search and sync follow the history rule at each join, leave and rejoin.

    With ``all``, a new member finds older messages by history and search; with ``since_join`` by
    no way. After leaving, a former member gets no later message with either rule. After a rejoin,
    the messages of the absence are readable with ``all`` only. Sync is the same with both rules:
    the messages of the membership periods.
    """
    conv, bob = f"late {rule}", f"bob {rule}"
    ann.create_conversation(conv, history=rule)  # 1
    ann.send(conv, f"{WORD} before")  # 2
    ann.add_members(conv, [bob])  # 3
    ann.send(conv, f"{WORD} with bob")  # 4
    await all_is_there(settings, ann, gateway, conv, [2, 4])
    assert await seen(gateway, bob, conv, 4) == expected(rule, [3, 4], 4, inside=True)

    ann.remove_members(conv, [bob])  # 5
    ann.send(conv, f"{WORD} without bob")  # 6
    await all_is_there(settings, ann, gateway, conv, [2, 4, 6])
    assert await seen(gateway, bob, conv, 6) == expected(rule, [3, 4, 5], 6, inside=False)

    ann.add_members(conv, [bob])  # 7
    ann.send(conv, f"{WORD} with bob again")  # 8
    await all_is_there(settings, ann, gateway, conv, [2, 4, 6, 8])
    back = expected(rule, [3, 4, 5, 7, 8], 8, inside=True)
    assert await seen(gateway, bob, conv, 8) == back

    await assert_listed_after_the_return(gateway, bob, conv, rule)
    await assert_a_stranger_finds_nothing(gateway, conv)
    await asyncio.to_thread(assert_verified, settings)


async def assert_listed_after_the_return(
    gateway: Caller, bob: str, conv: str, rule: HistoryRule
) -> None:
    """Asserts head, read mark, periods and last entry of the returned member's conversation."""
    periods = [{"first": 3, "last": 5}, {"first": 7, "last": None}]
    listed = await gateway.get("/v1/conversations", bob)
    (shown,) = listed.body["conversations"]
    assert shown.pop("last") == {
        "seq": 8,
        "kind": "message_sent",
        "sender": "ann",
        "at": shown.pop("active"),
        "text": f"{WORD} with bob again",
    }
    assert shown == {
        "conv_id": conv,
        "name": None,
        "metadata": None,
        "head": 8,
        "messages": 4,
        "read": 7,
        "unread": 1,
        "mute": None,
        "mode": "push",
        "member_count": 2,
        "periods": periods,
        "readable": [{"first": 1, "last": None}] if rule == "all" else periods,
    }


async def assert_a_stranger_finds_nothing(gateway: Caller, conv: str) -> None:
    """Asserts that a person who was never a member gets neither history nor hits."""
    assert (await gateway.get(history_of(conv), "eve")).status == 404
    assert await hits(gateway, "eve", conv) == []


@pytest.mark.parametrize("rule", RULES)
async def test_many_newcomers_in_one_command_read_by_the_history_rule(
    settings: Settings, ann: Publisher, gateway: Caller, rule: HistoryRule
) -> None:
    """Each entry of a split command has the history rule, before and after the switch to pull."""
    conv, newcomers = f"many {rule}", [f"new {rule} {n}" for n in range(9)]
    ann.create_conversation(conv, history=rule)  # 1
    ann.send(conv, f"{WORD} before")  # 2
    ann.add_members(conv, newcomers)  # 3, 4, 5, the switch, 7, 8: two people each, last one
    await all_is_there(settings, ann, gateway, conv, [2])
    joined = [3, 3, 4, 4, 5, 5, 7, 7, 8]
    for user, since in zip(newcomers, joined, strict=True):
        page = await gateway.get(history_of(conv), user, to=8)
        hidden = covered(item for item in page.body["items"] if "hole" in item)
        assert hidden == ([] if rule == "all" else list(range(1, since)))
        assert await hits(gateway, user, conv) == ([2] if rule == "all" else [])
    await asyncio.to_thread(assert_verified, settings)

"""The gateway on the real Cassandra and Elasticsearch, with rows and documents from the test."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, NamedTuple

import pytest
from aiohttp import ClientSession, ClientTimeout
from pydantic import SecretStr

from backends.search_text import has_run, readings_of
from gateway import bounds
from gateway.errors import ScopeTooWide
from gateway.reads.search_terms import parse_query
from gateway.store import elastic_index
from gateway.store.elastic_index import ElasticIndex
from gateway.store.index_port import Hit, SearchRequest
from gateway.store.store_port import ConversationHead, StoredMember
from schemas.limits import MESSAGE_BUCKET
from schemas.number_types import SeqId
from schemas.records import MessageSent
from schemas.settings import Settings
from schemas.visibility import Period, visible
from tests.support.gateway import SECRET, Caller, covered
from tests.support.gateway_rows import Rows, gateway_on_servers, search_index, tables
from tests.support.gateway_store import edit, message
from tests.support.servers import Servers

pytestmark = pytest.mark.servers

HISTORY: Final = "/v1/conversations/{}/messages"
HAN: Final = "天气很好我们去北京吃饭"
RANDOM_MESSAGES: Final = 120


def wide(text: str) -> str:
    """The full-width forms of the letters and digits of ASCII."""
    return "".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in text)


WORDS: Final = {
    1: "今天天气很好 let's meet at Café Müller",
    2: wide("HELLO world 123"),
    3: "ﾊﾛｰ ワールド",
    4: "안녕하세요 세계",
    5: "Привет, мир! STRASSE",
    6: "die Straße ist lang",
    7: "see https://example.org/path?x=1 & reply",
    8: "c++ 和 python3 都可以",
    9: "\U0001f600 smile",
    10: "",
    11: "mixed中文text没有空格",
    12: "𠮷野家",
}
"""The messages in ``words``, by SeqId."""

LEFT: Final = Period(SeqId(3), SeqId(8))
"""Bob's membership period in ``words``."""


class Deployment(NamedTuple):
    """A namespace for this module, and functions that add data."""

    settings: Settings
    rows: Rows
    put_documents: Callable[[list[MessageSent]], None]


def random_text(seed: int) -> str:
    """Some consecutive Han characters from a small set, so that runs repeat."""
    chosen = random.Random(seed)
    return "".join(chosen.choice(HAN) for _ in range(chosen.randint(1, 12)))


def said() -> list[MessageSent]:
    """All messages in the conversations of this module."""
    return [
        *(message("words", seq, text=text) for seq, text in WORDS.items()),
        *(message("random", seq, text=random_text(seq)) for seq in range(1, RANDOM_MESSAGES + 1)),
        *(message("secret", seq, text="天气 hello", sender="eve") for seq in range(1, 4)),
    ]


@pytest.fixture(scope="module")
def deployment(servers: Servers) -> Iterator[Deployment]:
    """The rows and documents of a namespace for this module."""
    settings = servers.settings(jwt_secret=SecretStr(SECRET))
    with tables(settings) as rows, search_index(settings) as put_documents:
        put_documents(said())
        for entry in said():
            rows.put_message(entry)
        for conv_id, head in [("words", len(WORDS)), ("random", RANDOM_MESSAGES), ("secret", 3)]:
            rows.put_conversation(conv_id, head)
        for conv_id in ("words", "random"):
            rows.put_change("ann", conv_id, 1, joined=True)
        rows.put_change("eve", "secret", 1, joined=True)
        rows.put_change("bob", "words", LEFT.first, joined=True)
        rows.put_change("bob", "words", LEFT.last or 0, joined=False)
        yield Deployment(settings, rows, put_documents)


@pytest.fixture
async def gateway(deployment: Deployment) -> AsyncIterator[Caller]:
    """A running gateway on the real servers."""
    async with gateway_on_servers(deployment.settings) as caller:
        yield caller


async def found(gateway: Caller, user: str, query: str, **more: Any) -> list[tuple[str, int]]:
    """All hits of a search, page after page."""
    hits: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = await gateway.get("/v1/search", user, q=query, cursor=cursor, **more)
        assert page.status == 200, page.body
        hits += page.body["hits"]
        cursor = page.body["next"]
        if cursor is None:
            break
    ats = [hit["at"] for hit in hits]
    assert ats == sorted(ats, reverse=True)
    return [(hit["conv_id"], hit["seq"]) for hit in hits]


async def test_history_is_complete_across_buckets(gateway: Caller, deployment: Deployment) -> None:
    """A range that spans two buckets is returned whole, forwards and backwards."""
    rows = deployment.rows
    first, last = MESSAGE_BUCKET - 6, MESSAGE_BUCKET + 6
    for seq in range(first, last + 1):
        rows.put_message(message("long", seq))
    rows.put_conversation("long", last)
    rows.put_change("ann", "long", 2, joined=True)
    for order in ("asc", "desc"):
        asked = {"from": first, "to": last + 3, "limit": 4, "order": order}
        items: list[dict[str, Any]] = []
        while True:
            page = await gateway.ask(HISTORY.format("long"), "ann", asked)
            items += page.body["items"]
            if page.body["next"] is None:
                break
            asked["from" if order == "asc" else "to"] = page.body["next"]
        seqs = list(range(first, last + 4))
        newest_first = order == "desc"
        expected = seqs[::-1] if newest_first else seqs
        assert covered(items, newest_first=newest_first) == expected
        assert [item for item in items if "hole" in item] == [
            {"hole": "not_yet", "from": last + 1, "to": last + 3}
        ]


async def test_history_returns_an_entry_byte_for_byte(gateway: Caller) -> None:
    """History returns every text unchanged."""
    page = await gateway.get(HISTORY.format("words"), "ann")
    shown = {item["seq"]: item["content"]["text"] for item in page.body["items"]}
    assert shown == WORDS


async def test_a_former_member_reads_history_up_to_the_leave(gateway: Caller) -> None:
    """A former member sees their membership period, and `hidden` for all other SeqIds."""
    page = await gateway.get(HISTORY.format("words"), "bob", to=len(WORDS))
    assert page.body["head"] == LEFT.last
    hidden = covered(item for item in page.body["items"] if "hole" in item)
    assert hidden == [seq for seq in WORDS if not visible([LEFT], SeqId(seq))]


async def test_a_stranger_sees_no_conversation(gateway: Caller) -> None:
    """A person lists only their own conversations.

    The response for another person's conversation is the same as for an unknown one.
    """
    mine = await gateway.get("/v1/conversations", "bob")
    assert [one["conv_id"] for one in mine.body["conversations"]] == ["words"]
    answers = [await gateway.get(HISTORY.format(c), "bob") for c in ("secret", "unreal")]
    for answer in answers:
        del answer.body["request_id"]
        assert answer.status == 404
    assert answers[0].body == answers[1].body


async def test_conversations_are_listed_by_activity_with_their_members(
    gateway: Caller, deployment: Deployment
) -> None:
    """The newest is first, with name, last entry and number of members, and lists its members."""
    rows = deployment.rows
    for number in range(5):
        conv_id = f"list {number}"
        at = 1_700_000_000_000 + number
        about = ConversationHead(SeqId(2), "push", 2, at, "lea", 2, f"名 {number}", "{}")
        rows.put_described(conv_id, about)
        rows.put_message(message(conv_id, 2, text="last words", sender="max"))
        for user in ("lea", "max"):
            rows.put_change(user, conv_id, 1, joined=True, at=at)
            rows.put_member(conv_id, StoredMember(user, 1, joined=True, at=at))
    first = (await gateway.get("/v1/conversations", "lea", limit=3)).body
    rest = (await gateway.get("/v1/conversations", "lea", limit=3, after=first["next"])).body
    listed = [*first["conversations"], *rest["conversations"]]
    assert [one["name"] for one in listed] == [f"名 {number}" for number in (4, 3, 2, 1, 0)]
    assert {(one["member_count"], one["last"]["sender"]) for one in listed} == {(2, "max")}
    assert (first["order"], rest["next"]) == ("activity", None)
    members = (await gateway.get("/v1/conversations/list%204/members", "lea")).body["members"]
    assert [(one["user"], one["owner"]) for one in members] == [("lea", True), ("max", False)]


async def test_sync_returns_the_records_after_a_cursor(
    gateway: Caller, deployment: Deployment
) -> None:
    """Pages of a sync timeline return each record once, in order, for any limit."""
    rows = deployment.rows
    seqs = [*sorted(random.Random(7).sample(range(400_000), 60)), 1 << 48, (1 << 48) + 1]
    for seq in seqs:
        rows.put_synced("ann", seq, message("words", 1 + seq % 12))
    for limit in (7, 500):
        got: list[int] = []
        after = -1
        while True:
            page = await gateway.get("/v1/sync", "ann", after=after, limit=limit)
            got += [one["sync_seq"] for one in page.body["records"]]
            after = page.body["next"]
            if not page.body["more"]:
                break
        assert got == seqs
    assert (await gateway.get("/v1/sync", "bob")).body["records"] == []


async def test_search_finds_han_words_of_one_to_four_characters(gateway: Caller) -> None:
    """A run of Han characters finds exactly the messages with this run, over all pages."""
    texts = {seq: random_text(seq) for seq in range(1, RANDOM_MESSAGES + 1)}
    chosen = random.Random(3)
    queries = {
        text[at : at + length]
        for length in (1, 2, 3, 4)
        for text in chosen.sample(sorted(texts.values()), 8)
        for at in [chosen.randint(0, len(text) - 1)]
    }
    queries |= {"天天天天", "饭京好气"}
    for query in sorted(queries):
        hits = await found(gateway, "ann", query, conversation="random", limit=30)
        assert sorted(seq for _, seq in hits) == [s for s, text in texts.items() if query in text]


@pytest.mark.parametrize(
    ("query", "seqs"),
    [
        ("天气", [1]),
        ("cafe", []),  # an accent changes the letter
        ("CAFÉ müller", [1]),
        ('"café müller"', [1]),
        ('"müller café"', []),
        ("müller 天气", [1]),
        ("müller 北京", []),
        ("hello", [2]),
        ("HELLO WORLD", [2]),
        (wide("hello"), [2]),
        ("123", [2]),
        ("ハロー", [3]),
        ("ﾊﾛｰ", [3]),
        ("ワールド", [3]),
        ("안녕하세요", [4]),
        ("ПРИВЕТ МИР", [5]),
        ("strasse", [6, 5]),
        ("straße", [6, 5]),
        ("example.org", [7]),
        ("smile !", []),  # punctuation is searched like a word
        ("!!!", []),
        ("\U0001f600", [9]),
        ("python3", [8]),
        ("中文", [11]),
        ("没有空格", [11]),
        ("𠮷野家", [12]),
        ("野家", [12]),
    ],
)
async def test_search_finds_words_of_any_language(
    gateway: Caller, query: str, seqs: list[int]
) -> None:
    """A search finds words, phrases and Han runs, in any width, case and compatibility form."""
    assert await found(gateway, "ann", query, conversation="words") == [("words", s) for s in seqs]


async def test_a_search_over_all_conversations_covers_only_readable_ones(gateway: Caller) -> None:
    """A search over all conversations finds exactly the messages of the user's periods."""
    everything = {(m.conv_id, m.seq): readings_of(m.content.text) for m in said()}
    stays = {
        "ann": {"words": [Period(SeqId(1))], "random": [Period(SeqId(1))]},
        "bob": {"words": [LEFT]},
        "eve": {"secret": [Period(SeqId(1))]},
        "zoe": {},
    }
    for user, theirs in stays.items():
        for query in ("天气", "hello", "world", "mixed", "strasse"):
            expected = {
                place
                for place, text in everything.items()
                if has_run(text, readings_of(query))
                and visible(theirs.get(place[0], []), place[1])
            }
            assert set(await found(gateway, user, query, limit=5)) == expected


async def test_search_filters_by_sender_and_has_pages_of_one_hit(gateway: Caller) -> None:
    """Filters narrow the result, and pages of one hit lose nothing."""
    both = await found(gateway, "ann", "天", limit=1)
    assert both == await found(gateway, "ann", "天", limit=100)
    assert await found(gateway, "ann", "天", sender="eve") == []
    assert len(await found(gateway, "eve", "天", sender="eve")) == 3


async def test_a_hit_has_the_text_of_the_store(gateway: Caller, deployment: Deployment) -> None:
    """A hit needs a row in the store, at or below the stored head."""
    rows = deployment.rows
    ahead = [message("ahead", seq, text="vorneweg") for seq in range(1, 5)]
    deployment.put_documents(ahead)
    rows.put_conversation("ahead", 2)
    rows.put_change("ann", "ahead", 1, joined=True)
    for entry in (ahead[0], ahead[2]):
        rows.put_message(entry)
    assert await found(gateway, "ann", "vorneweg") == [("ahead", 1)]
    for entry in ahead:
        rows.put_message(entry)
    rows.put_conversation("ahead", 4)
    assert len(await found(gateway, "ann", "vorneweg", limit=1)) == 4


async def test_an_outdated_index_finds_neither_the_old_nor_the_new_words(
    gateway: Caller, deployment: Deployment
) -> None:
    """Before an edit is indexed, a search finds neither the old nor the new text."""
    rows = deployment.rows
    before = message("edited", 2, text="altbacken")
    deployment.put_documents([before])
    rows.put_conversation("edited", 2)
    rows.put_change("ann", "edited", 1, joined=True)
    rows.put_message(before)
    assert await found(gateway, "ann", "altbacken") == [("edited", 2)]
    rows.put_edit(edit("edited", 3, 2, "neugebacken"))
    rows.put_conversation("edited", 3)
    assert await found(gateway, "ann", "altbacken") == []
    assert await found(gateway, "ann", "neugebacken") == []


async def test_a_search_respects_many_membership_periods(deployment: Deployment) -> None:
    """A search over more periods than one query allows returns exact hits in one order.

    Above the maximum number of queries, the search fails with `too-wide`.
    """
    settings = deployment.settings
    index = ElasticIndex(settings)
    asked = SearchRequest(parse_query("天"), None, None, None, 100)
    count = 3 * elastic_index.CLAUSES_A_QUERY
    stays = {f"elsewhere {n}": [Period(SeqId(1), SeqId(2))] for n in range(count)}
    stays["random"] = [Period(SeqId(seq), SeqId(seq)) for seq in range(2, RANDOM_MESSAGES, 2)]
    expected = [seq for seq in range(RANDOM_MESSAGES - 2, 0, -2) if "天" in random_text(seq)]
    try:
        hits: list[Hit] = []
        while page := await index.newest(asked, stays, hits[-1].place if hits else None, 10):
            hits += page
        assert [(place.conv_id, place.seq, version) for place, version in hits] == [
            ("random", seq, seq) for seq in expected
        ]
        most = elastic_index.CLAUSES_A_QUERY * elastic_index.MAX_QUERIES
        stays = {"random": [Period(SeqId(2 * n + 1), SeqId(2 * n + 1)) for n in range(most + 1)]}
        with pytest.raises(ScopeTooWide):
            await index.newest(asked, stays, None, 10)
    finally:
        await index.stop()


async def test_a_search_without_an_index_finds_nothing(deployment: Deployment) -> None:
    """Before the first document, a search has no hits and no error."""
    settings = deployment.settings
    index = ElasticIndex(settings.model_copy(update={"namespace": settings.namespace + "-none"}))
    try:
        asked = SearchRequest(parse_query("天"), None, None, None, 10)
        assert await index.newest(asked, {"c": [Period(SeqId(1))]}, None, 10) == []
    finally:
        await index.stop()


async def test_many_parallel_reads_all_succeed(
    gateway: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of too many requests gets a page, or a 429 or 503; none is lost.

    A long wait for a place lets a slow machine serve most of them. The client repeats nothing.
    """
    monkeypatch.setattr(bounds, "PLACE_SECONDS", 60.0)
    async with ClientSession(timeout=ClientTimeout(total=180)) as http:
        plain = Caller(gateway.base, http, gateway.settings)
        reads = [plain.get(HISTORY.format("random"), "ann", limit=5) for _ in range(200)]
        answers = await asyncio.gather(*reads)
    assert {answer.status for answer in answers} <= {200, 429, 503}
    assert sum(answer.status == 200 for answer in answers) >= 100
    for answer in answers:
        if answer.status == 200:
            assert [item["seq"] for item in answer.body["items"]] == [1, 2, 3, 4, 5]

"""The gateway over HTTP, on a store and an index in memory."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from gateway import bounds
from gateway.http.deployment_guard import Checked
from gateway.http.http_app import make_app
from gateway.http.page import PAGE_ROUTES
from gateway.http.routes import ROUTES
from gateway.log.wake_ups import WakeUps
from gateway.reads.conversation_list import MAX_PAGE_BYTES
from gateway.store.store_port import ConversationHead
from gateway.token_keys.key_source import MIN_SECRET_BYTES
from schemas.codec import encode
from schemas.errors import ConfigurationError
from schemas.http.queries import MAX_ITEMS
from schemas.number_types import Milliseconds, SeqId
from schemas.records import ConversationCreated, Rejected
from tests.support.edges import filled
from tests.support.gateway import Answer, Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore, message
from tests.support.log_lines import json_lines

MESSAGES = "/v1/conversations/{}/messages"


@pytest.fixture
def store() -> FakeStore:
    """Ann is a member of ``c`` since 1, bob was a member from 2 to 4, and the head is 6."""
    store = FakeStore()
    store.put_conversation("c", 6)
    store.put_change("ann", "c", 1, joined=True)
    store.put_change("bob", "c", 2, joined=True)
    store.put_change("bob", "c", 4, joined=False)
    for seq in range(1, 7):
        store.put_synced("ann", seq * 4_000, message("c", seq, text=f"word{seq} 你好"))
    return store


@pytest.fixture
def index() -> FakeIndex:
    """An index of all messages of the store."""
    index = FakeIndex()
    index.messages = [message("c", seq, text=f"word{seq} 你好") for seq in range(1, 7)]
    return index


@pytest.fixture
async def gateway(store: FakeStore, index: FakeIndex) -> AsyncIterator[Caller]:
    """A running gateway."""
    async with serving(token_settings(), store, index) as caller:
        yield caller


def is_problem(answer: Answer, status: int, kind: str) -> bool:
    """Return True if the response is this problem with all common fields; raise otherwise."""
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.status == answer.body["status"] == status
    assert answer.body["type"] == f"urn:im-timeline:problem:{kind}"
    assert answer.body["title"]
    assert answer.body["detail"]
    assert answer.body["request_id"] == answer.headers["X-Request-Id"]
    return True


async def test_history_is_read_in_both_directions(gateway: Caller) -> None:
    """A page has the stored entries, and its ``next`` continues in either direction."""
    page = await gateway.get(MESSAGES.format("c"), "ann", limit=4)
    assert [item["seq"] for item in page.body["items"]] == [1, 2, 3, 4]
    assert (page.body["head"], page.body["next"]) == (6, 5)
    assert page.body["items"][0] == json.loads(encode(message("c", 1, text="word1 你好")))
    rest = await gateway.get(MESSAGES.format("c"), "ann", from_=5)
    assert [item["seq"] for item in rest.body["items"]] == [5, 6]
    assert rest.body["next"] is None
    back = await gateway.get(MESSAGES.format("c"), "ann", order="desc", to=5, limit=2)
    assert [item["seq"] for item in back.body["items"]] == [5, 4]
    assert back.body["next"] == 3


async def test_a_former_member_reads_history_up_to_the_leave(gateway: Caller) -> None:
    """SeqIds outside the period are a ``hidden`` hole, and the head is the end of the period."""
    page = await gateway.get(MESSAGES.format("c"), "bob", to=9)
    assert page.body["head"] == 4
    assert page.body["items"][0] == {"hole": "hidden", "from": 1, "to": 1}
    assert [item["seq"] for item in page.body["items"][1:-1]] == [2, 3, 4]
    assert page.body["items"][-1] == {"hole": "hidden", "from": 5, "to": 9}
    short = await gateway.get(MESSAGES.format("c"), "bob", from_=4)
    assert [item["seq"] for item in short.body["items"]] == [4]


async def test_history_beyond_the_head_is_a_hole(gateway: Caller) -> None:
    """SeqIds beyond the head are a ``not_yet`` hole for a member."""
    page = await gateway.get(MESSAGES.format("c"), "ann", from_=6, to=8)
    assert page.body["items"][-1] == {"hole": "not_yet", "from": 7, "to": 8}
    nothing = await gateway.get(MESSAGES.format("c"), "ann", from_=7)
    assert (nothing.body["items"], nothing.body["next"]) == ([], None)


@pytest.mark.parametrize(
    "conv_id", ["#ubuntu", "a/b", "a%2Fb", "a b", "陈", "..", "|x-", "a?b=c", "{id}", "}"]
)
async def test_an_id_of_any_kind_works_in_a_path(
    gateway: Caller, store: FakeStore, conv_id: str
) -> None:
    """Every valid conversation id works in a path."""
    store.put_conversation(conv_id, 1)
    store.put_change("ann", conv_id, 1, joined=True)
    store.put_message(message(conv_id, 1))
    page = await gateway.get(MESSAGES.format(quote(conv_id, safe="")), "ann")
    assert page.status == 200
    assert page.body["items"][0]["conv_id"] == conv_id


async def test_conversations_are_paged(gateway: Caller, store: FakeStore) -> None:
    """The pages have each conversation once; only members get the mode."""
    for name in ("a", "b", "d"):
        store.put_conversation(name, 3, "pull")
        store.put_change("bob", name, 1, joined=True)
    store.put_change("bob", "not created yet", 1, joined=True)
    found: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        page = await gateway.get("/v1/conversations", "bob", limit=2, after=after, order="id")
        found += page.body["conversations"]
        after = page.body["next"]
        if after is None:
            break
    assert [one["conv_id"] for one in found] == ["a", "b", "c", "d"]
    assert found[2] == {
        "conv_id": "c",
        "head": 4,
        "messages": 0,
        "read": 4,
        "unread": 0,
        "mode": None,
        "periods": [{"first": 2, "last": 4}],
        "readable": [{"first": 2, "last": 4}],
        "name": None,
        "metadata": None,
        "member_count": None,
        "active": 0,
        "last": {
            "seq": 4,
            "kind": "message_sent",
            "sender": "ann",
            "at": message("c", 4).at,
            "text": "word4 你好",
        },
        "mute": None,
    }
    assert (found[3]["mode"], found[3]["head"]) == ("pull", 3)


async def test_sync_returns_only_the_timeline_of_the_caller(gateway: Caller) -> None:
    """A person reads their own records with a cursor, and gets no records of other people."""
    page = await gateway.get("/v1/sync", "ann", limit=4)
    assert [one["sync_seq"] for one in page.body["records"]] == [4_000, 8_000, 12_000, 16_000]
    assert page.body["more"] is True
    rest = await gateway.get("/v1/sync", "ann", after=page.body["next"])
    assert [one["record"]["seq"] for one in rest.body["records"]] == [5, 6]
    assert (rest.body["more"], rest.body["next"]) == (False, 24_000)
    other = await gateway.get("/v1/sync", "bob")
    assert other.body == {"records": [], "next": -1, "more": False}
    again = await gateway.get("/v1/sync", "bob", after=other.body["next"])
    assert again.body == other.body


async def test_sync_is_read_backwards(gateway: Caller) -> None:
    """Pages backwards start at any position, newest first, and ``next`` continues to the end."""
    page = await gateway.get("/v1/sync", "ann", before=(1 << 63) - 1, limit=4)
    assert [one["sync_seq"] for one in page.body["records"]] == [24_000, 20_000, 16_000, 12_000]
    assert page.body["more"]
    rest = await gateway.get("/v1/sync", "ann", before=page.body["next"])
    assert [one["sync_seq"] for one in rest.body["records"]] == [8_000, 4_000]
    assert not rest.body["more"]
    nothing = await gateway.get("/v1/sync", "ann", before=0)
    assert nothing.body == {"records": [], "next": 0, "more": False}


async def test_a_trimmed_timeline_is_reported(gateway: Caller, store: FakeStore) -> None:
    """A cursor below an expired record gets a 410 with the oldest position and the remedy.

    A new device starts with the records that cannot have expired, and a cursor above all expired
    records continues.
    """
    for user in ("ann", "bob"):
        store.put_expiry(user, 1, 2, 8_000)
        store.put_expiry(user, 3, 1 << 40, 16_000)
    trimmed_page = await gateway.get("/v1/sync", "ann", after=7_999)
    assert is_problem(trimmed_page, 410, "trimmed")
    assert (trimmed_page.body["cursor"], trimmed_page.body["oldest"]) == (7_999, 8_001)
    assert "/v1/sync/end" in trimmed_page.body["detail"]
    for after in (-1, 8_000):
        page = await gateway.get("/v1/sync", "ann", after=after, limit=1)
        assert [one["sync_seq"] for one in page.body["records"]] == [12_000]
    nothing = await gateway.get("/v1/sync", "bob")
    assert (nothing.body["records"], nothing.body["next"]) == ([], 8_000)
    assert (await gateway.get("/v1/sync", "eve", after=0)).status == 200


async def test_the_end_of_sync_waits_for_the_message_sink(
    gateway: Caller, store: FakeStore
) -> None:
    """The end is the newest record of the intervals with a quarter of their retention over.

    Other sinks should have stored the records up to the end. Without such an interval the end is
    -1.
    """
    end = await gateway.get("/v1/sync/end", "ann")
    assert end.body == {"next": -1}
    begin = int(time.time())
    store.put_expiry("ann", begin - 1_000, begin + 2_900, 5)  # a quarter of its retention is over
    store.put_expiry("ann", begin - 900, begin + 3_000, 6)
    assert (await gateway.get("/v1/sync/end", "ann")).body == {"next": 5}
    assert (await gateway.get("/v1/sync/end", "ann", after=5)).status == 400


async def test_sync_records_of_every_kind_conform(gateway: Caller, store: FakeStore) -> None:
    """Replies, entries, recalled entries and lost entries all match the OpenAPI document."""
    made = message("c", 1)
    refused = Rejected(
        conv_id="c",
        sender="eve",
        device_id="phone",
        client_msg_id=made.client_msg_id,
        at=Milliseconds(1),
        code="not_a_member",
    )
    store.put_record("eve", 1, encode(refused))
    created = ConversationCreated(
        conv_id="c",
        seq=SeqId(1),
        sender="eve",
        client_msg_id=made.client_msg_id,
        at=Milliseconds(1),
        members=["eve"],
        join="invite",
        mode="push",
    )
    store.put_record("eve", 2, encode(created))
    for seq in (5, 6, 7, 8):
        store.put_reference("eve", seq, "c", seq)
    store.put_recall("c", 6, 5)
    store.put_conversation("c", 7)
    page = await gateway.get("/v1/sync", "eve")
    kinds = [each["record"]["kind"] for each in page.body["records"]]
    assert kinds == ["rejected", "conversation_created", "recalled", "message_sent", "not_yet"]
    assert page.body["records"][-1]["record"] == {"kind": "not_yet", "conv_id": "c", "seq": 7}
    assert (page.body["next"], page.body["more"]) == (7, False)


async def test_a_page_ends_before_an_entry_that_is_not_stored(
    gateway: Caller, store: FakeStore
) -> None:
    """A page forwards ends before a missing entry; a page backwards omits it or is a 503."""
    for seq in (7, 8, 9):
        store.put_reference("ann", seq * 4_000, "c", seq)
    store.put_message(message("c", 8))
    page = await gateway.get("/v1/sync", "ann", after=20_000)
    assert [one["sync_seq"] for one in page.body["records"]] == [24_000]
    assert (page.body["next"], page.body["more"]) == (24_000, False)
    newest = await gateway.get("/v1/sync", "ann", before=(1 << 63) - 1, limit=3)
    assert [one["sync_seq"] for one in newest.body["records"]] == [32_000]
    assert newest.body["more"]
    below = await gateway.get("/v1/sync", "ann", before=newest.body["next"], limit=3)
    assert is_problem(below, 503, "unavailable")
    store.put_message(message("c", 7))
    below = await gateway.get("/v1/sync", "ann", before=newest.body["next"], limit=3)
    assert [one["sync_seq"] for one in below.body["records"]] == [28_000, 24_000, 20_000]


async def test_search_shows_the_stored_entry(
    gateway: Caller, store: FakeStore, index: FakeIndex
) -> None:
    """A hit has the text of the store, and an entry that only the index has is no hit."""
    store.put_message(message("c", 3, text="stored otherwise"))
    index.messages.append(message("c", 99, text="word99 你好"))
    store.put_conversation("c", 100)
    page = await gateway.get("/v1/search", "ann", q="你好")
    assert [hit["seq"] for hit in page.body["hits"]] == [6, 5, 4, 3, 2, 1]
    assert page.body["hits"][3]["content"]["text"] == "stored otherwise"


async def test_search_has_filters_and_pages(gateway: Caller) -> None:
    """Search is limited by conversation and sender, has pages, and shows only what is readable."""
    first = await gateway.get("/v1/search", "bob", q="你好", limit=2)
    rest = await gateway.get("/v1/search", "bob", q="你好", cursor=first.body["next"])
    assert [hit["seq"] for hit in first.body["hits"] + rest.body["hits"]] == [4, 3, 2]
    assert rest.body["next"] is None
    one = await gateway.get("/v1/search", "ann", q="word2", conversation="c", sender="ann")
    assert [hit["seq"] for hit in one.body["hits"]] == [2]
    none = await gateway.get("/v1/search", "ann", q="word2", sender="bob")
    assert none.body == {"hits": [], "next": None, "cut": False}
    assert (await gateway.get("/v1/search", "eve", q="你好")).body["hits"] == []


async def test_a_long_query_is_searched_or_cut(gateway: Caller) -> None:
    """A long query is accepted, and ``cut`` reports whether a part of the query was left out."""
    few = await gateway.get("/v1/search", "ann", q=" ".join(["word2 你好"] * 33))
    assert (few.status, len(few.body["hits"]), few.body["cut"]) == (200, 1, False)
    many = await gateway.get("/v1/search", "ann", q=" ".join(f"w{n}" for n in range(500)))
    assert (many.status, many.body["hits"], many.body["cut"]) == (200, [], True)


async def test_a_search_in_an_unreadable_conversation_is_not_found(gateway: Caller) -> None:
    """A search in a forbidden conversation gives the same problem as in an unknown one."""
    for conversation in ("c", "unreal"):
        answer = await gateway.get("/v1/search", "eve", q="x", conversation=conversation)
        assert is_problem(answer, 404, "not-found")


@pytest.mark.parametrize(
    ("path", "query", "parameter"),
    [
        (MESSAGES.format("c"), {"from_": "0"}, "from"),
        (MESSAGES.format("c"), {"from_": "one"}, "from"),
        (MESSAGES.format("c"), {"from_": "\uff11"}, "from"),
        (MESSAGES.format("c"), {"from_": "1_0"}, "from"),
        (MESSAGES.format("c"), {"to": str(1 << 63)}, "to"),
        (MESSAGES.format("c"), {"to": "9" * 30}, "to"),
        (MESSAGES.format("c"), {"from_": "5", "to": "4"}, "to"),
        (MESSAGES.format("c"), {"limit": "0"}, "limit"),
        (MESSAGES.format("c"), {"limit": str(MAX_ITEMS + 1)}, "limit"),
        (MESSAGES.format("c"), {"order": "up"}, "order"),
        (MESSAGES.format("c"), {"form": "1"}, "form"),
        ("/v1/conversations", {"limit": "-1"}, "limit"),
        ("/v1/conversations", {"after": "x" * 2_001}, "after"),
        ("/v1/conversations", {"after": "x"}, "after"),
        ("/v1/conversations", {"order": "age"}, "order"),
        ("/v1/sync", {"after": "-2"}, "after"),
        ("/v1/sync", {"before": "-1"}, "before"),
        ("/v1/sync", {"before": "3", "after": "1"}, "before"),
        ("/v1/sync", {"user": "bob"}, "user"),
        ("/v1/sync", {"wait": "31"}, "wait"),
        ("/v1/sync", {"wait": "-1"}, "wait"),
        ("/v1/sync", {"wait": "soon!"}, "wait"),
        ("/v1/sync", {"wait": "3", "before": "1"}, "before"),
        ("/v1/search", {}, "q"),
        ("/v1/search", {"q": " "}, "q"),
        ("/v1/search", {"q": "\u200b \u00ad"}, "q"),
        ("/v1/search", {"q": "x", "cursor": "!"}, "cursor"),
        ("/v1/search", {"q": "x", "limit": "101"}, "limit"),
        ("/v1/search", {"q": "x", "conversation": ""}, "conversation"),
    ],
)
async def test_a_bad_parameter_is_named(
    gateway: Caller, path: str, query: dict[str, str], parameter: str
) -> None:
    """The problem names the wrong parameter and does not repeat its value."""
    answer = await gateway.ask(path, "ann", query)
    assert is_problem(answer, 400, "bad-parameter")
    assert answer.body["parameter"] == parameter
    assert all(len(value) < 5 or value not in str(answer.body) for value in query.values())


async def test_a_repeated_parameter_is_refused(gateway: Caller) -> None:
    """A parameter with two values is refused."""
    answer = await gateway.get("/v1/sync?after=1&after=2", "ann")
    assert is_problem(answer, 400, "bad-parameter")


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/conversations/c", "/v1/sync/", "/favicon.ico", "/page"]
)
async def test_an_unknown_route_is_a_problem(gateway: Caller, path: str) -> None:
    """An unknown path is a 404 in the common form, with and without a token."""
    assert is_problem(await gateway.get(path, "ann"), 404, "http")
    assert is_problem(await gateway.get(path), 404, "http")


async def test_another_method_is_a_problem(gateway: Caller) -> None:
    """Another method than GET is a 405 in the common form."""
    async with gateway.http.post(gateway.base + "/v1/sync", data=b"{}") as response:
        assert response.status == 405
        assert "GET" in response.headers["Allow"]
        assert response.content_type == "application/problem+json"


async def test_an_unreachable_store_is_a_503(
    gateway: Caller, store: FakeStore, index: FakeIndex
) -> None:
    """Without the store each route is a 503 with ``Retry-After``, and recovers with the store."""
    store.up = False
    for path, _ in ROUTES[2:-2]:  # a WebSocket waits for the store; operators see its state
        answer = await gateway.ask(path.format(id="c"), "ann", needed(path))
        assert is_problem(answer, 503, "unavailable")
        assert answer.headers["Retry-After"] == "1"
    store.up, index.up = True, False
    assert (await gateway.get("/v1/search", "ann", q="x")).status == 503
    for path, _ in ROUTES[2:5]:
        assert (await gateway.get(path.format(id="c"), "ann")).status == 200


def needed(path: str) -> dict[str, str]:
    """The required parameters of a route."""
    return {"q": "x"} if path == "/v1/search" else {}


@pytest.mark.parametrize(
    ("store_up", "index_up", "status", "word"),
    [
        (True, True, 200, "ok"),
        (True, False, 200, "degraded"),
        (False, True, 503, "unavailable"),
        (False, False, 503, "unavailable"),
    ],
)
async def test_health_reports_each_server(  # noqa: PLR0913 - two fixtures and a row of the table
    gateway: Caller,
    store: FakeStore,
    index: FakeIndex,
    *,
    store_up: bool,
    index_up: bool,
    status: int,
    word: str,
) -> None:
    """Health is ``unavailable`` without the store, and ``degraded`` without the index."""
    store.up, index.up = store_up, index_up
    answer = await gateway.get("/healthz")
    assert (answer.status, answer.body["status"]) == (status, word)
    assert answer.body["cassandra"] == ("up" if store_up else "down")
    assert answer.body["elasticsearch"] == ("up" if index_up else "down")


async def test_nothing_is_served_before_the_data_is_verified() -> None:
    """Protected routes are 503 ``starting`` until the store, or the index, has been checked."""
    checked = Checked()
    async with serving(token_settings(), FakeStore(), FakeIndex(), checked=checked) as gateway:
        for path in ("/v1/sync", "/v1/search?q=x", "/v1/conversations"):
            answer = await gateway.get(path, "ann")
            assert (answer.status, answer.body["type"]) == (
                503,
                "urn:im-timeline:problem:starting",
            )
        health = await gateway.get("/healthz")
        assert (health.status, health.body["status"]) == (503, "starting")
        assert health.body["deployment"] == ""
        checked.store = True
        assert (await gateway.get("/v1/sync", "ann")).status == 200
        assert (await gateway.get("/v1/search", "ann", q="x")).status == 503
        checked.index = True
        assert (await gateway.get("/v1/search", "ann", q="x")).status == 200


async def test_the_document_has_all_routes(gateway: Caller) -> None:
    """The document has exactly the routes and query parameters, except the files of the page."""
    answer = await gateway.get("/openapi.json")
    assert answer.status == 200
    assert answer.body["openapi"] == "3.1.0"
    app = make_app(token_settings(), FakeStore(), FakeIndex(), WakeUps())
    served = {route.resource.canonical for route in app.router.routes() if route.resource}
    assert set(answer.body["paths"]) == served - set(PAGE_ROUTES)
    served_methods = {
        (route.resource.canonical, route.method.lower())
        for route in app.router.routes()
        if route.resource
        and route.method != "HEAD"
        and route.resource.canonical not in PAGE_ROUTES
    }
    described_methods = {(path, m) for path, ms in answer.body["paths"].items() for m in ms}
    assert described_methods == served_methods
    for path, described in answer.body["paths"].items():
        if "get" not in described:
            continue
        named = {p["name"] for p in described["get"]["parameters"] if p["in"] == "query"}
        unknown = await gateway.get(filled(path), "ann", surely_unknown="1")
        assert named == set() or unknown.status == 400
        for name in named:
            bad = await gateway.ask(filled(path), "ann", {name: ""})
            assert "not known" not in str(bad.body)


async def test_a_valid_request_id_is_returned_unchanged(gateway: Caller) -> None:
    """A valid request id of the caller is used; an id that could break a log line is replaced."""
    kept = await gateway.ask("/healthz", headers={"X-Request-Id": "abc-12345"})
    assert kept.headers["X-Request-Id"] == "abc-12345"
    for bad in ("short", "x" * 65, "spaces in it", 'quote"quote'):
        replaced = await gateway.ask("/healthz", headers={"X-Request-Id": bad})
        assert replaced.headers["X-Request-Id"] != bad


async def test_a_long_body_is_refused(gateway: Caller) -> None:
    """A body above the limit is a 413, although the route ignores bodies."""
    data = b"x" * (bounds.MAX_BODY_BYTES + 1)
    async with gateway.http.get(gateway.base + "/healthz", data=data) as response:
        assert response.status == 413
        assert response.content_type == "application/problem+json"


async def test_a_request_has_a_time_limit(
    index: FakeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request to a hanging store ends with a 503, and so does a request above the limit."""
    monkeypatch.setattr(bounds, "REQUEST_SECONDS", 2.0)
    monkeypatch.setattr(bounds, "MAX_REQUESTS", 2)
    asked = asyncio.Semaphore(0)

    class Silent(FakeStore):
        async def conversation(self, conv_id: str) -> ConversationHead | None:
            asked.release()
            await asyncio.Event().wait()
            return await super().conversation(conv_id)

    async with serving(token_settings(), Silent(), index) as gateway:
        async with asyncio.TaskGroup() as group:
            waiting = [
                group.create_task(gateway.get(MESSAGES.format("c"), "ann")) for _ in range(2)
            ]
            for _ in waiting:
                await asked.acquire()
            assert is_problem(await gateway.get("/v1/sync", "ann"), 503, "busy")
        for task in waiting:
            assert is_problem(task.result(), 503, "unavailable")
        assert (await gateway.get("/v1/sync", "ann")).status == 200


async def test_a_defect_is_a_500_of_its_own(
    index: FakeIndex, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect is a 500; the log has its type under the request id, without the error's text."""
    text = str(uuid.uuid4())

    class Broken(FakeStore):
        async def conversation(self, conv_id: str) -> ConversationHead | None:  # noqa: ARG002 - fails
            raise KeyError(text)

    with json_lines() as lines:
        async with serving(token_settings(), Broken(), index) as gateway:
            answer = await gateway.get(MESSAGES.format("c"), "ann")
    assert is_problem(answer, 500, "internal")
    assert text not in caplog.text + str(answer.body) + str(lines)
    (cause,) = [line for line in lines if line["level"] == "error"]
    assert cause["request_id"] == answer.body["request_id"]
    assert "KeyError" in cause["event"]


async def test_the_gateway_does_not_start_without_a_secret() -> None:
    """A gateway without a secret does not start."""
    with pytest.raises(ConfigurationError, match=str(MIN_SECRET_BYTES)):
        make_app(token_settings(jwt_secret=SecretStr("")), FakeStore(), FakeIndex(), WakeUps())


async def test_each_route_is_protected_unless_listed() -> None:
    """A new route requires a token by default."""
    app = make_app(token_settings(), FakeStore(), FakeIndex(), WakeUps())

    async def forgotten(_request: web.Request) -> web.Response:
        raise AssertionError("nobody may come here")

    app.router.add_get("/v1/forgotten", forgotten)
    async with TestClient(TestServer(app)) as http, http.get("/v1/forgotten") as response:
        assert response.status == 401


async def test_a_page_of_conversations_is_bounded_in_bytes(
    gateway: Caller, store: FakeStore
) -> None:
    """Pages are limited in bytes: many long lists of periods make more pages, without a loss."""
    names = [f"many {number:03}" for number in range(120)]
    for name in names:
        store.put_conversation(name, 1_000_000_000_000)
        for seq in range(100):
            begin = 999_000_000_000 + 10 * seq
            store.put_change("eve", name, begin, joined=True)
            store.put_change("eve", name, begin + 5, joined=False)
    found: list[str] = []
    after: str | None = None
    while True:
        page = await gateway.get("/v1/conversations", "eve", limit=200, after=after, order="id")
        assert len(json.dumps(page.body, separators=(",", ":"))) < MAX_PAGE_BYTES + 100
        found += [one["conv_id"] for one in page.body["conversations"]]
        after = page.body["next"]
        if after is None:
            break
    assert found == names

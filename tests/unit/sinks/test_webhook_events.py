"""Events for integrators: which entries, which fields, ids, and no text after a recall."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

import pytest
from confluent_kafka import Message, TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from standardwebhooks import Webhook

from backends.monitoring.outbound_catalog import WEBHOOK_RECEIVER
from schemas.codec import encode
from schemas.errors import UndecodableRecord
from schemas.number_types import Milliseconds, Offset
from schemas.outbound_urls import policy_of
from schemas.records import AnyEntry
from schemas.settings import load_settings
from schemas.webhooks import (
    WEBHOOK_EVENTS,
    WebhookSubscription,
    decode_subscription,
    is_in_scope,
    is_wanted,
    webhook_event_of,
)
from sinks.outbound.destination_sender import DestinationSender, Expired, SenderBounds
from sinks.outbound.http_delivery import HttpDelivery, PostAnswer
from sinks.outbound.outbound_metrics import OutboundMetrics, ReceiverMetrics
from sinks.outbound.outcomes import Delivered, DeliveryRefused
from sinks.outbound.signatures import make_secret
from sinks.webhooks.event_lane import EventFlight, end_flights
from sinks.webhooks.event_requests import (
    MIN_RETRY_SECONDS,
    Attempts,
    EventRequests,
    event_id,
    reason_of,
)
from sinks.webhooks.recall_scout import RecallScout
from tests.support import virtual_time
from tests.support.metric_values import values_of
from tests.support.processes import wait_until
from tests.support.receiving import Receiver, Reply, receiver
from tests.support.sink_group_member import end_of
from tests.support.sink_stores import AT, Conversation
from tests.support.waiting import until

TALK: Final = Conversation("lunch")
ENTRIES: Final[dict[str, AnyEntry]] = {
    "message_sent": TALK.said(2, "Noon? 中午"),
    "message_edited": TALK.edited(3, 2, "One?"),
    "message_recalled": TALK.recalled(4, 2, 3),
}
BOUNDS: Final = SenderBounds(first_pause=0.01, longest_pause=0.02, attempt=30)


class Recalls:
    """The known recalls; None while they are not known."""

    def __init__(self) -> None:
        self.recalled: set[tuple[str, int]] | None = set()
        self.questions = 0

    def is_recalled(self, partition: int, conv_id: str, seq: int) -> bool | None:
        assert partition == 3
        self.questions += 1
        return None if self.recalled is None else (conv_id, seq) in self.recalled


class World:
    """A receiver, and the requests to it."""

    def __init__(
        self, server: Receiver, http: HttpDelivery, sender: DestinationSender | None = None
    ) -> None:
        self.server = server
        self.recalls = Recalls()
        self.now = AT / 1000 + 5
        self.registry = CollectorRegistry()
        outbound = OutboundMetrics(self.registry, (WEBHOOK_RECEIVER,))
        self.requests = EventRequests(
            http, sender or DestinationSender(BOUNDS), self.recalls, 3_600,
            metrics=ReceiverMetrics(outbound, WEBHOOK_RECEIVER), now=lambda: self.now,
        )  # fmt: skip

    def subscription(self, **fields: Any) -> WebhookSubscription:
        """A subscription of the receiver, for all events."""
        default: dict[str, Any] = {
            "id": "a1", "url": self.server.url, "events": list(WEBHOOK_EVENTS),
            "secrets": [make_secret()], "created_at": Milliseconds(0),
        }  # fmt: skip
        return WebhookSubscription(**default | fields)

    async def deliver(self, entry: AnyEntry, **fields: Any) -> object:
        """Delivers an entry; returns the outcome."""
        return await self.requests.deliver(self.subscription(**fields), 3, entry, Attempts())

    def body(self, index: int = -1) -> dict[str, Any]:
        """The body of a request."""
        body: dict[str, Any] = json.loads(self.server.received[index].body)
        return body


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A receiver that accepts everything."""
    async with (
        receiver() as server,
        HttpDelivery(policy_of("127.0.0.1", "any", http=True), seconds=20) as http,
    ):
        yield World(server, http)


def test_each_kind_of_entry_is_an_event_or_none() -> None:
    """Messages, edits, recalls and changes of members are events; other entries are not."""
    kinds = {type(entry).__name__: webhook_event_of(entry) for entry in TALK.history()}

    assert kinds == {
        "ConversationCreated": "membership_changed", "MembersAdded": "membership_changed",
        "MembersRemoved": "membership_changed", "MessageSent": "message_sent",
        "MessageEdited": "message_edited", "MessageRecalled": "message_recalled",
        "FanoutChanged": None, "ConversationDescribed": None,
    }  # fmt: skip


async def test_an_event_has_the_fields_of_its_entry(world: World) -> None:
    """The bodies of the events about messages, with texts."""
    for entry in ENTRIES.values():
        assert await world.deliver(entry, text=True) == Delivered()

    common = {"conv_id": "lunch", "sender": "ann"}
    second = "2023-11-14T22:13:20.00"
    assert [world.body(n) for n in range(3)] == [
        {"type": "message_sent", "timestamp": f"{second}2Z",
         "data": common | {"seq": 2, "mentions": [], "text": "Noon? 中午"}},
        {"type": "message_edited", "timestamp": f"{second}3Z",
         "data": common | {"seq": 3, "target": 2, "mentions": [], "text": "One?"}},
        {"type": "message_recalled", "timestamp": f"{second}4Z",
         "data": common | {"seq": 4, "target": 2}},
    ]  # fmt: skip


async def test_changes_of_members_name_the_people(world: World) -> None:
    """A creation and an addition name the added people, a removal the removed ones."""
    created, _, removed, _, joined, *_ = TALK.history()
    for entry in (created, removed, joined):
        await world.deliver(entry)

    data = [world.body(n)["data"] for n in range(3)]
    assert [(each["added"], each["removed"]) for each in data] == [
        (["ann", "bob", "陈"], []), ([], ["bob"]), (["bob", "cid"], []),
    ]  # fmt: skip
    assert data[1]["member_count"] == 2


async def test_a_subscription_without_texts_gets_none(world: World) -> None:
    """Without the option, no body has a text, and nobody asks for recalls."""
    for entry in ENTRIES.values():
        await world.deliver(entry)

    assert not any("text" in world.body(n)["data"] for n in range(3))
    assert world.recalls.questions == 0


async def test_a_recalled_text_is_not_sent(world: World) -> None:
    """A message and an edit that were recalled before the request have no text."""
    world.recalls.recalled = {("lunch", 2), ("lunch", 3)}

    for kind in ("message_sent", "message_edited"):
        await world.deliver(ENTRIES[kind], text=True)

    for index in range(2):
        data = world.body(index)["data"]
        assert data["recalled"] is True
        assert "text" not in data


async def test_a_recall_between_two_attempts_removes_the_text(world: World) -> None:
    """Each attempt asks anew: a text in a failed request is not in the next one."""

    def fail_and_recall(_: object) -> Reply:
        world.recalls.recalled = {("lunch", 2)}
        return Reply(503 if len(world.server.received) == 1 else 200)

    world.server.decide = fail_and_recall

    assert await world.deliver(ENTRIES["message_sent"], text=True) == Delivered()

    assert "text" in world.body(0)["data"]
    assert "text" not in world.body(1)["data"]
    ids = {request.headers["webhook-id"] for request in world.server.received}
    assert len(ids) == 1


async def test_no_text_is_sent_while_recalls_are_unknown(world: World) -> None:
    """The request waits until the log was read for recalls."""
    world.recalls.recalled = None
    waiting = asyncio.create_task(world.deliver(ENTRIES["message_sent"], text=True))

    async def is_asked_again() -> bool:
        return world.recalls.questions > 1

    await until(is_asked_again, 30)
    assert world.server.received == []

    world.recalls.recalled = set()

    assert await waiting == Delivered()


async def test_requests_are_signed_with_the_secrets_of_the_subscription(world: World) -> None:
    """A receiver with the new or the previous secret verifies the request."""
    secrets = [make_secret(), make_secret()]
    world.now = time.time()

    await world.deliver(ENTRIES["message_sent"], secrets=secrets)

    (request,) = world.server.received
    for secret in secrets:
        Webhook(secret).verify(request.body, request.headers)


@pytest.mark.parametrize(
    ("status", "calls"), [(302, 2), (401, 2), (404, 2), (410, 2), (429, 2), (500, 2)]
)
async def test_failures_that_can_pass_are_repeated(world: World, status: int, calls: int) -> None:
    """Also 410: the operator removes a subscription, not a receiver that answers wrongly."""
    world.server.replies(Reply(status), Reply(204))

    assert await world.deliver(ENTRIES["message_sent"]) == Delivered()
    assert len(world.server.received) == calls


async def test_a_refused_event_is_not_repeated(world: World) -> None:
    """Another client error is final, and its reason has the status alone."""
    world.server.always(Reply(422, b"secret words"))

    outcome = await world.deliver(ENTRIES["message_sent"])

    assert outcome == DeliveryRefused("status 422")
    assert reason_of(DeliveryRefused("status 422")) == "the receiver refuses the event: status 422"


class Failing:
    """`HttpDelivery` to a receiver that fails; notes the time of each request."""

    def __init__(self) -> None:
        self.times: list[float] = []

    async def post(self, *_: object) -> PostAnswer:
        self.times.append(asyncio.get_running_loop().time())
        return PostAnswer(500, None, None)


def test_an_old_event_is_still_repeated_for_a_while() -> None:
    """An event beyond the maximum age is repeated for the minimum time, and then expires."""
    http = Failing()

    async def deliver() -> object:
        sender = DestinationSender(BOUNDS._replace(longest_pause=60), lambda: 1.0)
        world = World(Receiver(), http, sender)  # type: ignore[arg-type]
        world.now = AT / 1000 + 1_000_000
        return await world.deliver(ENTRIES["message_sent"])

    assert virtual_time.run(deliver()) == Expired("status 500")
    assert len(http.times) > 3
    assert (
        MIN_RETRY_SECONDS - 60 < http.times[-1] < MIN_RETRY_SECONDS + 1
    )  # a pause before the end
    assert "status 500" in reason_of(Expired("status 500"))


async def test_attempts_and_delays_are_counted(world: World) -> None:
    """Each request counts with its outcome, 410 as a failure; the delay begins with the entry."""
    world.server.replies(Reply(410), Reply(500), Reply(204), Reply(422))
    for entry in (ENTRIES["message_sent"], ENTRIES["message_edited"]):
        await world.deliver(entry)

    metrics = values_of(world.registry)
    assert metrics.by("im_outbound_attempts_total", "outcome") == {
        "delivered": 1, "failed": 2, "refused": 1,
    }  # fmt: skip
    assert metrics("im_outbound_delay_seconds_count", receiver="webhook") == 1
    assert metrics("im_outbound_delay_seconds_sum") == pytest.approx(5, abs=0.1)
    assert metrics.has("im_outbound_retries", receiver="webhook")
    assert metrics("im_outbound_retries") == 0


async def test_a_hostile_address_gets_no_request(world: World) -> None:
    """An address that the settings no longer permit is not contacted."""
    other = asyncio.create_task(world.deliver(ENTRIES["message_sent"], url="http://10.0.0.1/"))
    await asyncio.sleep(0.1)
    assert not other.done()
    other.cancel()
    with suppress(asyncio.CancelledError):
        await other


@given(
    first=st.tuples(st.text(), st.text(), st.integers(1, 99)),
    second=st.tuples(st.text(), st.text(), st.integers(1, 99)),
)
def test_an_id_names_one_event_of_one_subscription(
    first: tuple[str, str, int], second: tuple[str, str, int]
) -> None:
    """Ids are stable, differ between events, and have no full stop."""
    ids = [event_id(sub, Conversation(conv).said(seq, "")) for sub, conv, seq in (first, second)]

    assert (ids[0] == ids[1]) == (first == second)
    assert all(each.replace("_", "").isalnum() for each in ids)


@pytest.mark.parametrize(
    ("scope", "is_in"),
    [
        ([], True), (["lunch"], True), (["lunch*"], True), (["lun*"], True), (["*"], True),
        (["other", "lu*"], True), (["lun"], False), (["lunch2"], False), (["unch*"], False),
        (["Lunch"], False),
    ],
)  # fmt: skip
def test_a_scope_has_ids_and_prefixes(scope: list[str], *, is_in: bool) -> None:
    """An empty scope has all conversations; others have equal ids and prefixes."""
    assert is_in_scope("lunch", scope) == is_in


def test_only_chosen_events_are_wanted() -> None:
    """An event is wanted if its kind and its conversation are chosen."""
    base = {"id": "a", "url": "https://a.example", "secrets": ["x"], "created_at": 0}
    subscription = decode_subscription(
        encode(base | {"events": ["message_edited"], "conversations": ["lunch"]})
    )

    assert [is_wanted(each, subscription) for each in ENTRIES.values()] == [False, True, False]
    assert not is_wanted(Conversation("dinner").edited(3, 2, "x"), subscription)


@pytest.mark.parametrize(
    "fields",
    [
        {"id": ""}, {"id": "A"}, {"id": "a" * 33}, {"url": "ftp://a"}, {"url": "https://é"},
        {"events": []}, {"events": ["other"]}, {"secrets": []}, {"conversations": ["x"] * 101},
    ],
)  # fmt: skip
def test_an_invalid_subscription_is_not_read(fields: dict[str, Any]) -> None:
    """The record of a subscription has its fields within their bounds."""
    good = {
        "id": "a", "url": "https://a.example", "events": ["message_sent"], "secrets": ["x"],
        "created_at": 0,
    }  # fmt: skip
    assert decode_subscription(encode(good)).conversations == []
    with pytest.raises(UndecodableRecord):
        decode_subscription(encode(good | fields))


def test_the_end_waits_for_a_request_in_flight_and_not_for_a_pause() -> None:
    """A request in flight may end; an event between two attempts is cancelled at once."""
    record, resting, requesting = object(), Attempts(), Attempts()
    flights = [
        EventFlight(record, Future(), resting),  # type: ignore[arg-type]
        EventFlight(record, Future(), requesting),  # type: ignore[arg-type]
    ]
    requesting.is_requesting = True
    timer = threading.Timer(0.2, lambda: flights[1].future.set_result(Delivered()))
    timer.start()

    end_flights(flights)

    assert flights[0].outcome() is None
    assert flights[1].outcome() == Delivered()


class LogConsumer:
    """Plays a log with one partition, from any assigned offset."""

    def __init__(self, values: list[bytes]) -> None:
        self.values = values
        self.assigned: list[list[int]] = []
        self._next = 0
        self._told_end = False

    def assign(self, places: list[TopicPartition]) -> None:
        self.assigned.append([place.offset for place in places])
        self._next, self._told_end = max(0, places[0].offset), False

    def consume(self, count: int, timeout: float) -> list[Message]:
        assert timeout == 0
        found = [
            Message("t", 3, offset, b"k", self.values[offset])
            for offset in range(self._next, min(len(self.values), self._next + count))
        ]
        self._next += len(found)
        if not found and not self._told_end:
            self._told_end = True
            return [end_of(3, self._next)]
        return found

    def poll(self, timeout: float) -> None:
        threading.Event().wait(min(timeout, 0.01))

    def close(self) -> None:
        pass


def test_the_scout_knows_recalls_up_to_the_end_of_the_log() -> None:
    """Nothing is known before the end was read; then recalls and their edits are known.

    A need for an older position reads the log again, and a position that all have passed forgets.
    """
    values = [
        encode(TALK.said(2, "a")), encode(TALK.recalled(3, 2, 5)), b"garbage message_recalled",
        b'"message_recalled"', encode(TALK.said(4, '"message_recalled"')),
    ]  # fmt: skip
    consumer = LogConsumer(values)
    scout = RecallScout(load_settings(), lambda *_: consumer)  # type: ignore[arg-type]
    assert scout.is_recalled(3, "lunch", 2) is None

    scout.need(3, Offset(2))
    wait_until(lambda: scout.is_recalled(3, "lunch", 2) is False, "the end is read", 30)
    scout.need(3, Offset(0))
    wait_until(lambda: scout.is_recalled(3, "lunch", 2), "the recall is read", 30)
    assert scout.is_recalled(3, "lunch", 5) is True
    wait_until(lambda: scout.is_recalled(3, "lunch", 4) is False, "the end is read again", 30)
    values.append(encode(TALK.recalled(6, 4)))
    wait_until(lambda: scout.is_recalled(3, "lunch", 4), "a new recall is read", 30)
    scout.need(3, Offset(1))
    scout.forget_below(3, Offset(4))
    assert scout.is_recalled(3, "lunch", 2) is False
    assert scout.is_recalled(3, "lunch", 4) is True
    scout.close()
    assert consumer.assigned == [[2], [0]]


def test_an_error_of_the_scout_reaches_the_stage() -> None:
    """The stage learns that its recalls are not followed any more."""
    failures: list[Exception] = []

    def broken(*_: object) -> Any:
        raise RuntimeError("no client")

    scout = RecallScout(load_settings(), broken, failures.append)
    scout.need(0, Offset(0))
    wait_until(lambda: failures, "the failure is reported", 30)
    scout.close()

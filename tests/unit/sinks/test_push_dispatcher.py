"""Deliveries: servers that fail in every way, the last checks, the content, and the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, get_args

import pytest
from prometheus_client import CollectorRegistry

from schemas.number_types import Milliseconds, SeqId
from schemas.push_addresses import MatrixAddress, PushAddress, WebhookAddress, WebPushAddress
from schemas.unread import Counted
from sinks.outbound.destination_sender import SenderBounds
from sinks.outbound.outcomes import DeliveryRefused, Gone
from sinks.push import push_dispatcher
from sinks.push.push_delivery import PushTarget, notification_id
from sinks.push.push_dispatcher import MAX_RUNNING_OF_ONE, destination_of
from sinks.push.push_metrics import PushMetrics
from sinks.push.push_state import PushKey
from tests.support import virtual_time
from tests.support.metric_values import values_of
from tests.support.push_deliveries import MAX_AGE_SECONDS, Deliveries

Test = Callable[..., Awaitable[None]]


def virtual(test: Test) -> Callable[..., None]:
    """Run a test on an event loop without waits."""

    @wraps(test)
    def on_loop(*args: Any, **kwargs: Any) -> None:
        async def main() -> None:
            await test(*args, **kwargs)

        virtual_time.run(main())

    return on_loop


@virtual
async def test_a_notification_has_text_sender_and_count() -> None:
    """A burst causes one notification, with the newest message and the unread count."""
    world = Deliveries()
    server = world.register("bob", "https://push.example/")
    for text in ("one", "two", "three"):
        world.send("bob", text=text)
    world.facts.mark = Counted(SeqId(1), 1)

    await world.run(5)

    (got,) = server.got
    assert (got.seq, got.sender, got.text, got.unread) == (3, "ann", "three", 2)
    assert (got.user_id, got.device_id, got.conv_id) == ("bob", "phone", "c1")
    assert got.id == notification_id(PushTarget(PushKey("bob", "c1"), "phone"), SeqId(3))


@pytest.mark.parametrize(("content", "sender"), [("sender", "ann"), ("nothing", None)])
def test_the_setting_decides_about_the_content(content: Any, sender: str | None) -> None:
    """Without ``text``, no text leaves the deployment; with ``nothing``, no sender either."""

    @virtual
    async def test() -> None:
        world = Deliveries(content)
        server = world.register("bob", "https://push.example/")
        world.send("bob", text="secret")
        await world.run(5)
        (got,) = server.got
        assert (got.sender, got.text) == (sender, None)

    test()


@virtual
async def test_a_slow_server_does_not_delay_another() -> None:
    """One server never answers in time, and another gets each notification in its window."""
    world = Deliveries(bounds=SenderBounds(attempt=10, waiting=MAX_RUNNING_OF_ONE))
    slow = world.register("bob", "https://slow.example/")
    fast = world.register("cid", "https://fast.example/")
    slow.seconds = 1e6
    for number in range(200):
        world.send("bob", f"b{number}")
    for number in range(200):
        world.send("cid", f"c{number}")

    await world.run(6)

    assert len(fast.acknowledged) == 200
    assert slow.acknowledged == []
    assert len(slow.got) <= MAX_RUNNING_OF_ONE


@virtual
async def test_a_retry_is_about_the_newest_message() -> None:
    """A message that arrives during the pause replaces the failed one; nothing is repeated."""
    world = Deliveries()
    server = world.register("bob", "https://push.example/")
    server.failures = 2
    world.send("bob", text="one")
    await world.run(2.2)
    world.send("bob", text="two")
    world.commit()

    await world.run(60)

    assert [each.seq for each in server.got] == [1, 2, 2]
    assert [each.seq for each in server.acknowledged] == [2]
    world.commit()
    await world.run(1)
    assert world.states.states == {}


@virtual
async def test_attempts_have_the_same_id() -> None:
    """A repeated attempt for a message has the id of the first one."""
    world = Deliveries()
    server = world.register("bob", "https://push.example/")
    server.failures = 3
    world.send("bob")
    await world.run(60)
    assert len(server.got) == 4
    assert len({each.id for each in server.got}) == 1


@virtual
async def test_a_reason_may_end_between_attempts() -> None:
    """A read, a connection, or the end of the registration ends the attempts."""
    world = Deliveries()
    for user in ("bob", "cid", "dan"):
        world.register(user, f"https://{user}.example/").failures = float("inf")
        world.send(user, user)
    await world.run(2.2)
    world.read("bob", "bob")
    world.connect("cid")
    world.remove("dan", "phone", world.people.devices("dan")["phone"])
    await world.run(50)
    assert [len(server.got) for server in world.servers.servers.values()] == [1, 1, 1]
    assert world.letters.letters == []


@virtual
async def test_a_live_person_gets_nothing() -> None:
    """No request is made for a live person, who is still live after the grace."""
    world = Deliveries()
    server = world.register("bob", "https://push.example/")
    world.connect("bob")
    world.send("bob")
    await world.run(50)
    world.connect("bob")
    await world.run(200)
    assert server.got == []


@virtual
async def test_a_connection_that_ended_without_a_word_is_not_enough() -> None:
    """A person whose gateway was killed gets the notification when the connection expires."""
    world = Deliveries()
    server = world.register("bob", "https://push.example/")
    world.connect("bob")
    await world.run(1)
    world.send("bob")
    await world.run(70)
    assert [each.seq for each in server.acknowledged] == [1]


@virtual
async def test_a_refused_notification_is_a_dead_letter() -> None:
    """A refusal is not repeated. The letter is written until it is confirmed."""
    world = Deliveries()
    server = world.register("bob", "https://push.example/")
    server.outcome = DeliveryRefused("status 400")
    world.letters.fails = 2
    world.send("bob")
    await world.run(60)
    assert len(server.got) == 1
    assert world.letters.letters == [("bob", "status 400")]


@virtual
async def test_a_device_that_is_gone_loses_its_address() -> None:
    """The address is removed, and the next message causes no request."""
    world = Deliveries()
    server = world.register("bob", "https://push.example/")
    server.outcome = Gone()
    world.send("bob")
    await world.run(5)
    assert world.removed == [("bob", "phone")]
    world.send("bob")
    await world.run(5)
    assert len(server.got) == 1
    assert world.letters.letters == []


@virtual
async def test_a_server_that_is_down_ends_in_a_dead_letter() -> None:
    """After the maximum age, one dead letter replaces the attempts."""
    world = Deliveries()
    server = world.register("bob", "https://push.example/")
    server.failures = float("inf")
    world.send("bob")
    await world.run(MAX_AGE_SECONDS + 60)
    assert world.letters.letters == [("bob", "status 503")]
    assert len(server.got) < 20


@virtual
async def test_a_newer_message_extends_the_attempts() -> None:
    """The age of the newest message counts: a conversation with new messages is not given up."""
    world = Deliveries()
    server = world.register("bob", "https://push.example/")
    server.failures = float("inf")
    world.send("bob")
    await world.run(MAX_AGE_SECONDS / 2)
    world.send("bob")
    await world.run(MAX_AGE_SECONDS / 2 + 60)
    assert world.letters.letters == []
    server.failures = 0
    await world.run(MAX_AGE_SECONDS / 2 - 60)
    assert [each.seq for each in server.acknowledged] == [2]


@virtual
async def test_a_message_from_long_ago_gets_no_attempt() -> None:
    """A message that is older than the maximum age at its first attempt is a dead letter."""
    world = Deliveries()
    server = world.register("bob", "https://push.example/")
    world.send("bob")
    await asyncio.sleep(MAX_AGE_SECONDS + 1)
    await world.run(5)
    assert server.got == []
    assert world.letters.letters == [("bob", "no attempt within the maximum age")]


@virtual
async def test_the_store_may_be_late() -> None:
    """A store that fails, or lags, delays a notification; it has the text in the end."""
    world = Deliveries()
    server = world.register("bob", "https://push.example/")
    seq = world.send("bob", text="late")
    text = world.facts.texts.pop(("c1", seq))
    world.facts.fails = 3
    await world.run(6)
    assert server.got == []
    world.facts.texts["c1", seq] = text
    await world.run(10)
    assert [each.text for each in server.got] == ["late"]


@virtual
async def test_a_message_that_the_store_never_gets_is_pushed_without_text() -> None:
    """A message that the store refused is notified nevertheless."""
    world = Deliveries()
    server = world.register("bob", "https://push.example/")
    seq = world.send("bob")
    del world.facts.texts["c1", seq]
    await world.run(40)
    assert [(each.seq, each.text) for each in server.got] == [(1, None)]


@virtual
async def test_a_recall_in_the_store_counts() -> None:
    """A message that the store shows as recalled is replaced by the message before."""
    world = Deliveries()
    server = world.register("bob", "https://push.example/")
    world.send("bob", text="stays")
    seq = world.send("bob", text="recalled")
    world.facts.recalled.add(("c1", seq))
    await world.run(10)
    assert [each.text for each in server.got] == ["stays"]


@virtual
async def test_an_old_mute_in_the_store_counts() -> None:
    """A mute that this stage has not read stops notifications, when the store is not just late."""
    world = Deliveries()
    server = world.register("bob", "https://push.example/")
    world.facts.muted_until = Milliseconds(1 << 50)
    world.send("bob")
    await world.run(60)
    assert server.got == []
    world.facts.muted_until = Milliseconds(0)
    world.send("bob")
    await world.run(10)
    assert [each.seq for each in server.got] == [2]


@virtual
async def test_the_line_of_a_server_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound, the oldest waiting notification is a dead letter. The newest waits."""
    monkeypatch.setattr(push_dispatcher, "MAX_LINE", 10)
    world = Deliveries(bounds=SenderBounds(waiting=MAX_RUNNING_OF_ONE, attempt=30))
    server = world.register("bob", "https://slow.example/")
    server.seconds = 20
    for number in range(MAX_RUNNING_OF_ONE + 15):
        world.send("bob", f"c{number:02}")
    await world.run(4)
    assert len(world.letters.letters) == 5
    assert {reason for _, reason in world.letters.letters} == {
        "too many notifications wait for the server"
    }
    await world.run(200)
    assert len(server.acknowledged) == MAX_RUNNING_OF_ONE + 10


@virtual
async def test_a_drain_waits_for_running_requests() -> None:
    """A request that is running ends and is noted; a pause ends at once, without an outcome."""
    world = Deliveries()
    slow = world.register("bob", "https://slow.example/")
    slow.seconds = 5
    failing = world.register("cid", "https://failing.example/")
    failing.failures = float("inf")
    world.send("bob", "b")
    world.send("cid", "c")
    await world.run(3)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await world.dispatcher.drain(lambda _: True)
    assert loop.time() - begun < 6
    assert world.states.states[PushKey("bob", "b")].waiting == ()
    assert len(world.states.states[PushKey("cid", "c")].waiting) == 1
    assert len(slow.got) == 1


@virtual
async def test_nothing_begins_while_states_are_not_durable() -> None:
    """Without confirmations of the broker, no further acknowledgement would be remembered."""
    world = Deliveries()
    server = world.register("bob", "https://push.example/")
    world.states.is_behind = True
    world.send("bob")
    await world.run(10)
    assert server.got == []
    world.states.is_behind = False
    await world.run(1)
    assert len(server.got) == 1


@virtual
async def test_the_attempts_of_each_provider_are_counted() -> None:
    """Attempts, repeated deliveries, delays and dead letters count for the kind of the provider.

    A delivery that is not needed any more counts as no attempt.
    """
    world = Deliveries()
    good = world.register("bob", "https://good.example/")
    good.failures = 2
    world.register("cid", "https://bad.example/").outcome = DeliveryRefused("status 400")
    world.register("dan", "https://gone.example/").outcome = Gone()
    read = world.register("eve", "https://read.example/")
    read.failures = 1
    for user in ("bob", "cid", "dan", "eve"):
        world.send(user, user)
    await world.run(2.2)
    metrics = values_of(world.registry)
    assert metrics("im_outbound_retries", receiver="push_webhook") == 2
    world.read("eve", "eve")
    await world.run(20)

    metrics = values_of(world.registry)
    assert metrics.by("im_outbound_attempts_total", "receiver") == {"push_webhook": 6}
    assert metrics.by("im_outbound_attempts_total", "outcome") == {
        "delivered": 1, "failed": 3, "refused": 1, "gone": 1,
    }  # fmt: skip
    assert metrics("im_outbound_retries") == 0
    assert metrics.by("im_outbound_dead_letters_total", "receiver") == {"push_webhook": 1}
    assert metrics("im_outbound_delay_seconds_count", receiver="push_webhook") == 1
    # The window, and the pauses of 1 s and 2 s.
    assert metrics("im_outbound_delay_seconds_sum") == pytest.approx(5, abs=0.2)
    assert metrics.by("im_notifications_dropped_total", "reason") == {"read": 1}


def test_each_kind_of_address_is_a_receiver() -> None:
    """The metrics have the name of each provider, as the address has it."""
    addresses: list[PushAddress] = [
        WebhookAddress(url="https://a.example/"),
        MatrixAddress(gateway="https://a.example/", app_id="a", pushkey="k"),
        WebPushAddress(endpoint="https://a.example/", p256dh="A" * 87, auth="A" * 22),
    ]
    assert {type(each) for each in addresses} == set(get_args(PushAddress))
    registry = CollectorRegistry()
    metrics = PushMetrics(registry)
    for address in addresses:
        metrics.of(address).attempted(Gone())
    assert values_of(registry).by("im_outbound_attempts_total", "receiver") == {
        f"push_{type(each).__struct_config__.tag}": 1 for each in addresses
    }


def test_a_destination_is_a_server() -> None:
    """URLs of one host and port share a destination."""
    one = destination_of(WebhookAddress(url="https://Push.example/a"))
    assert one == destination_of(WebhookAddress(url="https://push.example/b"))
    assert one != destination_of(WebhookAddress(url="https://push.example:8443/b"))


def test_ids_differ_by_device_conversation_and_message() -> None:
    """Each part of the identity changes the id, and no boundary between two parts is lost."""
    target = PushTarget(PushKey("bob", "c1"), "phone")
    others = [
        target._replace(device_id="desk"),
        target._replace(key=PushKey("bob", "c2")),
        target._replace(key=PushKey("bobc", "1")),
    ]
    ids = [notification_id(each, SeqId(1)) for each in (target, *others)]
    assert len({*ids, notification_id(target, SeqId(2))}) == 5
    assert all(len(each) <= 64 for each in ids)

"""Webhooks on the real broker: the stage `webhooks`, and `im webhook`."""

from __future__ import annotations

import random
import secrets
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from backends.stages.dead_letter_log import read_letters
from backends.stages.stage_health import pipeline_health
from backends.stages.webhook_log import begin_at_the_end, write_subscription
from ops.deployment.prepare_log import prepare_log
from schemas.number_types import Milliseconds
from schemas.settings import Settings
from schemas.webhooks import WebhookSubscription
from sinks.outbound.signatures import make_secret
from tests.conftest import Servers
from tests.support.pipeline import im, im_under_way
from tests.support.processes import running, wait_until
from tests.support.receiving import Received, Receiver, Reply, Trouble, receiver_in_thread
from tests.support.sink_stores import Conversation
from tests.support.webhook_events import (
    acknowledged,
    acknowledged_again,
    append_entries,
    are_in_order,
    data_of,
)

pytestmark = pytest.mark.servers

PARTITIONS = 4
SECONDS = 180.0


def webhook_settings(servers: Servers) -> Settings:
    """A deployment whose webhooks may be on this machine."""
    settings = servers.settings(
        partitions=PARTITIONS, outbound_allow="127.0.0.0/8", outbound_ports="any",
        outbound_http=True,
    )  # fmt: skip
    prepare_log(settings)
    return settings


@pytest.fixture(scope="module")
def settings(servers: Servers) -> Iterator[Settings]:
    """A deployment whose stage `webhooks` runs."""
    deployed = webhook_settings(servers)
    with running(deployed, "sinks", "webhooks"):
        yield deployed


@pytest.fixture
def server() -> Iterator[Receiver]:
    """A receiver that accepts everything."""
    with receiver_in_thread() as receiver:
        yield receiver


def add(settings: Settings, server: Receiver, conversation: str, *, text: bool = False) -> str:
    """Adds a webhook for sent and recalled messages, as `im webhook add` does; returns its id."""
    subscription = WebhookSubscription(
        id=secrets.token_hex(6), url=server.url, events=["message_sent", "message_recalled"],
        conversations=[conversation], text=text, secrets=[make_secret()],
        created_at=Milliseconds(0),
    )  # fmt: skip
    begin_at_the_end(settings, subscription.id)
    write_subscription(settings, subscription.id, subscription)
    return subscription.id


def test_a_webhook_receives_the_chosen_events_from_now_on(
    settings: Settings, server: Receiver
) -> None:
    """Earlier, other and unwanted events do not arrive; the requests are signed.

    `rotate` adds a signature, `list` shows no secret, and `remove` ends the events.
    """
    before, team = Conversation("choice-0"), Conversation("choice-1")
    append_entries(settings, [before.said(1, "before")])
    (added,) = im(
        settings, "webhook", "add", server.url, "--event", "message_sent", "--event",
        "message_recalled", "--conversation", "choice-*", "--text",
    )  # fmt: skip
    append_entries(
        settings,
        [team.said(1, "one"), team.edited(2, 1, "two"), team.recalled(3, 1), team.said(4, "four"),
         Conversation("other").said(1, "x")],
    )  # fmt: skip
    wait_until(lambda: acknowledged(server).get("choice-1") == [1, 3, 4], "events", SECONDS)
    assert acknowledged(server).keys() == {"choice-1"}
    assert data_of(server.answered[2])["text"] == "four"
    for request in server.answered:
        Webhook(added["secret"]).verify(request.body, request.headers)

    (listed,) = [each for each in im(settings, "webhook", "list") if each["id"] == added["id"]]
    assert listed["url"] == server.url
    assert "secret" not in str(listed)
    (rotated,) = im(settings, "webhook", "rotate", added["id"])
    assert rotated["secret"] != added["secret"]

    def is_rotated() -> bool:
        append_entries(settings, [team.said(len(server.answered) + 100, "again")])
        return _verifies(server.answered[-1], rotated["secret"])

    wait_until(is_rotated, "two signatures", SECONDS)
    assert _verifies(server.answered[-1], added["secret"])
    wait_until(lambda: _lag(settings, added["id"]) == 0, "no lag", SECONDS)
    im(settings, "webhook", "remove", added["id"])
    assert f"webhook-{added['id']}" not in pipeline_health(settings)


@pytest.mark.parametrize(
    "arguments",
    [
        ("http://10.0.0.1/",), ("http://127.1/",), ("ftp://127.0.0.1/",),
        ("http://127.0.0.1/", "--event", "other"), ("http://127.0.0.1/", "--conversation", ""),
    ],
)  # fmt: skip
def test_a_webhook_that_cannot_work_is_not_added(
    settings: Settings, arguments: tuple[str, ...]
) -> None:
    """A hostile URL, an unknown event and an empty id are refused, and nothing is written."""
    before = im(settings, "webhook", "list")
    with im_under_way(settings, "webhook", "add", *arguments) as command:
        _, error = command.communicate(timeout=SECONDS)
    assert command.returncode != 0
    assert "Traceback" not in error
    assert im(settings, "webhook", "list") == before


def _verifies(request: Received, secret: str) -> bool:
    try:
        Webhook(secret).verify(request.body, request.headers)
    except WebhookVerificationError:
        return False
    return True


def _lag(settings: Settings, webhook: str) -> int:
    return pipeline_health(settings)[f"webhook-{webhook}"].lag


def test_a_receiver_that_hangs_delays_no_other(settings: Settings, server: Receiver) -> None:
    """While one receiver hangs, another gets all events; later the first gets its events, too."""
    names = [f"slow-{n}" for n in range(8)]
    with receiver_in_thread() as hanging:
        hanging.always("hangs")
        for each in (hanging, server):
            add(settings, each, "slow-*")
        append_entries(
            settings, [Conversation(name).said(seq, "x") for seq in range(1, 11) for name in names]
        )
        wait_until(lambda: are_in_order(acknowledged(server), names, 10), "all events", SECONDS)
        wait_until(lambda: hanging.received, "a request that hangs", SECONDS)
        assert hanging.answered == []
        assert acknowledged_again(server) == 0

        hanging.always(Reply())
        hanging.is_released = True

        wait_until(lambda: are_in_order(acknowledged(hanging), names, 10), "its events", SECONDS)
        assert acknowledged_again(hanging) == 0


def test_a_refused_event_is_a_dead_letter_and_the_next_follows(
    settings: Settings, server: Receiver
) -> None:
    """The dead letter is a reference without text; the rest of the conversation arrives."""
    server.decide = lambda request: Reply(422 if data_of(request)["seq"] == 2 else 200)
    webhook = add(settings, server, "refused", text=True)
    talk = Conversation("refused")
    append_entries(settings, [talk.said(seq, f"hush {seq}") for seq in (1, 2, 3)])

    wait_until(lambda: acknowledged(server) == {"refused": [1, 3]}, "the others", SECONDS)

    letters = [each for each in read_letters(settings) if each.stage == f"webhook-{webhook}"]
    assert [each.reason for each in letters] == ["the receiver refuses the event: status 422"]
    assert "hush" not in str(letters)


def test_a_text_is_not_sent_after_its_recall(settings: Settings, server: Receiver) -> None:
    """A message that is recalled while its request is repeated arrives without its text."""
    refusing = [True]
    server.decide = lambda _: Reply(503) if refusing[0] else Reply()
    add(settings, server, "hush", text=True)
    talk = Conversation("hush")
    append_entries(settings, [talk.said(1, "secret")])
    wait_until(lambda: server.received, "the first attempt", SECONDS)
    assert data_of(server.received[0])["text"] == "secret"

    append_entries(settings, [talk.recalled(2, 1)])
    wait_until(lambda: "text" not in data_of(server.received[-1]), "no text", SECONDS)
    refusing[0] = False

    wait_until(lambda: acknowledged(server) == {"hush": [1, 2]}, "both events", SECONDS)
    assert data_of(server.answered[0])["recalled"] is True
    assert "secret" not in str([request.body for request in server.answered])


def test_nothing_is_lost_by_a_kill_and_failures(servers: Servers, server: Receiver) -> None:
    """Events arrive in order through a kill of the stage and all failures of the receiver.

    The kill repeats at most one acknowledged event of each partition. An orderly end and a second
    process of the stage repeat none.
    """
    settings = webhook_settings(servers)
    names, count = [f"c{n}" for n in range(12)], 25
    chance = random.Random(7)
    failures: list[Reply | Trouble] = [
        Reply(500), Reply(302), Reply(429, headers="Retry-After: 1\r\n"), "resets", "closes",
        "garbage",
    ]  # fmt: skip
    server.decide = lambda _: chance.choice(failures) if chance.random() < 0.08 else Reply()
    webhook = add(settings, server, "c*")
    append_entries(
        settings,
        [Conversation(name).said(seq, "x") for seq in range(1, count + 1) for name in names],
    )

    def has(share: float) -> bool:
        return len(server.answered) >= share * count * len(names)

    with running(settings, "sinks", "webhooks") as process:
        wait_until(lambda: has(0.2), "a part", SECONDS)
        process.kill()
        process.wait(SECONDS)
    server.decide = lambda _: Reply()
    again = _ended_in_order(settings, server, lambda: has(0.6))
    assert acknowledged_again(server) <= PARTITIONS
    assert again == 0
    with running(settings, "sinks", "webhooks"):
        wait_until(lambda: are_in_order(acknowledged(server), names, count), "all", SECONDS)
        wait_until(lambda: _lag(settings, webhook) == 0, "no lag", SECONDS)
    assert list(read_letters(settings)) == []


def _ended_in_order(settings: Settings, server: Receiver, is_enough: Any) -> int:
    """Runs two processes, and ends both. Returns how many events were acknowledged again."""
    with running(settings, "sinks", "webhooks") as first:
        begun = len(server.answered)
        wait_until(lambda: len(server.answered) > begun + 20, "the first works", SECONDS)
        before = acknowledged_again(server)
        with running(settings, "sinks", "webhooks"):
            wait_until(is_enough, "both work", SECONDS)
            first.send_signal(signal.SIGTERM)
            assert first.wait(SECONDS) == 0
    return acknowledged_again(server) - before

"""`im dead-letter replay` for webhooks and notifications, on real servers."""

from __future__ import annotations

import itertools
import json
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any, Final

import pytest
from confluent_kafka import Producer
from pydantic import SecretStr
from typer.testing import CliRunner

from backends.kafka.clients import producer_config
from backends.kafka.user_records import push_device_record
from backends.stages.dead_letter_log import read_letters
from backends.stages.letters import Letter, open_letters
from backends.stages.webhook_log import begin_at_the_end, subscription_stage, write_subscription
from consumers.timeline_tail import ends
from ops.commands.app import app
from ops.dead_letters.letter_notes import LetterNotes
from ops.dead_letters.replay import BEFORE, replay
from ops.dead_letters.stage_replays import ASKED, NEEDLESS, REMOVED
from ops.deployment.prepare_log import prepare_log
from schemas.codec import encode
from schemas.errors import ServerUnavailable
from schemas.ids import uuid7
from schemas.number_types import Milliseconds, SeqId
from schemas.push_addresses import WebhookAddress
from schemas.push_devices import PushDevice
from schemas.records import AnyCommand, CreateConversation, MarkRead, SendMessage, TextContent
from schemas.replays import Replay
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.webhooks import WebhookSubscription
from sinks.outbound.signatures import make_secret
from tests.conftest import Servers
from tests.support.pipeline import prepare
from tests.support.processes import environment, running, wait_until
from tests.support.push_server import PushServer, push_server
from tests.support.receiving import Receiver, Reply, receiver_in_thread
from tests.support.sink_stores import Conversation
from tests.support.topics import is_caught_up, publish, read_all
from tests.support.webhook_events import append_entries, data_of

pytestmark = pytest.mark.servers

CHAT: Final = "c"
BAD: Final = {2, 4}
"""The SeqIds of the events that the receiver refuses at first."""

_ids: Final = (uuid7(1, number) for number in itertools.count(1))


def im_replay(settings: Settings, *arguments: str) -> list[dict[str, Any]]:
    """The outcomes of `im dead-letter replay`, which must succeed."""
    runner = CliRunner(env=environment(settings))
    done = runner.invoke(app, ["dead-letter", "replay", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def open_of(settings: Settings, stage: str) -> list[Letter]:
    """The open letters of a stage."""
    return [each for each in open_letters(read_letters(settings)) if each.stage == stage]


def ended(settings: Settings) -> int:
    """The number of ends of requests on the topic."""
    end = encode(Replay(is_done=True))
    return sum(each.value() == end for each in read_all(settings, Topic.REPLAYS))


class Webhooks:
    """A webhook with texts, whose receiver has refused the events `BAD`."""

    def __init__(self, settings: Settings, server: Receiver) -> None:
        self.settings = settings
        self.server = server
        subscription = WebhookSubscription(
            id=secrets.token_hex(6), url=server.url, events=["message_sent"], text=True,
            secrets=[make_secret()], created_at=Milliseconds(0),
        )  # fmt: skip
        self.id, self.stage = subscription.id, subscription_stage(subscription.id)
        begin_at_the_end(settings, subscription.id)
        write_subscription(settings, subscription.id, subscription)
        server.decide = lambda request: Reply(422 if data_of(request)["seq"] in BAD else 200)
        talk = Conversation(CHAT)
        append_entries(settings, [talk.said(seq, f"text {seq}") for seq in range(1, 6)])
        append_entries(settings, [talk.recalled(6, 4)])

    def acknowledged(self) -> Counter[int]:
        """The number of acknowledgements of each SeqId."""
        return Counter(data_of(each)["seq"] for each in list(self.server.answered))

    def open(self) -> list[Letter]:
        """The open letters of the webhook."""
        return open_of(self.settings, self.stage)


@pytest.fixture
def webhooks(servers: Servers) -> Iterator[Webhooks]:
    """Two open letters; the stage `webhooks` has ended."""
    settings = servers.settings(
        partitions=2, outbound_allow="127.0.0.0/8", outbound_ports="any", outbound_http=True
    )
    prepare_log(settings)
    with receiver_in_thread() as server:
        world = Webhooks(settings, server)
        with running(settings, "sinks", "webhooks"):
            wait_until(lambda: len(world.open()) == len(BAD), "two letters")
            wait_until(lambda: set(world.acknowledged()) == {1, 3, 5}, "the other events")
        yield world


def test_a_webhook_gets_the_event_again(
    webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage sends each event once more, with its id, and without a recalled text.

    The command died before its note, and runs again. A second replay does nothing.
    """
    settings, server = webhooks.settings, webhooks.server
    first_ids = {data_of(r)["seq"]: r.headers["webhook-id"] for r in server.received}
    server.always(Reply())

    def dies(*_: object) -> None:
        raise ServerUnavailable("the note was not confirmed")

    with running(settings, "sinks", "webhooks"):
        with monkeypatch.context() as patch:
            patch.setattr(LetterNotes, "settle", dies)
            with pytest.raises(ServerUnavailable):
                replay(settings, webhooks.open(), lambda _done: None)
        assert len(webhooks.open()) == len(BAD)
        done = im_replay(settings, "--stage", webhooks.stage)
        assert [each["outcome"] for each in done] == [ASKED] * len(BAD)
        wait_until(lambda: ended(settings) == len(BAD), "both requests have ended")
        assert webhooks.open() == []
        letter = read_letters(settings)[0]
        assert [each["outcome"] for each in im_replay(settings, letter.place)] == [BEFORE]

    again = {data_of(each)["seq"]: each for each in server.answered}
    assert webhooks.acknowledged() == dict.fromkeys(range(1, 6), 1)
    assert {seq: again[seq].headers["webhook-id"] for seq in again} == first_ids
    assert data_of(again[2])["text"] == "text 2"
    assert data_of(again[4])["recalled"] is True
    assert "text" not in data_of(again[4])


def test_a_replay_survives_a_kill_of_the_stage(webhooks: Webhooks) -> None:
    """An event whose request was in flight at a kill arrives once, after the next start."""
    settings, server = webhooks.settings, webhooks.server
    server.always("hangs")
    begun = len(server.received)
    im_replay(settings, "--stage", webhooks.stage)
    with running(settings, "sinks", "webhooks") as process:
        wait_until(lambda: len(server.received) > begun, "a request that hangs")
        process.kill()
        process.wait(30)
    server.always(Reply())
    server.is_released = True
    with running(settings, "sinks", "webhooks"):
        wait_until(lambda: ended(settings) == len(BAD), "both requests have ended")
    assert webhooks.acknowledged() == dict.fromkeys(range(1, 6), 1)
    with running(settings, "sinks", "webhooks"):  # a start after the end repeats nothing
        append_entries(settings, [Conversation(CHAT).said(7, "next")])
        wait_until(lambda: 7 in webhooks.acknowledged(), "the next event")
    assert webhooks.acknowledged() == dict.fromkeys([1, 2, 3, 4, 5, 7], 1)


def test_an_event_that_is_refused_again_is_an_open_letter_again(webhooks: Webhooks) -> None:
    """The new letter has the reason of the replay; of a removed webhook nothing is sent."""
    settings, server = webhooks.settings, webhooks.server
    server.always(Reply(400))
    with running(settings, "sinks", "webhooks"):
        im_replay(settings, "--stage", webhooks.stage)
        wait_until(lambda: len(webhooks.open()) == len(BAD), "new letters")
    assert {each.reason for each in webhooks.open()} == {
        "the receiver refuses the event: status 400"
    }
    write_subscription(settings, webhooks.id, None)
    counts = replay(settings, webhooks.open(), lambda _done: None)
    assert counts == {REMOVED: len(BAD)}


def about(conv_id: str, sender: str = "ann") -> dict[str, Any]:
    """The fields that each command has."""
    return {"conv_id": conv_id, "sender": sender, "device_id": "d", "client_msg_id": next(_ids)}


def text(conv_id: str) -> AnyCommand:
    """A message of ann."""
    return SendMessage(**about(conv_id), content=TextContent("Hi"))


def has_sequenced(settings: Settings) -> bool:
    """Whether all commands are sequenced, and their records can be read.

    A sink has nothing to do before: it is caught up. The marker of a transaction reaches each
    topic on its own.
    """
    return is_caught_up(settings, "sequencer", Topic.MESSAGES) and all(
        ends(settings, topic) == ends(settings, topic, committed_only=True)
        for topic in (Topic.TIMELINE, Topic.SYNC)
    )


class Notifications:
    """People with a phone that refuses notifications, and a tablet that gets them."""

    def __init__(self, settings: Settings, server: PushServer, *people: str) -> None:
        self.settings = settings
        self.server = server
        server.statuses["/phone"] = 400
        producer = Producer(producer_config(settings))
        for user, name in itertools.product(people, ("phone", "tablet")):
            address = WebhookAddress(url=f"{server.url}/{name}")
            device = PushDevice(at=Milliseconds(1), address=address)
            producer.produce(*push_device_record(settings, user, name, device))
        assert producer.flush(30) == 0
        publish(
            settings, [CreateConversation(**about(f"c-{user}"), members=[user]) for user in people]
        )
        publish(settings, [text(f"c-{user}") for user in people])

    def open(self) -> list[Letter]:
        """The open letters of the stage."""
        return open_of(self.settings, "sink-push")

    def requests(self, path: str) -> dict[str, list[tuple[str, int]]]:
        """For each person, the id and the status of each request to a device."""
        found: dict[str, list[tuple[str, int]]] = {}
        for each in self.server.requests(path):
            pair = each.headers["webhook-id"], each.status
            found.setdefault(each.data["user_id"], []).append(pair)
        return found


def test_a_device_gets_its_notification_again(servers: Servers) -> None:
    """Only the device that refused the notification gets it, with the same id, and only once.

    A person who has read the message, or who has a newer one, needs none.
    """
    settings = servers.settings(
        partitions=2, sync_partitions=2, push_notifications=True,
        push_window=timedelta(seconds=0.5),
        push_webhook_secret=SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        outbound_allow="127.0.0.1", outbound_ports="any", outbound_http=True,
    )  # fmt: skip
    prepare(settings)
    people = ("bob", "cid", "dan", "eve")
    with push_server() as server, ExitStack() as stack:
        for module in ("stream_processors",), ("sinks", "message"), ("sinks", "sync"):
            stack.enter_context(running(settings, *module))
        with running(settings, "sinks", "push"):
            world = Notifications(settings, server, *people)
            wait_until(lambda: len(world.open()) == len(people), "letters")
            wait_until(lambda: len(server.acknowledged("/tablet")) == len(people), "tablets")
        first = world.requests("/phone")
        publish(settings, [MarkRead(**about("c-cid", "cid"), seq=SeqId(2)), text("c-dan")])
        wait_until(lambda: has_sequenced(settings), "the mark is sequenced")
        wait_until(lambda: is_caught_up(settings, "sink-sync", Topic.SYNC), "the mark is stored")
        wait_until(lambda: is_caught_up(settings, "sink-message", Topic.TIMELINE), "the message")
        server.statuses["/phone"] = 503

        assert replay(settings, world.open(), lambda _done: None) == {ASKED: 2, NEEDLESS: 2}

        with running(settings, "sinks", "push") as process:
            wait_until(lambda: ended(settings) == 2, "both requests have ended")
            process.kill()
            process.wait(30)
        server.statuses["/phone"] = 200
        with running(settings, "sinks", "push"):
            # The newer message of dan was sent before the replay.
            wait_until(lambda: len(server.acknowledged("/phone")) >= 3, "notifications")
            publish(settings, [text("c-dan")])
            wait_until(lambda: len(server.acknowledged("/phone")) >= 4, "the control")
        got = world.requests("/phone")
    for user in ("bob", "eve"):
        assert {name for name, _ in got[user]} == {first[user][0][0]}
        assert [status for _, status in got[user]].count(200) == 1
    assert got["cid"] == first["cid"]
    assert world.open() == []
    # After the kill, the stage may repeat a request whose acknowledgement it had no time to note.
    tablets = world.requests("/tablet")
    assert {user: len({name for name, _ in found}) for user, found in tablets.items()} == {
        "bob": 1, "cid": 1, "dan": 3, "eve": 1,
    }  # fmt: skip

"""`im explain` on real servers: one deployment, and a question for each reason."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from backends.cassandra.session import cassandra_session
from backends.elasticsearch.index import elasticsearch_client
from backends.kafka.clients import partition_of, producer_config
from backends.kafka.confirmed_producer import ConfirmedProducer
from backends.kafka.user_records import push_device_record
from backends.stages.dead_letter_log import read_letters
from ops.commands.app import app
from ops.dead_letters.letter_notes import LetterNotes
from ops.explain.explanation import explain_command, explain_entry
from ops.explain.facts import Explanation, Fact, StepName
from ops.explain.push_facts import push_state
from schemas.buckets import sync_bucket
from schemas.codec import encode
from schemas.ids import uuid7
from schemas.number_types import Milliseconds, Offset, SeqId, ShardNumber, SyncSeqId
from schemas.push_addresses import WebhookAddress
from schemas.push_devices import PushDevice
from schemas.records import (
    AddMembers,
    AnyCommand,
    CreateConversation,
    EditMessage,
    MarkRead,
    MuteConversation,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    TextContent,
)
from schemas.replays import GivenUpNotification
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.push.push_shards import KafkaPushLetters
from sinks.push.push_state import NOTHING, PushKey, PushState, WaitingMessage, state_key
from tests.conftest import Servers
from tests.support.deployed import STAGES
from tests.support.pipeline import prepare, sinks
from tests.support.processes import environment, running, wait_until
from tests.support.topics import is_caught_up, publish, timelines

pytestmark = pytest.mark.servers

SECRET: Final = "words for members"


class Story:
    """The commands of three conversations. The comments are SeqIds."""

    def __init__(self) -> None:
        self._now = time.time_ns() // 1_000_000
        self._number = 0
        self.ids: dict[str, str] = {}

    def _by(self, sender: str, conv_id: str) -> dict[str, Any]:
        self._number += 1
        name = uuid7(self._now, self._number)
        return {"conv_id": conv_id, "sender": sender, "device_id": "d", "client_msg_id": name}

    def _say(self, sender: str, conv_id: str, *mentions: str) -> SendMessage:
        content = TextContent(text=f"{SECRET} {self._number}")
        by = self._by(sender, conv_id)
        return SendMessage(**by, content=content, mentions=list(mentions))

    def commands(self) -> list[AnyCommand]:
        """All commands, in order."""
        commands: list[AnyCommand] = [
            CreateConversation(**self._by("ann", "c1"), members=["bob"]),  # 1
            self._say("ann", "c1"),  # 2
            AddMembers(**self._by("ann", "c1"), members=["cat"]),  # 3
            self._say("ann", "c1"),  # 4
            RemoveMembers(**self._by("ann", "c1"), members=["bob"]),  # 5
            self._say("ann", "c1"),  # 6
            RecallMessage(**self._by("ann", "c1"), seq=SeqId(2)),  # 7
            EditMessage(
                **self._by("ann", "c1"), seq=SeqId(4), content=TextContent(text=f"{SECRET} again")
            ),  # 8
            self._say("bob", "c1"),  # rejected
            MarkRead(**self._by("cat", "c1"), seq=SeqId(4)),
            CreateConversation(**self._by("ann", "c2"), members=["bob"], history="all"),  # 1
            self._say("ann", "c2"),  # 2
            AddMembers(**self._by("ann", "c2"), members=["cat"]),  # 3
            MuteConversation(**self._by("bob", "c2"), until=Milliseconds(self._now + 3_600_000)),
            CreateConversation(
                **self._by("ann", "big"), members=["bob", "cat", "dan", "eve", "fay"]
            ),  # 1, 2
            self._say("ann", "big", "bob"),  # 3
        ]
        self.ids = {"accepted": commands[5].client_msg_id, "refused": commands[8].client_msg_id}
        return commands


class Asked(NamedTuple):
    """A deployment, and the ids of two commands."""

    settings: Settings
    ids: dict[str, str]

    def entry(self, user: str, conv_id: str, seq: int) -> Explanation:
        """The answer about an entry."""
        with elasticsearch_client(self.settings) as search:
            return asyncio.run(explain_entry(self.settings, search, user, conv_id, SeqId(seq)))

    def command(self, user: str, conv_id: str, name: str) -> Explanation:
        """The answer about a command."""
        with elasticsearch_client(self.settings) as search:
            found = explain_command(self.settings, search, user, conv_id, name)
            return asyncio.run(found)


@pytest.fixture(scope="module")
def asked(servers: Servers) -> Asked:
    """A deployment whose pipeline has stored the story and has ended."""
    settings = servers.settings(partitions=2, sync_partitions=2, push_limit=4, push_again_below=3)
    prepare(settings)
    story = Story()
    with ExitStack() as stack:
        stack.enter_context(running(settings, "stream_processors"))
        stack.enter_context(sinks(settings))
        publish(settings, story.commands())
        wait_until(
            lambda: all(is_caught_up(settings, stage, topic) for stage, topic in STAGES),
            "the story is stored",
        )
    with cassandra_session(settings) as session:
        session.set_keyspace(settings.keyspace)
        for slot, cursor in enumerate((-1, 1 << 40)):
            session.execute(
                "INSERT INTO device (user_id, slot, device_id, registration, policy, show_last,"
                " since, cursor, seen) VALUES ('cat', %s, %s, 'r', 'window', 10, 1, %s, 1)",
                (slot, f"phone-{slot}", cursor),
            )
    assert [entry.seq for entry in timelines(settings)["c1"]] == list(range(1, 9))
    return Asked(settings, story.ids)


def steps(found: Explanation) -> dict[StepName, Fact]:
    """The first fact of each step."""
    by_step: dict[StepName, Fact] = {}
    for fact in found.facts:
        by_step.setdefault(fact.step, fact)
    return by_step


def results(found: Explanation) -> dict[str, str]:
    """The result of each step."""
    return {step: fact.result for step, fact in steps(found).items()}


def test_a_stranger_is_not_told_about_texts(asked: Asked) -> None:
    """A person who may not read a message sees neither its old nor its new text."""
    altered = steps(asked.entry("eve", "c1", 4))["altered"]
    assert altered.text == "edited by entry 8"
    assert altered.data["edit_is_shown"] is False


def test_a_member_got_the_message(asked: Asked) -> None:
    """Each step is there: from the command to the devices that have passed the record."""
    found = asked.entry("cat", "c1", 4)

    passed = {
        "accepted", "sequenced", "recipient", "synced", "referenced", "stored", "indexed",
        "altered", "visible", "read",
    }  # fmt: skip
    assert {step for step, result in results(found).items() if result == "yes"} >= passed
    assert "got it" in found.verdict
    assert steps(found)["accepted"].data["place"].startswith(asked.settings.topic(Topic.MESSAGES))
    assert steps(found)["altered"].data == {"edited_by": 8, "edit_is_shown": True}
    assert "no notifications" in steps(found)["notified"].text
    devices = [fact for fact in found.facts if fact.step == "device"]
    assert [fact.result for fact in devices] == ["no", "yes"]
    assert SECRET not in repr(found)


def test_a_person_who_was_removed_later_got_the_message(asked: Asked) -> None:
    """The message is in the ended membership period; the edit after the leave is not shown."""
    found = asked.entry("bob", "c1", 4)

    assert "got it" in found.verdict
    assert "1 to 5" in steps(found)["visible"].text
    assert steps(found)["altered"].data["edit_is_shown"] is False


@pytest.mark.parametrize(
    ("user", "conv_id", "seq", "result", "phrase"),
    [
        ("bob", "c1", 6, "no", "entry 5 ended the membership"),
        ("cat", "c1", 2, "no", "entry 3 began the membership, and the history rule is since_join"),
        ("cat", "c2", 2, "yes", "before the join by entry 3"),
        ("eve", "c1", 4, "no", "never a member"),
    ],
    ids=["removed before", "joined later, since_join", "joined later, all", "a stranger"],
)
def test_the_membership_decides(  # noqa: PLR0913 - a row of the table
    asked: Asked, *, user: str, conv_id: str, seq: int, result: str, phrase: str
) -> None:
    """The entry that opened or closed the membership is named; no such person is a recipient."""
    found = asked.entry(user, conv_id, seq)

    assert steps(found)["visible"].result == result
    assert phrase in steps(found)["visible"].text
    assert (steps(found)["recipient"].result, steps(found)["synced"].result) == ("no", "no")


@pytest.mark.parametrize(("user", "result"), [("bob", "yes"), ("cat", "no"), ("ann", "yes")])
def test_a_large_group_is_read_from_the_store(asked: Asked, user: str, result: str) -> None:
    """In pull mode only the sender and the mentioned people have a sync record."""
    found = asked.entry(user, "big", 3)

    assert steps(found)["recipient"].data["mode"] == "pull"
    assert steps(found)["recipient"].result == steps(found)["synced"].result == result
    assert steps(found)["visible"].result == "yes"
    assert ("pull" in found.verdict) == (result == "no")


def test_a_recalled_message_is_an_empty_place(asked: Asked) -> None:
    """The recall is named, and the document of the index has no text."""
    found = asked.entry("bob", "c1", 2)

    assert "recalled by entry 7" in found.verdict
    assert steps(found)["indexed"].result == "no"
    assert SECRET not in repr(found)


def test_a_mute_is_named(asked: Asked) -> None:
    """A person who has muted the conversation is not notified."""
    assert steps(asked.entry("bob", "c2", 2))["notified"].result == "no"
    assert "muted" in steps(asked.entry("bob", "c2", 2))["notified"].text


def test_a_waiting_notification_is_named(asked: Asked) -> None:
    """The last state on the topic counts, and only that of this person and conversation."""
    key = PushKey("ann", "c1")
    state = PushState(waiting=(WaitingMessage(SeqId(6), Milliseconds(1), "bob", 3),))
    partition = partition_of("ann", asked.settings.partitions)
    producer = Producer(producer_config(asked.settings))
    for at, value in ((key, b"{}"), (key, encode(state)), (PushKey("ann", "c2"), None)):
        producer.produce(asked.settings.topic(Topic.PUSH_STATE), value, state_key(at), partition)
    assert producer.flush(30) == 0

    assert push_state(asked.settings, key) == state
    assert push_state(asked.settings, PushKey("ann", "c2")) == NOTHING


def test_the_fate_of_each_device_is_named(asked: Asked) -> None:
    """A dead letter names its device, until an operator drops it; a device may have got it."""
    with_push = Asked(asked.settings.model_copy(update={"push_notifications": True}), asked.ids)
    settings = with_push.settings
    device = PushDevice(at=Milliseconds(1), address=WebhookAddress(url="https://push.example/"))
    producer = Producer(producer_config(settings))
    for name in ("phone", "tablet"):
        producer.produce(*push_device_record(settings, "bob", name, device))
    assert producer.flush(30) == 0
    ids = GivenUpNotification(
        device_id="phone", conv_id="c1", seq=SeqId(4), sender="ann", messages=2,
        shard=ShardNumber(0), offset=Offset(0),
    )  # fmt: skip
    KafkaPushLetters(settings).send("bob", ids, "status 400")

    def notified(user: str, seq: int) -> list[str]:
        found = with_push.entry(user, "c1", seq)
        return [fact.text for fact in found.facts if fact.step == "notified"]

    refused, delivered = notified("bob", 4)
    assert "device phone: dead letter, notification: status 400 (open" in refused
    assert "waits for tablet" in delivered
    (letter,) = [each for each in read_letters(settings) if each.stage == "sink-push"]
    LetterNotes(settings, ConfirmedProducer(settings)).settle(letter, "dropped")
    assert "(dropped since then" in notified("bob", 4)[0]
    assert notified("cat", 4) == ["no device of the person has a push address"]
    assert notified("ann", 4) == ["this is the person's own message"]
    assert "only messages" in notified("bob", 3)[0]


def test_an_expired_reference_is_named(asked: Asked) -> None:
    """A reader of the notes knows that the row has expired."""
    place = SyncSeqId(asked.entry("ann", "c1", 4).facts[3].data["sync_seq"])
    with cassandra_session(asked.settings) as session:
        session.set_keyspace(asked.settings.keyspace)
        session.execute(
            "DELETE FROM sync WHERE user_id = 'ann' AND bucket = %s", (sync_bucket(place),)
        )
        lost = steps(asked.entry("ann", "c1", 4))["referenced"]
        session.execute(
            "INSERT INTO sync_expiry (user_id, since, until, newest) VALUES ('ann', 0, 1, %s)",
            (place,),
        )

    assert "im repair" in lost.text
    assert "not in the sync timeline" in asked.entry("ann", "c1", 4).verdict
    assert "expired" in steps(asked.entry("ann", "c1", 4))["referenced"].text


def test_what_does_not_exist_is_named(asked: Asked) -> None:
    """A SeqId above the head, and an unknown conversation."""
    assert "its head is 8" in asked.entry("bob", "c1", 99).verdict
    assert "there is no conversation nowhere" in asked.entry("bob", "nowhere", 1).verdict


def test_a_command_is_explained_by_its_id(asked: Asked) -> None:
    """A rejected command has its code, an accepted command its entry."""
    refused = asked.command("bob", "c1", asked.ids["refused"])
    assert steps(refused)["accepted"].result == "yes"
    assert steps(refused)["sequenced"].data["code"] == "not_a_member"

    accepted = asked.command("ann", "c1", asked.ids["accepted"])
    assert (accepted.seq, steps(accepted)["accepted"].result) == (6, "yes")

    unknown = asked.command("ann", "c1", uuid7(time.time_ns() // 1_000_000, 7))
    assert steps(unknown)["accepted"].result == "no"
    of_another = asked.command("bob", "c1", asked.ids["accepted"])
    assert "of bob in c1" in of_another.verdict


def test_the_command_prints_lines_and_json(asked: Asked) -> None:
    """Lines for people, one object for programs; neither has the text of a message."""
    runner = CliRunner(env=environment(asked.settings))
    lines = runner.invoke(app, ["explain", "cat", "c1", "4"])
    found = runner.invoke(app, ["explain", "cat", "c1", "4", "--json"])

    assert (lines.exit_code, found.exit_code) == (0, 0)
    assert "  referenced  yes  table sync" in lines.stdout
    assert json.loads(found.stdout)["seq"] == 4
    assert SECRET not in lines.stdout + found.stdout
    assert runner.invoke(app, ["explain", "cat", "c1"]).exit_code != 0

"""`im dead-letter`: letters are listed, shown, replayed and dropped on real servers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from audit.input_readers import read_input_letters
from backends.elasticsearch.index import elasticsearch_client
from backends.kafka.clients import partition_of, producer_config
from backends.stages.dead_letter_log import NewestLetters, read_letters
from backends.stages.letters import Letter, open_letters
from ops.commands.app import app
from ops.dead_letters.letter_notes import LetterNotes
from ops.dead_letters.replay import BEFORE, GONE, NO_STAGE, REFUSED, SENT, STORED, replay
from schemas.codec import encode
from schemas.dead_letters import WRONG_PARTITION
from schemas.errors import ServerUnavailable
from schemas.number_types import Offset
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.base.records import Record
from sinks.base.sink_letters import DeadLetter, KafkaDeadLetters
from sinks.base.source import OneTopic
from tests.conftest import Servers
from tests.support.commands import growing_group, message
from tests.support.pipeline import prepare
from tests.support.processes import environment, running, wait_until
from tests.support.sink_stores import Conversation
from tests.support.topics import is_caught_up, publish, timelines

pytestmark = pytest.mark.servers

TEXT = "lost and found"


def put_aside(settings: Settings, stage: str, offset: int, value: bytes = b"") -> None:
    """Appends a dead letter of a stage for a record of partition 0 of the timeline."""
    source = OneTopic(settings.topic(Topic.TIMELINE))
    record = Record(0, Offset(offset), b"c", value)
    KafkaDeadLetters(settings, source, stage).send([DeadLetter(record, "the index was closed")])


def write(settings: Settings, topic: Topic, *records: tuple[int, str, bytes]) -> None:
    """Appends (partition, key, value)."""
    producer = Producer(producer_config(settings))
    for partition, key, value in records:
        producer.produce(settings.topic(topic), value, key.encode(), partition)
    assert producer.flush(30) == 0


def hits(settings: Settings) -> int:
    """The number of messages in the index."""
    with elasticsearch_client(settings) as client:
        client.indices.refresh(index=settings.index_alias)
        return int(client.count(index=settings.index_alias)["count"])


def im_dead_letter(settings: Settings, *arguments: str, answer: str = "") -> Result:
    """Runs a command in this process."""
    runner = CliRunner(env=environment(settings))
    return runner.invoke(app, ["dead-letter", *arguments], input=answer)


def objects(done: Result) -> list[dict[str, Any]]:
    """The objects that a command printed; the command must have succeeded."""
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def outcomes(settings: Settings, letters: Sequence[Letter]) -> dict[str, int]:
    """The number of replayed letters by outcome."""
    return dict(replay(settings, letters, lambda _done: None))


def test_the_records_of_a_sink_are_stored_once(servers: Servers) -> None:
    """A replay reads each record again from its offset; lists hide what is settled."""
    settings = servers.settings(partitions=2)
    prepare(settings)
    write(
        settings,
        Topic.TIMELINE,
        (0, "c", encode(Conversation("c").said(1, TEXT))),
        (0, "c", b"[]"),
    )
    for offset in (0, 1, 7):
        put_aside(settings, "sink-search", offset)
    put_aside(settings, "another", 0)
    topic = settings.topic(Topic.TIMELINE)

    letters = read_letters(settings)
    assert {letter.place for letter in letters} == {f"{topic}:0:{offset}" for offset in (0, 1, 7)}
    assert outcomes(settings, letters) == {STORED: 1, REFUSED: 1, GONE: 1, NO_STAGE: 1}
    assert hits(settings) == 1

    again = read_letters(settings)
    assert outcomes(settings, again) == {BEFORE: 1, REFUSED: 1, GONE: 1, NO_STAGE: 1}
    assert len(open_letters(again)) == 3
    newest = NewestLetters(settings, 10)
    assert {letter.own_place for letter in newest.read()} == {
        letter.own_place for letter in open_letters(again)
    }
    newest.close()


def test_letters_are_listed_shown_and_dropped(servers: Servers) -> None:
    """The list has pages; only `--text` shows a text; a drop asks and is durable."""
    settings = servers.settings(partitions=1)
    prepare(settings)
    said = encode(Conversation("c").said(1, TEXT))
    write(settings, Topic.TIMELINE, (0, "c", said))
    for _ in range(3):
        put_aside(settings, "sink-search", 0, said)
    put_aside(settings, "sink-message", 5)
    place = f"{settings.topic(Topic.TIMELINE)}:0:0"

    *first, following = objects(im_dead_letter(settings, "list", "--limit", "2", "--json"))
    rest = objects(im_dead_letter(settings, "list", "--after", following["following"], "--json"))
    assert [letter["own_offset"] for letter in (*first, *rest)] == [0, 1, 2, 3]

    shown = im_dead_letter(settings, "show", place)
    assert shown.exit_code == 0
    assert "message_sent" in shown.stdout
    assert TEXT not in shown.stdout
    assert TEXT in im_dead_letter(settings, "show", place, "--text").stdout

    assert im_dead_letter(settings, "drop", "--yes").exit_code != 0  # no letter is named
    assert im_dead_letter(settings, "drop", place, answer="n\n").exit_code == 1
    assert len(objects(im_dead_letter(settings, "list", "--json"))) == 4
    assert im_dead_letter(settings, "drop", place, answer="y\n").exit_code == 0
    (left,) = objects(im_dead_letter(settings, "list", "--json"))
    assert left["stage"] == "sink-message"
    assert len(objects(im_dead_letter(settings, "list", "--all", "--json"))) == 4
    (done,) = objects(im_dead_letter(settings, "replay", place, "--json"))
    assert (done["outcome"], done["why"]) == (BEFORE, "dropped")


def test_a_command_is_sent_again_without_a_second_message(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replayed command is accepted once, also if the replay died before it noted the letter."""
    settings = servers.settings(partitions=2, sync_partitions=2)
    prepare(settings)
    publish(settings, growing_group(2))
    foreign = 1 - partition_of("c1", 2)
    lost = message(1)
    write(settings, Topic.MESSAGES, (foreign, "c1", encode(lost)), (foreign, "c1", b"{}"))

    def sequenced() -> bool:
        return is_caught_up(settings, "sequencer", Topic.MESSAGES)

    def dies(*_: object) -> None:
        raise ServerUnavailable("the note was not confirmed")

    with running(settings, "stream_processors"):
        wait_until(sequenced, "the sequencer has put the records aside")
        letters = read_letters(settings)
        assert {letter.reason for letter in letters} >= {WRONG_PARTITION}
        (misplaced,) = [
            each for each in letters if each.reason == WRONG_PARTITION and each.size > 2
        ]
        with monkeypatch.context() as patch:
            patch.setattr(LetterNotes, "settle", dies)
            with pytest.raises(ServerUnavailable):
                replay(settings, [misplaced], lambda _done: None)
        assert outcomes(settings, read_letters(settings)) == {SENT: 1, REFUSED: 1}
        assert outcomes(settings, read_letters(settings)) == {BEFORE: 1, REFUSED: 1}
        wait_until(sequenced, "the command is sequenced again")

    ids = [entry.client_msg_id for entry in timelines(settings)["c1"]]
    assert ids.count(lost.client_msg_id) == 1
    assert len(list(read_input_letters(settings))) == 2  # `im verify` takes no note for a letter

"""Publishing to a real broker."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from msgspec import structs

from backends.kafka.clients import create_topics
from consumers.cursor import MemoryCursors
from consumers.follower import SyncFollower
from producers.publisher import Publisher
from producers.receipts import ReceiptState
from schemas.codec import decode_command
from schemas.errors import CommandRejected, NotYet
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.processes import ROOT, environment, running
from tests.support.publish_for_ever import batch
from tests.support.publishing import message
from tests.support.topics import read_all

pytestmark = pytest.mark.servers

PATIENCE = 180.0


@pytest.fixture
def settings(servers: Servers, tmp_path: Path) -> Settings:
    """A deployment in its own namespace, with its topics."""
    settings = servers.settings(partitions=3, sync_partitions=2, home=tmp_path)
    create_topics(settings)
    return settings


def kill_while_publishing(settings: Settings, outbox: Path, batches: int) -> int:
    """Kills a publishing process after this number of batches.

    Returns:
        The number of batches that the process had certainly queued.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.publish_for_ever", str(outbox)],
        cwd=ROOT, env=environment(settings), stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for _ in range(batches):
            process.stdout.readline()
        process.kill()
        rest = process.stdout.read().splitlines()
    return batches + len([line for line in rest if line])


@pytest.mark.parametrize("batches", [1, 40])
def test_a_killed_publisher_loses_nothing(
    settings: Settings, tmp_path: Path, batches: int
) -> None:
    """After `kill -9` of a publisher, the next one sends all queued commands.

    The commands of each conversation arrive in order.
    """
    outbox = tmp_path / "outbox.db"
    queued = kill_while_publishing(settings, outbox, batches)
    with Publisher(
        settings, "ann", "phone", outbox, window=None, done_when="accepted", capacity=10**6
    ) as publisher:
        publisher.flush(PATIENCE)
        assert publisher.counts()[ReceiptState.ACCEPTED] == len(publisher.resumed)
    landed: dict[str, dict[str, None]] = defaultdict(dict)
    for record in read_all(settings, Topic.MESSAGES):
        command = decode_command(record.value())
        assert record.key() == command.conv_id.encode()
        landed[command.conv_id].setdefault(command.client_msg_id)
    # One more whole batch may have been queued before its line was printed.
    published: dict[str, list[str]] = defaultdict(list)
    count = max(queued, sum(map(len, landed.values())) // 50)
    assert count <= queued + 1
    for command in (command for number in range(count) for command in batch(number)):
        published[command.conv_id].append(command.client_msg_id)
    assert {conv_id: list(ids) for conv_id, ids in landed.items()} == published


def test_a_publisher_waits_for_a_missing_topic(servers: Servers, tmp_path: Path) -> None:
    """Commands sent before the topics exist arrive in order when the topics are created."""
    settings = servers.settings(partitions=1, sync_partitions=1)
    with Publisher(settings, "ann", "phone", tmp_path / "outbox.db", window=None) as publisher:
        receipts = publisher.publish_many([message(number) for number in range(100)])
        with pytest.raises(NotYet):
            receipts[0].wait_accepted(0.5)
        create_topics(settings)
        for receipt in receipts:
            receipt.wait_accepted(PATIENCE)
    ids = [decode_command(r.value()).client_msg_id for r in read_all(settings, Topic.MESSAGES)]
    assert list(dict.fromkeys(ids)) == [receipt.client_msg_id for receipt in receipts]


def test_a_client_receives_the_seq_ids_of_its_messages(settings: Settings, tmp_path: Path) -> None:
    """A client gets SeqIds in the order of sending, and learns of rejections."""
    with (
        running(settings, "stream_processors"),
        SyncFollower(settings, "ann", MemoryCursors()) as follower,
        Publisher(settings, "ann", "phone", tmp_path / "outbox.db") as publisher,
        observing(publisher, follower),
    ):
        created = publisher.create_conversation("c", ["bob"])
        said = [publisher.send("c", f"number {n}") for n in range(100)]
        lost = publisher.send("nowhere", "hello?")
        assert created.wait_sequenced(PATIENCE) == 1
        assert [receipt.wait_sequenced(PATIENCE) for receipt in said] == list(range(2, 102))
        with pytest.raises(CommandRejected, match="unknown_conversation"):
            lost.wait_sequenced(PATIENCE)
        old = structs.replace(message(1), installation=publisher.installation)
        with pytest.raises(CommandRejected, match="stale"):
            publisher.publish(old).wait_sequenced(PATIENCE)
        counts = publisher.counts()
    assert (counts[ReceiptState.SEQUENCED], counts[ReceiptState.REJECTED]) == (101, 2)


@contextmanager
def observing(publisher: Publisher, follower: SyncFollower) -> Iterator[None]:
    """Passes the user's sync timeline to the publisher, in another thread."""
    stop = Event()

    def follow() -> None:
        follower.follow(lambda item: publisher.observe(item.record), stop)

    thread = Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE)

"""Workers that take over partitions from each other: one writes for a partition at a time."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final

import pytest

from backends.kafka.clients import create_topics
from backends.kafka.commit_notes import decode_note
from schemas.records import AnyCommand
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.commands import growing_group, message
from tests.support.processes import WAIT_SECONDS, running, wait_until
from tests.support.topics import (
    committed,
    is_caught_up,
    publish,
    sync_timelines,
    timelines,
)

pytestmark = pytest.mark.servers

PARTITIONS: Final = 4
CHATS: Final = [f"chat {number}" for number in range(12)]
GROUP_ENTRIES: Final = 2
"""The entries of a chat before its first message."""
FENCED: Final = "is fenced"


@pytest.fixture
def settings(servers: Servers) -> Settings:
    """A deployment in its own namespace, with its topics."""
    settings = servers.settings(partitions=PARTITIONS, sync_partitions=2)
    create_topics(settings)
    return settings


def messages(first: int, count: int) -> list[AnyCommand]:
    """Messages to all chats, with numbers from ``first`` on in each."""
    return [
        message(number, conv_id=chat) for number in range(first, first + count) for chat in CHATS
    ]


def writers(settings: Settings) -> set[str]:
    """The writers of all partitions that have a commit; empty for a partition that is free."""
    places = committed(settings, "sequencer", Topic.MESSAGES).values()
    return {str(decode_note(place.metadata).writer) for place in places}


def is_sequenced(settings: Settings) -> bool:
    """Whether every command has its outcome."""
    return is_caught_up(settings, "sequencer", Topic.MESSAGES)


def sequenced(settings: Settings) -> int:
    """The number of offsets that workers have committed."""
    return sum(place.offset for place in committed(settings, "sequencer", Topic.MESSAGES).values())


def assert_complete(settings: Settings, count: int) -> None:
    """Every chat has each of its messages once, with SeqIds 1..n, also in the sync timelines."""
    entries, of_sender = timelines(settings), sync_timelines(settings)["u0"]
    for chat in CHATS:
        assert [entry.seq for entry in entries[chat]] == list(range(1, GROUP_ENTRIES + count + 1))
        assert [record for record in of_sender if record.conv_id == chat] == entries[chat]


def test_a_paused_worker_cannot_commit_for_its_successor(
    settings: Settings, tmp_path: Path
) -> None:
    """A worker that is paused in the middle of its work is fenced, and ends when it continues.

    The second worker takes over all partitions and commits every record once.
    """
    publish(settings, [each for chat in CHATS for each in growing_group(2, chat)])
    log = tmp_path / "second.log"
    with running(settings, "stream_processors") as first:
        wait_until(lambda: is_sequenced(settings), "the chats exist")
        publish(settings, messages(0, 4_000))
        begun = sequenced(settings)
        wait_until(lambda: sequenced(settings) > begun, "the first worker is at work")
        first.send_signal(signal.SIGSTOP)
        assert not is_sequenced(settings)
        with running(settings, "stream_processors", log=log):
            wait_until(lambda: is_sequenced(settings), "the second worker has done the rest")
            assert FENCED in log.read_text()
            first.send_signal(signal.SIGCONT)
            assert first.wait(WAIT_SECONDS) != 0
            publish(settings, messages(4_000, 10))
            wait_until(lambda: is_sequenced(settings), "the second worker continues")
    assert_complete(settings, 4_010)


def test_a_worker_that_gives_up_partitions_keeps_the_others(
    settings: Settings, tmp_path: Path
) -> None:
    """A second worker gets its share without fencing the first, and returns it at its end."""
    publish(settings, [each for chat in CHATS for each in growing_group(2, chat)])
    log = tmp_path / "second.log"
    with running(settings, "stream_processors") as first:
        wait_until(lambda: is_sequenced(settings), "the chats exist")
        alone = writers(settings)
        with running(settings, "stream_processors", log=log) as second:
            wait_until(lambda: writers(settings) - alone - {""}, "both workers have partitions")
            publish(settings, messages(0, 100))
            wait_until(lambda: is_sequenced(settings), "both workers have done their part")
            assert first.poll() is second.poll() is None
        publish(settings, messages(100, 100))
        wait_until(lambda: is_sequenced(settings), "the first worker has all partitions again")
        assert first.poll() is None
        assert writers(settings) == alone
    assert FENCED not in log.read_text()
    assert writers(settings) == {""}
    assert_complete(settings, 200)

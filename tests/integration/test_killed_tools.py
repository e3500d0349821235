"""`im reindex` and `im repair` as processes that end by ``kill -9`` at any point of their work."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from elasticsearch import Elasticsearch

from backends.cassandra.session import cassandra_session
from backends.elasticsearch.generations import read_generation, searched_indices
from backends.elasticsearch.index import elasticsearch_client
from schemas.settings import Settings
from tests.conftest import Servers
from tests.support.auditing import SMALL_LIMITS_AS_SETTINGS
from tests.support.deployed import all_stored, lose_all_rows
from tests.support.pipeline import assert_verified, finish, im, im_under_way, prepare, sinks
from tests.support.processes import running, wait_until
from tests.support.reindexing import Searching, Writing, message_indices, searchable
from tests.support.stories import STORY
from tests.support.topics import publish

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

WRITTEN_BEFORE = 300

REINDEX_POINTS = (
    ("building", 0.0), ("records", 0.0), ("switching", 0.0), ("switching", 0.05),
)  # fmt: skip
"""A line that the command prints, and the seconds from the line to the kill."""

REPAIR_POINTS = (("round 1", 0.0), ("round 1", 0.2))


def kill_at(command: subprocess.Popen[str], words: str, seconds: float) -> None:
    """Ends a command by ``kill -9`` some time after it has printed a line."""
    assert command.stderr is not None
    seen = []
    for line in command.stderr:
        seen.append(line)
        if words in line:
            time.sleep(seconds)
            command.kill()
            command.wait(30)
            return
    raise AssertionError(f"the command did not print {words!r}: {seen}")


@pytest.fixture
def indexed(servers: Servers) -> Iterator[tuple[Settings, Elasticsearch]]:
    """A prepared deployment, and a client that deletes its indices."""
    settings = servers.settings(partitions=2, sync_partitions=1)
    prepare(settings)
    with elasticsearch_client(settings) as client:
        yield settings, client
        client.indices.delete(index=sorted(message_indices(client, settings)))


def test_a_killed_reindex_leaves_nothing_behind(indexed: tuple[Settings, Elasticsearch]) -> None:
    """While people write and search, `im reindex` is killed at each step and then run again.

    No search fails, no message is missing or found twice, and one generation of indices is left.
    """
    settings, client = indexed
    writing, chance = Writing(settings), random.Random(3)
    writing.append(WRITTEN_BEFORE)
    with running(settings, "sinks", "search"):
        wait_until(lambda: searchable(client, settings) == WRITTEN_BEFORE, "all is indexed")
        with Searching(settings) as searching:
            wait_until(lambda: searching.found == WRITTEN_BEFORE, "all is found")
            for words, seconds in REINDEX_POINTS:
                writing.append(chance.randrange(1, 20))
                with im_under_way(settings, "reindex") as command:
                    kill_at(command, words, seconds)
            writing.append(5)
            with im_under_way(settings, "reindex") as command:
                (done,) = finish(command)
            if done["was_interrupted"]:  # it completed the switch of the last killed command
                im(settings, "reindex")
            writing.append(5)
            wait_until(lambda: searching.found == writing.written, "the newest are found")
    assert searching.failures == []
    assert searchable(client, settings) == writing.written
    state = read_generation(client, settings).state
    assert not state.switching
    assert list(searched_indices(client, settings)) == [state.current]
    assert all(f"-g{state.current}-" in name for name in message_indices(client, settings))


def test_a_killed_repair_can_be_run_again(servers: Servers) -> None:
    """While people write, `im repair` is killed at several points of its writes.

    After the last run the audit finds no difference: nothing is missing, doubled or changed.
    """
    settings = servers.settings(partitions=2, sync_partitions=3, **SMALL_LIMITS_AS_SETTINGS)
    prepare(settings)
    parts = len(REPAIR_POINTS) + 1
    first, *rest = (
        STORY[len(STORY) * n // parts : len(STORY) * (n + 1) // parts] for n in range(parts)
    )
    with ExitStack() as stack:
        stack.enter_context(running(settings, "stream_processors"))
        stack.enter_context(sinks(settings))
        publish(settings, first)
        wait_until(lambda: all_stored(settings), "the first part is stored")
        session = stack.enter_context(cassandra_session(settings))
        session.set_keyspace(settings.keyspace)
        for (words, seconds), commands in zip(REPAIR_POINTS, rest, strict=True):
            lose_all_rows(session)
            with im_under_way(settings, "repair", "--apply") as command:
                publish(settings, commands)
                kill_at(command, words, seconds)
        (*_, summary) = im(settings, "repair", "--apply")
        assert summary["ok"] is True
        assert_verified(settings)

"""`im reindex` on the real Elasticsearch: searches and writes go on while the index is built."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from elasticsearch import Elasticsearch

from backends.elasticsearch.generations import read_generation, searched_indices
from backends.elasticsearch.index import deployment_index, elasticsearch_client, index_name
from backends.identity.index_claim import claim_for_rebuild, claim_index
from backends.identity.log_identity import check_log
from backends.kafka.clients import admin_client, partition_of
from ops.reindex.generation_switch import GenerationSwitch
from ops.reindex.index_build import Reindexed, build_index
from schemas.errors import ConfigurationError, WrongDeployment
from schemas.number_types import Milliseconds
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.pipeline import prepare
from tests.support.processes import running, wait_until
from tests.support.reindexing import CHAT, Searching, Writing, message_indices, searchable
from tests.support.sink_stores import AT, NEXT_MONTH

pytestmark = pytest.mark.servers

WRITTEN_BEFORE = 600
PARTITIONS = 2


@pytest.fixture
def deployment(servers: Servers) -> Iterator[tuple[Settings, Elasticsearch]]:
    """A prepared deployment, and a client that deletes its indices."""
    settings = servers.settings(partitions=PARTITIONS, sync_partitions=1)
    prepare(settings)
    with elasticsearch_client(settings) as client:
        yield settings, client
        client.indices.delete(index=sorted(message_indices(client, settings)))


def test_searches_and_writes_go_on_while_the_index_is_built(
    deployment: tuple[Settings, Elasticsearch],
) -> None:
    """No search fails or loses a hit, and the new index has all messages, old and new."""
    settings, client = deployment
    writing = Writing(settings)
    writing.append(WRITTEN_BEFORE)
    done: list[Reindexed] = []

    def build() -> None:
        done.append(build_index(client, settings, lambda _: None, grace_seconds=2))

    with running(settings, "sinks", "search"):
        wait_until(lambda: searchable(client, settings) == WRITTEN_BEFORE, "all is indexed")
        with Searching(settings) as searching:
            wait_until(lambda: searching.found == WRITTEN_BEFORE, "all is found")
            building = Thread(target=build)
            building.start()
            while building.is_alive():
                writing.append(5)
                building.join(0.1)  # a search finds at most 10,000 messages
            writing.append(5)
            wait_until(lambda: searching.found == writing.written, "the newest are found")

    assert searching.failures == []
    assert done[0].generation == 1
    assert done[0].records >= WRITTEN_BEFORE
    assert writing.written > WRITTEN_BEFORE + 10
    assert message_indices(client, settings) == {
        index_name(settings, Milliseconds(at), 1)
        for at in (AT, NEXT_MONTH, time.time_ns() // 1_000_000)
    }


class Killed(BaseException):
    """The process was killed here."""


class MortalClient:
    """A client that dies before its request number ``life``, and answers nothing after that."""

    def __init__(self, inner: Any, life: list[int]) -> None:
        self._inner = inner
        self._life = life

    def __getattr__(self, name: str) -> Any:
        part = getattr(self._inner, name)
        if not callable(part):
            return MortalClient(part, self._life)

        def request(*args: Any, **given: Any) -> Any:
            self._life[0] -= 1
            if self._life[0] < 0:
                raise Killed
            return part(*args, **given)

        return request


def test_a_killed_command_can_be_run_again(
    deployment: tuple[Settings, Elasticsearch],
) -> None:
    """After a death before each request to Elasticsearch, all is found, and the next run ends."""
    settings, client = deployment
    writing = Writing(settings)
    writing.append(7)
    deaths = 0
    with running(settings, "sinks", "search"):
        wait_until(lambda: searchable(client, settings) == 7, "all is indexed")
        for life in range(100):
            mortal: Any = MortalClient(client, [life])
            try:
                done = build_index(mortal, settings, lambda _: None, grace_seconds=0)
            except Killed:
                deaths += 1
                assert searchable(client, settings) == writing.written
                if life % 6 == 0:
                    build_index(client, settings, lambda _: None, grace_seconds=0)
                    assert searchable(client, settings) == writing.written
                    writing.append(1)
                    wait_until(
                        lambda: searchable(client, settings) == writing.written, "the sink goes on"
                    )
            else:
                if not done.was_interrupted:
                    break

    state = read_generation(client, settings).state
    assert deaths > 10
    assert not state.switching
    assert list(searched_indices(client, settings)) == [state.current]
    assert {
        name for name in message_indices(client, settings) if f"-g{state.current}-" not in name
    } == set()


def test_two_commands_do_not_mix(deployment: tuple[Settings, Elasticsearch]) -> None:
    """A command that another command has overtaken ends before it changes the alias."""
    settings, client = deployment
    first, second = GenerationSwitch(client, settings), GenerationSwitch(client, settings)
    for switch in (first, second):
        assert not switch.finish_interrupted()
    first.begin()
    with pytest.raises(ConfigurationError, match="another `im reindex`"):
        second.begin()  # it read the state before the first one took its number
    second.finish_interrupted()
    second.begin()
    assert second.number == first.number + 1
    with pytest.raises(ConfigurationError, match="another `im reindex`"), first.old_is_blocked():
        raise AssertionError("it was entered")


def test_a_log_without_its_beginning_is_refused(
    deployment: tuple[Settings, Elasticsearch],
) -> None:
    """If retention has removed entries, the command ends and the old index is searched."""
    settings, client = deployment
    Writing(settings).append(3)
    place = TopicPartition(settings.topic(Topic.TIMELINE), partition_of(CHAT, PARTITIONS), 2)
    admin = admin_client(settings)  # keep a reference: without it the future never completes
    admin.delete_records([place])[place].result(30)

    with pytest.raises(ConfigurationError, match="begins at offset 2"):
        build_index(client, settings, lambda _: None, grace_seconds=0)

    assert list(searched_indices(client, settings)) == [0]


def test_a_lost_index_is_built_from_the_log(deployment: tuple[Settings, Elasticsearch]) -> None:
    """Without any index, the sink does not continue with a hole; a reindex brings all back."""
    settings, client = deployment
    writing = Writing(settings)
    writing.append(5)
    with running(settings, "sinks", "search"):
        wait_until(lambda: searchable(client, settings) == 5, "all is indexed")
    client.indices.delete(index=[*message_indices(client, settings), deployment_index(settings)])
    found = check_log(settings)
    with pytest.raises(WrongDeployment):
        claim_index(client, settings, found, Milliseconds(AT))

    claim_for_rebuild(client, settings, found)
    build_index(client, settings, lambda _: None, grace_seconds=0)

    assert searchable(client, settings) == 5
    with running(settings, "sinks", "search"):
        writing.append(1)
        wait_until(lambda: searchable(client, settings) == 6, "the sink goes on")

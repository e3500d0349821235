"""Backup and restore: the steps of docs/operating.md on real servers.

The stores are backed up and restored by the commands of the page, as they are printed there. The
backup of Kafka is a copy of its data folder, as a snapshot of a volume makes it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterable
from contextlib import closing
from operator import itemgetter
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from confluent_kafka import Consumer, TopicPartition
from pydantic import SecretStr

from backends.cassandra.session import cassandra_session
from backends.elasticsearch.index import elasticsearch_client
from backends.kafka.clients import admin_client, consumer_config, topic_partitions
from devstack.ports import free_ports
from devstack.stack import Stack
from gateway.log.log_ends import LogEnds
from schemas.number_types import Milliseconds, SyncSeqId
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.chat import write_chat
from tests.support.gateway import SECRET
from tests.support.local_world import by_seq
from tests.support.nodetool import nodetool_folder
from tests.support.pipeline import (
    COMMAND_SECONDS,
    SINKS,
    assert_verified,
    im,
    im_under_way,
    prepare,
    sinks,
)
from tests.support.printed_commands import OPERATING, printed_blocks, run_printed
from tests.support.processes import running, wait_until
from tests.support.servers import addresses
from tests.support.waiting import until
from tests.support.watched_device import (
    Timelines,
    Watcher,
    assert_exact_timelines,
    logged,
    timelines_of,
)

pytestmark = pytest.mark.servers

CASSANDRA_BACKUP, CASSANDRA_RESTORE, ELASTIC_BACKUP, ELASTIC_RESTORE = printed_blocks(
    OPERATING, "### Snapshots of the stores"
)
FIRST, BEFORE, ALL = 75, 150, 300
"""Lines of the chat at first, before the backup, and in all."""


class BackedUp(NamedTuple):
    """A deployment that had messages before and after its backup, with all processes stopped.

    ``at``: a time before the backup, after the first messages. ``backup``: the copy of Kafka.
    ``variables``: those of the printed commands. ``device``: has all messages of its owner, who
    has the last record of the sync timelines.
    """

    settings: Settings
    at: Milliseconds
    backup: Path
    variables: dict[str, str]
    device: Watcher


@pytest.fixture(scope="module")
def world(started_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> BackedUp:
    """The deployment, on servers that the tests stop. No process writes during the backup."""
    home = tmp_path_factory.mktemp("backup")
    settings = Servers(home, addresses(started_stack)).settings(
        home=home, partitions=2, sync_partitions=2,
        jwt_secret=SecretStr(SECRET), gateway_port=free_ports(1)[0],
    )  # fmt: skip
    prepare(settings)
    with running(settings, "stream_processors"), sinks(settings):
        load(settings, FIRST)
        at = Milliseconds(time.time_ns() // 1_000_000)
        load(settings, BEFORE)
    variables = printed_variables(started_stack, settings, home)
    for block in (CASSANDRA_BACKUP, ELASTIC_BACKUP):
        run_printed(block, variables)
    back_up(started_stack, ["kafka"], home)
    with running(settings, "stream_processors"), sinks(settings):
        load(settings, ALL)
    device = Watcher(settings, last_cursor(settings)[0], "phone", home)
    read_all_of(device)
    return BackedUp(settings, at, home, variables, device)


def printed_variables(stack: Stack, settings: Settings, home: Path) -> dict[str, str]:
    """The variables of the commands in docs/operating.md, and a PATH with `nodetool`."""
    return {
        "PATH": f"{nodetool_folder(stack, home)}:{os.environ['PATH']}",
        "DAY": "2026-11-30",
        "KEYSPACE": settings.keyspace,
        "NAMESPACE": settings.namespace,
        "ELASTICSEARCH": settings.elasticsearch_url,
        "CASSANDRA_DATA": str(stack.layout.data("cassandra") / "data"),
    }


def restore_stores(stack: Stack, variables: dict[str, str]) -> None:
    """Restores both stores by the printed commands, Cassandra while its node is stopped."""
    run_printed("nodetool drain", variables)
    stack.stop("cassandra")
    run_printed(CASSANDRA_RESTORE, variables)
    stack.start("cassandra")
    stack.await_ready("cassandra", seconds=300)
    run_printed(ELASTIC_RESTORE, variables)


def stopped(stack: Stack, names: Iterable[str], command: list[list[str]]) -> None:
    """Stop servers, run commands, and start the servers again."""
    for name in names:
        stack.stop(name)
    for each in command:
        subprocess.run(each, check=True)
    for name in names:
        stack.start(name)
    for name in names:
        stack.await_ready(name, seconds=300)


def back_up(stack: Stack, names: Iterable[str], folder: Path) -> None:
    """Copy the data of stopped servers to a folder, with owners and rights."""
    stopped(
        stack, names, [["cp", "-a", str(stack.layout.data(n)), str(folder / n)] for n in names]
    )


def restore(stack: Stack, names: Iterable[str], folder: Path) -> None:
    """Replace the data of stopped servers by their copies."""
    commands = []
    for name in names:
        data = str(stack.layout.data(name))
        commands += [["rm", "-r", data], ["cp", "-a", str(folder / name), data]]
    stopped(stack, names, commands)


def load(settings: Settings, lines: int) -> None:
    """Load a chat through the running pipeline. The lines of an earlier load change nothing."""
    im(settings, "load", write_chat(settings.home / "chat.jsonl", lines))


def set_back(settings: Settings, stage: str, topic: Topic, at: Milliseconds) -> None:
    """Set the group of a stopped sink to a time, as ``--reset-offsets --to-datetime`` does."""
    group = settings.group(stage)
    with closing(Consumer(consumer_config(settings, group))) as consumer:
        places = [
            TopicPartition(place.topic, place.partition, at)
            for place in topic_partitions(settings, topic)
        ]
        consumer.commit(offsets=consumer.offsets_for_times(places, 30), asynchronous=False)


def forget_positions(settings: Settings, names: Iterable[str] = SINKS) -> None:
    """Delete the consumer groups of sinks, so that they read the log from its beginning."""
    admin = admin_client(settings)  # its requests end with it
    groups = [settings.group(f"sink-{name}") for name in names]
    for deleted in admin.delete_consumer_groups(groups).values():
        deleted.result(30)


def differences(settings: Settings) -> set[tuple[str, str]]:
    """The check and the kind of each difference that `im verify` finds."""
    with im_under_way(settings, "verify") as command:
        out, err = command.communicate(timeout=COMMAND_SECONDS)
    assert command.returncode == 1, err
    found = [json.loads(line) for line in out.splitlines()]
    return {(each["check"], each["kind"]) for each in found if "kind" in each}


def drop_stores(settings: Settings) -> None:
    """Drop the keyspace and all indices of a deployment."""
    with cassandra_session(settings) as session:
        session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)
    with elasticsearch_client(settings) as client:
        for name in client.indices.get(index=f"{settings.namespace}-*"):
            client.indices.delete(index=name)


def last_cursor(settings: Settings) -> tuple[str, SyncSeqId]:
    """The last record of the sync timelines: a recipient and the record's sync SeqId."""
    with cassandra_session(settings) as session:
        session.set_keyspace(settings.keyspace)
        rows = session.execute("SELECT user_id, sync_seq FROM sync")
        user, cursor = max(rows, key=itemgetter(1))
    return str(user), SyncSeqId(cursor)


def read_all_of(device: Watcher) -> None:
    """Runs a device and a gateway until the device has shown what the log has for its owner."""
    expected = timelines_of(device.user, logged(device.settings))

    async def read() -> None:
        device.start()
        try:
            await until(lambda: are_shown(device, expected), COMMAND_SECONDS)
        finally:
            await device.end()

    with running(device.settings, "gateway"):
        asyncio.run(read())
    assert_exact_timelines(device, expected)


async def are_shown(device: Watcher, expected: Timelines) -> bool:
    """Whether a device shows exactly these entries."""
    device.count()  # raises the error of a device that has ended
    return {conv_id: by_seq(items) for conv_id, items in device.shown.items()} == expected


def is_ahead(settings: Settings, user: str, cursor: SyncSeqId) -> bool:
    """Whether a gateway refuses a cursor as one of another deployment."""
    ends = LogEnds(settings, SimpleNamespace(is_live=True))  # type: ignore[arg-type]  # its one field
    return asyncio.run(ends.is_ahead(user, cursor))


def test_stores_that_were_restored_receive_the_rest_from_the_log(
    started_stack: Stack, world: BackedUp
) -> None:
    """Older stores have all data again, after their sinks have read again.

    The sinks of Cassandra read from a time before the backup, the sink of Elasticsearch from the
    beginning. Without this step the stores have holes, and `im verify` says so.
    """
    settings = world.settings
    restore_stores(started_stack, world.variables)
    assert {("store", "missing"), ("index", "missing")} <= differences(settings)
    set_back(settings, "sink-message", Topic.TIMELINE, world.at)
    set_back(settings, "sink-sync", Topic.SYNC, world.at)
    forget_positions(settings, ["search"])
    prepare(settings)
    with sinks(settings):
        assert_verified(settings)


def test_a_log_that_was_restored_gives_the_stores_and_the_readers_its_own_end(
    started_stack: Stack, world: BackedUp
) -> None:
    """With an older log, the stores are made again, and cursors from after the backup are refused.

    A restored log has lost acknowledged messages. Until the stores are dropped, they have entries
    that the log does not have. The new epoch separates the lost records from the next ones. A
    device that has lost records begins again, and has the entries of the log alone.
    """
    settings = world.settings
    user, cursor = last_cursor(settings)
    restore(started_stack, ["kafka"], world.backup)
    assert ("store", "extra") in differences(settings)
    drop_stores(settings)
    forget_positions(settings)
    prepare(settings)
    with running(settings, "stream_processors"), sinks(settings):
        im(settings, "topics", "reshard", 2)
        assert_verified(settings)
        # A busy broker may not answer the check in time; the cursor is then not refused.
        wait_until(lambda: is_ahead(settings, user, cursor), "the cursor is refused")
        load(settings, ALL)
        assert_verified(settings)
        wait_until(lambda: is_ahead(settings, user, cursor), "the cursor is refused again")
        read_all_of(world.device)

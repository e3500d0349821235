"""The number of shards changes while people write and read: every cursor stays valid."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from subprocess import Popen
from threading import Event, Thread
from typing import Self

import pytest

from backends.kafka.clients import admin_client, make_topics, sync_topic
from backends.stages.stage_health import members_if_assigned
from backends.sync_layout.topic_creation import sync_shards
from consumers.cursor import MemoryCursors
from consumers.follower import SyncFollower, SyncItem
from ops.commands.reshard import await_lanes, declare_epoch, read_epochs
from schemas.errors import ConfigurationError, Stalled
from schemas.number_types import EpochNumber, ShardNumber
from schemas.settings import Settings
from schemas.sync_seq import epoch_of, unpack_sync_seq
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.commands import growing_group, message
from tests.support.following import PATIENCE, entries, follow, so_many, stored
from tests.support.pipeline import assert_verified, im, prepare, sinks
from tests.support.processes import running, wait_until
from tests.support.topics import committed, is_caught_up, publish, read_all, timelines

pytestmark = pytest.mark.servers

PEOPLE = 6
CONVERSATIONS = [f"c{n}" for n in range(4)]
USERS = [f"u{n}" for n in range(PEOPLE)]
"""Enough people that each change of the shard count moves some of them, but not all."""


@pytest.fixture
def settings(servers: Servers) -> Settings:
    """A deployment with three shards."""
    settings = servers.settings(partitions=2, sync_partitions=3)
    prepare(settings)
    return settings


class Talk:
    """Publishes messages in a thread until it is stopped; a context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = Event()
        self._numbers = itertools.count()
        self._thread = Thread(target=self._run)
        self.said = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops publishing."""
        self._stop.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            numbers = list(itertools.islice(self._numbers, 5))
            publish(
                self._settings, [message(n, conv_id=c) for n in numbers for c in CONVERSATIONS]
            )
            self.said += len(numbers) * len(CONVERSATIONS)

    def go_on(self) -> None:
        """Waits until more messages are published."""
        before = self.said
        wait_until(lambda: self.said > before + 10, "the talk goes on", PATIENCE)


class Live:
    """Follows a person in a thread during the block; a context manager."""

    def __init__(self, settings: Settings, user: str) -> None:
        self.got: list[SyncItem] = []
        self._stop = Event()
        self._follower = SyncFollower(settings, user, MemoryCursors())
        self._thread = Thread(target=self._follower.follow, args=(self.got.append, self._stop))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        self._follower.close()

    def goes_on(self) -> None:
        """Waits until more records arrive."""
        before = len(self.got)
        wait_until(lambda: len(self.got) > before + 100, "more is followed", PATIENCE)


@contextmanager
def everybody(settings: Settings) -> Iterator[dict[str, Live]]:
    """A live follower for each person."""
    with ExitStack() as stack:
        yield {user: stack.enter_context(Live(settings, user)) for user in USERS}


def mine(settings: Settings, user: str) -> dict[str, list[int]]:
    """The SeqIds that a person must receive, by conversation."""
    joined = USERS.index(user)
    return {conv: [e.seq for e in all_[joined:]] for conv, all_ in timelines(settings).items()}


def by_conversation(items: list[SyncItem]) -> dict[str, list[int]]:
    """The received SeqIds, by conversation, in the order of arrival."""
    found: dict[str, list[int]] = {}
    for entry in entries(items):
        found.setdefault(entry.conv_id, []).append(entry.seq)
    return found


def epochs_of(items: list[SyncItem]) -> list[int]:
    """The epochs of the records."""
    return sorted({unpack_sync_seq(item.sync_seq)[0] for item in items})


def stored_shards(settings: Settings, epoch: int) -> set[int]:
    """The shards of an epoch for which the sync sink has committed records."""
    done = committed(settings, "sink-sync", Topic.SYNC)
    return {
        number
        for number, p in done.items()
        if epoch_of(ShardNumber(number)) == epoch and p.offset > 0
    }


class Reshards:
    """Reshards of a deployment while people write and read. Each method is a step of the test."""

    def __init__(self, settings: Settings, live: dict[str, Live], talk: Talk) -> None:
        self._settings, self._live, self._talk = settings, live, talk
        self._cursors = {user: MemoryCursors() for user in USERS}
        self._old: dict[str, list[SyncItem]] = {}
        self._between: list[SyncItem] = []
        self._expected: dict[str, dict[str, list[int]]] = {}

    def grow(self) -> None:
        """From 3 to 8 shards, after each person's device has read ten records."""
        self._talk.go_on()
        for user in USERS:
            self._old[user] = follow(self._settings, user, self._cursors[user], so_many(10))
        declare_epoch(self._settings, 8)
        self._talk.go_on()

    def follow_the_new_shards(self) -> None:
        """A follower reads the first records of the new shards."""
        await_lanes(self._settings, EpochNumber(1), PATIENCE, lambda _: None)
        wait_until(lambda: 1 in epochs_of(self._live["u0"].got), "epoch 1 is followed", PATIENCE)

    def shrink(self) -> None:
        """From 8 to 2 shards by the command, after a page of the store was read."""
        self._live["u0"].goes_on()
        wait_until(lambda: stored(self._settings, "u0"), "something is stored", PATIENCE)
        self._between = stored(self._settings, "u0")
        im(self._settings, "topics", "reshard", 2)
        self._talk.go_on()

    def finish(self) -> None:
        """Waits until every command is sequenced and every record is followed."""
        self._talk.stop()
        wait_until(lambda: is_caught_up(self._settings, "sequencer", Topic.MESSAGES), "sequenced")
        self._expected = {user: mine(self._settings, user) for user in USERS}
        wait_until(
            lambda: all(len(self._live[u].got) >= self._count(u) for u in USERS), "all is followed"
        )

    def _count(self, user: str) -> int:
        return sum(map(len, self._expected[user].values()))

    def assert_live_followers_have_all(self) -> None:
        """Every live follower has each record once, in order, over all epochs."""
        assert epochs_of(self._live["u0"].got) == [0, 1, 2]
        for user in USERS:
            places = [item.sync_seq for item in self._live[user].got]
            assert places == sorted(set(places))
            assert by_conversation(self._live[user].got) == self._expected[user]

    def assert_devices_can_follow(self) -> None:
        """Devices with a cursor from before the reshards, and a new device, get all records."""
        for user in USERS:
            left = so_many(self._count(user) - 10)
            rest = follow(self._settings, user, self._cursors[user], left)
            assert self._old[user] + rest == self._live[user].got
        new = follow(self._settings, "u1", MemoryCursors(), so_many(self._count("u1")))
        assert new == self._live["u1"].got

    def assert_the_store_has_all(self) -> None:
        """The store has the whole timeline, also after a cursor from between the reshards."""
        got, before = self._live["u0"].got, self._between
        assert stored(self._settings, "u0") == got
        assert before + stored(self._settings, "u0", before[-1].sync_seq, limit=7) == got


def test_shards_grow_and_shrink_under_load(settings: Settings) -> None:
    """A reshard from 3 to 8 to 2 under load, with killed workers, keeps every timeline whole.

    Live followers, devices with earlier cursors, new devices and pages of the store return every
    timeline whole, in order, without duplicates, and `im verify` finds no difference.
    """
    publish(settings, [c for conv in CONVERSATIONS for c in growing_group(PEOPLE, conv)])
    with sinks(settings), everybody(settings) as live, Talk(settings) as talk:
        reshards = Reshards(settings, live, talk)
        with running(settings, "stream_processors") as killed:
            reshards.grow()
            killed.kill()
        with running(settings, "stream_processors") as killed:
            reshards.follow_the_new_shards()
            killed.kill()
        with running(settings, "stream_processors"):
            reshards.shrink()
            reshards.finish()
            assert_verified(settings)
    reshards.assert_live_followers_have_all()
    reshards.assert_devices_can_follow()
    reshards.assert_the_store_has_all()


def test_an_epoch_is_stored_only_after_the_previous_epoch(settings: Settings) -> None:
    """A sink that finds two epochs stores the first one completely before the second.

    Every page in between is a prefix of the timeline, so a reader can continue from it.
    """
    publish(settings, growing_group(2))
    publish(settings, [message(n) for n in range(3_000)])
    with running(settings, "stream_processors"):
        wait_until(lambda: is_caught_up(settings, "sequencer", Topic.MESSAGES), "sequenced")
        declare_epoch(settings, 5)
        await_lanes(settings, EpochNumber(1), PATIENCE, lambda _: None)
        publish(settings, [message(n) for n in range(3_000, 3_100)])
        wait_until(lambda: is_caught_up(settings, "sequencer", Topic.MESSAGES), "sequenced")
    logged = [entry.seq for entry in timelines(settings)["c1"]]
    seen: list[int] = []
    with running(settings, "sinks", "message"), running(settings, "sinks", "sync"):

        def all_is_stored() -> bool:
            seqs = [entry.seq for entry in entries(stored(settings, "u0", limit=500))]
            assert seqs == logged[: len(seqs)]
            seen.append(len(seqs))
            return len(seqs) == len(logged)

        wait_until(all_is_stored, "both epochs are stored")


def kill_during_the_switch(settings: Settings, slow: Popen[bytes]) -> None:
    """Kills the sync sink when one of two lanes has switched to epoch 1; the other lane waits."""
    with running(settings, "sinks", "sync") as killed:
        wait_until(lambda: stored(settings, "u0"), "something is stored", PATIENCE)
        slow.send_signal(signal.SIGSTOP)
        declare_epoch(settings, 8)
        wait_until(lambda: len(read_epochs(settings).waiting()) == 1, "one lane has switched")
        killed.kill()
        slow.send_signal(signal.SIGCONT)
    await_lanes(settings, EpochNumber(1), PATIENCE, lambda _: None)
    assert not stored_shards(settings, 1)


def kill_with_a_part_of_an_epoch_stored(settings: Settings, talk: Talk) -> None:
    """Kills the sync sink when it has stored a part of epoch 1, and epoch 2 is declared."""
    with running(settings, "sinks", "sync") as killed:
        talk.go_on()
        declare_epoch(settings, 2)
        wait_until(lambda: stored_shards(settings, 1), "a part of epoch 1 is stored", PATIENCE)
        killed.kill()


def store_the_rest(settings: Settings, talk: Talk) -> None:
    """The next sink stores everything, and the audit finds no difference."""
    with running(settings, "sinks", "sync"):
        await_lanes(settings, EpochNumber(2), PATIENCE, lambda _: None)
        talk.go_on()
        talk.stop()
        wait_until(lambda: is_caught_up(settings, "sequencer", Topic.MESSAGES), "sequenced")
        wait_until(lambda: stored_shards(settings, 2), "epoch 2 is stored, too", PATIENCE)
        assert_verified(settings)


def assert_stored_as_followed(settings: Settings, user: str, live: Live) -> None:
    """Asserts that the store has all records of a person, with the sync SeqIds of a follower."""
    expected = mine(settings, user)
    count = sum(map(len, expected.values()))
    wait_until(lambda: len(live.got) >= count, f"{user} has all")
    found = stored(settings, user)
    assert by_conversation(found) == expected
    assert found == live.got
    assert epochs_of(found) == [0, 1, 2]


def test_a_sink_that_is_killed_during_a_reshard_loses_nothing(settings: Settings) -> None:
    """A sink killed during a reshard, or with a part of an epoch stored, loses nothing.

    The next sink continues at the committed offsets: the store has every timeline whole, in order,
    without duplicates, with the sync SeqIds that followers saw, and `im verify` finds no
    difference.
    """
    publish(settings, [c for conv in CONVERSATIONS for c in growing_group(PEOPLE, conv)])
    with everybody(settings) as live, Talk(settings) as talk, ExitStack() as stack:
        for process in (("sinks", "message"), ("sinks", "search"), ("stream_processors",)):
            stack.enter_context(running(settings, *process))
        slow = stack.enter_context(running(settings, "stream_processors"))
        admin = admin_client(settings)
        wait_until(lambda: members_if_assigned(admin, settings, "sequencer") == 2, "two workers")
        kill_during_the_switch(settings, slow)
        kill_with_a_part_of_an_epoch_stored(settings, talk)
        store_the_rest(settings, talk)
        for user in USERS:
            assert_stored_as_followed(settings, user, live[user])


def test_a_deployment_without_a_worker_switches_at_the_start_of_a_worker(
    settings: Settings,
) -> None:
    """A reshard without a worker waits, and happens when a worker starts, also for idle lanes.

    The command names the lanes for which it waits. A second reshard may come before the first has
    happened.
    """
    declare_epoch(settings, 4)
    with pytest.raises(Stalled, match=r"\[0, 1\]"):
        await_lanes(settings, EpochNumber(1), 0.1, lambda _: None)
    assert declare_epoch(settings, 2) == 2
    with running(settings, "stream_processors"):
        await_lanes(settings, EpochNumber(2), PATIENCE, lambda _: None)
        publish(settings, [*growing_group(2), message(1)])
        got = follow(settings, "u0", MemoryCursors(), so_many(3))
    assert epochs_of(got) == [2]
    assert read_epochs(settings).is_closed(EpochNumber(1))
    admin = admin_client(settings)
    assert sync_shards(admin, settings).epochs == [0, 1, 2]


def test_topics_of_an_interrupted_reshard_are_used_or_skipped(settings: Settings) -> None:
    """A topic from an interrupted reshard is used by a reshard with the same number of shards.

    With another number, the reshard uses the epoch after it.
    """
    admin = admin_client(settings)
    make_topics(admin, [sync_topic(settings, f"{settings.topic(Topic.SYNC)}-1", 4)])
    assert declare_epoch(settings, 5) == 2
    assert declare_epoch(settings, 4) == 3
    assert len(read_all(settings, Topic.EPOCHS)) == 2
    own = settings.model_copy(update={"sync_layout": "topic-per-recipient"})
    with pytest.raises(ConfigurationError, match="no number of shards"):
        declare_epoch(own, 4)

"""Devices that follow conversations on real servers, while these switch modes under load."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import SecretStr

from devstack.ports import free_ports
from producers.publisher import Publisher
from schemas.ids import uuid7
from schemas.records import (
    AddMembers,
    AnyCommand,
    CreateConversation,
    NewDevicePolicy,
    RemoveMembers,
    SendMessage,
    TextContent,
)
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.gateway import SECRET
from tests.support.local_world import seen_by
from tests.support.pipeline import prepare
from tests.support.processes import running, wait_until
from tests.support.pushed import count_switches, pushed_seqs
from tests.support.topics import is_caught_up
from tests.support.waiting import until
from tests.support.watched_device import (
    Timelines,
    Watcher,
    assert_exact_timelines,
    logged,
)

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0
ROUNDS: Final = 5
MESSAGES: Final = 60
"""Messages of one phase; each round has a pull phase and a push phase."""

LATE_ROUND: Final = 3
WINDOW: Final = 20
GROUP: Final = "the group"
PAIR: Final = "ann/bob"
CROWD: Final = ["陈", "d", "e", "f"]
CONVERSATIONS: Final = {"ann": (GROUP, PAIR), "bob": (GROUP, PAIR), "陈": (GROUP,)}
"""The conversations of each person with devices."""

PROCESSES: Final = (
    ("stream_processors",), ("sinks", "message"), ("sinks", "sync"), ("gateway",),
)  # fmt: skip


def commands() -> Iterator[list[AnyCommand]]:
    """Rounds: many people join, and the members talk; some leave, and the members continue."""
    ids = (uuid7(number, 0) for number in itertools.count(1))

    def by(sender: str, conv_id: str = GROUP) -> dict[str, Any]:
        return {
            "conv_id": conv_id, "sender": sender, "device_id": "d", "client_msg_id": next(ids),
        }  # fmt: skip

    def talk(number: int) -> Iterator[AnyCommand]:
        speakers = itertools.cycle(["ann", "bob", "陈"])
        for place, sender in zip(range(MESSAGES), speakers, strict=False):
            content = TextContent(text=f"{number}.{place} 天气")
            mentions = ["bob"] if place % 20 == 7 else []
            yield SendMessage(**by(sender), content=content, mentions=mentions)
            if place % 6 == 0:
                yield SendMessage(**by("ann", PAIR), content=content)

    yield [
        CreateConversation(**by("ann"), members=["bob"], join="invite"),
        CreateConversation(**by("ann", PAIR), members=["bob"], join="invite"),
    ]
    for number in range(ROUNDS):
        yield [
            AddMembers(**by("ann"), members=CROWD),
            *talk(2 * number),
            RemoveMembers(**by("ann"), members=CROWD),
            *talk(2 * number + 1),
        ]


@pytest.fixture
def settings(servers: Servers) -> Settings:
    """A deployment with low limits, with its topics and tables."""
    settings = servers.settings(
        partitions=2, sync_partitions=2, push_limit=4, push_again_below=4,
        jwt_secret=SecretStr(SECRET), gateway_port=free_ports(1)[0],
    )  # fmt: skip
    prepare(settings)
    return settings


class Devices:
    """The devices of a test: some from the beginning, some that start in the middle, one late.

    Two of the first devices restart after each round. `later` have another policy, and a gateway
    with this policy for each.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self.ann = Watcher(settings, "ann", "phone", folder)
        bob = Watcher(settings, "bob", "phone", folder)
        chen_live = Watcher(settings, "陈", "desk", folder, live=True)
        self.restarted = [bob, chen_live]
        self.first = [
            self.ann,
            bob,
            Watcher(settings, "bob", "desk", folder, live=True),
            Watcher(settings, "陈", "phone", folder),
            chen_live,
        ]
        policies: list[NewDevicePolicy] = ["new-messages-only", "window"]
        self.gateways = [by_policy(settings, policy) for policy in policies]
        self.later = [
            Watcher(other, "bob", other.new_device, folder, live=live)
            for other, live in zip(self.gateways, (True, False), strict=True)
        ]
        self.late: list[Watcher] = []

    def start_a_late_one(self) -> None:
        """Starts a new device after all messages were sent."""
        late = Watcher(self._settings, "陈", "new", self._folder)
        late.start()
        self.late.append(late)

    def all(self) -> list[Watcher]:
        """All devices."""
        return [*self.first, *self.later, *self.late]

    async def have_shown(self, expected: dict[str, Timelines]) -> bool:
        """Whether each device has shown each of its conversations up to the end."""
        return all(watcher.has_shown(expected[watcher.user]) for watcher in self.all())

    async def end(self) -> None:
        """Ends all processes."""
        for watcher in self.all():
            await watcher.end()


async def test_devices_end_with_the_timeline_of_the_store(
    settings: Settings, tmp_path: Path
) -> None:
    """Devices end with exactly the readable timeline, over the gateway and from the log.

    The conversations switch modes under load; members leave and rejoin; device processes restart.
    Each device shows each SeqId once, in order, with the bytes of the log. Many of these entries
    were never in the device's sync timeline, so the device read them from the store. Devices with
    another policy start in the middle and have exactly the rest.
    """
    devices = Devices(settings, tmp_path)
    with ExitStack() as stack:
        for process in PROCESSES:
            stack.enter_context(running(settings, *process))
        for other in devices.gateways:
            stack.enter_context(running(other, "gateway"))
        for watcher in devices.first:
            watcher.start()
        try:
            await talk(settings, tmp_path, devices)
            devices.start_a_late_one()
            await asyncio.to_thread(wait_for_sequencer, settings)
            log = await asyncio.to_thread(logged, settings)
            expected = {
                user: {conv_id: seen_by(user, log[conv_id]) for conv_id in conversations}
                for user, conversations in CONVERSATIONS.items()
            }
            await until(lambda: devices.have_shown(expected), PATIENCE)
        finally:
            await devices.end()
    assert [watcher.lives for watcher in devices.restarted] == [ROUNDS + 1, ROUNDS + 1]
    for watcher in devices.all():
        assert_exact_timelines(watcher, expected[watcher.user])
    for watcher in devices.first + devices.late:
        assert all(watcher.begin_of(conv_id) == 1 for conv_id in CONVERSATIONS[watcher.user])
    begins = [watcher.begin_of(GROUP) for watcher in devices.later]
    assert all(1 < begin < max(expected["bob"][GROUP]) for begin in begins), begins
    assert_that_it_was_no_easy_way(settings, log[GROUP], expected["bob"][GROUP])


def by_policy(settings: Settings, policy: NewDevicePolicy) -> Settings:
    """The same deployment with a second gateway that has another policy for new devices."""
    own = {"new_device": policy, "new_device_window": WINDOW, "gateway_port": free_ports(1)[0]}
    return settings.model_copy(update=own)


async def talk(settings: Settings, folder: Path, devices: Devices) -> None:
    """Publishes the rounds one by one; after each round, some devices are restarted.

    Other devices start in the middle, when the store has a part of the conversation.
    """
    ann = devices.ann
    with Publisher(
        settings, "ann", "d", folder / "outbox.db", window=None, done_when="accepted"
    ) as publisher:
        for round_number, batch in enumerate(commands()):
            before = ann.count()
            publisher.publish_many(batch)

            async def arrives(before: int = before) -> bool:
                return ann.count() > before

            await until(arrives, PATIENCE)
            if round_number == LATE_ROUND:
                await until(lambda: has_come_to(ann, 3 * WINDOW), PATIENCE)
                for watcher in devices.later:
                    watcher.start()
                await until(lambda: have_begun(devices.later), PATIENCE)
            if round_number > 0:
                for watcher in devices.restarted:
                    await watcher.end()
                    watcher.start()
        await asyncio.to_thread(publisher.flush, PATIENCE)


async def have_begun(watchers: list[Watcher]) -> bool:
    """Whether each device knows its first SeqIds. Every later message is new to the device."""
    return all(watcher.has_begun() for watcher in watchers)


async def has_come_to(watcher: Watcher, seq: int) -> bool:
    """Whether a device has shown the group up to this SeqId; then the store has it, too."""
    if not watcher.count() or not watcher.shown[GROUP]:  # another conversation may come first
        return False
    return watcher.shown[GROUP][-1].last >= seq


def wait_for_sequencer(settings: Settings) -> None:
    """Waits until the sequencer has decided all commands."""
    wait_until(lambda: is_caught_up(settings, "sequencer", Topic.MESSAGES), "sequenced", PATIENCE)


def assert_that_it_was_no_easy_way(
    settings: Settings, group: list[bytes], seen: dict[int, tuple[str | None, bytes]]
) -> None:
    """Asserts that the mode switched often, and that bob got many entries only from the store."""
    assert count_switches(group) == 2 * ROUNDS
    pushed = pushed_seqs(settings, "bob", GROUP)
    assert pushed < set(seen)
    assert len(set(seen) - pushed) > ROUNDS * MESSAGES // 2

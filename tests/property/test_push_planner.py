"""Notifications after any sequence of messages, marks, mutes, deliveries and crashes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hypothesis import event, given, settings
from hypothesis import strategies as st

from schemas.records import MessageSent
from tests.support.push_world import PushWorld, remaining

Step = Callable[[PushWorld], object]

CONVERSATIONS: Final = ("c1", "c1", "c2")
PEOPLE: Final[list[Step]] = [
    step
    for conv in CONVERSATIONS
    for step in (
        lambda world, conv=conv: world.send(conv),
        lambda world, conv=conv: world.send(conv),
        lambda world, conv=conv: world.send(conv),
        lambda world, conv=conv: world.send(conv, "bob"),
        lambda world, conv=conv: world.mark(conv, 0),
        lambda world, conv=conv: world.mark(conv, 2),
        lambda world, conv=conv: world.recall(conv, 0),
        lambda world, conv=conv: world.recall(conv, 1),
        lambda world, conv=conv: world.mute(conv, 30),
        lambda world, conv=conv: world.mute(conv, 9_999),
        lambda world, conv=conv: world.mute(conv, 0),
        lambda world, conv=conv: world.leave_or_return(conv),
    )
]
DEVICES: Final[list[Step]] = [
    lambda world: world.register("phone"),
    lambda world: world.register("desk"),
    lambda world: world.devices.pop("desk", None),
    lambda world: world.wait(30),
]
PROCESS: Final[list[Step]] = [
    lambda world: world.read(1),
    lambda world: world.read(3),
    lambda world: world.read(99),
    lambda world: world.read(99),
    PushWorld.read_and_commit,
    lambda world: world.commit(),
    lambda world: world.begin(),
    lambda world: world.attempt(1),
    lambda world: world.attempt(0, succeeds=False),
    lambda world: world.deliver(),
    lambda world: world.deliver(),
    lambda world: world.deliver(),
]
CRASHES: Final[list[Step]] = [
    lambda world: world.restart(),
    lambda world: world.restart(),
    lambda world: world.attempt(0, survives=False),
    lambda world: world.read(9, written=0),
    lambda world: world.read(9, written=1),
]
CONNECTIONS: Final[list[Step]] = [
    lambda world: world.turn_live(is_live=True),
    lambda world: world.turn_live(is_live=False),
    lambda world: world.turn_live(is_live=False),
]


def scripts(*kinds: list[Step]) -> st.SearchStrategy[list[Step]]:
    """Return lists of steps; each kind of step is equally frequent."""
    step = st.sampled_from(kinds).flatmap(st.sampled_from)
    return st.integers(0, 50).flatmap(  # lists of that length, where `max_size` gives short ones
        lambda length: st.lists(step, min_size=length, max_size=length)
    )


def played(script: list[Step]) -> PushWorld:
    """Return the world after a script, and after everything else that happens then."""
    world = PushWorld()
    world.register("phone")
    for step in script:
        step(world)
    world.finish()
    event(f"notifications: {min(len(world.acknowledged), 5)}")
    return world


@settings(max_examples=700, deadline=None)
@given(scripts([*PEOPLE, *DEVICES], PEOPLE, PROCESS, PROCESS, CRASHES))
def test_exactly_the_wanted_notifications_are_delivered(script: list[Step]) -> None:
    """No notification is missing, unwanted, or repeated after its acknowledgement was noted.

    `PushWorld` checks each delivery. At the end, each device has the newest message that needs a
    notification, and only mutes remain in the durable state.
    """
    world = played(script)
    assert list(world.missing()) == []
    assert [state for state in remaining(world) if not state.muted_until] == []
    assert len(world.planner) == len(world.durable)


@settings(max_examples=300, deadline=None)
@given(scripts([*PEOPLE, *DEVICES], PEOPLE, PROCESS, PROCESS, CRASHES, CONNECTIONS))
def test_a_live_person_gets_no_notification(script: list[Step]) -> None:
    """A live person gets none; after the connection, only for messages that came too late for it.

    `PushWorld.missing` counts a message as shown if the person was live a grace after it.
    """
    assert list(played(script).missing()) == []


@settings(max_examples=100, deadline=None)
@given(scripts([*PEOPLE, *DEVICES], PROCESS))
def test_without_crashes_no_notification_is_repeated(script: list[Step]) -> None:
    """A device never gets two notifications about the same message."""
    world = played(script)
    assert len(world.acknowledged) == len(set(world.acknowledged))


@settings(max_examples=300, deadline=None)
@given(scripts(PEOPLE, PEOPLE, PROCESS, PROCESS, CONNECTIONS))
def test_each_message_is_notified_or_counted_once(script: list[Step]) -> None:
    """With one device and without crashes, each message has a notification or one reason."""
    world = played(script)
    messages = [r for r in world.log if isinstance(r, MessageSent) and r.sender != "bob"]
    assert len(messages) == len(world.acknowledged) + world.drops.total()
    event(f"reasons: {len(+world.drops)}")
    assert "no_device" not in +world.drops

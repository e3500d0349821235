"""The planner of notifications, by examples."""

from __future__ import annotations

from functools import partial

import pytest

from schemas.errors import UndecodableRecord
from schemas.number_types import Milliseconds, SeqId
from sinks.push.push_planner import PushPlanner
from sinks.push.push_state import MAX_WAITING, PushKey, decode_state, recalled
from tests.support.push_world import SHARD, TIMES, PushWorld, remaining

PHONE = ("phone", "c1")


@pytest.fixture
def world() -> PushWorld:
    """A world with one registered device."""
    world = PushWorld()
    world.register("phone")
    return world


def test_a_burst_becomes_one_notification(world: PushWorld) -> None:
    """Messages within the collapse window cause one notification, about the newest of them."""
    for _ in range(5):
        world.send("c1")
        world.read_and_commit()
    world.begin()
    assert world.begun == []
    world.deliver()
    assert world.acknowledged == [(*PHONE, 5)]


def test_a_failed_attempt_leads_to_the_newest_message(world: PushWorld) -> None:
    """A message that arrives during retries replaces the message of the next attempt."""
    world.send("c1")
    world.read_and_commit()
    world.wait(TIMES.window)
    world.begin()
    world.attempt(0, succeeds=False)
    world.send("c1")
    world.read_and_commit()
    world.attempt(0)
    world.finish()
    assert world.acknowledged == [(*PHONE, 2)]


def test_no_message_is_due_before_the_backlog_is_read(world: PushWorld) -> None:
    """After a restart, a message that was read meanwhile on another device causes nothing."""
    world.send("c1")
    world.send("c1")
    world.mark("c1", 0)
    world.restart()
    world.read(1)
    world.commit()
    world.deliver()
    assert world.acknowledged == []
    world.finish()
    assert world.acknowledged == []


def test_a_finished_state_lasts_until_its_offset_is_committed(world: PushWorld) -> None:
    """A restart from an earlier offset repeats no delivery that was noted."""
    world.send("c1")
    world.read(1)
    world.deliver()
    assert len(remaining(world)) == 1
    world.restart()
    world.finish()
    assert world.acknowledged == [(*PHONE, 1)]
    assert remaining(world) == []


def test_a_restart_does_not_forget_before_it_knows_the_commit(world: PushWorld) -> None:
    """A planner that has just taken a shard over removes no state that a restart may need."""
    world.send("c1")
    world.read(1)
    world.mark("c1", 0)
    world.restart()
    world.read(2)
    assert [state.waiting for state in remaining(world)] == [()]
    world.commit()
    world.begin()
    world.write()
    assert remaining(world) == []


def test_a_device_that_registers_late_gets_what_waits(world: PushWorld) -> None:
    """A device that registers within the collapse window gets the notification, too."""
    world.send("c1")
    world.read_and_commit()
    world.register("desk")
    world.deliver()
    assert world.acknowledged == [(*PHONE, 1), ("desk", "c1", 1)]


def test_each_device_gets_its_notification(world: PushWorld) -> None:
    """A device whose attempts fail does not hold up the other one."""
    world.register("desk")
    world.send("c1")
    world.read_and_commit()
    world.wait(TIMES.window)
    world.begin()
    world.attempt(0, succeeds=False)
    world.attempt(1)
    assert world.acknowledged == [("desk", "c1", 1)]
    world.send("c1")
    world.read_and_commit()
    world.wait(TIMES.window)
    world.begin()
    world.attempt(1)
    assert world.acknowledged == [("desk", "c1", 1), ("desk", "c1", 2)]
    world.finish()
    assert world.acknowledged[2:] == [(*PHONE, 2)]


def test_a_connection_that_ends_within_the_grace_did_not_show_the_message(
    world: PushWorld,
) -> None:
    """A person who was live at the message gets a notification if the connection ends soon."""
    world.turn_live(is_live=True)
    world.send("c1")
    world.read_and_commit()
    world.deliver()
    world.turn_live(is_live=False)
    world.wait(TIMES.live_grace)
    world.deliver()
    assert world.acknowledged == [(*PHONE, 1)]


def test_a_live_device_is_enough(world: PushWorld) -> None:
    """A person who is still live after the grace has seen the message."""
    world.turn_live(is_live=True)
    world.send("c1")
    world.read_and_commit()
    world.deliver()
    world.wait(TIMES.live_grace)
    world.deliver()
    world.turn_live(is_live=False)
    world.finish()
    assert world.acknowledged == []


def test_the_waiting_messages_of_a_conversation_are_bounded(world: PushWorld) -> None:
    """A conversation that waits for long holds the newest messages only."""
    for _ in range(3 * MAX_WAITING):
        world.send("c1")
    world.read_and_commit()
    waiting = remaining(world)[0].waiting
    assert [each.seq for each in waiting] == list(range(2 * MAX_WAITING + 1, 3 * MAX_WAITING + 1))


def test_the_store_may_know_of_a_recall_first(world: PushWorld) -> None:
    """After the word of the store, the next newest message takes the place of the recalled one."""
    world.send("c1")
    world.send("c1")
    world.read_and_commit()
    world.wait(TIMES.window)
    world.begin()
    world.planner.change(
        PushKey("bob", "c1"), partial(recalled, seq=SeqId(2)), "recalled", world.now
    )
    message = world.planner.check(PushKey("bob", "c1"), "phone", world.person())
    assert message is not None
    assert message.seq == 1


def test_a_shard_that_moved_leaves_nothing(world: PushWorld) -> None:
    """After a shard has got another owner, its states cause nothing here."""
    world.send("c1")
    world.read_and_commit()
    world.wait(TIMES.window)
    world.begin()
    world.planner.give_up([SHARD])
    world.planner.settle(PushKey("bob", "c1"), "phone", SeqId(1), world.person(), world.now)
    assert len(world.planner) == 0
    assert world.planner.changes() == {}


def test_messages_without_a_notification_count_by_reason(world: PushWorld) -> None:
    """Each reason has the messages that it left without a notification of their own."""
    for _ in range(3):
        world.send("c1")
    world.read_and_commit()
    world.deliver()
    assert +world.drops == {"collapsed": 2}
    world.send("c1")
    world.recall("c1", 0)
    world.send("c1")
    world.mark("c1", 0)
    world.mute("c1", 9_999)
    world.send("c1")
    world.send("c2")
    world.mute("c2", 9_999)
    world.read_and_commit()
    assert +world.drops == {"collapsed": 2, "recalled": 1, "read": 1, "muted": 2}
    world.turn_live(is_live=True)
    world.send("c3")
    world.read_and_commit()
    world.deliver()
    world.wait(TIMES.live_grace)
    world.deliver()
    world.turn_live(is_live=False)
    world.send("c4")
    world.read_and_commit()
    world.devices.clear()
    world.deliver()
    assert +world.drops == {
        "collapsed": 2, "recalled": 1, "read": 1, "muted": 2, "live": 1, "no_device": 1,
    }  # fmt: skip


def test_a_message_that_one_device_showed_is_not_dropped(world: PushWorld) -> None:
    """A read while another device still waits counts only messages that no device showed."""
    world.register("desk")
    world.send("c1")
    world.send("c1")
    world.read_and_commit()
    world.wait(TIMES.window)
    world.begin()
    world.attempt(0)
    world.send("c1")
    world.mark("c1", 0)
    world.read_and_commit()
    assert world.acknowledged == [(*PHONE, 2)]
    assert +world.drops == {"collapsed": 1, "read": 1}


@pytest.mark.parametrize(
    ("key", "value"), [(None, b"{}"), (b"bob", b"{}"), (b"bob\nc1", b"[]"), (b"bob\nc1", b"{")]
)
def test_a_record_of_another_kind_is_refused(key: bytes | None, value: bytes) -> None:
    """A record that is not of this version raises the error of undecodable records."""
    with pytest.raises(UndecodableRecord):
        decode_state(key, value)


def test_an_empty_planner_costs_nothing() -> None:
    """Without states, nothing is due and nothing is written."""
    planner = PushPlanner(TIMES)
    assert planner.due(Milliseconds(1 << 50), 10) == []
    assert planner.changes() == {}

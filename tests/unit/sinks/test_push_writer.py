"""The writer of the push stage: what it applies, when it takes shards over, and when it waits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pytest

from backends.sync_layout.layouts import Sharded, SyncShards, TopicPerRecipient
from schemas.codec import encode
from schemas.errors import FatalFailure, ServerUnavailable, TransientFailure
from schemas.ids import uuid7
from schemas.number_types import EpochNumber, Milliseconds, Offset, SeqId, ShardNumber
from schemas.push_addresses import WebhookAddress
from schemas.push_devices import PushDevice
from schemas.records import AnySyncRecord, ConversationMuted, MessageSent, TextContent
from schemas.replays import GivenUpNotification, Replay, ReplayKey, encode_replay_key
from schemas.sync_seq import shard_number
from schemas.user_keys import user_part_key
from sinks.base.records import Record
from sinks.base.replay_book import ReplayBook
from sinks.push import push_writer
from sinks.push.address_reader import AddressBook
from sinks.push.live_reader import LiveBook
from sinks.push.push_memory import PushMemory
from sinks.push.push_people import PushPeople
from sinks.push.push_planner import PushPlanner
from sinks.push.push_replays import PushReplays, push_group
from sinks.push.push_shards import owned_states
from sinks.push.push_state import OwnedState, PushKey, PushState, PushTimes, WaitingMessage
from sinks.push.push_writer import PushWriter
from tests.support.push_deliveries import DictStates

SHARD = ShardNumber(2)
KEY = PushKey("bob", "c1")
WAITING = PushState((WaitingMessage(SeqId(1), Milliseconds(5), "ann", 1),), shard=SHARD)


def message(seq: int) -> bytes:
    """A message of ann."""
    return encode(
        MessageSent(
            conv_id="c1",
            seq=SeqId(seq),
            sender="ann",
            client_msg_id=uuid7(1, seq),
            at=Milliseconds(10),
            messages=seq,
            content=TextContent("text"),
            mentions=[],
        )
    )


def mute(user: str) -> AnySyncRecord:
    """A mute without end."""
    return ConversationMuted(
        conv_id="c1", sender=user, device_id="d", client_msg_id=uuid7(1, 1), at=Milliseconds(20),
        seq=SeqId(1), until=Milliseconds(1 << 40),
    )  # fmt: skip


class World:
    """The writer with the durable states of its shards, and the calls that end deliveries."""

    def __init__(self) -> None:
        self.states = DictStates()
        self.durable: dict[PushKey, PushState] = {}
        self.planner = PushPlanner(PushTimes(Milliseconds(0), Milliseconds(0)))
        self.addresses = AddressBook()
        self.is_down = False
        self.ended: list[tuple[str, list[int]]] = []
        self.failure: FatalFailure | None = None
        memory = PushMemory(self.planner, self.states)
        people = PushPeople(self.addresses, LiveBook())
        self.ended_replays: list[ReplayKey] = []
        self.moment = 1.0
        self.book = ReplayBook(push_group, self.ended_replays.append, lambda: self.moment)
        replays = PushReplays(
            self.book, memory, people, lambda: Milliseconds(100), lambda: self.moment
        )
        self.writer = PushWriter(
            memory, people, self, self, lambda: Milliseconds(100), replays=replays
        )

    def register(self, user: str, device_id: str = "phone") -> None:
        """Register a device."""
        device = PushDevice(at=Milliseconds(1), address=WebhookAddress(url="https://push/"))
        self.addresses.take(user_part_key(user, device_id), encode(device))

    def replay(self, seq: int, *, is_read: bool = True) -> None:
        """An operator replays the dead letter of bob's phone; the book was read since then."""
        ids = GivenUpNotification(
            device_id="phone", conv_id="c1", seq=SeqId(seq), sender="ann", messages=seq,
            shard=SHARD, offset=Offset(seq),
        )  # fmt: skip
        request = Replay(user_id="bob", notification=ids)
        self.book.take(encode_replay_key(ReplayKey("sink-push", 0, Offset(seq))), encode(request))
        self.moment += 5
        self.book.was_read_at(self.moment if is_read else 0.0)
        if self.writer.has_replays:
            self.writer.begin_replays()

    def write(self, *records: tuple[str, bytes]) -> list[int]:
        """Write records of the shard, and return the positions of poison."""
        outcome = self.writer.write(
            [
                Record(SHARD, Offset(at), key.encode(), value)
                for at, (key, value) in enumerate(records)
            ]
        )
        return [each.index for each in outcome.poison]

    def read(
        self, shards: Sequence[ShardNumber]
    ) -> tuple[list[OwnedState], Mapping[ShardNumber, Offset]]:
        if self.is_down:
            raise ServerUnavailable("not now")
        states = [OwnedState(key, state, SHARD) for key, state in self.durable.items()]
        return states, dict.fromkeys(shards, Offset(0))

    def homes(
        self, users: Collection[str], owned: Collection[ShardNumber]
    ) -> dict[str, ShardNumber]:
        return dict.fromkeys(users, SHARD) if SHARD in owned else {}

    def drain(self, shards: Sequence[ShardNumber]) -> None:
        self.ended.append(("drain", list(shards)))

    def cancel(self, shards: Sequence[ShardNumber]) -> None:
        self.ended.append(("cancel", list(shards)))

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def world() -> World:
    """A world whose writer owns the shard."""
    world = World()
    world.writer.assigned([SHARD])
    return world


def test_only_people_with_devices_get_states(world: World) -> None:
    """A message for many people makes states for those with a device."""
    world.register("bob")
    world.write(("ann\nbob\ncid", message(1)))
    assert world.states.states.keys() == {KEY}


def test_nobody_registered_costs_nothing(world: World) -> None:
    """Without devices, no record is decoded and nothing is written."""
    assert world.write(("ann\nbob", message(1)), ("bob", b"not JSON")) == []
    assert world.states.states == {}


def test_a_mute_counts_before_a_device_is_registered(world: World) -> None:
    """A person who mutes a conversation, and registers later, gets no notification of it."""
    world.write(("bob", encode(mute("bob"))))
    world.register("bob")
    world.writer.write([Record(SHARD, Offset(5), b"bob", message(2))])
    assert world.states.states[KEY].waiting == ()


def test_a_record_of_another_version_is_poison(world: World) -> None:
    """The other records of the batch are applied."""
    world.register("bob")
    assert world.write(("bob", b'{"kind":"dance"}'), ("bob", message(1))) == [0]
    assert len(world.states.states[KEY].waiting) == 1


def test_a_repeated_batch_changes_nothing(world: World) -> None:
    """The loop repeats a batch after a failure."""
    world.register("bob")
    world.write(("bob", message(1)))
    before = dict(world.states.states)
    world.write(("bob", message(1)))
    assert world.states.states == before


def test_a_shard_is_restored_before_its_records_are_applied() -> None:
    """Records wait until the durable states are known; an old record has no effect on them."""
    world = World()
    world.register("bob")
    world.durable[KEY] = PushState((*WAITING.waiting,), shard=SHARD, offset=Offset(0))
    world.writer.assigned([SHARD])
    world.is_down = True
    with pytest.raises(ServerUnavailable):
        world.write(("bob", message(1)))
    world.is_down = False
    world.write(("bob", message(1)))
    assert world.planner.state(KEY) == world.durable[KEY]


def test_a_revoked_shard_is_drained_and_forgotten(world: World) -> None:
    """After the revocation, records of a batch in flight have no effect."""
    world.register("bob")
    world.write(("bob", message(1)))
    world.writer.revoked([SHARD])
    assert world.ended == [("drain", [SHARD])]
    assert len(world.planner) == 0
    world.write(("bob", message(2)))
    assert len(world.planner) == 0


def test_a_lost_shard_is_given_up_at_once(world: World) -> None:
    """Another process owns the shard already: nothing is waited for."""
    world.register("bob")
    world.write(("bob", message(1)))
    world.writer.lost([SHARD])
    assert world.ended == [("cancel", [SHARD])]
    assert len(world.planner) == 0


def test_a_shard_that_was_revoked_during_its_restore_is_not_taken_over() -> None:
    """The states that were read for the shard are dropped."""
    world = World()
    world.durable[KEY] = WAITING
    read = world.read

    def revoked_meanwhile(
        shards: Sequence[ShardNumber],
    ) -> tuple[list[OwnedState], Mapping[ShardNumber, Offset]]:
        found = read(shards)
        world.writer.revoked([SHARD])
        return found

    world.read = revoked_meanwhile  # type: ignore[method-assign]  # the script of this test
    world.writer.assigned([SHARD])
    world.writer.restore_new()
    assert len(world.planner) == 0


def test_too_many_states_hold_the_loop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the bound of the memory, the writer takes no more records until there is room."""
    monkeypatch.setattr(push_writer, "MAX_STATES", 0)
    world.register("bob")
    world.write(("bob", message(1)))
    with pytest.raises(TransientFailure, match="wait for notifications"):
        world.write(("bob", message(2)))


def test_a_failed_thread_ends_the_stage(world: World) -> None:
    """Without deliveries, no more records are taken."""
    world.failure = FatalFailure("the devices are not known")
    with pytest.raises(FatalFailure):
        world.write(("bob", message(1)))


def test_the_owner_of_the_present_shard_gets_the_states_of_earlier_epochs() -> None:
    """After a reshard, each state has one owner: that of the person's shard in the new epoch."""
    shards = SyncShards(Sharded("im.sync"), {"im.sync": 2, "im.sync-1": 3})
    states = {PushKey(f"u{n}", "c"): WAITING for n in range(50)}
    new = [shard_number(EpochNumber(1), index) for index in range(3)]
    found = [each for shard in new for each in owned_states(states, [shard], shards)]
    assert sorted(each.key for each in found) == sorted(states)
    assert {each.owner for each in found} == set(new)
    later = {key: PushState(shard=new[0]) for key in states}
    old = [shard_number(EpochNumber(0), index) for index in range(2)]
    assert owned_states(later, old, shards) == []


def test_a_person_with_a_topic_has_its_shard() -> None:
    """In the layout topic-per-recipient, a state belongs to the owner of the person's topic."""
    layout = TopicPerRecipient("im.sync")
    topic = layout.recipient_topic("bob")
    shards = SyncShards(layout, {"im.sync": 2, topic: 1})
    own = layout.number(topic, 0)
    assert [each.owner for each in owned_states({KEY: WAITING}, [own], shards)] == [own]
    base = [layout.number("im.sync", index) for index in range(2)]
    assert owned_states({KEY: WAITING}, [*base, own], shards)[0].owner == own


def test_a_replayed_notification_waits_again_for_its_device_alone(world: World) -> None:
    """The other device was notified before. The request ends, and a repetition has no effect."""
    world.register("bob")
    world.register("bob", "tablet")
    world.writer.restore_new()
    world.replay(3)
    (waiting,) = world.states.states[KEY].waiting
    assert (waiting.seq, waiting.at) == (3, 100)
    assert world.states.states[KEY].notified == {"tablet": 3}
    assert world.states.states[KEY].place == (SHARD, 3)
    assert world.ended_replays == [ReplayKey("sink-push", 0, Offset(3))]
    before = dict(world.states.states)
    world.replay(3)
    assert world.states.states == before
    assert len(world.ended_replays) == 1


def test_a_replay_gives_way_to_a_newer_message(world: World) -> None:
    """The newer message waits: its notification takes the place of the replayed one."""
    world.register("bob")
    world.write(("bob", message(4)))
    before = dict(world.states.states)
    world.replay(3)
    assert world.states.states == before
    assert len(world.ended_replays) == 1


def test_a_replay_waits_until_the_shard_is_owned_and_all_ends_are_known(world: World) -> None:
    """The previous owner of the shard may have ended the request just before."""
    world.register("bob")
    world.replay(3)
    assert world.ended_replays == []
    world.writer.restore_new()
    world.replay(3, is_read=False)
    assert (world.ended_replays, world.states.states) == ([], {})
    world.replay(3)
    assert len(world.ended_replays) == 1
    assert KEY in world.states.states


def test_a_replay_for_a_device_without_an_address_ends(world: World) -> None:
    """There is nobody to notify."""
    world.writer.restore_new()
    world.replay(3)
    assert len(world.ended_replays) == 1
    assert world.states.states == {}

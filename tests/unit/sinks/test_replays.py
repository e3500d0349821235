"""The requests of operators to deliver again: which are open, and when an event may begin."""

from __future__ import annotations

from typing import Final

from schemas.codec import encode
from schemas.errors import ServerUnavailable
from schemas.number_types import Milliseconds, Offset
from schemas.replays import EventPlace, Replay, ReplayKey, encode_replay_key
from schemas.webhooks import WebhookSubscription
from sinks.base.records import Record
from sinks.base.replay_book import ReplayBook
from sinks.webhooks.event_replays import EventReplays, event_group
from tests.support.sink_stores import Conversation

STAGE: Final = "webhook-a1"
PARTITION: Final = 2
GROUP: Final = (STAGE, PARTITION)
SUBSCRIPTION: Final = WebhookSubscription(
    id="a1", url="https://hooks.example/", events=["message_sent"], text=True,
    secrets=["whsec_" + "A" * 40], created_at=Milliseconds(0),
)  # fmt: skip


def key_of(letter: int, stage: str = STAGE) -> ReplayKey:
    """The key of a request about a dead letter."""
    return ReplayKey(stage, 0, Offset(letter))


class World:
    """The book of the stage `webhooks`, a log, and the recalls that are known."""

    def __init__(self) -> None:
        self.ended: list[ReplayKey] = []
        self.book = ReplayBook(event_group, self.ended.append)
        self.log: dict[int, bytes] = {}
        self.needed: list[Offset] = []
        self.is_scanned = True
        self.is_down = False
        self.replays = EventReplays(self.book, self.read, self, lambda: 7.0)

    def ask(self, letter: int, offset: int, stage: str = STAGE) -> None:
        """An operator replays a dead letter about a record; the book was read since then."""
        place = EventPlace(partition=PARTITION, offset=Offset(offset))
        self.book.take(encode_replay_key(key_of(letter, stage)), encode(Replay(event=place)))
        self.book.was_read_at(10.0)

    def next(self, since: float = 5.0) -> ReplayKey | None:
        """The next request whose event may begin."""
        found = self.replays.next(STAGE, PARTITION, SUBSCRIPTION, since)
        return None if found is None else found.key

    def read(self, place: EventPlace) -> Record | None:
        if self.is_down:
            raise ServerUnavailable("not now")
        value = self.log.get(place.offset)
        return None if value is None else Record(place.partition, place.offset, b"c", value)

    def need(self, partition: int, offset: Offset) -> None:
        assert partition == PARTITION
        self.needed.append(offset)

    def is_recalled(self, partition: int, conv_id: str, seq: int) -> bool | None:
        assert (partition, conv_id) == (PARTITION, "c")
        assert seq > 0
        return False if self.is_scanned else None


def said(seq: int) -> bytes:
    """A message."""
    return encode(Conversation("c").said(seq, "x"))


def test_an_ended_request_is_not_open_again() -> None:
    """A command that died before its note may write the request again."""
    world = World()
    world.ask(1, 4)
    world.ask(2, 6, stage="webhook-b2")
    world.book.take(b"not a key", b"{}")
    world.book.take(encode_replay_key(key_of(9)), b"[]")
    assert list(world.book.open(GROUP)) == [key_of(1)]
    assert len(world.book) == 2
    world.book.finish(key_of(1))
    world.ask(1, 4)
    assert world.ended == [key_of(1)]
    assert not world.book.open(GROUP)


def test_the_end_of_another_process_ends_a_request() -> None:
    """Each process of the stage reads the topic."""
    world = World()
    world.ask(1, 4)
    world.book.take(encode_replay_key(key_of(1)), encode(Replay(is_done=True)))
    assert not world.book.open(GROUP)
    assert len(world.book) == 0


def test_an_event_begins_when_its_record_and_its_recalls_are_known() -> None:
    """Requests come in their order; recalls are needed from the lowest record on."""
    world = World()
    world.log = {4: said(4), 8: said(8)}
    world.ask(1, 8)
    world.ask(2, 4)
    assert world.next() is None
    world.replays.read_wanted()
    world.is_scanned = False
    assert world.next() is None
    world.is_scanned = True
    assert world.next() == key_of(1)
    assert set(world.needed) == {4}
    assert world.replays.lowest(STAGE, PARTITION) == 4
    world.replays.finish(key_of(1))
    assert world.next() == key_of(2)
    world.replays.finish(key_of(2))
    assert world.next() is None
    assert world.replays.lowest(STAGE, PARTITION) is None


def test_a_new_owner_waits_until_all_ends_are_known() -> None:
    """The previous owner of the partition may have ended the request just before."""
    world = World()
    world.log = {4: said(4)}
    world.ask(1, 4)
    world.next()
    world.replays.read_wanted()
    assert world.next(since=11.0) is None
    assert world.next(since=9.0) == key_of(1)


def test_a_request_without_an_event_says_so() -> None:
    """The log has lost the record, or the subscription does not choose it any more."""
    world = World()
    world.log = {6: encode(Conversation("c").recalled(6, 1))}
    for letter, offset in ((1, 4), (2, 6)):
        world.ask(letter, offset)
    world.next()
    world.replays.read_wanted()
    for _ in range(2):
        found = world.replays.next(STAGE, PARTITION, SUBSCRIPTION, 5.0)
        assert found is not None
        assert found.entry is None
        world.replays.finish(found.key)
    assert len(world.book) == 0


def test_a_record_is_read_again_after_a_failure() -> None:
    """The broker did not answer."""
    world = World()
    world.log = {4: said(4)}
    world.ask(1, 4)
    world.next()
    world.is_down = True
    try:
        world.replays.read_wanted()
    except ServerUnavailable:
        world.is_down = False
    world.replays.read_wanted()
    assert world.next() == key_of(1)

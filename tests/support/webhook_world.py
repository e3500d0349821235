"""A world for the runner of a subscription: log, group and receiver that follow a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from threading import Event
from typing import Final

from confluent_kafka import Message, TopicPartition

from backends.processes.watchdog import Vitals
from schemas.codec import decode_entry, encode
from schemas.errors import FatalFailure, TransientFailure
from schemas.number_types import Milliseconds, Offset
from schemas.records import AnyEntry
from schemas.replays import ReplayKey
from schemas.webhooks import WebhookSubscription
from sinks.base.commits import Commits
from sinks.base.sink_letters import DeadLetter
from sinks.outbound.destination_sender import Expired
from sinks.outbound.outcomes import Delivered, DeliveryRefused
from sinks.webhooks.event_lane import EventOutcome
from sinks.webhooks.event_replays import ReplayedEvent
from sinks.webhooks.event_requests import Attempts
from sinks.webhooks.runner_parts import RunnerParts
from sinks.webhooks.subscription_runner import SubscriptionRunner
from tests.support.killing import Killed
from tests.support.sink_group_member import TOPIC
from tests.support.sink_script import Place, ScriptedWorld
from tests.support.sink_scripted_consumer import ScriptedConsumer
from tests.support.sink_stores import Conversation

CHOSEN: Final = "chosen"
SUBSCRIPTION: Final = WebhookSubscription(
    id="a1", url="https://hooks.example/", events=["message_sent"], conversations=[CHOSEN],
    text=True, secrets=["whsec_" + "A" * 40], created_at=Milliseconds(0),
)  # fmt: skip


def value_at(index: int, *, is_chosen: bool) -> bytes:
    """The record at an index of a partition: a message that is chosen, or another record."""
    return encode(Conversation(CHOSEN).said(index + 1, "x")) if is_chosen else b"not an entry"


class WebhookWorld(ScriptedWorld):
    """Runs the processes of one subscription until all records are committed.

    ``stored`` has the acknowledged events, ``dead`` the dead letters.
    """

    def __init__(self, log: Mapping[int, Sequence[bool]], script: Sequence[int]) -> None:
        values = {
            partition: [value_at(index, is_chosen=each) for index, each in enumerate(flags)]
            for partition, flags in log.items()
        }
        super().__init__(values, script)
        self.chosen: set[Place] = {
            (partition, 2 * index)
            for partition, flags in log.items()
            for index, is_chosen in enumerate(flags)
            if is_chosen
        }
        self.repeated: list[Place] = []
        self.calls = 0
        self.pending: list[tuple[Future[EventOutcome], Place]] = []
        self.requested: set[Place] = set()
        """The dead letters that an operator replays, each once."""
        self.ended: set[Place] = set()
        """The requests with a durable end."""
        self.replayed: list[Place] = []
        """The acknowledged replays."""
        self.refused: set[Place] = set()
        """The replays that became dead letters again."""

    def is_done(self) -> bool:
        """Whether all records are committed, and all requests have ended."""
        return super().is_done() and self.requested <= self.ended

    def request(self, partition: int) -> Place | None:
        """The next request of a partition. An operator may replay a dead letter just now."""
        dead = {place for place in self.dead if place[0] == partition} - self.requested
        if dead and self.choose(3) == 1:
            self.requested.add(min(dead))
        open_requests = {p for p in self.requested - self.ended if p[0] == partition}
        return min(open_requests, default=None)

    def missing_below(self, place: TopicPartition) -> list[Place]:
        """The chosen events that a commit would lose."""
        return [each for each in super().missing_below(place) if each in self.chosen]

    def run(self) -> int:
        """Runs processes in turn. Returns their number."""
        processes = 0
        while not self.is_done():
            processes += 1
            assert processes < 100, "no process gets to the end"
            self.alive = True
            self.pending.clear()
            try:
                self._run_process()
            except (Killed, FatalFailure):
                continue
        return processes

    def acknowledge(self, place: Place) -> None:
        """The receiver answers 200."""
        later = {each for each in self.stored if each[0] == place[0] and each[1] > place[1]}
        assert not later, f"{place} after {later}"
        if place in self.stored:
            self.repeated.append(place)
        self.stored.add(place)

    def advance(self) -> None:
        """Ends some of the requests in flight."""
        for future, place in list(self.pending):
            if future.done() or self.choose(2) == 0:
                self.pending.remove((future, place))
                if future.set_running_or_notify_cancel():
                    self.acknowledge(place)
                    future.set_result(Delivered())

    def _run_process(self) -> None:
        stop = Event()
        commits = Commits(lambda: self.clock)
        parts = RunnerParts(
            _Consumer(self, stop, commits.answered), commits, _Receiver(self).begin,
            _Letters(self), _Replays(self), _Scout(), lambda: None, Vitals(lambda: self.clock),
        )  # fmt: skip
        runner = SubscriptionRunner(SUBSCRIPTION, TOPIC, parts, lambda: self.clock)
        runner.run(stop)


class _Consumer(ScriptedConsumer):
    def __init__(self, world: WebhookWorld, *more: object) -> None:
        super().__init__(world, *more)  # type: ignore[arg-type]
        self._webhooks = world

    def poll(self, timeout: float) -> Message | None:
        self._webhooks.advance()
        return super().poll(timeout)


class _Receiver:
    def __init__(self, world: WebhookWorld) -> None:
        self._world = world

    def begin(
        self, subscription: WebhookSubscription, partition: int, entry: AnyEntry, noted: Attempts
    ) -> Future[EventOutcome]:
        """Begins a delivery; the script chooses its end."""
        assert (subscription, entry.conv_id) == (SUBSCRIPTION, CHOSEN)
        assert not noted.is_requesting
        world = self._world
        world.calls += 1
        future: Future[EventOutcome] = Future()
        if noted.is_replay:
            future.set_result(self._replayed((partition, 2 * (entry.seq - 1))))
            return future
        place = self._checked(partition, entry.seq)
        match world.choose(8):
            case 1:
                future.set_result(DeliveryRefused("status 400"))
            case 2:
                future.set_result(Expired("status 503"))
            case 3 | 4 | 5:
                world.pending.append((future, place))
            case 6:
                world.acknowledge(place)
                world.die()
            case _:
                world.acknowledge(place)
                future.set_result(Delivered())
        return future

    def _replayed(self, place: Place) -> EventOutcome:
        world = self._world
        assert place in world.requested - world.ended, "no replay, or after its end"
        choice = world.choose(5)
        if choice == 1:
            world.refused.add(place)
            return DeliveryRefused("status 400")
        world.replayed.append(place)
        if choice == 2:
            world.die()
        return Delivered()

    def _checked(self, partition: int, seq: int) -> Place:
        """The place of an event. All events before it must have a durable outcome."""
        place = partition, 2 * (seq - 1)
        committed = self._world.committed.get(partition)
        assert place[1] >= (committed.offset if committed else 0), "below the position"
        assert not self._world.missing_below(TopicPartition(TOPIC, *place)), "out of order"
        return place


class _Letters:
    def __init__(self, world: WebhookWorld) -> None:
        self._world = world

    def send(self, letters: Sequence[DeadLetter]) -> None:
        choice = self._world.choose(5)
        if choice == 2:
            raise TransientFailure("not now")
        for letter in letters:
            self._world.dead[letter.record.partition, letter.record.offset] = letter.reason
        if choice == 1:
            self._world.die()


class _Replays:
    """The requests of operators. Each end of a request may fail, or be the end of the process."""

    def __init__(self, world: WebhookWorld) -> None:
        self._world = world

    def next(
        self, stage: str, partition: int, subscription: WebhookSubscription, since: float
    ) -> ReplayedEvent | None:
        assert (stage, subscription, since) == ("webhook-a1", SUBSCRIPTION, 0.0)
        place = self._world.request(partition)
        if place is None:
            return None
        record = self._world.log[partition][place[1] // 2]
        key = ReplayKey(stage, partition, record.offset)
        return ReplayedEvent(key, record, decode_entry(record.value))

    def finish(self, key: ReplayKey) -> None:
        choice = self._world.choose(5)
        if choice == 2:
            raise TransientFailure("not now")
        self._world.ended.add((key.partition, key.offset))
        if choice == 1:
            self._world.die()

    def moment(self) -> float:
        return 0.0


class _Scout:
    def need(self, partition: int, offset: Offset) -> None:
        assert partition >= 0
        assert isinstance(offset, int)

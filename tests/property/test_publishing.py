"""Publishing over a broker that fails in every way that a broker can."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from functools import partial
from pathlib import Path
from random import Random
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

import producers.dispatch
from producers.backlog import Parcel, Resend
from producers.courier import Courier
from producers.dispatch import Dispatcher
from producers.outbox import Outbox
from producers.receipts import Receipt, State
from schemas.codec import decode_command, encode
from schemas.records import AnyCommand
from tests.support.publishing import FaultyBroker, FaultyProducer, SmallSequencer, message

WINDOW = 3
RESEND = Resend(first=10.0, most=40.0)
CAPACITY = 1_000
conversations = st.sampled_from(["c1", "c2"])
senders = st.sampled_from(["ann", "bob"])


class PublishingMachine(RuleBasedStateMachine):
    """Every command lands, in the order of its conversation, and its client learns its SeqId.

    The broker takes its time, reports in any order, breaks for good, and lets requests of a
    broken producer arrive late; outcomes are lost on their way; the client process dies anywhere.
    The sequencer takes ids in their order alone and remembers no more of them than the window. So
    a command that is overtaken, or sent again outside the window, would be answered as stale.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.no_backoff = patch.object(producers.dispatch, "_BACKOFF_SECONDS", (0.0, 0.0))
        self.no_backoff.start()
        self.broker = FaultyBroker()
        self.broken: list[FaultyProducer] = []
        self.sequencer = SmallSequencer(WINDOW)
        self.observed = 0
        self.now = 0.0
        self.published: dict[str, list[str]] = defaultdict(list)
        self.receipts: list[Receipt] = []
        self.start()

    def start(self) -> None:
        """A process opens the outbox and goes on with what is there."""
        self.outbox = Outbox(self.folder / "outbox.db", CAPACITY)
        new_courier = partial(Courier, "im.messages", self.broker.connect)
        self.dispatcher = Dispatcher(
            self.outbox, new_courier, WINDOW, "sequenced", RESEND, lambda: self.now
        )
        self.take_up(
            [(queued.position, decode_command(queued.value)) for queued in self.outbox.pending()]
        )

    def take_up(self, commands: list[tuple[int, AnyCommand]]) -> None:
        """Hands commands of the outbox to the dispatcher."""
        with self.dispatcher.changed:
            parcels = [
                Parcel(position, command, encode(command), self.receipt(command))
                for position, command in commands
            ]
            self.dispatcher.add(parcels)

    def receipt(self, command: AnyCommand) -> Receipt:
        """A receipt that the end of the test looks at."""
        changed = self.dispatcher.changed
        self.receipts.append(Receipt(command.client_msg_id, changed, lambda: None))
        return self.receipts[-1]

    @rule(conv_id=conversations, sender=senders, count=st.integers(1, 8))
    def publish(self, conv_id: str, sender: str, count: int) -> None:
        """Queues a few commands of one author."""
        numbers = range(len(self.receipts), len(self.receipts) + count)
        commands = [message(number, conv_id, sender) for number in numbers]
        self.published[conv_id] += [command.client_msg_id for command in commands]
        positions = self.outbox.put([encode(command) for command in commands])
        self.take_up(list(zip(positions, commands, strict=True)))

    @rule(room=st.sampled_from([1_000, 1_000, 2, 0]))
    def fill(self, room: int) -> None:
        """The producer's own queue takes fewer messages from now on."""
        self.broker.room = room

    @rule(count=st.integers(1, 20))
    def write(self, count: int) -> None:
        """Messages reach the log."""
        self.broker.producer.write(count)

    @rule(random=st.randoms(use_true_random=False))
    def report(self, random: Random) -> None:
        """Delivery reports arrive, in any order."""
        self.broker.producer.report(random.shuffle)

    @rule()
    def break_down(self) -> None:
        """The producer breaks; what is written but not reported is told as failed."""
        self.broken.append(self.broker.producer)
        self.broker.producer.break_down()

    @rule(count=st.integers(1, 3))
    def arrive_late(self, count: int) -> None:
        """Requests of broken producers reach the log after all."""
        for producer in self.broken:
            producer.write(count)

    @rule()
    def turn(self) -> None:
        """The publisher's thread gets to run."""
        self.dispatcher.turn()

    @rule(count=st.integers(1, 8))
    def observe(self, count: int) -> None:
        """The client follows its sync timeline a little further."""
        self.sequencer.run(self.broker.log)
        for record in self.sequencer.records[self.observed : self.observed + count]:
            self.dispatcher.observe(record)
            self.observed += 1

    @rule(count=st.integers(1, 3))
    def lose(self, count: int) -> None:
        """Outcomes do not reach the client."""
        self.sequencer.run(self.broker.log)
        self.observed = min(len(self.sequencer.records), self.observed + count)

    @rule(seconds=st.sampled_from([1.0, 11.0, 50.0]))
    def wait(self, seconds: float) -> None:
        """Time passes: what has had no outcome for too long is sent again at the next turn."""
        self.now += seconds

    @rule(looks_back=st.booleans())
    def crash(self, looks_back: bool) -> None:  # noqa: FBT001 - Hypothesis draws it
        """The process dies. The next one follows from where this one was, or only what is new."""
        self.outbox.close()
        self.broken.append(self.broker.producer)
        if not looks_back:
            self.sequencer.run(self.broker.log)
            self.observed = len(self.sequencer.records)
        unsettled = {State.QUEUED, State.ACCEPTED}
        self.receipts = [r for r in self.receipts if r.state not in unsettled]
        self.start()

    def teardown(self) -> None:
        """Everything works again: now all of it has to arrive within a few rounds."""
        try:
            self.broker.room = 1_000
            for _ in range(3 + sum(map(len, self.published.values()))):
                self.now += RESEND.most
                self.dispatcher.turn()
                self.write(1_000)
                self.report(Random(0))
                self.dispatcher.turn()
                self.observe(10_000)
            self.check()
        finally:
            self.no_backoff.stop()
            self.outbox.close()
            shutil.rmtree(self.folder)

    def check(self) -> None:
        """All landed in order, all learned their SeqId, nothing is left."""
        landed: dict[str, dict[str, None]] = defaultdict(dict)
        for key, value in self.broker.log:
            landed[key.decode()].setdefault(decode_command(value).client_msg_id)
        assert {conv: list(ids) for conv, ids in landed.items()} == self.published
        assert all(r.state in {State.SEQUENCED, State.DUPLICATE} for r in self.receipts)
        assert len(self.outbox) == 0


PublishingMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None
)
TestPublishing = PublishingMachine.TestCase

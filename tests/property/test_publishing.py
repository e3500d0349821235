"""Publishing to a broker with all kinds of faults."""

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
from producers.receipts import Receipt, ReceiptState
from schemas.codec import decode_command, encode
from schemas.records import AnyCommand
from tests.support.publishing import FaultyBroker, FaultyProducer, SmallSequencer, message

WINDOW = 3
RESEND = Resend(first=10.0, most=40.0)
CAPACITY = 1_000
conversations = st.sampled_from(["c1", "c2"])
senders = st.sampled_from(["ann", "bob"])


class PublishingMachine(RuleBasedStateMachine):
    """Every command is accepted in the order of its conversation, and its client gets the SeqId.

    The broker delays, reports in any order, fails permanently, and lets requests of a broken
    producer arrive late. Outcomes are lost. The client process ends at any step. The sequencer
    accepts ids only in order and remembers a window of them, so a command that is overtaken, or
    sent again outside the window, would be stale.
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
        """A process opens the outbox and continues with its commands."""
        self.outbox = Outbox(self.folder / "outbox.db", CAPACITY)
        new_courier = partial(Courier, "im.messages", self.broker.connect)
        self.dispatcher = Dispatcher(
            self.outbox, new_courier, WINDOW, "sequenced", RESEND, lambda: self.now
        )
        self.take_up(
            [(queued.position, decode_command(queued.value)) for queued in self.outbox.pending()]
        )

    def take_up(self, commands: list[tuple[int, AnyCommand]]) -> None:
        """Pass commands of the outbox to the dispatcher."""
        with self.dispatcher.changed:
            parcels = [
                Parcel(position, command, encode(command), self.receipt(command))
                for position, command in commands
            ]
            self.dispatcher.add(parcels)

    def receipt(self, command: AnyCommand) -> Receipt:
        """Return a receipt that is checked at the end of the test."""
        changed = self.dispatcher.changed
        self.receipts.append(Receipt(command.client_msg_id, changed, lambda: None))
        return self.receipts[-1]

    @rule(conv_id=conversations, sender=senders, count=st.integers(1, 8))
    def publish(self, conv_id: str, sender: str, count: int) -> None:
        """Queue a few commands of one author."""
        numbers = range(len(self.receipts), len(self.receipts) + count)
        commands = [message(number, conv_id, sender) for number in numbers]
        self.published[conv_id] += [command.client_msg_id for command in commands]
        positions = self.outbox.put([encode(command) for command in commands])
        self.take_up(list(zip(positions, commands, strict=True)))

    @rule(room=st.sampled_from([1_000, 1_000, 2, 0]))
    def fill(self, room: int) -> None:
        """Set the room in the producer's own queue."""
        self.broker.room = room

    @rule(count=st.integers(1, 20))
    def write(self, count: int) -> None:
        """Let messages reach the log."""
        self.broker.producer.write(count)

    @rule(random=st.randoms(use_true_random=False))
    def report(self, random: Random) -> None:
        """Let delivery reports arrive in any order."""
        self.broker.producer.report(random.shuffle)

    @rule()
    def break_down(self) -> None:
        """Break the producer; written messages without a report are reported as failed."""
        self.broken.append(self.broker.producer)
        self.broker.producer.break_down()

    @rule(count=st.integers(1, 3))
    def arrive_late(self, count: int) -> None:
        """Let requests of broken producers reach the log late."""
        for producer in self.broken:
            producer.write(count)

    @rule()
    def step(self) -> None:
        """Run one step of the publisher's thread."""
        self.dispatcher.step()

    @rule(count=st.integers(1, 8))
    def observe(self, count: int) -> None:
        """Let the client read some more records of its sync timeline."""
        self.sequencer.run(self.broker.log)
        for record in self.sequencer.records[self.observed : self.observed + count]:
            self.dispatcher.observe(record)
            self.observed += 1

    @rule(count=st.integers(1, 3))
    def lose(self, count: int) -> None:
        """Lose outcomes on the way to the client."""
        self.sequencer.run(self.broker.log)
        self.observed = min(len(self.sequencer.records), self.observed + count)

    @rule(seconds=st.sampled_from([1.0, 11.0, 50.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass; the next turn sends commands again that had no outcome for too long."""
        self.now += seconds

    @rule(looks_back=st.booleans())
    def crash(self, looks_back: bool) -> None:  # noqa: FBT001 - Hypothesis draws it
        """End the process. The next one reads from the old position, or only new records."""
        self.outbox.close()
        self.broken.append(self.broker.producer)
        if not looks_back:
            self.sequencer.run(self.broker.log)
            self.observed = len(self.sequencer.records)
        unsettled = {ReceiptState.QUEUED, ReceiptState.ACCEPTED}
        self.receipts = [r for r in self.receipts if r.state not in unsettled]
        self.start()

    def teardown(self) -> None:
        """Without faults, everything arrives within a bounded number of turns."""
        try:
            self.broker.room = 1_000
            for _ in range(3 + sum(map(len, self.published.values()))):
                self.now += RESEND.most
                self.dispatcher.step()
                self.write(1_000)
                self.report(Random(0))
                self.dispatcher.step()
                self.observe(10_000)
            self.check()
        finally:
            self.no_backoff.stop()
            self.outbox.close()
            shutil.rmtree(self.folder)

    def check(self) -> None:
        """All commands are in the log in order, all receipts are settled, the outbox is empty."""
        landed: dict[str, dict[str, None]] = defaultdict(dict)
        for key, value in self.broker.log:
            landed[key.decode()].setdefault(decode_command(value).client_msg_id)
        assert {conv: list(ids) for conv, ids in landed.items()} == self.published
        assert all(
            r.state in {ReceiptState.SEQUENCED, ReceiptState.DUPLICATE} for r in self.receipts
        )
        assert len(self.outbox) == 0


PublishingMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None
)
TestPublishing = PublishingMachine.TestCase

"""Load a chat log, from the file to the stores.

1. Send the commands that an interrupted load left in the outbox.
2. Convert lines to commands, and publish the commands in batches. At most `MAX_UNSEQUENCED`
   commands are without an outcome at a time.
3. At the end of the file, wait until every command has an outcome.
4. Wait until every sink has stored the results.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from ops.load.chat_lines import DEVICE, ChatLine, Conversion
from ops.load.display import Display
from ops.load.ledger import Ledger
from ops.load.sequencing import Sequencing
from ops.load.source import LogFile
from ops.load.storing import wait_until_stored
from ops.load.waiting import PROGRESS_READ_SECONDS, Patience
from producers.publisher import Publisher
from producers.receipts import ReceiptState
from schemas.errors import InvalidCommand, NotYet, OutboxInUse
from schemas.records import AnyCommand, SendMessage
from schemas.settings import Settings

MAX_UNSEQUENCED: Final = 50_000
"""Maximum commands without an outcome: some seconds of the sequencer's work, 15 MB of memory."""

RESUME_SENDING_AT: Final = 40_000
"""Sending continues when at most this number of commands are without an outcome."""

BATCH: Final = 500
"""Lines published together, with a single write to the disk."""

BATCHES_PER_SECOND: Final = 10
"""With a rate limit: batches per second, so that lines are spread evenly."""

LINGER_MS: Final = 20.0


_FromLine: TypeAlias = tuple[AnyCommand, int]
"""A command, and the number of its line."""


class LoadSummary(Struct, kw_only=True):
    """The result of a load. The unit of a count is commands unless stated otherwise.

    ``created``: conversations that the file creates; they are open. ``added_speakers``: joins that
    are not in the file. ``resumed``: commands left by an interrupted load, and sent first.
    ``skipped``: lines without effect, by kind. ``first_rejected``: the first rejected line, by
    reason. ``unanswered``: commands without an outcome, which should not happen. ``seconds``:
    duration of each stage; sending and sequencing are consecutive, the sinks run in parallel.
    """

    lines: int = 0
    commands: int = 0
    messages: int = 0
    created: int = 0
    added_speakers: int = 0
    resumed: int = 0
    sequenced: int = 0
    duplicates: int = 0
    stale: int = 0
    rejected: dict[str, int] = {}
    first_rejected: dict[str, int] = {}
    unanswered: int = 0
    skipped: dict[str, int] = {}
    seconds: dict[str, float] = {}

    @property
    def is_whole(self) -> bool:
        """Whether every command took effect, now or before."""
        return not self.rejected and not self.unanswered


class Loader:
    """Loads one file.

    Args:
        settings: The deployment.
        display: Shows the progress.
        rate: Maximum lines per second; None for no limit.
        patience_seconds: Maximum time without progress of a stage.
    """

    def __init__(
        self, settings: Settings, display: Display, rate: float | None, patience_seconds: float
    ) -> None:
        self._settings = settings
        self._display = display
        self._rate = rate
        self._patience_seconds = patience_seconds
        self._summary = LoadSummary()
        self._ledger = Ledger(DEVICE)
        self._conversion = Conversion()

    def load(self, file: LogFile, limit: int | None) -> LoadSummary:
        """Load the file, or its first lines, and return when everything is stored.

        Raises:
            InvalidLine: A line does not have the format. The lines before it were sent.
            Stalled: A stage made no progress for too long; the message names the stage.
            OutboxInUse: Another load runs.
            ConfigurationError: The deployment is not prepared.
            ServerUnavailable: The broker does not answer.
        """
        seconds = self._summary.seconds
        with (
            Sequencing(
                self._settings, self._ledger, self._patience_seconds, self._show_sequenced
            ) as sequencing,
            self._publisher() as publisher,
        ):
            begin = time.monotonic()
            self._resume(publisher)
            self._send(file, limit, publisher, sequencing)
            self._flush(publisher)
            seconds["sending"] = time.monotonic() - begin
            begin = time.monotonic()
            sequencing.settle()
            seconds["sequencing"] = time.monotonic() - begin
        seconds |= wait_until_stored(self._settings, self._patience_seconds, self._display)
        return self._summarize()

    def _publisher(self) -> Publisher:
        outbox = self._settings.home / "load" / f"{self._settings.namespace}.db"
        try:
            return Publisher(
                self._settings,
                DEVICE,
                DEVICE,
                outbox,
                window=None,
                done_when="accepted",
                capacity=2 * MAX_UNSEQUENCED,
                linger_ms=LINGER_MS,
            )
        except OutboxInUse:
            raise OutboxInUse("another `im load` is running here: run one at a time") from None

    def _resume(self, publisher: Publisher) -> None:
        self._summary.resumed = len(publisher.resumed)
        self._flush(publisher)

    def _send(
        self, file: LogFile, limit: int | None, publisher: Publisher, sequencing: Sequencing
    ) -> None:
        begin = time.monotonic()
        for lines in self._batches(islice(file, limit)):
            commands = [
                (command, line.number)
                for line in lines
                for command in self._conversion.commands(line)
            ]
            self._publish(commands, publisher)
            self._count(lines, commands)
            self._display.show("sent (bytes)", file.read_bytes, file.size)
            sequencing.read(0)
            if len(self._ledger) > MAX_UNSEQUENCED:
                self._flush(publisher)
                sequencing.make_room(lambda: len(self._ledger) <= RESUME_SENDING_AT)
            if self._rate is not None:
                sequencing.read_for(begin + self._summary.lines / self._rate - time.monotonic())

    def _batches(self, lines: Iterable[ChatLine]) -> Iterator[list[ChatLine]]:
        size = BATCH
        if self._rate is not None:
            size = max(1, min(BATCH, int(self._rate / BATCHES_PER_SECOND)))
        lines = iter(lines)
        while batch := list(islice(lines, size)):
            yield batch

    def _publish(self, commands: Sequence[_FromLine], publisher: Publisher) -> None:
        try:
            publisher.publish_many([command for command, _ in commands])
            taken = commands
        except InvalidCommand:
            taken = [each for each in commands if self._is_taken(*each, publisher)]
        for command, line in taken:
            self._ledger.sent(command, line)

    def _is_taken(self, command: AnyCommand, line: int, publisher: Publisher) -> bool:
        try:
            publisher.publish(command)
        except InvalidCommand as refusal:
            self._ledger.refused(refusal.code, line)
            return False
        return True

    def _flush(self, publisher: Publisher) -> None:
        """Wait until the broker has acknowledged everything that was published."""
        patience = Patience("the broker", self._patience_seconds)
        while True:
            try:
                publisher.flush(PROGRESS_READ_SECONDS)
            except NotYet as not_yet:
                patience.check(publisher.counts()[ReceiptState.ACCEPTED], str(not_yet))
            else:
                return

    def _count(self, lines: Sequence[ChatLine], commands: Sequence[_FromLine]) -> None:
        self._summary.lines += len(lines)
        self._summary.commands += len(commands)
        self._summary.messages += sum(isinstance(c, SendMessage) for c, _ in commands)

    def _show_sequenced(self) -> None:
        self._display.show("sequenced", self._ledger.settled, self._summary.commands)

    def _summarize(self) -> LoadSummary:
        ledger, conversion = self._ledger, self._conversion
        return replace(
            self._summary,
            sequenced=ledger.sequenced,
            duplicates=ledger.duplicates,
            stale=ledger.stale,
            rejected=dict(ledger.rejected),
            first_rejected=ledger.first_rejected,
            unanswered=ledger.unanswered,
            created=conversion.created,
            added_speakers=conversion.added_speakers,
            skipped={
                "joins": conversion.skipped_joins,
                "leaves": conversion.skipped_leaves,
                "empty messages": conversion.skipped_empty,
            },
        )

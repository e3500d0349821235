"""Processor time of the sequencer without Kafka: ``python -m benchmarks.sequencer_alone``.

One lane with the conversations of `benchmarks.workload`, at fan-out 2. Needs no servers. Prints
the median, the lowest and the highest of some rounds, in microseconds for a message:

- whole: decode the command, decide, encode the entry, change the state, encode the state records
  at the end of each transaction;
- core: decide and change the state (`stream_processors.core`), with decoded commands.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Final

from benchmarks.restore import Source, StateAlone
from benchmarks.results import WrongOutput
from benchmarks.workload import CONVERSATIONS, creation, message
from schemas.limits import Limits
from schemas.number_types import Milliseconds, Offset
from schemas.records import AnyCommand
from stream_processors.core.decide import decide
from stream_processors.core.outcome import Accept
from stream_processors.core.state import Conversation
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.state.conversations import Conversations
from stream_processors.state.state_codec import LaneProgress

FAN_OUT: Final = 2
MESSAGES: Final = 50_000
IN_A_TRANSACTION: Final = 8_000
"""Messages of one transaction of a busy lane: each makes three records."""

ROUNDS: Final = 5
_AT: Final = Milliseconds(1_700_000_000_000)


class Nowhere(StateAlone):
    """Drops all records."""

    def state(self, key: bytes, value: bytes | None) -> None:
        """Drops the state."""


def main() -> None:
    """Prints a line for each part."""
    creations = [creation(number, FAN_OUT) for number in range(CONVERSATIONS)]
    messages = [message(number, FAN_OUT) for number in range(MESSAGES)]
    parts: dict[str, Callable[[], float]] = {
        "whole": lambda: whole(creations, messages),
        "core": lambda: core(creations, messages),
    }
    rounds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(ROUNDS):
        for name, part in parts.items():
            rounds[name].append(part() / MESSAGES * 1e6)
            gc.collect()
    for name, times in rounds.items():
        print(f"{name}: {statistics.median(times):.2f} µs ({min(times):.2f} to {max(times):.2f})")


def whole(creations: Sequence[AnyCommand], messages: Sequence[AnyCommand]) -> float:
    """Processor time of a sequencer for all messages, in seconds."""
    sequencer, writer = Sequencer(Limits(), Conversations(), LaneProgress()), Nowhere()
    commands = [*creations, *messages]
    records = [Source(Offset(offset), command) for offset, command in enumerate(commands)]
    for record in records[: len(creations)]:
        sequencer.process(record, writer)
    began = time.process_time()
    for start in range(len(creations), len(records), IN_A_TRANSACTION):
        for record in records[start : start + IN_A_TRANSACTION]:
            sequencer.process(record, writer)
        sequencer.write_last(writer)
    return time.process_time() - began


def core(creations: Sequence[AnyCommand], messages: Sequence[AnyCommand]) -> float:
    """Processor time of the core for all messages, in seconds."""
    limits = Limits()
    conversations = {command.conv_id: Conversation() for command in creations}
    for command in creations:
        _accept(limits, conversations[command.conv_id], command)
    began = time.process_time()
    for command in messages:
        _accept(limits, conversations[command.conv_id], command)
    return time.process_time() - began


def _accept(limits: Limits, conversation: Conversation, command: AnyCommand) -> None:
    decision = decide(limits, conversation, command, _AT)
    if not isinstance(decision, Accept):
        raise WrongOutput(type(decision).__name__)
    decision.apply_to(conversation)


if __name__ == "__main__":
    main()

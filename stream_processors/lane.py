"""A lane: one source partition, its state, and a thread that runs its transactions.

While one transaction commits, what arrives is collected; the next one takes all of it. So small
chunks merge under load, and one partition computes while another waits for its broker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import Producer

from schemas.errors import FatalFailure, SourceGap
from schemas.settings import Settings
from stream_processors.restore import holds_records, restore
from stream_processors.sequencer import Sequencer, SourceRecord
from stream_processors.transaction import TRANSACTION_SECONDS, Transaction, transactional_config

log = logging.getLogger(__name__)

MAX_PENDING: Final = 20_000
"""Records that wait for a transaction; beyond that whoever brings more waits."""

INTERVAL_SECONDS: Final = 0.02
"""From the beginning of one transaction to that of the next, at least.

A transaction costs the broker a mark in each partition that it wrote to, and a reader of committed
records waits for all that are open. Many small ones delay everybody: at 1,000 messages/s the
slowest hundredth waits a third longer without this. The first after a pause begins at once.
"""

_IDLE_SECONDS: Final = 1.0


class Lane:
    """Takes chunks of one partition from the event loop, and commits them in its own thread.

    Any failure in the thread ends the process: its state may be ahead of the log, and the next
    process starts from what is committed.

    Args:
        settings: The deployment.
        partition: The source partition.
        group_metadata: Gives the consumer group of the source offsets.
        turn: Shared by the lanes of a process, see `Transaction`.
        end_process: What a failure calls with the exit code; never returns in a real process.
    """

    def __init__(
        self,
        settings: Settings,
        partition: int,
        group_metadata: Callable[[], object],
        turn: threading.Lock,
        end_process: Callable[[int], object] = os._exit,
    ) -> None:
        self._settings = settings
        self._partition = partition
        self._group_metadata = group_metadata
        self._turn = turn
        self._end_process = end_process
        self._pending: list[SourceRecord] = []
        self._next_begin = 0.0
        self._stopping = False
        self._changed = threading.Condition()
        self._room = asyncio.Event()
        self._room.set()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=f"lane-{partition}", daemon=True)
        self._thread.start()

    async def put(self, chunk: Sequence[SourceRecord]) -> None:
        """Hands over the next records; waits while too many are pending."""
        await self._room.wait()
        with self._changed:
            self._pending.extend(chunk)
            if len(self._pending) >= MAX_PENDING:
                self._room.clear()
            self._changed.notify()

    async def stop(self) -> None:
        """Lets the running transaction finish, and drops what is pending: it is not committed."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._room.set()
        await asyncio.to_thread(self._thread.join, TRANSACTION_SECONDS)

    def _run(self) -> None:
        try:
            self._sequence()
        except FatalFailure as failure:
            log.critical("partition %d: %s", self._partition, failure)
            self._end_process(failure.exit_code)
        # Whatever it is, going on would write on top of a state that is not in the log.
        except BaseException:
            log.critical("partition %d cannot go on", self._partition, exc_info=True)
            self._end_process(FatalFailure.exit_code)

    def _sequence(self) -> None:
        group = self._settings.group("sequencer")
        producer = Producer(transactional_config(self._settings, group, self._partition))
        producer.init_transactions(TRANSACTION_SECONDS)  # fences the owner before us
        state = restore(self._settings, self._partition)
        log.info(
            "partition %d goes on at offset %d with %d conversations, %d of them idle in %d bytes",
            self._partition, state.progress.next_offset, len(state.conversations),
            state.conversations.idle_count, state.conversations.idle_bytes,
        )  # fmt: skip
        sequencer = Sequencer(self._settings.limits, *state)
        transaction = Transaction(
            self._settings, self._partition, producer, self._group_metadata, self._turn
        )
        while (records := self._take()) is not None:
            self._commit_all(sequencer, transaction, records)

    def _take(self) -> list[SourceRecord] | None:
        """Everything pending, when the next transaction is due; None when the lane is to stop."""
        with self._changed:
            while not self._stopping:
                wait = self._next_begin - time.monotonic() if self._pending else _IDLE_SECONDS
                if wait <= 0:
                    break
                self._changed.wait(wait)
            if self._stopping:
                return None
            taken, self._pending = self._pending, []
        self._next_begin = time.monotonic() + INTERVAL_SECONDS
        self._loop.call_soon_threadsafe(self._room.set)
        return taken

    def _commit_all(
        self, sequencer: Sequencer, transaction: Transaction, records: list[SourceRecord]
    ) -> None:
        if sequencer.is_done(records[0].offset):
            records = [record for record in records if not sequencer.is_done(record.offset)]
        while records and not self._stopping:
            self._cross_gap(sequencer, records[0].offset)
            done = transaction.run(sequencer, records)
            records = records[done:]

    def _cross_gap(self, sequencer: Sequencer, offset: int) -> None:
        gap = sequencer.gap_before(offset)
        if not gap:
            return
        if holds_records(self._settings, self._partition, gap):
            raise SourceGap(f"records {gap.start} to {gap.stop - 1} were not delivered to us")
        sequencer.skip_to(offset)

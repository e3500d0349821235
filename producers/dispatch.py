"""Moves commands from the outbox to the broker, and tracks their outcomes.

One thread polls the producer, replaces a failed producer, and removes settled commands from the
outbox. A caller that adds a command passes it to the producer directly, without waiting for this
thread: this keeps the latency of a single message low.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Literal, TypeAlias

from backends.kafka.kafka_security import access_refused, is_refusal
from producers.backlog import Backlog, Identity, Parcel, Resend, identity_of
from producers.courier import Courier
from producers.outbox import Outbox
from producers.receipts import ReceiptState
from schemas.errors import (
    AccessRefused,
    FatalFailure,
    ImError,
    PublisherClosed,
    TransientFailure,
    WrongDeployment,
)
from schemas.records import (
    AnySyncRecord,
    Duplicate,
    NotStoredHole,
    RecalledHole,
    Rejected,
    Reply,
    Retracted,
)

_log = logging.getLogger(__name__)

DoneWhen: TypeAlias = Literal["sequenced", "accepted"]
"""When a command leaves the outbox. ``accepted`` needs no observer and learns no outcome."""

POLL_SECONDS: Final = 0.1
"""Poll timeout while commands are in flight; a delivery report ends the wait at once."""
COMMAND_WAIT_SECONDS: Final = 1.0
"""Wait without commands in flight; a new command ends the wait at once."""
STOP_SECONDS: Final = 15.0
"""Longer than the thread's longest step, which closes a producer."""
_BACKOFF_SECONDS: Final = (0.1, 5.0)
"""Backoff before a new producer is made: first and longest."""


class Dispatcher:
    """Sends parcels until they are settled.

    Args:
        outbox: Stores the commands meanwhile.
        new_courier: Makes a courier with a new producer.
        window: Maximum number of commands in flight for each author; None: no bound.
        done_when: When a command is settled.
        resend: When a command without an outcome is sent again; None: never.
        clock: A monotonic time, in seconds.

    Attributes:
        changed: Guards all state; notified whenever the state of a parcel changes.
        counts: The number of parcels since the start, by current state.
        trouble: The error that stopped the dispatcher; None while it works.
        last_failure: Why the last failed producer failed.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the publisher decides each
        self,
        outbox: Outbox,
        new_courier: Callable[[], Courier],
        window: int | None,
        done_when: DoneWhen,
        resend: Resend | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.changed = threading.Condition()
        self.counts: Counter[ReceiptState] = Counter()
        self.trouble: ImError | None = None
        self.last_failure: str | None = None
        self._outbox = outbox
        self._new_courier = new_courier
        self._done_when = done_when
        self._clock = clock
        self._backlog = Backlog(window, resend)
        self._pending: dict[Identity, Parcel] = {}
        self._settled: list[Parcel] = []
        self._failures = 0
        self._stopping = False
        self._courier: Courier | None = new_courier()
        self._thread = threading.Thread(target=self._run, name="im-publisher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop within `STOP_SECONDS`. Unsettled commands stay in the outbox."""
        with self.changed:
            self._stopping = True
            self.trouble = self.trouble or PublisherClosed("the publisher is closed")
            self.changed.notify_all()
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            _log.error("the publisher's thread has not ended within %s s", STOP_SECONDS)

    def find(self, identity: Identity) -> Parcel | None:
        """Return the unsettled parcel of an identity. The caller holds `changed`."""
        return self._pending.get(identity)

    def add(self, parcels: Iterable[Parcel]) -> None:
        """Take new parcels, in order, and send what may be sent. The caller holds `changed`."""
        for parcel in parcels:
            self._pending[parcel.identity] = parcel
            self._backlog.add(parcel)
            self.counts[ReceiptState.QUEUED] += 1
        self._send_ready()
        self.changed.notify_all()

    def observe(self, record: AnySyncRecord) -> None:
        """Settle the command that led to a record, if it is one of this dispatcher.

        A command may lead to several records, such as a mode change after a new member. The first
        record settles the command; the next ones have no effect.
        """
        if isinstance(record, Retracted | RecalledHole | NotStoredHole):
            return  # these records do not name the command that led to them
        identity = identity_of(record)
        if identity not in self._pending:
            return
        with self.changed:
            parcel = self._pending.get(identity)
            if parcel is None:
                return
            match record:
                case Reply() if record.device_id != parcel.author[2]:
                    return
                case Rejected():
                    parcel.receipt.code = record.code
                    self._settle(parcel, ReceiptState.REJECTED)
                case Duplicate():
                    parcel.receipt.seq = record.seq
                    self._settle(parcel, ReceiptState.DUPLICATE)
                case _:
                    parcel.receipt.seq = record.seq
                    self._settle(parcel, ReceiptState.SEQUENCED)
            self._send_ready()
            self.changed.notify_all()

    def step(self) -> None:
        """Collect reports, replace a failed producer, clear the outbox, send.

        Only the thread of `start` calls this method while it runs.
        """
        courier = self._courier
        assert courier is not None  # noqa: S101 - only this thread removes it, and sets a new one
        self._note_accepted(courier.collect(POLL_SECONDS if self._backlog.sent_count else 0))
        if courier.failure is not None:
            self._replace(courier)
        self._clear_outbox()
        with self.changed:
            resent = self._backlog.resend(self._clock())
            self._send_ready()
        if resent:
            _log.warning("%d commands had no outcome in time and are sent again", resent)

    def _wait_for_work(self) -> None:
        """Wait for work, unless commands are in flight: then the producer has to be polled."""
        with self.changed:
            busy = self._backlog.sent_count or self._settled or self._stopping
            broken = self._courier is not None and self._courier.failure is not None
            if not busy and not broken:
                self.changed.wait(COMMAND_WAIT_SECONDS)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self.step()
                self._wait_for_work()
            self._last_step()
        except (WrongDeployment, AccessRefused) as error:
            self._end(error)
        except Exception as error:  # noqa: BLE001 - waiting callers must receive every error
            _log.exception("the publisher has failed")
            self._end(FatalFailure(f"the publisher has failed: {type(error).__name__}"))

    def _end(self, trouble: ImError) -> None:
        """Set the error and wake all waiting callers. The commands stay in the outbox."""
        with self.changed:
            self.trouble = trouble
            self._courier = None
            self.changed.notify_all()

    def _last_step(self) -> None:
        with self.changed:
            courier, self._courier = self._courier, None
        if courier is not None:
            self._note_accepted(courier.give_up())
        self._clear_outbox()

    def _replace(self, courier: Courier) -> None:
        """Close a failed producer; continue with a new one from the oldest unacknowledged.

        Raises:
            AccessRefused: The broker refuses the user. Another producer would be refused, too.
        """
        if courier.failure is not None and is_refusal(courier.failure):
            raise access_refused(courier.failure, "this user to send commands")
        with self.changed:
            self._courier = None  # nothing is sent meanwhile
        self.last_failure = str(courier.failure)
        _log.warning("a producer failed and is replaced: %s", courier.failure)
        self._note_accepted(courier.give_up())
        with self.changed:
            self._backlog.rewind()
            self.changed.wait_for(lambda: self._stopping, self._backoff())
            self._failures += 1
        successor = self._new_courier()
        with self.changed:
            self._courier = successor

    def _backoff(self) -> float:
        first, most = _BACKOFF_SECONDS
        return min(most, first * 2.0**self._failures) * random.uniform(0.5, 1)  # noqa: S311 - no secret

    def _send_ready(self) -> None:
        courier = self._courier
        while courier is not None:
            parcel = self._backlog.head()
            if parcel is None or not courier.send(parcel):
                return
            self._backlog.mark_sent(parcel)

    def _note_accepted(self, acknowledged: list[Parcel]) -> None:
        if not acknowledged:
            return
        with self.changed:
            self._failures = 0
            now = self._clock()
            for parcel in acknowledged:
                if self._backlog.accept(parcel, now):
                    self._move(parcel, ReceiptState.ACCEPTED)
                    if self._done_when == "accepted":
                        self._forget(parcel)
            self.changed.notify_all()

    def _settle(self, parcel: Parcel, state: ReceiptState) -> None:
        self._move(parcel, state)
        self._forget(parcel)

    def _move(self, parcel: Parcel, state: ReceiptState) -> None:
        self.counts[parcel.receipt.state] -= 1
        self.counts[state] += 1
        parcel.receipt.state = state

    def _forget(self, parcel: Parcel) -> None:
        del self._pending[parcel.identity]
        self._settled += self._backlog.settle(parcel, self._clock())

    def _clear_outbox(self) -> None:
        with self.changed:
            settled, self._settled = self._settled, []
        if not settled:
            return
        try:
            self._outbox.remove([parcel.position for parcel in settled])
        except TransientFailure as error:
            # Harmless: after a restart they are sent again, and recognised by their ids.
            _log.warning("settled commands stay in the outbox for now: %s", error)
            with self.changed:
                self._settled += settled
            return
        with self.changed:
            for parcel in settled:
                self._backlog.clear(parcel)

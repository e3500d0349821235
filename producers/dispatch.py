"""Moves commands from the outbox to the broker, and notes what becomes of them.

One thread of its own polls the producer, replaces it when it breaks, and clears settled commands
from the outbox. Whoever adds a command hands it to the producer at once, without waiting for
that thread: that is what keeps the delay of a single message low.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Literal, TypeAlias

from producers.backlog import Backlog, Identity, Parcel, Resend, identity_of
from producers.courier import Courier
from producers.outbox import Outbox
from producers.receipts import State
from schemas.errors import (
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
"""When a command leaves the outbox. ``accepted`` needs no observer, and learns no outcome."""

POLL_SECONDS: Final = 0.1
"""While something is in flight; a delivery report ends the wait at once."""
IDLE_SECONDS: Final = 1.0
"""Otherwise; a new command ends the wait at once."""
STOP_SECONDS: Final = 15.0
"""More than the thread's longest turn: giving a producer up."""
_BACKOFF_SECONDS: Final = (0.1, 5.0)
"""Before another producer is made: at first, and at most."""


class Dispatcher:
    """Sends parcels until they are settled.

    Args:
        outbox: Where they are kept meanwhile.
        new_courier: Makes a courier with a new producer.
        window: Commands under way for each author; None for as many as there are.
        done_when: When a command is settled.
        resend: When a command without an outcome is sent again; None for never.
        clock: Seconds, from any beginning.

    Attributes:
        changed: Guards everything here; notified whenever a parcel's state changes.
        counts: The parcels taken up so far, by their state now.
        trouble: Why nothing moves any more, if so.
        last_failure: What broke the last producer that broke.
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
        self.counts: Counter[State] = Counter()
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
        """Begins to work on what was added."""
        self._thread.start()

    def stop(self) -> None:
        """Ends within `STOP_SECONDS`, and leaves in the outbox what is not settled."""
        with self.changed:
            self._stopping = True
            self.trouble = self.trouble or PublisherClosed("the publisher is closed")
            self.changed.notify_all()
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            _log.error("the publisher's thread has not ended within %s s", STOP_SECONDS)

    def find(self, identity: Identity) -> Parcel | None:
        """The unsettled parcel of that identity. The caller holds `changed`."""
        return self._pending.get(identity)

    def add(self, parcels: Iterable[Parcel]) -> None:
        """Takes up new parcels, in order, and hands them out. The caller holds `changed`."""
        for parcel in parcels:
            self._pending[parcel.identity] = parcel
            self._backlog.add(parcel)
            self.counts[State.QUEUED] += 1
        self._hand_out()
        self.changed.notify_all()

    def observe(self, record: AnySyncRecord) -> None:
        """Settles the command that a record tells of, if it is one of ours.

        A command may lead to several records, such as a change of mode behind a new member: the
        first one is its effect, and by the next it is settled.
        """
        if isinstance(record, Retracted | RecalledHole | NotStoredHole):
            return  # none of these names the command that it comes from
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
                    self._settle(parcel, State.REJECTED)
                case Duplicate():
                    parcel.receipt.seq = record.seq
                    self._settle(parcel, State.DUPLICATE)
                case _:
                    parcel.receipt.seq = record.seq
                    self._settle(parcel, State.SEQUENCED)
            self._hand_out()
            self.changed.notify_all()

    def turn(self) -> None:
        """One round of work: collect, replace what broke, clear the outbox, hand out.

        Called over and over by the thread that `start` starts, and by nobody else meanwhile.
        """
        courier = self._courier
        assert courier is not None  # noqa: S101 - taken away by this thread alone, and set again
        self._note_accepted(courier.collect(POLL_SECONDS if self._backlog.sent_count else 0))
        if courier.failure is not None:
            self._replace(courier)
        self._clear_outbox()
        with self.changed:
            again = self._backlog.resend(self._clock())
            self._hand_out()
        if again:
            _log.warning("%d commands had no outcome for too long and are sent again", again)

    def _rest(self) -> None:
        """Waits for work, unless something is in flight: then the producer is to be polled."""
        with self.changed:
            busy = self._backlog.sent_count or self._settled or self._stopping
            broken = self._courier is not None and self._courier.failure is not None
            if not busy and not broken:
                self.changed.wait(IDLE_SECONDS)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self.turn()
                self._rest()
            self._last_turn()
        except WrongDeployment as error:
            self._end(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits must learn of it
            _log.exception("the publisher has failed")
            self._end(FatalFailure(f"the publisher has failed: {type(error).__name__}"))

    def _end(self, trouble: ImError) -> None:
        """Has everybody who waits learn of it. The commands stay in the outbox."""
        with self.changed:
            self.trouble = trouble
            self._courier = None
            self.changed.notify_all()

    def _last_turn(self) -> None:
        with self.changed:
            courier, self._courier = self._courier, None
        if courier is not None:
            self._note_accepted(courier.give_up())
        self._clear_outbox()

    def _replace(self, courier: Courier) -> None:
        """Gives a broken producer up, and goes on with another from the oldest unacknowledged."""
        with self.changed:
            self._courier = None  # nothing is handed out meanwhile
        self.last_failure = str(courier.failure)
        _log.warning("a producer broke, another one goes on: %s", courier.failure)
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

    def _hand_out(self) -> None:
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
                    self._move(parcel, State.ACCEPTED)
                    if self._done_when == "accepted":
                        self._forget(parcel)
            self.changed.notify_all()

    def _settle(self, parcel: Parcel, state: State) -> None:
        self._move(parcel, state)
        self._forget(parcel)

    def _move(self, parcel: Parcel, state: State) -> None:
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
            # Harmless: what stays is sent again after a restart, and known by its id.
            _log.warning("settled commands stay in the outbox for now: %s", error)
            with self.changed:
                self._settled += settled
            return
        with self.changed:
            for parcel in settled:
                self._backlog.clear(parcel)

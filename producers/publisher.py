"""Sending: from a call to the log, through the outbox, whatever breaks on the way.

1. A command is checked, and kept in the outbox (`queued`). From here on it is not lost.
2. It is handed to a Kafka producer, in the order of its conversation.
3. The broker acknowledges it (`accepted`).
4. Its outcome is seen on the sender's sync timeline, or on the conversation's (`sequenced`,
   `duplicate`, `rejected`), and it leaves the outbox.

If the producer breaks between 2 and 3, another one sends again what was not acknowledged. If no
outcome is seen for some seconds after 3, the commands are sent again. If the process dies between
1 and 4, the next one sends again all that is in the outbox. A command that is sent again is
harmless: the sequencer knows it by its `client_msg_id` and repeats its outcome. The commands of a
conversation are always sent again in their order, from the oldest that is concerned on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from producers.backlog import Identity, Parcel, Resend, identity_of
from producers.courier import Courier, MakeProducer, kafka_producer
from producers.dispatch import Dispatcher, DoneWhen
from producers.ids import IdGenerator
from producers.outbox import CAPACITY, Outbox
from producers.receipts import Receipt, State
from producers.validation import encode_valid, list_of
from schemas.codec import decode_command
from schemas.errors import ConfigurationError, InvalidCommand, NotYet, UndecodableRecord
from schemas.limits import DEDUP_WINDOW
from schemas.records import (
    AddMembers,
    AnyCommand,
    AnySyncRecord,
    CreateConversation,
    EditMessage,
    HistoryRule,
    JoinRule,
    MarkRead,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    TextContent,
    TransferOwnership,
)
from schemas.settings import Settings
from schemas.topics import Topic

RESEND: Final = Resend()

CLOSE_SECONDS: Final = 5.0
"""What `close` gives the broker to acknowledge what is queued; the rest waits in the outbox."""


class Publisher:
    """Sends commands, of its user or ready-made ones. A context manager; safe among threads.

    Args:
        settings: The deployment.
        user: Who speaks through `send` and its like.
        device_id: The device that the user speaks from; ids grow within it, so two publishers
            must not share one.
        outbox: The file that keeps what is not settled. Each publisher needs its own.
        window: From the oldest command without an outcome to the newest under way, for each
            (conversation, sender, device). At most the sequencer's own window, so that a command
            that is sent again is still known there and gets its first outcome. None lifts the
            bound, for loads that do not need that outcome: the oldest of the commands that are
            sent again may be answered as stale.
        resend: When a command that the broker has is sent again because no outcome was seen, as
            long as `done_when` is ``sequenced``. None for only after a restart.
        done_when: When a command leaves the outbox: when its outcome was observed, or already
            when it was accepted. The latter needs no `observe`, and learns no outcome.
        capacity: Commands in the outbox at most.
        linger_ms: What a command waits for company; 0 is best for people, 5 to 50 for loads.
        make_producer: Makes Kafka producers.

    Raises:
        OutboxInUse: Another process has the outbox open.
        ConfigurationError: The outbox cannot be opened, or holds what this version cannot read.
    """

    def __init__(  # noqa: PLR0913 - each is a decision of its caller's, most have a good default
        self,
        settings: Settings,
        user: str,
        device_id: str,
        outbox: Path,
        *,
        window: int | None = DEDUP_WINDOW,
        done_when: DoneWhen = "sequenced",
        resend: Resend | None = RESEND,
        capacity: int = CAPACITY,
        linger_ms: float = 0,
        make_producer: MakeProducer | None = None,
    ) -> None:
        self._limits = settings.limits
        self._user, self._device_id = user, device_id
        self._outbox = Outbox(outbox, capacity)
        self._ids = IdGenerator(self._outbox.last_id)
        make = make_producer or partial(kafka_producer, settings, linger_ms)
        new_courier = partial(Courier, settings.topic(Topic.MESSAGES), make)
        again = resend if done_when == "sequenced" else None
        self._dispatcher = Dispatcher(self._outbox, new_courier, window, done_when, again)
        self._changed = self._dispatcher.changed
        try:
            self.resumed = self._resume()
        except UndecodableRecord as error:
            self._outbox.close()
            raise ConfigurationError(
                f"the outbox {outbox} is of another version: {error}"
            ) from error
        self._dispatcher.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def installation(self) -> str:
        """The installation of the publisher's own commands, for ready-made ones beside them."""
        return self._outbox.installation

    def create_conversation(
        self,
        conv_id: str,
        members: Sequence[str] = (),
        join: JoinRule = "invite",
        history: HistoryRule = "since_join",
    ) -> Receipt:
        """Makes a conversation of ``members`` and the user, who owns it. Errors as of `send`."""
        rules = {"join": join, "history": history}
        return self._say(
            CreateConversation, conv_id, {"members": list_of("members", members), **rules}
        )

    def add_members(self, conv_id: str, members: Sequence[str]) -> Receipt:
        """Adds people; the user may add themselves alone if it is open. Errors as of `send`."""
        return self._say(AddMembers, conv_id, {"members": list_of("members", members)})

    def remove_members(self, conv_id: str, members: Sequence[str]) -> Receipt:
        """Removes people; the owner anybody, anybody themselves. Errors as of `send`."""
        return self._say(RemoveMembers, conv_id, {"members": list_of("members", members)})

    def transfer_ownership(self, conv_id: str, to: str) -> Receipt:
        """Makes another member the owner; by the owner. Errors as of `send`."""
        return self._say(TransferOwnership, conv_id, {"to": to})

    def send(self, conv_id: str, text: str, mentions: Sequence[str] = ()) -> Receipt:
        """Says something to a conversation. On return it is in the outbox, and on its way.

        Raises:
            InvalidCommand: An argument has a wrong type; an id, the text or a list is out of its
                range; or the text shows nothing (``empty``).
            OutboxFull: Too much waits for the broker or for its outcome.
            TransientFailure: The disk does not take it.
            PublisherClosed: The publisher was closed.
        """
        return self._say(SendMessage, conv_id, _said(text, mentions))

    def mark_read(self, conv_id: str, seq: int) -> Receipt:
        """Says that the user has read all up to an entry. Errors as of `send`.

        All of the user's devices learn of it, and nobody else. A mark that is not above the one
        before ends as a duplicate, whose SeqId is that of the mark; one above the head of the
        conversation is ``invalid``, and a former member's ``not_a_member``.
        """
        return self._say(MarkRead, conv_id, {"seq": seq})

    def recall(self, conv_id: str, seq: int) -> Receipt:
        """Takes the message ``seq`` back: its text goes from everywhere. Errors as of `send`."""
        return self._say(RecallMessage, conv_id, {"seq": seq})

    def edit(self, conv_id: str, seq: int, text: str, mentions: Sequence[str] = ()) -> Receipt:
        """Replaces text and mentions of the message ``seq``. Errors as of `send`."""
        return self._say(EditMessage, conv_id, {"seq": seq, **_said(text, mentions)})

    def publish(self, command: AnyCommand) -> Receipt:
        """Sends a ready-made command, of any sender and device. Errors as of `send`."""
        return self.publish_many([command])[0]

    def publish_many(self, commands: Sequence[AnyCommand]) -> list[Receipt]:
        """Sends ready-made commands in order: queues all of them, or none. Errors as of `send`.

        One that is under way already, the same in every byte, is not queued again: its receipt
        is that of the first. With other content it is an `InvalidCommand` (``conflict``).
        """
        if not isinstance(commands, Sequence):
            raise InvalidCommand("invalid", "a list of commands was expected")
        encoded = [(command, encode_valid(command, self._limits)) for command in commands]
        with self._changed:
            return self._queue(encoded, None)

    def observe(self, record: AnySyncRecord) -> None:
        """Learns from a record of the sender's sync timeline, or an entry of the timeline.

        To be called with all of them, by whoever follows one; foreign records are ignored.
        """
        self._dispatcher.observe(record)

    def flush(self, timeout: float) -> None:
        """Waits until the broker has acknowledged all that was queued.

        Args:
            timeout: Seconds.

        Raises:
            NotYet: It has not within the bound; all goes on.
            PublisherClosed: The publisher was closed meanwhile.
        """
        dispatcher = self._dispatcher
        with self._changed:
            self._changed.wait_for(
                lambda: not dispatcher.counts[State.QUEUED] or dispatcher.trouble, timeout
            )
            queued = dispatcher.counts[State.QUEUED]
        if queued and dispatcher.trouble is not None:
            raise dispatcher.trouble
        if queued:
            failure = dispatcher.last_failure
            because = "" if failure is None else f"; the last failure was: {failure}"
            raise NotYet(f"{queued} commands are not acknowledged after {timeout:g} s{because}")

    def counts(self) -> Mapping[State, int]:
        """The commands taken up since the start, those of the outbox included, by state now."""
        with self._changed:
            return {state: self._dispatcher.counts[state] for state in State}

    def close(self) -> None:
        """Flushes for at most `CLOSE_SECONDS`, and ends. May be called again.

        What is not settled is in the outbox; the next publisher sends it.
        """
        if self._dispatcher.trouble is None:
            with contextlib.suppress(NotYet):
                self.flush(CLOSE_SECONDS)
        self._dispatcher.stop()
        self._outbox.close()

    def _resume(self) -> list[Receipt]:
        """Takes up what an earlier process has left."""
        parcels = [
            Parcel(queued.position, command, queued.value, self._receipt(command))
            for queued in self._outbox.pending()
            for command in [decode_command(queued.value)]
        ]
        with self._changed:
            self._dispatcher.add(parcels)
        return [parcel.receipt for parcel in parcels]

    def _say(self, kind: type[AnyCommand], conv_id: str, fields: dict[str, Any]) -> Receipt:
        # Id and place are given together, so that the order of the ids is the order of sending.
        with self._changed:
            command = kind(
                conv_id=conv_id,
                sender=self._user,
                device_id=self._device_id,
                client_msg_id=self._ids.next(),
                installation=self._outbox.installation,
                **fields,
            )
            encoded = encode_valid(command, self._limits)
            return self._queue([(command, encoded)], command.client_msg_id)[0]

    def _queue(
        self, encoded: Sequence[tuple[AnyCommand, bytes]], last_id: str | None
    ) -> list[Receipt]:
        if self._dispatcher.trouble is not None:
            raise self._dispatcher.trouble
        receipts, fresh = self._sort_out(encoded)
        values = [value for _, value in fresh]
        positions = self._outbox.put(values, last_id)
        self._dispatcher.add(
            Parcel(position, command, value, receipts[identity_of(command)])
            for position, (command, value) in zip(positions, fresh, strict=True)
        )
        return [receipts[identity_of(command)] for command, _ in encoded]

    def _sort_out(
        self, encoded: Sequence[tuple[AnyCommand, bytes]]
    ) -> tuple[dict[Identity, Receipt], list[tuple[AnyCommand, bytes]]]:
        """Receipts for all, and those commands that are not under way yet."""
        receipts: dict[Identity, Receipt] = {}
        fresh: dict[Identity, tuple[AnyCommand, bytes]] = {}
        for command, value in encoded:
            identity = identity_of(command)
            twin = self._dispatcher.find(identity)
            under_way = fresh[identity][1] if identity in fresh else twin and twin.value
            if under_way is None:
                fresh[identity] = command, value
                receipts[identity] = self._receipt(command)
            elif under_way != value:
                raise InvalidCommand("conflict", f"{command.client_msg_id} is under way otherwise")
            elif twin is not None:
                receipts[identity] = twin.receipt
        return receipts, list(fresh.values())

    def _receipt(self, command: AnyCommand) -> Receipt:
        return Receipt(command.client_msg_id, self._changed, lambda: self._dispatcher.trouble)


def _said(text: str, mentions: Sequence[str]) -> dict[str, Any]:
    """What a message and an edit have in common."""
    return {"content": TextContent(text=text), "mentions": list_of("mentions", mentions)}

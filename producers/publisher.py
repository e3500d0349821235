"""Sends commands to the log, through an outbox that survives failures.

1. A command is checked and stored in the outbox (`queued`). From now on it cannot be lost.
2. The command is passed to a Kafka producer, in the order of its conversation.
3. The broker acknowledges the command (`accepted`).
4. The outcome arrives on the sender's sync timeline, or on the conversation timeline
   (`sequenced`, `duplicate`, `rejected`), and the command leaves the outbox.

If the producer fails between 2 and 3, a new producer sends the unacknowledged commands again. If
no outcome arrives for some seconds after 3, the commands are sent again. If the process dies
between 1 and 4, the next process sends everything in the outbox again. A repeated command is
harmless: the sequencer recognises its `client_msg_id` and repeats its outcome. The commands of a
conversation are always sent again in order, from the oldest affected one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from msgspec import UNSET, UnsetType

from producers.backlog import Resend
from producers.command_queue import CommandQueue
from producers.courier import Courier, MakeProducer, kafka_producer
from producers.dispatch import Dispatcher, DoneWhen
from producers.ids import IdGenerator
from producers.outbox import CAPACITY, Outbox
from producers.receipts import Receipt, ReceiptState
from schemas.errors import ConfigurationError, InvalidCommand, NotYet, UndecodableRecord
from schemas.limits import DEDUP_WINDOW
from schemas.records import (
    MUTED_WITHOUT_END,
    AddMembers,
    AnyCommand,
    AnySyncRecord,
    CreateConversation,
    DescribeConversation,
    EditMessage,
    HistoryRule,
    JoinRule,
    MarkRead,
    MuteConversation,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    TextContent,
    TransferOwnership,
)
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.valid_commands import encode_valid, list_of

RESEND: Final = Resend()

CLOSE_SECONDS: Final = 5.0
"""Time for the broker to acknowledge queued commands in `close`; the rest stays in the outbox."""


class Publisher:
    """Sends commands of its user, and ready-made commands. A context manager; thread-safe.

    Args:
        settings: The deployment.
        user: The sender of commands that `send` and the similar methods make.
        device_id: The device of the user. Command ids grow within a device, so two publishers
            must not share a device.
        outbox: The file that stores unsettled commands. Each publisher needs its own file.
        window: Maximum number of commands in flight for each (conversation, sender, device),
            counted from the oldest command without an outcome. Must not exceed the sequencer's
            window, so that the sequencer still knows a repeated command and repeats its first
            outcome. None removes the bound, for loads that do not need this outcome: the oldest
            repeated commands may then be answered as stale.
        resend: When an accepted command without an outcome is sent again, if `done_when` is
            ``sequenced``. None: only after a restart.
        done_when: When a command leaves the outbox: when its outcome was observed, or when the
            command was accepted. ``accepted`` needs no `observe` and learns no outcome.
        capacity: Maximum number of commands in the outbox.
        linger_ms: Batching delay of the producer; 0 is best for people, 5 to 50 for loads.
        make_producer: Makes Kafka producers.

    Raises:
        OutboxInUse: Another process has the outbox open.
        ConfigurationError: The outbox cannot be opened, or this version cannot read a command
            in it.
    """

    def __init__(  # noqa: PLR0913 - each is the caller's decision, most have a good default
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
        resend_policy = resend if done_when == "sequenced" else None
        self._dispatcher = Dispatcher(self._outbox, new_courier, window, done_when, resend_policy)
        self._changed = self._dispatcher.changed
        self._queue = CommandQueue(self._outbox, self._dispatcher)
        try:
            self.resumed = self._queue.resume()
        except UndecodableRecord as error:
            self._outbox.close()
            reason = f"the outbox {outbox} is of another version: {error}"
            raise ConfigurationError(reason) from error
        self._dispatcher.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def installation(self) -> str:
        """The installation of the publisher's own commands, for use in ready-made commands."""
        return self._outbox.installation

    def create_conversation(  # noqa: PLR0913 - the fields of the command, most have a default
        self,
        conv_id: str,
        members: Sequence[str] = (),
        join: JoinRule = "invite",
        history: HistoryRule = "since_join",
        *,
        name: str | UnsetType = UNSET,
        metadata: str | UnsetType = UNSET,
    ) -> Receipt:
        """Create a conversation of ``members`` and the user, its owner. Errors: see `send`.

        ``name`` and ``metadata``: see `describe`.
        """
        rules = {"join": join, "history": history, "name": name, "metadata": metadata}
        return self._queue_command(
            CreateConversation, conv_id, {"members": list_of("members", members), **rules}
        )

    def add_members(self, conv_id: str, members: Sequence[str]) -> Receipt:
        """Add people. In an open conversation, users may add themselves. Errors: see `send`."""
        return self._queue_command(AddMembers, conv_id, {"members": list_of("members", members)})

    def remove_members(self, conv_id: str, members: Sequence[str]) -> Receipt:
        """Remove people: owners anybody, others only themselves. Errors: see `send`."""
        return self._queue_command(
            RemoveMembers, conv_id, {"members": list_of("members", members)}
        )

    def transfer_ownership(self, conv_id: str, to: str) -> Receipt:
        """Make another member the owner; only the owner may. Errors: see `send`."""
        return self._queue_command(TransferOwnership, conv_id, {"to": to})

    def describe(
        self,
        conv_id: str,
        *,
        name: str | UnsetType = UNSET,
        metadata: str | UnsetType = UNSET,
    ) -> Receipt:
        """Set the name, the metadata, or both; only the owner may. Errors: see `send`.

        Args:
            conv_id: The conversation.
            name: One line with a visible character and at most 256 bytes; "" removes the name.
            metadata: A JSON object as text, at most 4,096 bytes; "" removes the metadata.
        """
        fields = {"name": name, "metadata": metadata}
        return self._queue_command(DescribeConversation, conv_id, fields)

    def send(self, conv_id: str, text: str, mentions: Sequence[str] = ()) -> Receipt:
        """Send a message. On return, the command is in the outbox and is being sent.

        Raises:
            InvalidCommand: An argument has a wrong type; an id, the text or a list is out of its
                range; or the text shows nothing (``empty``).
            OutboxFull: Too many commands wait for the broker or for their outcomes.
            TransientFailure: The disk does not accept the write.
            PublisherClosed: The publisher was closed.
        """
        return self._queue_command(SendMessage, conv_id, _content_fields(text, mentions))

    def mark_read(self, conv_id: str, seq: int) -> Receipt:
        """Mark all entries up to ``seq`` as read by the user. Errors: see `send`.

        Only the user's devices receive the mark. A mark that is not above the previous one ends
        as its duplicate. A mark above the head is rejected as ``invalid``, and a former member's
        mark as ``not_a_member``.
        """
        return self._queue_command(MarkRead, conv_id, {"seq": seq})

    def mute(self, conv_id: str, until: int = MUTED_WITHOUT_END) -> Receipt:
        """Mute until a time in milliseconds since 1970; 0 ends a mute. Errors: see `send`."""
        return self._queue_command(MuteConversation, conv_id, {"until": until})

    def recall(self, conv_id: str, seq: int) -> Receipt:
        """Recall the message ``seq``: its text is erased everywhere. Errors: see `send`."""
        return self._queue_command(RecallMessage, conv_id, {"seq": seq})

    def edit(self, conv_id: str, seq: int, text: str, mentions: Sequence[str] = ()) -> Receipt:
        """Replace text and mentions of the message ``seq``. Errors: see `send`."""
        return self._queue_command(
            EditMessage, conv_id, {"seq": seq, **_content_fields(text, mentions)}
        )

    def publish(self, command: AnyCommand) -> Receipt:
        """Send a ready-made command, of any sender and device. Errors: see `send`."""
        return self.publish_many([command])[0]

    def publish_many(self, commands: Sequence[AnyCommand]) -> list[Receipt]:
        """Send ready-made commands in order: queue all of them or none. Errors: see `send`.

        A command that is already in flight with the same bytes is not queued again; it gets the
        receipt of the first one. With other content it raises `InvalidCommand` (``conflict``).
        """
        if not isinstance(commands, Sequence):
            raise InvalidCommand("invalid", "a list of commands was expected")
        encoded = [(command, encode_valid(command, self._limits)) for command in commands]
        with self._changed:
            return self._queue.put(encoded, None)

    def observe(self, record: AnySyncRecord) -> None:
        """Learn outcomes from a sync record of the sender, or from an entry of the timeline.

        The follower of either timeline has to pass every record; other people's are ignored.
        """
        self._dispatcher.observe(record)

    def flush(self, timeout: float) -> None:
        """Wait until the broker has acknowledged every queued command.

        Args:
            timeout: Seconds.

        Raises:
            NotYet: Not all are acknowledged within the timeout; sending continues.
            PublisherClosed: The publisher was closed meanwhile.
        """
        dispatcher = self._dispatcher
        with self._changed:
            self._changed.wait_for(
                lambda: not dispatcher.counts[ReceiptState.QUEUED] or dispatcher.trouble, timeout
            )
            queued = dispatcher.counts[ReceiptState.QUEUED]
        if queued and dispatcher.trouble is not None:
            raise dispatcher.trouble
        if queued:
            failure = dispatcher.last_failure
            because = "" if failure is None else f"; the last failure was: {failure}"
            raise NotYet(f"{queued} commands are not acknowledged after {timeout:g} s{because}")

    def counts(self) -> Mapping[ReceiptState, int]:
        """Return the number of commands by current state, since the start, resumed ones too."""
        with self._changed:
            return {state: self._dispatcher.counts[state] for state in ReceiptState}

    def close(self) -> None:
        """Flush for at most `CLOSE_SECONDS`, then close. May be called again.

        Unsettled commands stay in the outbox; the next publisher sends them.
        """
        if self._dispatcher.trouble is None:
            with contextlib.suppress(NotYet):
                self.flush(CLOSE_SECONDS)
        self._dispatcher.stop()
        self._outbox.close()

    def _queue_command(
        self, kind: type[AnyCommand], conv_id: str, fields: dict[str, Any]
    ) -> Receipt:
        # One lock for id and position: the order of the ids is the order of sending.
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
            return self._queue.put([(command, encoded)], command.client_msg_id)[0]


def _content_fields(text: str, mentions: Sequence[str]) -> dict[str, Any]:
    """Return the fields that a message and an edit have in common."""
    return {"content": TextContent(text=text), "mentions": list_of("mentions", mentions)}

"""Puts commands into the outbox and passes them to the dispatcher, each with a receipt."""

from __future__ import annotations

from collections.abc import Sequence

from producers.backlog import Identity, Parcel, identity_of
from producers.dispatch import Dispatcher
from producers.outbox import Outbox
from producers.receipts import Receipt
from schemas.codec import decode_command
from schemas.errors import InvalidCommand
from schemas.records import AnyCommand


class CommandQueue:
    """Queues commands. The caller of `put` holds `Dispatcher.changed`.

    Args:
        outbox: Stores the commands.
        dispatcher: Sends the commands.
    """

    def __init__(self, outbox: Outbox, dispatcher: Dispatcher) -> None:
        self._outbox = outbox
        self._dispatcher = dispatcher

    def resume(self) -> list[Receipt]:
        """Queue the commands that an earlier process left in the outbox.

        Raises:
            UndecodableRecord: The outbox has a command of another version.
        """
        parcels = [
            Parcel(queued.position, command, queued.value, self._receipt(command))
            for queued in self._outbox.pending()
            for command in [decode_command(queued.value)]
        ]
        with self._dispatcher.changed:
            self._dispatcher.add(parcels)
        return [parcel.receipt for parcel in parcels]

    def put(
        self, encoded: Sequence[tuple[AnyCommand, bytes]], last_id: str | None
    ) -> list[Receipt]:
        """Queue all of these commands or none. Errors: see `Publisher.send`.

        Args:
            encoded: The commands and their bytes.
            last_id: The client_msg_id of the publisher's own command; None for ready-made ones.

        Returns:
            One receipt for each command.
        """
        if self._dispatcher.trouble is not None:
            raise self._dispatcher.trouble
        receipts, fresh = self._split_fresh(encoded)
        values = [value for _, value in fresh]
        positions = self._outbox.put(values, last_id)
        self._dispatcher.add(
            Parcel(position, command, value, receipts[identity_of(command)])
            for position, (command, value) in zip(positions, fresh, strict=True)
        )
        return [receipts[identity_of(command)] for command, _ in encoded]

    def _split_fresh(
        self, encoded: Sequence[tuple[AnyCommand, bytes]]
    ) -> tuple[dict[Identity, Receipt], list[tuple[AnyCommand, bytes]]]:
        """Return receipts for all commands, and the commands that are not in flight yet."""
        receipts: dict[Identity, Receipt] = {}
        fresh: dict[Identity, tuple[AnyCommand, bytes]] = {}
        for command, value in encoded:
            identity = identity_of(command)
            in_flight = self._dispatcher.find(identity)
            known_value = (
                fresh[identity][1] if identity in fresh else in_flight and in_flight.value
            )
            if known_value is None:
                fresh[identity] = command, value
                receipts[identity] = self._receipt(command)
            elif known_value != value:
                raise InvalidCommand(
                    "conflict", f"{command.client_msg_id} is in flight with different content"
                )
            elif in_flight is not None:
                receipts[identity] = in_flight.receipt
        return receipts, list(fresh.values())

    def _receipt(self, command: AnyCommand) -> Receipt:
        return Receipt(
            command.client_msg_id, self._dispatcher.changed, lambda: self._dispatcher.trouble
        )

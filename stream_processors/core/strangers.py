"""A lane's bounded memory of commands that were refused to strangers.

A stranger is a sender without a place in the conversation: not a member, and without any accepted
command there. A refused command must not be accepted when it is repeated after the sender has
joined, but a stranger must not make the state grow. So the latest refusals of all strangers of a
lane share `STRANGER_REFUSALS` places, of which one sender has at most `REFUSALS_OF_A_STRANGER`.
When the places are full, the oldest refusal is forgotten.

The first window of a device in a conversation takes the device's refusals from here.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct

from schemas.errors import RejectionCode
from schemas.limits import DEDUP_WINDOW, REFUSALS_OF_A_STRANGER, STRANGER_REFUSALS
from schemas.number_types import NO_SEQ
from schemas.records import AnyCommand
from stream_processors.core.devices import device_of
from stream_processors.core.window import Decided, Window

_NO_WINDOW: Final = Window()


class Refusal(Struct, frozen=True, array_like=True, gc=False):
    """A command that was refused to a stranger. ``number`` counts the refusals of the lane."""

    number: int
    conv_id: str
    sender: str
    device_id: str
    installation: str
    client_msg_id: str
    digest: int
    code: RejectionCode


class Strangers:
    """The latest refusals of one lane.

    Args:
        places: Maximum number of refusals.
        each: Maximum number of refusals of one sender.
    """

    def __init__(
        self, places: int = STRANGER_REFUSALS, each: int = REFUSALS_OF_A_STRANGER
    ) -> None:
        self._limit, self._places_per_sender = places, each
        self._places: dict[int, Refusal] = {}  # oldest first
        self._places_by_sender: dict[str, deque[int]] = {}  # places of each sender, oldest first
        self._next_number = 0
        self._in_order = True

    def __len__(self) -> int:
        return len(self._places)

    def window(self, command: AnyCommand, floor: str = "") -> Window:
        """A window with the refusals of the command's device. No id up to ``floor`` is new.

        The window is a copy, which the caller may store but must not append to.
        """
        held = self.held(command)
        return Window(held, floor) if held or floor else _NO_WINDOW

    def held(self, command: AnyCommand) -> list[Decided]:
        """The refusals of a device in a conversation, in the order of their ids."""
        self._sort()
        places = self._places_by_sender.get(command.sender)
        if places is None:
            return []
        wanted = (command.conv_id, *device_of(command))
        refusals = [
            each
            for each in map(self._places.__getitem__, places)
            if (each.conv_id, each.device_id, each.installation) == wanted
        ]
        return [
            Decided(each.client_msg_id, index, NO_SEQ, each.digest, each.code)
            for index, each in enumerate(refusals[-DEDUP_WINDOW:])
        ]

    def add(self, command: AnyCommand, digest: int, code: RejectionCode) -> tuple[int, Refusal]:
        """Remembers a refusal, and forgets another one if all places are taken.

        Returns:
            The place and the refusal, to be logged.
        """
        self._sort()
        place = self._free_place(command.sender)
        device_id, installation = device_of(command)
        refusal = Refusal(
            self._next_number, command.conv_id, command.sender, device_id, installation,
            command.client_msg_id, digest, code,
        )  # fmt: skip
        self._next_number += 1
        self._put(place, refusal)
        return place, refusal

    def restore(self, place: int, refusal: Refusal) -> None:
        """Applies one record of the log. The records may have any order."""
        self._places[place] = refusal
        self._in_order = False

    def _put(self, place: int, refusal: Refusal) -> None:
        self._places[place] = refusal
        self._places_by_sender.setdefault(refusal.sender, deque()).append(place)

    def _free_place(self, sender: str) -> int:
        places_of_sender = self._places_by_sender.get(sender)
        if places_of_sender is not None and len(places_of_sender) >= self._places_per_sender:
            place = places_of_sender[0]
        elif len(self._places) < self._limit:
            return len(self._places)
        else:
            place = next(iter(self._places))
        forgotten = self._places.pop(place)
        places = self._places_by_sender[forgotten.sender]
        places.popleft()
        if not places:
            del self._places_by_sender[forgotten.sender]
        return place

    def _sort(self) -> None:
        if self._in_order:
            return
        restored = sorted(self._places.items(), key=lambda item: item[1].number)
        self._places.clear()
        self._places_by_sender.clear()
        for place, refusal in restored:
            self._put(place, refusal)
        self._next_number = restored[-1][1].number + 1
        self._in_order = True

"""The windows of the devices of one sender in one conversation: a bounded number of them.

A sender may name any number of devices. The state holds `MAX_DEDUP_DEVICES` windows. The next
device replaces the window with the smallest newest id, and this id becomes the *floor*: from a
device without a window, no command with an id up to the floor is accepted. So the sequencer
never accepts a command again whose id it has forgotten.

The window with the smallest newest id is replaced, not the least recently used window: this gives
the lowest possible floor, and the order of use does not have to be logged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from schemas.limits import MAX_DEDUP_DEVICES
from schemas.records import AnyCommand
from stream_processors.core.window import Decided, Window

DeviceKey: TypeAlias = tuple[str, str]
"""A device of a sender, and its installation, which is empty if commands name none."""


def device_of(command: AnyCommand) -> DeviceKey:
    """The device that a command comes from."""
    return command.device_id, command.installation or ""


class Devices:
    """The windows of one sender in one conversation.

    Attributes:
        floor: No id up to this one is new for a device that has no window.
        windows: The window of each device.
    """

    __slots__ = ("floor", "windows")

    def __init__(self, floor: str = "", windows: dict[DeviceKey, Window] | None = None) -> None:
        self.floor = floor
        self.windows: dict[DeviceKey, Window] = {} if windows is None else windows

    def open(self, device: DeviceKey, held: Sequence[Decided]) -> Window:
        """Makes the window of a device, and evicts another one if necessary.

        Args:
            device: A device without a window.
            held: The earlier decided ids of the device.
        """
        place = len(self.windows)
        makes_room = place >= MAX_DEDUP_DEVICES
        if makes_room:
            place = self._forget()
        window = self.windows[device] = Window(list(held), place=place)
        if makes_room or held:
            window.touch()
        return window

    def restore(self, device: DeviceKey, place: int, page: int, ids: Sequence[Decided]) -> None:
        """Replaces one page of a window. Without ids, the page is removed."""
        occupant = next((each for each in self.windows.items() if each[1].place == place), None)
        if occupant is not None and (not ids or occupant[0] == device):
            occupant[1].restore(page, ids)
        elif ids:
            if occupant is not None:  # another device had the place before
                del self.windows[occupant[0]]
            window = self.windows[device] = Window(place=place)
            window.restore(page, ids)

    def _forget(self) -> int:
        """Evicts the window with the smallest newest id; returns its place."""
        device, window = min(
            self.windows.items(), key=lambda item: (item[1].newest, item[1].place)
        )
        del self.windows[device]
        self.floor = max(self.floor, window.newest)
        return window.place

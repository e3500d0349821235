"""A person with a publisher and a follower: an example of an SDK client."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from consumers.cursor import MemoryCursors
from consumers.follower import SyncFollower
from producers.publisher import Publisher
from schemas.records import Entry
from schemas.settings import Settings

_LISTEN_SECONDS: Final = 0.05


class Person:
    """Sends through a publisher, and follows the person's sync timeline from now on.

    A context manager.

    Args:
        settings: The deployment.
        user: The person.
        device_id: The device of the person.
        folder: The folder of the outbox.
    """

    def __init__(self, settings: Settings, user: str, device_id: str, folder: Path) -> None:
        self.user = user
        self.heard: list[Entry] = []
        with ExitStack() as opened:
            self._follower = opened.enter_context(
                SyncFollower(settings, user, MemoryCursors(), device_id=device_id, start="end")
            )
            self.publisher = opened.enter_context(
                Publisher(settings, user, device_id, folder / f"{user}.outbox")
            )
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def listen(self) -> None:
        """Process the next record of the sync timeline, if one arrives in time."""
        item = self._follower.poll(_LISTEN_SECONDS)
        if item is None:
            return
        self.publisher.observe(item.record)
        self._follower.commit(item)
        if isinstance(item.record, Entry):
            self.heard.append(item.record)

    def seqs_of(self, conv_id: str) -> list[int]:
        """The SeqIds of a conversation, in the order of arrival."""
        return [entry.seq for entry in self.heard if entry.conv_id == conv_id]

"""Notifications of dead letters that operators replay: they wait again in their planner."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from backends.stages.stage_names import PUSH_STAGE
from schemas.number_types import Milliseconds, ShardNumber
from schemas.replays import Replay, ReplayKey
from sinks.base.replay_book import ReplayBook
from sinks.push.push_memory import PushMemory
from sinks.push.push_people import PushPeople
from sinks.push.push_state import HeldState, PushKey, PushState, waits_again

INTERVAL_SECONDS: Final = 1.0
"""Pause between two looks at requests, most of which another process may own."""


def push_group(stage: str, replay: Replay) -> str | None:
    """The group of a request in the book of the stage."""
    return PUSH_STAGE if stage == PUSH_STAGE and replay.notification is not None else None


class OwnedReplay(NamedTuple):
    """A request for a person whose shard this process owns."""

    key: ReplayKey
    replay: Replay
    owner: ShardNumber


class PushReplays:
    """The requests of the stage.

    Args:
        book: The requests, by `push_group`.
        memory: The planner.
        people: The people with devices.
        now: The time in milliseconds since 1970.
        monotonic: A clock.
    """

    def __init__(
        self,
        book: ReplayBook,
        memory: PushMemory,
        people: PushPeople,
        now: Callable[[], Milliseconds],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = book
        self._memory = memory
        self._people = people
        self._now = now
        self._monotonic = monotonic
        self._look_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether there are requests, and time to look at them."""
        return bool(len(self._book)) and self._monotonic() >= self._look_at

    def open(self) -> Mapping[ReplayKey, Replay]:
        """The requests without an end."""
        self._look_at = self._monotonic() + INTERVAL_SECONDS
        return self._book.open(PUSH_STAGE)

    def moment(self) -> float:
        """The present time, for `is_read_since`."""
        return self._monotonic()

    def is_read_since(self, moment: float) -> bool:
        """See `ReplayBook.is_read_since`."""
        return self._book.is_read_since(moment)

    def begin(self, owned: OwnedReplay) -> None:
        """Lets a notification wait again. The change is durable after `PushMemory.flush`."""
        replay = owned.replay
        ids = replay.notification
        devices = self._people.devices(replay.user_id)
        if ids is None or ids.device_id not in devices:
            return
        key, now = PushKey(replay.user_id, ids.conv_id), self._now()
        others = [each for each in devices if each != ids.device_id]
        change = partial(waits_again, ids=ids, at=now, others=others)
        begins = HeldState(owned.owner, PushState(shard=ids.shard, offset=ids.offset))
        self._memory.do(lambda planner: planner.change(key, change, None, now, begins))

    def end(self, key: ReplayKey) -> None:
        """See `ReplayBook.finish`."""
        self._book.finish(key)
